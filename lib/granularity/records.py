"""One record a run: made where it is missing, read as one table, published.

A run is one call `entry(**arguments)` of a library function with JSON-plain arguments; its record
holds that call, what came out, and what made it. Its fingerprint is of the call, the data and the
code, so an equal run is never made twice and a changed one never returns old numbers.
"""

import argparse
import contextlib
import importlib
import inspect
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from granularity import files, source
from granularity.digest import digest
from granularity.nearest import nearest
from granularity.record import RecordError, parse, read, text_of, write

# ---------------------------------------------------------------------------- runs in a folder


def fingerprint(entry: Callable, arguments: Mapping[str, Any], data: Mapping | None = None) -> str:
    """What names a run: the call, the data it reads, and the code behind it."""
    return digest([name_of(entry), dict(arguments), data, source.fingerprint(entry.__module__)])


def name_of(entry: Callable) -> str:
    """`module:function` of a library function. Raises RecordError for any other callable."""
    if not entry.__module__.startswith("granularity.") or "." in entry.__qualname__:
        raise RecordError(f"{entry!r} is no function of the library: a record must be repeatable")
    return f"{entry.__module__}:{entry.__qualname__}"


def complete(
    folder: Path | str,
    entry: Callable[..., Mapping[str, Any]],
    settings: Iterable[Mapping[str, Any]],
    *,
    data: Mapping[str, str] | None = None,
    places: Mapping[str, Any] | None = None,
    writes: bool = True,
) -> list[dict]:
    """Makes the runs `entry(**setting)` that `folder` lacks; returns the records of all, in order.

    Each record is written the moment its run ends, as `folder/<fingerprint>/record.json`, so a
    killed call loses one run at most. The table of contents, `folder/record.json`, is written last.
    `data` names what the runs read (`{"name": …, "fingerprint": …}`) where that is not an argument.
    `places` are arguments that say where things lie on this machine and change no number: they are
    given to every run and stand in no record. An entry with a parameter `run_folder` is told the
    folder of its record. Of several processes that make a run together one `writes`; the others
    only do their share, and return nothing.
    Where another process completes runs in this folder, this one waits for it.
    Raises RecordError for two equal settings and for a broken record that stands in the way.
    """
    folder, started = Path(folder), time.time()
    settings = [dict(setting) for setting in settings]
    keys = [fingerprint(entry, setting, data) for setting in settings]
    if len(set(keys)) < len(keys):
        twice = next(s for key, s in zip(keys, settings, strict=True) if keys.count(key) > 1)
        raise RecordError(f"the setting {twice} is asked for twice")
    with files.alone(folder) if writes else contextlib.nullcontext():
        made = made_or_found(folder, entry, settings, keys, data, places or {}, writes)
        if writes:
            kind = f"contents of {kind_of(entry)}"
            write(folder / "record.json", kind=kind, metrics={}, started=started, runs=keys)
    return made


def made_or_found(
    folder: Path,
    entry: Callable,
    settings: Sequence[dict],
    keys: Sequence[str],
    data: Mapping | None,
    places: Mapping,
    writes: bool,
) -> list[dict]:
    """The records of all runs in `folder`; those that it lacks are made now."""
    paths = [folder / key / "record.json" for key in keys]
    missing = [not path.exists() for path in paths]
    bar = tqdm(
        total=len(paths),
        initial=len(paths) - sum(missing),
        desc=name_of(entry),
        unit="run",
        disable=not writes,
    )
    for path, key, setting, wanted in zip(paths, keys, settings, missing, strict=True):
        if wanted and writes:
            make(path, key, entry, setting, data, places)
        elif wanted:
            entry(**setting, **places)
        bar.update(wanted)
    bar.close()
    return [of_run(read(path), path) for path in paths] if writes else []


def of_run(record: dict, path: Path) -> dict:
    """The record itself. Raises RecordError where it is not the run that its folder names."""
    if record["fingerprint"] != path.parent.name:
        raise RecordError(f"{path}: the record of another run, {record['fingerprint']}")
    return record


def make(
    path: Path, key: str, entry: Callable, setting: dict, data: Mapping | None, places: Mapping
) -> None:
    """Runs `entry(**setting, **places)` and writes its record."""
    started = time.time()
    told = (
        {"run_folder": path.parent} if "run_folder" in inspect.signature(entry).parameters else {}
    )
    result = dict(entry(**setting, **places, **told))
    write(
        path,
        kind=kind_of(entry),
        fingerprint=key,
        entry=name_of(entry),
        arguments=setting,
        code=source.fingerprint(entry.__module__),
        data=data,
        seed=setting.get("seed"),
        metrics=result.pop("metrics"),
        curves=result.pop("curves", {}),
        started=started,
        **result,
    )


