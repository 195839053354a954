"""The figures that answer the book's question: paper beside ours, the target's size, the
distractors, which Home and the results show; and the paper's own, which its page shows."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from granularity.analysis import selection
from granularity.analysis.level_runs import Study
from granularity.figures import house_style, levels, simulations

PARTS = simulations.PARTS | {"hard_error_no_fine": "hard, fine feature\nremoved too"}


def paper_gains(table: pd.DataFrame) -> dict[int, float]:
    """Gain over the baseline in points by level, of the paper's Table 1 (baseline: no level)."""
    alone = _baseline(table)
    rows = table.dropna(subset=["level"])
    return {int(row.level): row.accuracy - alone for row in rows.itertuples()}


def _baseline(table: pd.DataFrame) -> float:
    return table["accuracy"][table["level"].isna()].iloc[0]


def of_paper(axis: Axes, table: pd.DataFrame) -> None:
    """The paper's Table 1: accuracy by level, coarse to fine, and the baseline's.

    `table` as `paper_beside_ours` takes it, with the column `classes`.
    """
    rows = table.dropna(subset=["level"]).sort_values("level", ascending=False)
    alone = _baseline(table)
    black, grey = (house_style.COLOURS[name] for name in ("paper", "baseline"))
    places = range(len(rows))
    axis.plot(places, rows["accuracy"], color=black, marker="o", mfc="white", ms=7, lw=1)
    for place, accuracy in zip(places, rows["accuracy"], strict=True):
        below = {"xytext": (5, -18), "textcoords": "offset points", "ha": "center"}
        axis.annotate(f"{accuracy:.2f}", (place, accuracy), fontsize=11, **below)
    axis.axhline(alone, color=grey, lw=1.2, ls="--")
    axis.text(-0.3, alone + 0.15, f"baseline, {alone:.2f}", color="#555555", va="bottom")
    names = ["leaf" if level == 0 else f"{level:.0f}" for level in rows["level"]]
    under = [f"{name}\n{count:,.0f}" for name, count in zip(names, rows["classes"], strict=True)]
    axis.set_xticks(places, under)
    axis.set(xlim=(-0.4, len(rows) - 0.6), ylim=(71, 84), ylabel="accuracy on ImageNet-1k, %")
    axis.set_xlabel("label level in pretraining, and its number of classes")


def our_gains(study: Study) -> dict[int, pd.Series]:
    """The same of our runs, by seed: accuracy less the baseline's of the same seed, in points."""
    found = {}
    for level, arm in zip(study.levels, study.rungs, strict=True):
        pair = ({"arm": arm}, {"arm": "baseline"})
        found[level] = selection.paired_difference(study.runs, "accuracy", *pair).dropna()
    return found


def paper_beside_ours(axis: Axes, study: Study, table: pd.DataFrame) -> None:
    """Gain over the baseline by level, coarse to fine: the paper's without spread, ours with it.

    `table` is the paper's Table 1 with the columns `level` (nan: the baseline) and `accuracy`.
    """
    theirs, ours = paper_gains(table), our_gains(study)
    order = sorted({*theirs, *ours}, reverse=True)
    place = {level: at for at, level in enumerate(order)}
    black, blue = (house_style.COLOURS[name] for name in ("paper", "fine"))
    axis.axhline(0, color=house_style.COLOURS["baseline"], lw=1.2, ls="--")
    known = sorted(theirs, reverse=True)
    hollow = {"color": black, "marker": "o", "mfc": "white", "ms": 7, "lw": 1}
    axis.plot([place[level] for level in known], [theirs[level] for level in known], **hollow)
    heights = [
        simulations.marks(axis, place[level], ours[level], blue)
        for level in sorted(ours, reverse=True)
    ]
    axis.plot([place[level] for level in sorted(ours, reverse=True)], heights, color=blue, lw=1.4)
    seeds = max(map(len, ours.values()))
    beside, at = {"xytext": (10, -18), "textcoords": "offset points"}, 4
    text = f"our runs, {seeds} seeds"
    axis.annotate(text, (place[at], ours[at].mean()), color=blue, **beside)
    axis.annotate("the paper, one run", (place[at], theirs[at]), color=black, **beside)
    end = axis.get_yaxis_transform()
    axis.text(0.99, 0, "baseline", transform=end, color="#555555", va="bottom", ha="right")
    axis.set_xticks(range(len(order)), ["leaf" if level == 0 else str(level) for level in order])
    axis.set(xlabel="label level in pretraining, coarse to fine")
    axis.set_ylabel("gain over the baseline, points")


def crossover(axis: Axes, sizes: Mapping[str, Mapping[int, pd.Series]], study: Study) -> None:
    """Gain over the baseline in points against the target's size, a line for each level.

    `sizes` as `level_runs.by_choice` gives them, errors as shares.
    """
    alone = sizes["baseline"]
    counts = list(alone)
    ends = []
    for arm, by_size in sizes.items():
        if arm == "baseline":
            continue
        shade = levels.colour_of(study, arm)
        shown = [100 * (alone[images] - by_size[images]).dropna() for images in counts]
        means = [simulations.marks(axis, at, values, shade) for at, values in enumerate(shown)]
        axis.plot(range(len(counts)), means, color=shade, lw=1.4)
        ends.append((means[-1], {"leaf": "leaf labels"}.get(arm, arm), shade))
    axis.axhline(0, color=house_style.COLOURS["baseline"], lw=1.2, ls="--")
    gap = 0.06 * (axis.get_ylim()[1] - axis.get_ylim()[0])
    heights = house_style.apart([height for height, *_ in ends], gap)
    for (_, text, shade), height in zip(ends, heights, strict=True):
        axis.text(len(counts) - 0.85, height, text, color=shade, va="center")
    end = axis.get_yaxis_transform()
    axis.text(0.99, 0, "baseline", transform=end, color="#555555", va="bottom", ha="right")
    axis.set_xticks(range(len(counts)), [str(images) for images in counts])
    axis.set_xlim(-0.3, len(counts) - 0.1)
    axis.set(xlabel="target images per class", ylabel="gain over the baseline, points")


def distractors(axis: Axes, runs: pd.DataFrame) -> None:
    """Error in per cent on samples that are hard in one respect, and in all, by labels.

    `runs` are the theory's at one number of subclasses, with coarse and with fine labels.
    """
    for labels, shift in (("coarse", -0.13), ("fine", 0.13)):
        of_labels = selection.select(runs, {"labels": labels})
        for row, metric in enumerate(PARTS):
            values = 100 * selection.by_seed(of_labels, metric)
            shade = house_style.COLOURS[labels]
            simulations.marks(axis, row + shift, values, shade, across=False)
    chance = {"color": house_style.COLOURS["baseline"], "lw": 1.2, "ls": "--"}
    axis.axvline(50, **chance)
    axis.text(50, 1.5, "chance ", color="#555555", ha="right", va="center")
    first = next(iter(PARTS))
    beside = {"textcoords": "offset points", "va": "center"}
    for labels, shift, away in (("coarse", -0.13, 24), ("fine", 0.13, 10)):
        found = 100 * selection.by_seed(selection.select(runs, {"labels": labels}), first)
        place, shade = (found.mean(), shift), house_style.COLOURS[labels]
        axis.annotate(labels, place, (away, 0), color=shade, **beside)
    axis.set_yticks(range(len(PARTS)), list(PARTS.values()))
    axis.set(xlim=(-2, 65), ylim=(len(PARTS) - 0.5, -0.7), xlabel="error on the superclass, %")
    axis.grid(visible=False, axis="y")
    axis.grid(axis="x")
