"""Figures of Experiment B, the same images: gains of label functions over the baseline, before and
after finetuning, class by class, and over images and lengths."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from granularity.analysis import spoken, statistics, transfer_runs
from granularity.analysis.transfer_runs import BASELINE, ONE_PASS, Study
from granularity.figures import house_style


def rows_of(study: Study) -> list[str]:
    """The arms in the order of rows, kind by kind, without the baseline that they stand beside.

    None where there is no baseline.
    """
    arms = transfer_runs.ordered(study.runs) if study.of(BASELINE).size else []
    return [arm for arm in arms if arm != BASELINE]


def draw_gains(
    axis: Axes,
    study: Study,
    rows: Sequence[str],
    smallest: float,
    beside: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Gain over the baseline in points, a row for each arm: seeds, mean, 95% interval.

    At the right of a row stands the number of its classes, or what `beside` has under one heading;
    the band is the `smallest` effect of a rule, a share of the images.
    """
    classes = [f"{study.mean(arm, 'classes'):,.0f}" for arm in rows]
    ((heading, column),) = (beside or {"classes": classes}).items()
    grey, band = house_style.COLOURS["baseline"], 100 * smallest
    axis.axvspan(-band, band, color=grey, alpha=0.13, lw=0)
    axis.axvline(0, color=grey, lw=1.2, ls="--")
    for row, arm in enumerate(rows):
        look = house_style.look(transfer_runs.kind_of(arm))
        gains = 100 * study.against(BASELINE, arm).dropna()
        mean, low, high = statistics.interval(gains)
        axis.plot(gains, [row] * len(gains), ".", color=look["color"], alpha=0.4, ms=5)
        bars = [[mean - low], [high - mean]] if low == low else None
        axis.errorbar(mean, row, xerr=bars, ls="", ms=7, capsize=3, **look)
        _beside(axis, row, column[row])
    _beside(axis, -0.9, heading)
    axis.set_yticks(range(len(rows)), [transfer_runs.name_of(arm) for arm in rows])
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel="gain over the baseline, points")
    axis.grid(visible=False, axis="y")
    axis.grid(axis="x")
    house_style.ground(axis, study.toy)


def _beside(axis: Axes, row: float, text: str) -> None:
    """Writes a text at the right of a row, outside of the panel."""
    look = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 11}
    axis.text(1.03, row, text, color="#444444", **look)


def draw_stages(axis: Axes, study: Study) -> None:
    """Error in per cent before finetuning (ring) and after it (dot), the lowest at the top."""
    arms = [arm for arm in transfer_runs.ordered(study.runs) if arm != ONE_PASS]
    arms.sort(key=study.mean)
    for row, arm in enumerate(arms):
        shade = house_style.look(transfer_runs.kind_of(arm))["color"]
        before, after = (100 * study.mean(arm, name) for name in ("error_before", "error"))
        axis.plot([before, after], [row, row], color=shade, lw=1.6, alpha=0.6, zorder=1)
        axis.plot(before, row, "o", color=shade, mfc="white", ms=7)
        axis.plot(after, row, "o", color=shade, ms=7)
    axis.axvline(100 * study.mean(BASELINE), color="#666666", ls="--", lw=1, zorder=0)
    axis.set_yticks(range(len(arms)), [transfer_runs.name_of(arm) for arm in arms])
    axis.set(ylim=(len(arms) - 0.4, -0.6), xlabel="error, % (○ before, ● after finetuning)")
    axis.grid(visible=False, axis="y")
    axis.grid(axis="x")
    house_style.ground(axis, study.toy)


def draw_easy_hard(axis: Axes, study: Study) -> None:
    """Error in per cent on images drawn easy and hard, a row for each arm; dashed: the baseline.

    Small points are seeds, bars 95% intervals; the arm with the lowest error on hard images is at
    the top.
    """
    arms = sorted(transfer_runs.ordered(study.runs), key=lambda arm: -study.mean(arm, "hard_error"))
    for kind in ("easy", "hard"):
        colour = house_style.COLOURS[kind]
        for row, arm in enumerate(arms):
            values = 100 * study.of(arm, f"{kind}_error")
            mean, low, high = statistics.interval(values)
            bars = [[mean - low], [high - mean]] if low == low else None
            axis.plot(values, [row] * len(values), ".", color=colour, alpha=0.45, ms=6)
            axis.errorbar(mean, row, xerr=bars, color=colour, marker="o", ms=7, capsize=3)
        axis.axvline(100 * study.mean(BASELINE, f"{kind}_error"), color="#666666", ls="--", lw=1)
        x = 100 * study.mean(arms[-1], f"{kind}_error")
        where = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center"}
        top = axis.get_xaxis_transform()  # above the axes, where no line runs
        axis.annotate(kind, (x, 1), xycoords=top, **where, color="#444444")
    axis.set_yticks(range(len(arms)), [transfer_runs.name_of(arm) for arm in arms])
    axis.set(ylim=(-0.6, len(arms) - 0.4), xlabel="error on easy and on hard images, %")
    axis.grid(visible=False, axis="y")
    axis.grid(axis="x")
    house_style.ground(axis, study.toy)


