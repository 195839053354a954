"""Runs a recorded run again, from its record alone, and says whether the numbers are the same.

On the machine that made it a run gives the same numbers; on others rounding differs, and training
carries that on. So a metric agrees where it differs by no more than a tolerance, and what was found
is shown beside what was recorded.
"""

import tempfile
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from granularity import records, source

TOLERANCE = 0.02  # of a metric's size, or of 1 where it is smaller: two points of an error


def chosen(path: Path | str, run: str = "", number: int = 0, seed: int = 0) -> list[dict]:
    """The records to run again: the one whose fingerprint starts with `run`, or `number` at random.

    All of them where neither is given. Raises RecordError where none, or more than one, is called
    `run`.
    """
    there = [record for record in found(path) if "entry" in record]
    if run:
        named = [record for record in there if record["fingerprint"].startswith(run)]
        if len(named) != 1:
            raise records.RecordError(f"{path}: {len(named)} of {len(there)} runs are called {run}")
        return named
    if number:
        places = np.random.default_rng(seed).permutation(len(there))[:number]
        return [there[place] for place in places]
    return there


def found(path: Path | str) -> list[dict]:
    """The runs of a folder, of a published file, or the one of a `record.json`."""
    path = Path(path)
    return [records.read(path)] if path.suffix == ".json" else records.collect(path)


def again(record: Mapping[str, Any], roots: Mapping[str, str]) -> dict[str, float]:
    """The metrics of the same call, made now. Raises RecordError for an entry that is no more."""
    entry = records.entry_of(record["entry"])
    takes = signature(entry).parameters
    with tempfile.TemporaryDirectory() as folder:
        places = {"roots": dict(roots), "stages": folder, "train_missing": True}
        given = record["arguments"] | (places if "places" in takes else {})
        return dict(entry(**given)["metrics"])


def compared(
    record: Mapping[str, Any], metrics: Mapping[str, float], tolerance: float = TOLERANCE
) -> pd.DataFrame:
    """Metric by metric: recorded, found now, whether they agree. A metric on one side does not."""
    rows = {}
    for name in sorted({*record["metrics"], *metrics}):
        before, now = record["metrics"].get(name, np.nan), metrics.get(name, np.nan)
        allowed = tolerance * max(1.0, abs(before))
        rows[name] = {"recorded": before, "now": now, "agrees": bool(abs(now - before) <= allowed)}
    return pd.DataFrame.from_dict(rows, orient="index")


def report(
    chosen: Sequence[Mapping[str, Any]], roots: Mapping[str, str], tolerance: float = TOLERANCE
) -> bool:
    """Runs records again one by one, printing what is found; whether all metrics agree."""
    agree = True
    for record in chosen:
        git = record["made_by"]["git"]
        current = source.fingerprint(record["entry"].partition(":")[0])
        code = "this code" if current == record.get("code") else f"other code ({git['commit']})"
        print(f"{record['fingerprint']}  {record['kind']}, made by {code}", flush=True)
        table = compared(record, again(record, roots), tolerance)
        print(table.to_string(float_format="{:.6g}".format))
        fine = bool(table["agrees"].all())
        print(f"{'agrees' if fine else 'DIFFERS'} within {tolerance:g}\n", flush=True)
        agree &= fine
    return agree