def entry_of(name: str) -> Callable:
    """The library's function called `module:function`; no other module is looked into, or loaded.

    Raises RecordError, with the nearest name, where there is none.
    """
    module, _, function = name.partition(":")
    if not module.startswith("granularity.") or not all(map(str.isidentifier, module.split("."))):
        raise RecordError(
            f"{name!r} is no function of the library, like granularity.theory:simulate"
        )
    try:
        found = vars(importlib.import_module(module))
    except ImportError as error:
        raise RecordError(f"there is no {name} any more: {error}") from error
    entry = found.get(function)
    if not inspect.isfunction(entry) or entry.__module__.partition(".")[0] != "granularity":
        near = nearest(function, [name for name in found if callable(found[name])])
        hint = f"; the nearest one is {near}" if near else ""
        raise RecordError(f"there is no {name} any more{hint}")
    return entry


def kind_of(entry: Callable) -> str:
    """`theory.simulate` for the function `simulate` of `granularity.theory`."""
    return name_of(entry).removeprefix("granularity.").replace(":", ".")


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
    """The runs that tables of contents below a folder list: file → record, in their order."""
    found = [(file, read(file)) for file in sorted(path.rglob("record.json"))]
    contents = [(file, record) for file, record in found if "runs" in record]
    if not contents:
        raise FileNotFoundError(f"no table of contents of runs in or below {path}: nothing ran yet")
    listed = dict(found)
    missing = [
        listing.parent / run / "record.json"
        for listing, record in contents
        for run in record["runs"]
        if listing.parent / run / "record.json" not in listed
    ]
    if missing:
        raise RecordError(f"{missing[0]} is missing, though the table of contents lists it")
    files_of = [
        listing.parent / run / "record.json" for listing, r in contents for run in r["runs"]
    ]
    return {file: of_run(listed[file], file) for file in files_of}


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
        "commit": made["git"]["commit"],
        "dirty": made["git"]["dirty"],
        "packages": made["packages"],
        "machine": made["device"],
    }


def publish(folders: Sequence[Path | str], file: Path | str) -> int:
    """Writes the runs of `folders` into one `.jsonl` file, a record a line; returns how many.

    A run that lies in several of them is written once. What they keep in arrays goes beside it,
    into one `.npz` file (see `arrays`).
    Raises RecordError for a run of uncommitted code: nobody could find what made its numbers.
    """
    runs = {record["fingerprint"]: record for folder in folders for record in collect(folder)}
    for record in runs.values():
        if record["made_by"]["git"]["dirty"] is not False:
            raise RecordError(f"run {record['fingerprint']} was made by code that is not committed")
    kept = {
        f"{run}/evaluation/{name}": values
        for folder in folders
        for run, found in arrays(folder).items()
        for name, values in found.items()
    }
    beside = Path(file).with_suffix(".npz")
    if kept:
        with files.whole(beside) as part, part.open("wb") as stream:
            np.savez_compressed(stream, **kept)
    else:
        beside.unlink(missing_ok=True)
    files.write(Path(file), "".join(json.dumps(record) + "\n" for record in runs.values()))
    return len(runs)


def main() -> None:
    """The command line: `publish FOLDER … FILE.jsonl`, and `verify RECORDS`."""
    parser = argparse.ArgumentParser(prog="python -m granularity.records", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    copy = commands.add_parser("publish", help="copy the runs of folders into one published file")
    copy.add_argument("folders", nargs="+", metavar="FOLDER", help="holds a table of contents")
    copy.add_argument("file", metavar="FILE.jsonl", help="as book/results/theory/simulate.jsonl")
    again = commands.add_parser("verify", help="make runs again, and compare the metrics")
    again.add_argument("records", help="a published file, a folder of runs, or one record.json")
    again.add_argument("--run", default="", help="the beginning of one run's fingerprint")
    again.add_argument("--random", type=int, default=0, metavar="N", help="so many at random")
    again.add_argument("--seed", type=int, default=0, help="of that choice")
    again.add_argument(
        "--root", action="append", default=[], metavar="NAME=PATH", help="where a dataset lies"
    )
    again.add_argument(
        "--tolerance", type=float, help="largest difference allowed, of a metric's size or of 1"
    )
    given = parser.parse_args()
    try:
        if given.command == "publish":
            print(f"{publish(given.folders, given.file)} records in {given.file}")
        elif not verified(given):
            parser.exit(1, "some metrics differ\n")
    except (OSError, KeyError, ValueError, RecordError) as error:
        parser.exit(1, f"error: {error}\n")


def verified(given: argparse.Namespace) -> bool:
    """Whether the runs that were asked for agree with their records."""
    from granularity import verify  # which imports this module

    for root in given.root:
        if "=" not in root:
            raise ValueError(f"--root {root}: should be NAME=PATH, as tiny-imagenet-200={root}")
    roots = dict(root.split("=", 1) for root in given.root)
    tolerance = verify.TOLERANCE if given.tolerance is None else given.tolerance
    chosen = verify.chosen(given.records, given.run, given.random, given.seed)
    return verify.report(chosen, roots, tolerance)


if __name__ == "__main__":
    main()
