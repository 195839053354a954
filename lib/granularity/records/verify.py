"""Runs a recorded run again, from its record alone, and says whether the numbers are the same.

On the machine that made it a run gives the same numbers; on others rounding differs, and training
carries that on, in photographs' runs beyond any tolerance that would catch a fault. So a metric
agrees where it differs by no more than a tolerance, what was found is shown beside what was
recorded, and both machines are named where they are not the same.
"""

import tempfile
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from granularity.inputs import renamed
from granularity.records import entries, machine, record, tables
from granularity.records.record import RecordError

TOLERANCE = 0.001  # of a metric's size, or of 1: a tenth of the smallest effect of a rule


def chosen(path: Path | str, run: str = "", number: int = 0, seed: int = 0) -> list[dict]:
    """The records to run again: the one whose fingerprint starts with `run`, or `number` at random.

    All of them where neither is given. Raises RecordError where none, or more than one, is called
    `run`.
    """
    there = [record for record in found(path) if "entry" in record]
    if run:
        named = [record for record in there if record["fingerprint"].startswith(run)]
        if len(named) != 1:
            raise RecordError(f"{path}: {len(named)} of {len(there)} runs are called {run}")
        return named
    if number:
        places = np.random.default_rng(seed).permutation(len(there))[:number]
        return [there[place] for place in places]
    return there


def found(path: Path | str) -> list[dict]:
    """The runs of a folder, of a published file, or the one of a `record.json`."""
    path = Path(path)
    return [record.read(path)] if path.suffix == ".json" else tables.collect(path)


def again(
    record: Mapping[str, Any], roots: Mapping[str, str], device: str | None = None
) -> dict[str, float]:
    """The metrics of the same call, made now, on the record's device where no other is named.

    Raises RecordError for an entry, or an argument, that is no more.
    """
    entry = entries.entry_of(record["entry"])
    takes = signature(entry).parameters
    wanted = {"device": device or record.get("device")} if device or record.get("device") else {}
    given = renamed.current(dict(record["arguments"]) | record.get("recipes", {}))
    with tempfile.TemporaryDirectory() as folder:
        if "places" in takes:
            given |= {"roots": dict(roots), "stages": folder, "train_missing": True, **wanted}
        elif "device" in takes:
            given |= wanted
        try:
            return dict(entry(**given)["metrics"])
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise RecordError(f"{record['entry']} has changed since: {error}") from None


def compared(
    record: Mapping[str, Any], metrics: Mapping[str, float], tolerance: float = TOLERANCE
) -> pd.DataFrame:
    """Metric by metric: recorded, found now, the difference, whether they agree.

    A metric that stands on one side only does not agree.
    """
    rows = {}
    for name in sorted({*record["metrics"], *metrics}):
        before, now = record["metrics"].get(name, np.nan), metrics.get(name, np.nan)
        allowed = tolerance * max(1.0, abs(before))
        apart = abs(now - before)
        agrees = bool(apart <= allowed)
        rows[name] = {"recorded": before, "now": now, "difference": apart, "agrees": agrees}
    return pd.DataFrame.from_dict(rows, orient="index")


def report(
    chosen: Sequence[Mapping[str, Any]],
    roots: Mapping[str, str],
    tolerance: float = TOLERANCE,
    device: str | None = None,
) -> bool:
    """Runs records again one by one, printing what is found; whether all metrics agree."""
    agree = True
    for made in chosen:
        code = tables.standing(made)
        commit = made["made_by"]["git"]["commit"]
        print(f"{made['fingerprint']}  {made['kind']}, made by {code} ({commit})", flush=True)
        table = compared(made, again(made, roots, device), tolerance)
        print(table.to_string(float_format="{:.6g}".format))
        print(said(table, tolerance))
        if not (table["difference"] == 0).all() and (
            apart := machines_apart(made["made_by"]["device"])
        ):
            print(apart)
        print(flush=True)
        agree &= bool(table["agrees"].all())
    return agree


def machines_apart(recorded: Mapping[str, Any]) -> str:
    """A line that names both machines where this one is not known to be like that of a record."""
    here = machine.device()
    known = {"instructions": "instructions that it does not say"} | dict(recorded)
    if all(here.get(name) == known.get(name) for name in ("processor", "instructions", "gpu")):
        return ""
    there, this = machine.in_words(known), machine.in_words(here)
    return f"made on: {there}; made again on: {this}. Rounding may differ between them."


def said(table: pd.DataFrame, tolerance: float) -> str:
    """The verdict in a line: whether it is bit-equal, else the largest difference."""
    apart = table["difference"]
    if apart.isna().any():
        return f"DIFFERS: only one side has {', '.join(apart[apart.isna()].index)}"
    if not table["agrees"].all():
        return f"DIFFERS within {tolerance:g}: by up to {apart.max():.3g}, in {apart.idxmax()}"
    if (apart == 0).all():
        return f"agrees within {tolerance:g}: bit-equal"
    largest = f"{apart.max():.3g}, in {apart.idxmax()}"
    return f"agrees within {tolerance:g}: the largest difference is {largest}"
