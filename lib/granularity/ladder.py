"""Runs of the ImageNet arm side by side, the ladder of label levels: studies, and their figures.

Arms are called as `hardness.arm_of` calls them: `baseline`, `leaf`, `level 4`, `random`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from granularity import analysis, figures, hardness, records, wordnet

WORLDS = {
    "toy": "Toy images",
    "tiny-imagenet-200": "Tiny-ImageNet",
    "imagenet": "ImageNet-21k → 1k",
}
WORDS = {"leaf": "leaf labels", "random": "random ids"}  # arms whose name in a table is another
FEW, MANY = 10, 14  # classes that gain least and most, where not all can be drawn


@dataclass(frozen=True)
class Study:
    """Runs that share sets and recipes, as a chapter shows them.

    `runs` have the columns `arm` and `accuracy` (in per cent), `arrays` are by arm and seed,
    `gains` as `hardness.table` makes them, `levels` from leaf labels (0) to the coarsest.
    """

    title: str
    toy: bool
    runs: pd.DataFrame
    arrays: hardness.Runs
    gains: pd.DataFrame
    levels: list[int]

    @property
    def coarsest(self) -> str:
        """The arm with the coarsest labels."""
        return hardness.arm_of("level", self.levels[-1])

    @property
    def rungs(self) -> list[str]:
        """The arms with labels of a level, from leaf labels to the coarsest."""
        return [hardness.arm_of("level", level) for level in self.levels]

    def of(self, arm: str, column: str = "accuracy") -> tuple[float, float, float]:
        """Mean over an arm's runs and its 95% interval; nan where there is no such run."""
        return analysis.interval(self.runs[column][self.runs["arm"] == arm])

    def said(self, arm: str, column: str = "accuracy", digits: int = 1) -> str:
        """The same as text: mean ± half the interval."""
        mean, low, _ = self.of(arm, column)
        half = f" ±\N{NO-BREAK SPACE}{mean - low:.{digits}f}" if low == low else ""
        return f"{mean:.{digits}f}{half}"


def study(path: Path | str, whose: str) -> Study:
    """The comparison in a folder of runs or a published file: the largest choice of sets.

    Raises Unfit where there is no finetuned run of this arm.
    """
    runs = hardness.source_runs(path)
    cell = hardness.largest_cell(runs)
    return Study(
        title=f"{WORLDS[cell['world']]}, {whose}",
        toy=cell["world"] == "toy",
        runs=runs.assign(accuracy=100 * (1 - runs["error"])),
        arrays=hardness.by_arm(runs, records.arrays(path)),
        gains=hardness.table(path, **cell),
        levels=sorted(runs["level"][runs["labels"] == "level"].unique().tolist()),
    )


def by_choice(
    path: Path | str, choice: str, metric: str = "error"
) -> dict[str, dict[int | str, pd.Series]]:
    """A metric by seed at each value of one choice of sets, arm → value → values by seed.

    `choice` is the column of the choice, as `target_images` (of a class) or `overlap`. Of arms that
    have several of its values, and at values that all of these arms have: leaf labels first, the
    baseline last.
    """
    runs = hardness.source_runs(path, free=choice)
    if runs.empty:
        return {}
    found: dict[str, dict[int | str, pd.Series]] = {}
    for (arm, value), own in runs.groupby(["arm", runs[choice].convert_dtypes()]):
        found.setdefault(arm, {})[analysis.plain(value)] = analysis.by_seed(own, metric, arm)
    found = {arm: by_value for arm, by_value in found.items() if len(by_value) > 1}
    shared = sorted(set.intersection(*map(set, found.values()))) if found else []
    order = sorted(found, key=lambda arm: (arm == "baseline", arm != "leaf", arm))
    return {arm: {value: found[arm][value] for value in shared} for arm in order if shared}


def rates(path: Path | str) -> pd.DataFrame:
    """Mean error on held-out images by finetuning rate (rows) and arm (columns).

    Of those arms' runs in a file of choices that were pretrained on a source; empty without any.
    """
    runs = records.table(path)
    runs = runs[(runs["kind"] == "imagenet.finetune") & (runs["labels"] != "target")]
    if runs.empty:
        return pd.DataFrame()
    found = runs.assign(
        arm=hardness.arms(runs),
        rate=[recipe["rate"] for recipe in runs["finetuning"]],
    )
    return found.pivot_table(index="rate", columns="arm", values="error")


