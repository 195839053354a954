"""Records as tables: the runs of a folder or of a published file, a row each, and their arrays."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from granularity.fingerprints import equivalence
from granularity.inputs import renamed
from granularity.records.entries import ENTRIES, kind_of
from granularity.records.record import ASKED, RecordError, parse, read, text_of

RUN_FOLDER = re.compile("[0-9a-f]{16}")  # named by the run's fingerprint


def of_run(record: dict, path: Path) -> dict:
    """The record itself. Raises RecordError where it is not the run that its folder names."""
    if record["fingerprint"] != path.parent.name:
        raise RecordError(f"{path}: the record of another run, {record['fingerprint']}")
    return record


def standing(record: Mapping[str, Any]) -> str:
    """What a record's code is beside ours: one of `equivalence`'s words.

    The code of a function that is no more is older. A timing is what it was: of the commit and the
    machine that it names.
    """
    try:
        kind = kind_of(record["entry"])
    except RecordError:
        return equivalence.OLDER
    device = record.get("device") or ("cuda" if record["made_by"]["device"].get("gpu") else "cpu")
    found = equivalence.standing(kind, record.get("code"), ENTRIES[kind].code, device)
    timed = ENTRIES[kind].timing and found != equivalence.THIS
    return equivalence.TIMING if timed else found


def collect(path: Path | str) -> list[dict]:
    """All run records of a published `.jsonl` file, or that tables of contents below a folder list.

    Raises FileNotFoundError where there is none, RecordError for one that is broken or foreign.
    """
    path = Path(path)
    if path.is_file():
        lines = text_of(path).splitlines()
        return [parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    return list(in_folders(path).values())


def any_ran(path: Path) -> bool:
    """Whether a table of contents below a folder lists runs.

    A size may ask for none, none was made yet, or the only job was stopped and left no table.
    """
    return any(True for _ in contents_below(path))


def contents_below(path: Path) -> Iterator[tuple[Path, dict]]:
    """The tables of contents below a folder, in order: file and record."""
    for file in sorted(path.rglob("record.json")):
        if may_list(file.parent) and "runs" in (record := read(file)):
            yield file, record


def in_folders(path: Path) -> dict[Path, dict]:
    """The runs that tables of contents below a folder list: file → record, in their order.

    Records that no table lists are not looked at: they are of settings or code that are gone.
    """
    contents = dict(contents_below(path))
    if not contents:
        raise FileNotFoundError(f"no table of contents of runs in or below {path}: nothing ran yet")
    found = [file.parent / run / "record.json" for file, r in contents.items() for run in r["runs"]]
    for file in found:
        if not file.exists():
            raise RecordError(f"{file} is missing, though the table of contents lists it")
    return {file: of_run(read(file), file) for file in found}


def may_list(folder: Path) -> bool:
    """Whether a table of contents may lie here: no run's own folder, and still asked for."""
    return not RUN_FOLDER.fullmatch(folder.name) and wanted(folder)


def wanted(folder: Path) -> bool:
    """Whether the size file that a folder of runs belongs to still has its setting.

    The graph writes `ASKED` at the top of a size's runs, with every folder that the size file asks
    for; a folder of a run by hand has none above it.
    """
    for above in folder.parents:
        if (above / ASKED).exists():
            asked = json.loads((above / ASKED).read_text(encoding="utf-8"))
            return folder.relative_to(above).as_posix() in asked
    return True


def arrays(path: Path | str, name: str = "evaluation") -> dict[str, dict[str, np.ndarray]]:
    """The arrays that runs keep beside their records, by the runs' fingerprints.

    `path` is what `table` takes: below a folder they lie in each run's `<name>.npz`, beside a
    published file in one `.npz` of its name. A run that has none is left out. Raises RecordError,
    naming the file, for one that is broken.
    """
    path = Path(path)
    if path.is_file():
        found: dict[str, dict[str, np.ndarray]] = {}
        for key, values in opened(path.with_suffix(".npz")).items():
            run, file, array = key.split("/")
            if file == name:
                found.setdefault(run, {})[array] = values
        return found
    runs = {r["fingerprint"]: f.with_name(f"{name}.npz") for f, r in in_folders(path).items()}
    return {run: opened(file) for run, file in runs.items() if file.exists()}


def opened(file: Path) -> dict[str, np.ndarray]:
    """The arrays of one file; none where there is no file."""
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except Exception as error:  # NumPy and zipfile have a dozen ways to refuse bytes
        raise RecordError(f"{file}: no whole file of arrays ({error})") from error


def table(*paths: Path | str) -> pd.DataFrame:
    """One row a run, over published files and folders of runs; arguments and metrics as columns."""
    return pd.DataFrame([row(record) for path in paths for record in collect(path)])


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record, flat and under today's names: what a chapter groups, averages and draws.

    An argument that is called like a metric, as the `classes` that a run was to have, is `chosen_`.
    """
    made, metrics = record["made_by"], record["metrics"]
    arguments = renamed.current(record.get("arguments", {}))
    kept = ("kind", "fingerprint", "started", "seconds", "code", "entry")
    return {
        **{f"chosen_{name}" if name in metrics else name: arguments[name] for name in arguments},
        **metrics,
        **{name: record.get(name) for name in kept},
        "curves": renamed.current(record.get("curves")),
        "images_per_second": record.get("images_per_second"),
        "standing": standing(record) if "entry" in record else None,
        "commit": made["git"]["commit"],
        "dirty": made["git"]["dirty"],
        "packages": made["packages"],
        "machine": made["device"],
    }
