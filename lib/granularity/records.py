"""One record a run: made where it is missing, read as one table, published.

A run is one call `entry(**arguments)` of a library function with JSON-plain arguments; its record
holds that call, what came out, and what made it. Its fingerprint is of the call, the data and the
code, so an equal run is never made twice and a changed one never returns old numbers.
"""

import contextlib
import inspect
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from granularity import equivalence, files, source
from granularity.digest import digest
from granularity.entries import ENTRIES, kind_of, kind_of_function, named
from granularity.presets import recipe_of
from granularity.record import ASKED, RecordError, git_state, parse, read, text_of, write

RECIPES = ("pretraining", "finetuning")  # arguments that are recipes, of whatever entry
RUN_FOLDER = re.compile("[0-9a-f]{16}")  # named by the run's fingerprint

# ---------------------------------------------------------------------------- runs in a folder

Data = Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None


def fingerprint(
    entry: Callable, arguments: Mapping[str, Any], data: Mapping | None = None, device: str = "cpu"
) -> str:
    """What names a run: the call, the data it reads, and the oldest code that is equal to ours."""
    kind = kind_of_function(entry)
    found = ENTRIES[kind]
    code = equivalence.oldest(kind, found.code, device)
    return digest([found.names[0], in_full(arguments), data, code])


def in_full(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with every field of their recipes, whatever preset they name."""
    return dict(arguments) | recipes_of(arguments)


def recipes_of(arguments: Mapping[str, Any]) -> dict[str, dict]:
    """The recipes among a run's arguments, in full."""
    given = {name: arguments[name] for name in RECIPES if arguments.get(name)}
    return {name: recipe_of(recipe).plain() for name, recipe in given.items()}


def complete(
    folder: Path | str,
    entry: Callable[..., Mapping[str, Any]],
    settings: Iterable[Mapping[str, Any]],
    *,
    data: Data = None,
    places: Mapping[str, Any] | None = None,
    writes: bool = True,
) -> list[dict]:
    """Makes the runs `entry(**setting)` that `folder` lacks; returns the records of all, in order.

    Each record is written the moment its run ends, as `folder/<fingerprint>/record.json`, so a
    killed call loses one run at most. The table of contents, `folder/record.json`, is written last.
    `data` says what the runs read, where that is not an argument: of all of them, or of each.
    `places` are arguments that say where things lie on this machine and change no number: they are
    given to every run and stand in no record. An entry with a parameter `run_folder` is told the
    folder of its record. Of several processes that make a run together one `writes`; the others
    only do their share, and return nothing.
    Where another process completes runs in this folder, this one waits for it.
    Raises RecordError for two equal settings and for a broken record that stands in the way.
    """
    folder, started, state = Path(folder), time.time(), git_state()
    settings, places = [dict(setting) for setting in settings], dict(places or {})
    read_by_each = data_of_each(data, len(settings))
    keys = [
        fingerprint(entry, setting, read, device_of(setting, places))
        for setting, read in zip(settings, read_by_each, strict=True)
    ]
    code = ENTRIES[kind_of_function(entry)].code
    runs = [
        Run(entry, setting, read, places, key, code, state)
        for setting, read, key in zip(settings, read_by_each, keys, strict=True)
    ]
    if len(set(keys)) < len(keys):
        twice = next(s for key, s in zip(keys, settings, strict=True) if keys.count(key) > 1)
        raise RecordError(f"the setting {twice} is asked for twice")
    with files.alone(folder) if writes else contextlib.nullcontext():
        made = made_or_found(folder, runs, writes)
        if writes:
            kind = f"contents of {kind_of_function(entry)}"
            path = folder / "record.json"
            write(path, kind=kind, metrics={}, started=started, state=state, runs=keys)
    return made


def data_of_each(data: Data, runs: int) -> list[Mapping | None]:
    """What each of the runs reads. Raises RecordError for a list of another length."""
    if data is None or isinstance(data, Mapping):
        return [data] * runs
    if len(data) != runs:
        raise RecordError(f"data of {len(data)} runs are stated, and there are {runs}")
    return list(data)


@dataclass(frozen=True)
class Run:
    """One call of an entry, its code, and what the repository was, when all of it was asked for."""

    entry: Callable
    arguments: dict[str, Any]
    data: Mapping[str, Any] | None
    places: dict[str, Any]
    key: str
    code: str
    state: Mapping[str, Any]

    @property
    def device(self) -> str:
        """What the run computes on."""
        return device_of(self.arguments, self.places)

    def make(self, path: Path) -> None:
        """Makes the run and writes its record."""
        started, kind = time.time(), kind_of_function(self.entry)
        takes = inspect.signature(self.entry).parameters
        told = {"run_folder": path.parent} if "run_folder" in takes else {}
        result = dict(self.entry(**self.arguments, **self.places, **told))
        write(
            path,
            kind=kind,
            fingerprint=self.key,
            entry=kind,
            arguments=self.arguments,
            recipes=recipes_of(self.arguments),
            code=self.code,
            device=self.device,
            data=self.data,
            seed=self.arguments.get("seed"),
            metrics=result.pop("metrics"),
            curves=result.pop("curves", {}),
            started=started,
            state=self.state | at_the_end(kind, self.code),
            **result,
        )


def device_of(arguments: Mapping[str, Any], places: Mapping[str, Any]) -> str:
    """What a run computes on: an argument of some entries, a place for others."""
    return str({"device": "cpu", **places, **arguments}["device"])


def at_the_end(kind: str, code: str) -> dict[str, bool]:
    """What became of the code while a run went on, where it is no more what the run began with."""
    source.fingerprint.cache_clear()
    return {} if ENTRIES[kind].code == code else {"changed_while_it_ran": True}


def made_or_found(folder: Path, runs: Sequence[Run], writes: bool) -> list[dict]:
    """The records of all runs in `folder`; those that it lacks are made now."""
    paths = [folder / run.key / "record.json" for run in runs]
    missing = [not path.exists() for path in paths]
    if runs and os.environ.get("WORLD_SIZE", "1") != "1":
        from granularity import processes  # torch takes its time to load

        missing = processes.agreed(missing, runs[0].device)
    bar = tqdm(
        total=len(paths),
        initial=len(paths) - sum(missing),
        desc=kind_of_function(runs[0].entry) if runs else None,
        unit="run",
        disable=not writes,
    )
    for path, run, wanted in zip(paths, runs, missing, strict=True):
        if wanted and writes:
            run.make(path)
        elif wanted:
            run.entry(**run.arguments, **run.places)
        bar.update(wanted)
    bar.close()
    return [of_run(read(path), path) for path in paths] if writes else []


def of_run(record: dict, path: Path) -> dict:
    """The record itself. Raises RecordError where it is not the run that its folder names."""
    if record["fingerprint"] != path.parent.name:
        raise RecordError(f"{path}: the record of another run, {record['fingerprint']}")
    return record


def entry_of(name: str) -> Callable:
    """The function that a record names, by its present or an old name, of the registry alone.

    Raises RecordError, with the nearest name, where there is none.
    """
    return named(name).load()


def standing(record: Mapping[str, Any]) -> str:
    """What a record's code is beside ours: one of `equivalence`'s three words.

    The code of a function that is no more is older.
    """
    try:
        kind = kind_of(record["entry"])
    except RecordError:
        return equivalence.OLDER
    device = record.get("device") or ("cuda" if record["made_by"]["device"].get("gpu") else "cpu")
    return equivalence.standing(kind, record.get("code"), ENTRIES[kind].code, device)


# -------------------------------------------------------------------------- reading, publishing


def collect(path: Path | str) -> list[dict]:
    """All run records of a published `.jsonl` file, or that tables of contents below a folder list.

    Raises FileNotFoundError where there is none, RecordError for one that is broken or foreign.
    """
    path = Path(path)
    if path.is_file():
        lines = text_of(path).splitlines()
        return [parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    return list(in_folders(path).values())


def in_folders(path: Path) -> dict[Path, dict]:
    """The runs that tables of contents below a folder list: file → record, in their order.

    Records that no table lists are not looked at: they are of settings or code that are gone.
    """
    places = [file for file in sorted(path.rglob("record.json")) if may_list(file.parent)]
    contents = {file: record for file in places if "runs" in (record := read(file))}
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
    """A record, flat: what a chapter groups, averages and draws."""
    made = record["made_by"]
    kept = ("kind", "fingerprint", "started", "seconds", "code", "entry", "curves")
    return {
        **record.get("arguments", {}),
        **record["metrics"],
        **{name: record.get(name) for name in kept},
        "images_per_second": record.get("images_per_second"),
        "standing": standing(record) if "entry" in record else None,
        "commit": made["git"]["commit"],
        "dirty": made["git"]["dirty"],
        "packages": made["packages"],
        "machine": made["device"],
    }


def publish(folders: Sequence[Path | str], file: Path | str, replace: bool = False) -> int:
    """Adds the runs of `folders` to one `.jsonl` file, a record a line; returns how many it has.

    Runs that the file has already stay, unless `replace` leaves those out that no folder has. A run
    that lies in several places is written once. What runs keep in arrays goes beside the file, into
    one `.npz` (see `arrays`).
    Raises RecordError for a run of uncommitted code: nobody could find what made its numbers.
    """
    file, fresh = Path(file), [record for folder in folders for record in collect(folder)]
    for record in fresh:
        refuse_unknown_code(record)
    before = collect(file) if file.exists() and not replace else []
    runs = {record["fingerprint"]: record for record in [*before, *fresh]}
    kept = arrays_of([file] if before else [], folders)
    beside = file.with_suffix(".npz")
    if kept:
        with files.whole(beside) as part, part.open("wb") as stream:
            np.savez_compressed(stream, **kept)
    else:
        beside.unlink(missing_ok=True)
    files.write(file, "".join(json.dumps(record) + "\n" for record in runs.values()))
    return len(runs)


def refuse_unknown_code(record: Mapping[str, Any]) -> None:
    """Raises RecordError, with the reason, where no commit holds the code of a run."""
    run, git = record["fingerprint"], record["made_by"]["git"]
    if git["commit"] is None:
        raise RecordError(f"run {run} names no commit: {git.get('why', 'git said none')}")
    if git["dirty"] is not False:
        raise RecordError(f"run {run} was made by code that is not committed")
    if git.get("changed_while_it_ran"):
        raise RecordError(f"run {run}: the code was changed while it ran")


def arrays_of(published: Sequence[Path], folders: Sequence[Path | str]) -> dict[str, np.ndarray]:
    """The evaluation arrays of published files and folders, by the names that a file has them."""
    return {
        f"{run}/evaluation/{name}": values
        for place in [*published, *folders]
        for run, found in arrays(place).items()
        for name, values in found.items()
    }


if __name__ == "__main__":
    from granularity.records_command import main  # it imports this module, under its full name

    main()