# ------------------------------------------------------------------------------------- figures


def colour_of(study: Study, arm: str) -> str | tuple[float, ...]:
    """Blue for leaf labels, vermilion for the coarsest level, by way of purple between."""
    named = {"baseline": "baseline", "random": "random", "leaf": "fine"}
    if arm in named:
        return figures.COLOURS[named[arm]]
    share = study.rungs.index(arm) / max(1, len(study.levels) - 1)
    stops = np.array([to_rgb(figures.COLOURS[name]) for name in ("fine", "hard", "coarse")])
    return tuple(np.interp(share, [0, 0.5, 1], channel) for channel in stops.T)


def draw_accuracy(axis: Axes, shown: Study) -> None:
    """Accuracy against the number of classes: every seed, means with intervals, the baseline."""
    table = shown.runs
    where = [table["classes"][table["arm"] == arm].iloc[0] for arm in shown.rungs]
    axis.plot(where, [shown.of(arm)[0] for arm in shown.rungs], color="#999999", lw=1.2, zorder=1)
    for arm, x in [*zip(shown.rungs, where, strict=True), ("random", where[0])]:
        values = table["accuracy"][table["arm"] == arm]
        if values.empty:
            continue
        mean, low, high = analysis.interval(values)
        shade = colour_of(shown, arm)
        axis.plot([x] * len(values), values, ".", color=shade, alpha=0.35, ms=6)
        bars = [[mean - low], [high - mean]]
        axis.errorbar(x, mean, bars, color=shade, marker="o", ms=6, capsize=4)
        text = {"random": "random ids"}.get(arm, arm.removeprefix("level "))
        side = {"xytext": (-6, 5), "ha": "right"}
        if arm == "leaf":  # level 1 may be close to its left
            side = {"xytext": (7, 0), "ha": "left", "va": "center"}
        axis.annotate(text, (x, mean), textcoords="offset points", color=shade, **side)
    mean, low, high = shown.of("baseline")
    axis.axhline(mean, color=figures.COLOURS["baseline"], ls="--", lw=1.2)
    if low == low:  # one seed has no interval
        axis.axhspan(low, high, color=figures.COLOURS["baseline"], alpha=0.12, lw=0)
    end = axis.get_yaxis_transform()
    axis.text(0.99, mean, "baseline", transform=end, color="#666666", va="bottom", ha="right")
    ticks: list[int] = []  # as many as have room, the finest among them
    for count in sorted(where, reverse=True):
        if not ticks or count < ticks[-1] / 1.6:
            ticks.append(count)
    _classes(axis, ticks, shown.title)
    axis.set_xlim(where[-1] / 2.2, where[0] * 2.2)
    figures.ground(axis, shown.toy)


def draw_table1(axis: Axes, paper: pd.DataFrame) -> None:
    """The paper's Table 1, with columns `level` (nan: the baseline), `classes` and `accuracy`."""
    levels = paper.dropna(subset=["level"])
    axis.plot(levels["classes"], levels["accuracy"], "o-", color=figures.COLOURS["paper"])
    for row in levels.itertuples():
        text = "leaf" if row.level == 0 else f"{row.level:.0f}"
        place = (row.classes, row.accuracy)
        axis.annotate(text, place, (-3, 5), textcoords="offset points", ha="right")
    alone = paper["accuracy"][paper["level"].isna()].iloc[0]
    axis.axhline(alone, color=figures.COLOURS["baseline"], ls="--", lw=1.2)
    axis.text(levels["classes"].max(), alone, "baseline", color="#666666", va="bottom", ha="right")
    _classes(axis, [38, 519, 21843], "The paper: ImageNet")


def _classes(axis: Axes, ticks: list[int], title: str) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [f"{count:,}" for count in ticks])
    axis.minorticks_off()
    axis.set(xlabel="classes in pretraining", title=title)


