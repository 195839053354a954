"""Publishes runs: adds the records of folders to one file of the book, a line each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from granularity import files
from granularity.records.record import RecordError
from granularity.records.tables import arrays, collect


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