def draw_measure(axis: Axes, study: Study, measure: str, text: str) -> None:
    """Gain over the baseline in points against a measure of the labels, a mean for each arm.

    Each kind of labels is named at its last arm.
    """
    points = {}
    for arm in rows_of(study):
        kind = transfer_runs.kind_of(arm)
        if kind == ONE_PASS:
            continue
        gain = 100 * study.against(BASELINE, arm).mean()
        look = house_style.look(kind)
        axis.plot(study.mean(arm, measure), gain, ls="", ms=8, **look)
        points.setdefault(kind, (study.mean(arm, measure), gain, look["color"]))
    axis.axhline(0, color=house_style.COLOURS["baseline"], lw=1.2, ls="--")
    low, high = axis.get_xlim()
    axis.set_xlim(low, high + 0.75 * (high - low))
    axis.set_xticks([tick for tick in axis.get_xticks() if low <= tick <= high])
    heights = house_style.apart(
        [gain for _, gain, _ in points.values()], 0.075 * np.diff(axis.get_ylim())[0]
    )
    edge = high + 0.06 * (high - low)
    for (kind, (x, gain, shade)), height in zip(points.items(), heights, strict=True):
        axis.plot([x, edge], [gain, height], color=shade, lw=0.7, alpha=0.5, zorder=0)
        axis.text(
            edge, height, f" {transfer_runs.names_of(kind)}", color=shade, va="center", fontsize=11
        )
    axis.set(xlabel=text, ylabel="gain over the baseline, points")
    house_style.ground(axis, study.toy)


def draw_map(axis: Axes, gains: Mapping[tuple[int, int], Sequence[float]], seeds: int) -> None:
    """Gain of leaf labels by images per class and epochs: a cell's colour, mean and interval.

    `gains` are differences of errors by (images, epochs). Cells of fewer seeds: framed.
    """
    images, epochs = (sorted({cell[part] for cell in gains}) for part in (0, 1))
    grid = np.full((len(images), len(epochs)), np.nan)
    for (n, length), values in gains.items():
        grid[images.index(n), epochs.index(length)] = 100 * np.nanmean(values)
    top = np.nanmax(np.abs(grid))
    mesh = house_style.cells(axis, grid, "RdBu", -top, top)
    for (n, length), values in gains.items():
        row, column = images.index(n), epochs.index(length)
        mean, low, high = (100 * end for end in statistics.interval(values))
        text = spoken.number(mean, "+.1f")
        if low == low:
            text += f"\n{spoken.number(low, '+.1f')} to\n{spoken.number(high, '+.1f')}"
        ink = house_style.ink(mesh, mean)
        axis.text(column, row, text, ha="center", va="center", fontsize=10, color=ink)
        if len(values) < seeds:
            frame = {"fill": False, "ls": ":", "lw": 1.5, "edgecolor": ink}
            axis.add_patch(Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, **frame))
    axis.set_xticks(range(len(epochs)), [str(length) for length in epochs])
    axis.set_yticks(range(len(images)), [str(n) for n in images])
    axis.set(xlabel="epochs of pretraining", ylabel="images per class")


def draw_by_class(axis: Axes, study: Study, readable: Callable[[str], str]) -> None:
    """Gain over the baseline in points in each target class: of the best rank and two kinds of ids.

    At the right of a row stands the baseline's error, by which classes are sorted. `readable` names
    a class. The study's runs must have kept arrays; without a baseline there is nothing to draw.
    """
    errors = transfer_runs.by_class(study.runs, study.arrays)
    others = transfer_runs.ordered(study.runs, ["random", "instance"])
    there = set(errors.columns.get_level_values(0)) if len(errors.columns) else set()
    if BASELINE not in there:
        axis.set_axis_off()
        return
    wanted = [study.best_rank, *others[:1], *others[1:][-1:]]
    shown = [arm for arm in wanted if arm in there]
    baseline = 100 * errors[BASELINE]
    order = baseline.mean(axis=1).sort_values().index
    for row, name in enumerate(order):
        for shift, arm in zip(np.linspace(0.22, -0.22, len(shown)), shown, strict=True):
            gains = (baseline.loc[name] - 100 * errors.loc[name, arm]).dropna()
            kind = transfer_runs.kind_of(arm)
            house_style.with_interval(axis, row + shift, gains, kind, True, aside=0)
        _beside(axis, row, f"{baseline.loc[name].mean():.0f}%")
    _beside(axis, len(order) - 0.3, "baseline's\nerror")
    for arm in shown:
        look = house_style.look(transfer_runs.kind_of(arm))
        axis.plot([], [], ls="", label=transfer_runs.name_of(arm), **look)
    axis.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.03, 1.0), fontsize=11)
    axis.axvline(0, color=house_style.COLOURS["baseline"], lw=1.2, ls="--")
    axis.set_yticks(range(len(order)), map(readable, order))
    axis.set(xlabel="gain over the baseline, points", ylim=(-0.6, len(order) - 0.4))
    axis.grid(axis="x")
    house_style.ground(axis, study.toy)
