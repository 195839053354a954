"""Figures of the ladder of label levels: the ImageNet experiment."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from granularity.analysis import statistics
from granularity.analysis.level_runs import Study
from granularity.figures import house_style
from granularity.hierarchies import wordnet


def colour_of(study: Study, arm: str) -> str | tuple[float, ...]:
    """Blue for leaf labels, vermilion for the coarsest level, by way of purple between."""
    named = {"baseline": "baseline", "random": "random", "leaf": "fine"}
    if arm in named:
        return house_style.COLOURS[named[arm]]
    share = study.rungs.index(arm) / max(1, len(study.levels) - 1)
    stops = np.array([to_rgb(house_style.COLOURS[name]) for name in ("fine", "hard", "coarse")])
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
        mean, low, high = statistics.interval(values)
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
    axis.axhline(mean, color=house_style.COLOURS["baseline"], ls="--", lw=1.2)
    if low == low:  # one seed has no interval
        axis.axhspan(low, high, color=house_style.COLOURS["baseline"], alpha=0.12, lw=0)
    end = axis.get_yaxis_transform()
    axis.text(0.99, mean, "baseline", transform=end, color="#666666", va="bottom", ha="right")
    ticks: list[int] = []  # as many as have room, the finest among them
    for count in sorted(where, reverse=True):
        if not ticks or count < ticks[-1] / 1.6:
            ticks.append(count)
    _classes(axis, ticks, shown.title)
    axis.set_xlim(where[-1] / 2.2, where[0] * 2.2)
    house_style.ground(axis, shown.toy)


def draw_table1(axis: Axes, paper: pd.DataFrame) -> None:
    """The paper's Table 1, with columns `level` (nan: the baseline), `classes` and `accuracy`."""
    levels = paper.dropna(subset=["level"])
    axis.plot(levels["classes"], levels["accuracy"], "o-", color=house_style.COLOURS["paper"])
    for row in levels.itertuples():
        text = "leaf" if row.level == 0 else f"{row.level:.0f}"
        place = (row.classes, row.accuracy)
        axis.annotate(text, place, (-3, 5), textcoords="offset points", ha="right")
    alone = paper["accuracy"][paper["level"].isna()].iloc[0]
    axis.axhline(alone, color=house_style.COLOURS["baseline"], ls="--", lw=1.2)
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
    heights = house_style.apart([end[0] for end in ends], 0.055 * np.diff(axis.get_ylim())[0])
    for (_, arm, shade), y in zip(ends, heights, strict=True):
        axis.text(1.06 * last, y, arm, color=shade, va="center")
    ticks = sorted({images for by_size in sizes.values() for images in by_size})
    axis.set_xscale("log", base=2)
    axis.set_xlim(ticks[0] / 1.2, ticks[-1] * 1.9)
    axis.set_xticks(ticks, [f"{images:,}" for images in ticks])
    axis.minorticks_off()
    axis.set(xlabel="target images per class", ylabel="error after finetuning, %")


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
    heights = house_style.apart([end[1] for end in ends], 0.065 * np.diff(axis.get_ylim())[0])
    for (x, _, text, shade), y in zip(ends, heights, strict=True):
        axis.text(1.04 * x, y, text, color=shade, va="center")
    axis.set(xlabel="step", title=f"{of.title.partition(',')[0]}: {title}")
    axis.set_xlim(0, axis.get_xlim()[1] * 1.36)
    house_style.ground(axis, of.toy)


def draw_classes(axis: Axes, gains: pd.DataFrame, band: float) -> None:
    """Gains by class (classes × seeds, in points): every seed, the mean, and the band of chance."""
    axis.axvspan(-band, band, color=house_style.COLOURS["baseline"], alpha=0.15, lw=0)
    axis.axvline(0, color=house_style.COLOURS["baseline"], lw=1)
    for row, (_, values) in enumerate(gains.iterrows()):
        axis.plot(values, [row] * len(values), ".", color=house_style.COLOURS["fine"], alpha=0.35)
        axis.plot(values.mean(), row, "o", color=house_style.COLOURS["fine"], ms=6)
    axis.set_yticks(range(len(gains)), [wordnet.name(synset) for synset in gains.index])
    axis.set(xlabel="points of accuracy gained by leaf labels")
    axis.set_ylim(-0.7, len(gains) - 0.3)
    axis.grid(axis="x")
