"""What several of the theory's chapters do with their runs: choose them, and say them."""

from pathlib import Path

import numpy as np
import pandas as pd

from granularity import theory
from granularity.analysis import selection, statistics
from granularity.records import tables

# Studies take batches of this size, half the default: most of their cost is their batches.
BATCH = 256
# What is measured beside, and how often: runs that differ in it alone are the same training.
BESIDE = ("logged", "test_samples", "finetune_steps", "top_loss", "device")

# The sweep over d that two claims are judged by: k = ⌊d^0.4⌋, neurons in proportion to d, and a
# noise of the same length in every dimension (O).
SWEEP = {
    d: {
        "d": d,
        "k": int(d**0.4),
        "width": d // 4,
        "noise": 0.05 * (128 / d) ** 0.5,
        "strong_noise": 0.5 * (128 / d) ** 0.5,
    }
    for d in (128, 256, 512, 1024)
}


def defaults() -> dict[str, object]:
    """All parameters of a run at their defaults, without the seed and what is measured beside."""
    found = theory.grid()[0]
    return {name: value for name, value in found.items() if name not in (*BESIDE, "seed")}


def read(root: Path, *places: str) -> pd.DataFrame:
    """The runs of published files and of folders of this build, each training once.

    A parameter that a record does not have did not exist then: it has its default. Where two
    records are of the same run the first place counts; folders may be missing.

    Raises FileNotFoundError where no place has a run.
    """
    parts = []
    for place in places:
        path = root / place
        if path.suffix == ".jsonl" or tables.any_ran(path):
            parts.append(tables.table(path).assign(place=place))
    if not parts:
        raise FileNotFoundError(f"no run in or below {', '.join(places)}: nothing ran yet")
    whole = pd.concat(parts, ignore_index=True)
    known = theory.grid()[0]
    for name, value in known.items():
        column = whole[name] if name in whole else pd.Series([value] * len(whole))
        whole[name] = column.where(column.notna(), value).astype(type(value))
    return whole.drop_duplicates([*known], ignore_index=True)


def study(table: pd.DataFrame, *varied: str, **fixed: object) -> pd.DataFrame:
    """The runs at the studies' base, apart from what is varied and what is fixed otherwise.

    One row for each seed and each value of what is varied: of runs that differ in what is measured
    beside only, the one that measured most. Labels that are not named vary too.
    """
    wanted = defaults() | {"batch_size": BATCH} | fixed
    free = {*varied, "labels", "classes"} - set(fixed)
    found = selection.select(table, {n: v for n, v in wanted.items() if n not in free})
    found = found.sort_values(["finetune_steps", "logged"], ascending=False, kind="stable")
    found = found.drop_duplicates(["labels", "classes", *varied, "seed"])
    return found.sort_values([*varied, "labels", "seed"], ignore_index=True)


def dimension(table: pd.DataFrame, row: str) -> pd.DataFrame:
    """One row of the sweep over d: "coarse", "fine", or "wide".

    The last is coarse training with as many neurons as fine training has in all, k times the width.
    How long each trains is left open, as it is by the rules.
    """
    labels = "fine" if row == "fine" else "coarse"
    parts = [
        selection.select(
            table,
            {name: value for name, value in defaults().items() if name != "steps"}
            | setting
            | {
                "labels": labels,
                "width": setting["width"] * (setting["k"] if row == "wide" else 1),
            },
        )
        for setting in SWEEP.values()
    ]
    return pd.concat(parts, ignore_index=True)


def arm(table: pd.DataFrame, metric: str, **where: object) -> np.ndarray:
    """The values of a metric in the runs that have these parameters, one a seed."""
    return selection.by_seed(selection.select(table, where), metric).to_numpy()


def mean(table: pd.DataFrame, metric: str, **where: object) -> float:
    """The mean over seeds of a metric in the runs that have these parameters."""
    return statistics.interval(arm(table, metric, **where))[0]


def traces(table: pd.DataFrame, curve: str, **where: object) -> np.ndarray:
    """A curve of every run that has these parameters, (seeds, logged steps)."""
    return np.array([curves[curve] for curves in selection.select(table, where)["curves"]])


def growth(table: pd.DataFrame, until: int = 1, **where: object) -> np.ndarray:
    """How much more the common response has grown than the fine one, a ratio for each seed.

    Of the runs that have these parameters; `until` is the place of a logged step.
    """
    common, fine = (traces(table, f"response_{part}", **where) for part in ("common", "fine"))
    return (common[:, until] - common[:, 0]) / (fine[:, until] - fine[:, 0])


def expected_growth(labels: str, k: int) -> float:
    """The same ratio in the first steps, by counting (O): each feature's samples and their weight.

    Raises KeyError for labels that are neither "coarse" nor "fine".
    """
    return {"coarse": k, "fine": 0.5 / (1 - 1 / (2 * k))}[labels]


def met(table: pd.DataFrame, limit: float = 0.01) -> int | None:
    """The first logged step by which the training loss of every run is `limit` or less, or None."""
    steps = [selection.first_below(curves, "training_loss", limit) for curves in table["curves"]]
    return None if None in steps else max(steps, default=None)


def whole(table: pd.DataFrame, across: str, upwards: str) -> pd.DataFrame:
    """The runs of the largest full rectangle of cells: values that were run with all others.

    Rows and columns with the fewest cells go first, until none is missing.
    """
    while True:
        cells = table.drop_duplicates([across, upwards])
        wide, high = cells[across].nunique(), cells[upwards].nunique()
        if len(cells) == wide * high:
            return table
        counts = [
            (size / most, name, value)
            for name, most in ((across, high), (upwards, wide))
            for value, size in cells[name].value_counts().items()
        ]
        _, name, value = min(counts)
        table = table[table[name] != value]


def made_of(table: pd.DataFrame, here: str) -> str:
    """A sentence on whose runs these are; `here` is the place of this build's own."""
    own = int((table["place"] == here).sum())
    varied = [name for name in defaults() if name in table and table[name].nunique() > 1]
    seeds = table.groupby(varied or (lambda row: 0))["seed"].nunique()
    counts = " to ".join(map(str, sorted({seeds.min(), seeds.max()})))
    text = (
        f"{len(table)} runs, {table['seconds'].sum() / 60:.0f} core-minutes in total, "
        f"{counts} seeds per setting; {len(table) - own} of them archived"
    )
    return f"{text}, {own} made by this build." if own else f"{text}."
