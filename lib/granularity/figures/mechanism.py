"""The figure and the table of claim C9: what labels gain, by how hard the images are (ours)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from granularity.analysis import selection, spoken, statistics, transfer_runs
from granularity.analysis.hardness import FIFTHS, JUDGES, REFERENCE
from granularity.figures import house_style

# What is compared with the baseline: its words, its colour, and its place beside the others.
COMPARED = {
    "leaf": ("leaf labels", "fine", -0.12),
    "random": ("random ids (placebo)", "random", 0.12),
    REFERENCE: ("baseline (null)", "baseline", 0.0),
}


def profile(axis: Axes, gains: pd.DataFrame, judge: str) -> None:
    """Gain over the baseline in each fifth of the images: every seed, the mean, its 95% interval.

    `gains` is a table of `hardness.table`; arms that it does not hold under this judge are left
    out.
    """
    for arm, (name, meaning, shift) in COMPARED.items():
        where = {"compared": arm, "reference": REFERENCE, "judge": judge}
        table = selection.select(gains, where)
        if table.empty:
            continue
        x = np.arange(1, FIFTHS + 1) + shift
        values = 100 * table[[f"gain_{fifth}" for fifth in range(1, FIFTHS + 1)]].to_numpy()
        mean, low, high = np.array([statistics.interval(column) for column in values.T]).T
        shade = house_style.COLOURS[meaning]
        axis.plot(x, values.T, ".", color=shade, alpha=0.3, ms=5)
        bars = [mean - low, high - mean]
        axis.errorbar(x, mean, bars, color=shade, marker="o", ms=5, capsize=3, label=name)
    axis.axhline(0, color=house_style.COLOURS["baseline"], lw=1)
    _fifths(axis)


def errors(axis: Axes, gains: pd.DataFrame, judge: str) -> None:
    """The baseline's mean error in per cent in each fifth of the images, as grey columns."""
    where = {"compared": "leaf", "reference": REFERENCE, "judge": judge}
    table = selection.select(gains, where)
    means = [100 * table[f"error_{fifth}"].mean() for fifth in range(1, FIFTHS + 1)]
    axis.bar(range(1, FIFTHS + 1), means, color=house_style.COLOURS["baseline"], alpha=0.5)
    axis.set(ylim=(0, 100), xlabel="fifth of the images")
    _fifths(axis)


def _fifths(axis: Axes) -> None:
    axis.set_xticks(range(1, FIFTHS + 1), ["easiest", *range(2, FIFTHS), "hardest"])


def effects(gains: pd.DataFrame) -> list[dict]:
    """One row for each comparison and judge: the effect in points with its interval, the seeds."""
    rows = []
    for (judge, compared, reference), group in gains.groupby(
        ["judge", "compared", "reference"], sort=False
    ):
        rows.append(
            {
                "compared": COMPARED[compared][0],
                "with": reference,
                "judged by": transfer_runs.name_of(judge) if judge.startswith("rank:") else judge,
                "effect, points": spoken.points(group["extra_gain_on_hard"]),
                "seeds": len(group),
            }
        )
    return rows


def quoted(gains: pd.DataFrame) -> dict[str, float]:
    """Mean effects in points, by comparison and judge, under the names that a record has."""
    means = gains.groupby(["compared", "reference", "judge"])["extra_gain_on_hard"].mean()
    return {
        f"effect_{compared}_{reference}_by_{judge}".replace(" ", "_"): 100 * mean
        for (compared, reference, judge), mean in means.items()
    }


def reach(gains: pd.DataFrame) -> dict[str, float]:
    """Where leaf labels gain most, by the claim's judge, and what is left on the hardest fifth.

    `most` is the number of that fifth; `gain` and `error` there, `last_gain` and `last_error` in
    the hardest, are in points and per cent: what leaf labels gain, and what the baseline has wrong.
    Raises Unfit where leaf labels were not compared under that judge.
    """
    where = {"compared": "leaf", "reference": REFERENCE, "judge": " and ".join(JUDGES)}
    chosen = selection.select(gains, where)
    if chosen.empty:
        raise statistics.Unfit(f"no gains of leaf labels, judged by {where['judge']}")
    means = 100 * chosen.filter(regex="^(gain|error)_").mean()
    most = max(range(1, FIFTHS + 1), key=lambda fifth: means[f"gain_{fifth}"])
    return {
        "most": most,
        "gain": means[f"gain_{most}"],
        "error": means[f"error_{most}"],
        "last_gain": means[f"gain_{FIFTHS}"],
        "last_error": means[f"error_{FIFTHS}"],
    }