def draw_target_sizes(axis: Axes, sizes: Mapping[str, Mapping[int, pd.Series]], of: Study) -> None:
    """Error against the size of the target, a line for each arm of `by_choice`."""
    ends, last = [], 0
    for arm, by_size in sizes.items():
        shade, x = colour_of(of, arm), list(by_size)
        for images, values in by_size.items():
            axis.plot([images] * len(values), 100 * values, ".", color=shade, alpha=0.45)
        y = [100 * values.mean() for values in by_size.values()]
        axis.plot(x, y, "--" if arm == "baseline" else "-", color=shade, marker="o", ms=5)
        ends.append((y[-1], arm, shade))
        last = max(last, x[-1])
    heights = figures.apart([end[0] for end in ends], 0.055 * np.diff(axis.get_ylim())[0])
    for (_, arm, shade), y in zip(ends, heights, strict=True):
        axis.text(1.06 * last, y, arm, color=shade, va="center", fontsize=11)
    ticks = sorted({images for by_size in sizes.values() for images in by_size})
    axis.set_xscale("log", base=2)
    axis.set_xlim(ticks[0] / 1.2, ticks[-1] * 1.9)
    axis.set_xticks(ticks, [f"{images:,}" for images in ticks])
    axis.minorticks_off()
    axis.set(xlabel="target images of a class", ylabel="error after finetuning, %")


def draw_losses(axis: Axes, runs: pd.DataFrame, of: Study, title: str) -> None:
    """Training loss against steps, each run thin and each arm's mean, with its name at its end."""
    ends = []
    for arm, group in runs.groupby("arm"):
        shade, curves = colour_of(of, arm), group["curves"].tolist()
        for curve in curves:
            axis.plot(curve["step"], curve["loss"], color=shade, lw=0.8, alpha=0.35)
        mean = np.mean([curve["loss"] for curve in curves], axis=0)
        axis.plot(curves[0]["step"], mean, color=shade, marker="o", ms=4)
        text = {"random": "random ids"}.get(arm, arm)
        ends.append((curves[0]["step"][-1], mean[-1], text, shade))
    heights = figures.apart([end[1] for end in ends], 0.065 * np.diff(axis.get_ylim())[0])
    for (x, _, text, shade), y in zip(ends, heights, strict=True):
        axis.text(1.04 * x, y, text, color=shade, va="center", fontsize=11)
    axis.set(xlabel="step", title=f"{of.title.partition(',')[0]}: {title}")
    axis.set_xlim(0, axis.get_xlim()[1] * 1.36)
    figures.ground(axis, of.toy)


def chance_band(null: pd.DataFrame) -> float:
    """How far the mean gain of a class lies from zero by chance alone, in 95% of classes.

    `null` is a table of `hardness.class_gains` of one arm against itself, classes × seeds.
    """
    values = null.to_numpy()
    return float(1.96 * np.sqrt(np.nanmean(values**2) / values.shape[1]))


def few_classes(gains: pd.DataFrame) -> list[str]:
    """The classes of a table of gains, by rising mean: all, or those that gain least and most."""
    order = gains.mean(axis=1).sort_values().index.tolist()
    return order if len(order) <= FEW + MANY else order[:FEW] + order[-MANY:]


def draw_classes(axis: Axes, gains: pd.DataFrame, band: float) -> None:
    """Gains by class (classes × seeds, in points): every seed, the mean, and the band of chance."""
    axis.axvspan(-band, band, color=figures.COLOURS["baseline"], alpha=0.15, lw=0)
    axis.axvline(0, color=figures.COLOURS["baseline"], lw=1)
    for row, (_, values) in enumerate(gains.iterrows()):
        axis.plot(values, [row] * len(values), ".", color=figures.COLOURS["fine"], alpha=0.35)
        axis.plot(values.mean(), row, "o", color=figures.COLOURS["fine"], ms=6)
    axis.set_yticks(range(len(gains)), [wordnet.name(synset) for synset in gains.index])
    axis.set(xlabel="points of accuracy gained by leaf labels")
    axis.set_ylim(-0.7, len(gains) - 0.3)
    axis.grid(axis="x")
