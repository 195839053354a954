"""Figures of Experiment B: its label functions against the number of their classes, before
and after finetuning, and class by class."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from granularity.analysis import statistics, transfer_runs
from granularity.analysis.transfer_runs import BASELINE, ONE_PASS, Study
from granularity.figures import house_style
from granularity.labels.specification import KINDS, ordered

ASIDE = 1.045  # a factor: kinds that may have equally many classes are drawn side by side


def draw_errors(axis: Axes, study: Study) -> None:
    """Error against the number of classes: seeds, means with one deviation, a line for each kind.

    With the baseline and the single pass as levels, and the name of each kind at its finest end.
    """
    there = set(study.runs["kind_of_arm"]) & set(KINDS)
    kinds = [kind for kind in ordered(KINDS) if kind in there and KINDS[kind].by_classes]
    beside = [kind for kind in kinds if kind not in ("rank", "instance")]
    shift = {kind: ASIDE ** (1 + beside.index(kind)) for kind in beside}
    ends = []
    for kind in kinds:
        line = _line(axis, study, kind, shift.get(kind, 1))
        x, y = line[-1]
        ends.append((x / shift[kind] * ASIDE ** (len(beside) + 1) if kind in beside else x, y))
    _references(axis, study)
    ticks = _ticks(study, kinds)
    axis.set_xscale("log", base=2)
    axis.set_xlim(min(ticks) / 2.6, max(ticks) * 2.2)
    heights = house_style.apart([y for _, y in ends], 0.055 * np.diff(axis.get_ylim())[0])
    for kind, (x, _), height in zip(kinds, ends, heights, strict=True):
        side = {"ha": "left", "x": x * 1.15}
        if x == max(ticks):  # no room to the right
            side = {"ha": "right", "x": x / 1.15}
        clear = {"facecolor": house_style.GROUND[study.toy], "alpha": 0.8, "lw": 0, "pad": 1}
        shade = house_style.look(kind)["color"]
        axis.text(y=height, s=_group(study, kind), color=shade, va="center", bbox=clear, **side)
    axis.set_xticks(list(ticks), list(ticks.values()), fontsize=10.5)
    axis.minorticks_off()
    axis.set(ylabel="error after finetuning", title=study.title)
    more = " (below: images for each class)" if study.runs["per_class"].notna().all() else ""
    axis.set_xlabel(f"classes in pretraining{more}", fontsize=11)
    house_style.ground(axis, study.toy)


def _line(axis: Axes, study: Study, kind: str, shift: float) -> list[tuple[float, float]]:
    """The arms of one kind, joined; manual ranks but the finest have their names beside them."""
    line, shade = [], house_style.look(kind)["color"]
    for arm in transfer_runs.ordered(study.runs, [kind]):
        x = study.mean(arm, "classes") * shift
        line.append((x, house_style.with_deviation(axis, x, study.of(arm), kind)))
        if kind == "rank" and arm != transfer_runs.ladder(study.runs)[-1]:
            where = {"xytext": (-7, -7), "textcoords": "offset points", "ha": "right", "va": "top"}
            axis.annotate(transfer_runs.name_of(arm), line[-1], **where, color=shade)
    axis.plot(*zip(*line, strict=True), color=shade, lw=1.3, zorder=1)
    return line


def _group(study: Study, kind: str) -> str:
    text = KINDS[kind].names
    if kind != "rank":
        return text
    ranks = transfer_runs.ladder(study.runs)
    return transfer_runs.name_of(ranks[-1]) + (f" ({text})" if len(ranks) > 1 else "")


def _references(axis: Axes, study: Study) -> None:
    """The baseline and the single pass: their means as lines, one deviation as a band."""
    upper = max(BASELINE, ONE_PASS, key=study.mean)  # its name goes above it
    end = axis.get_yaxis_transform()
    for arm, style, name in (
        (BASELINE, "--", "baseline: two stages on the target"),
        (ONE_PASS, ":", "the same, one pass"),
    ):
        values = study.of(arm)
        if not values.size:
            continue
        mean, deviation = statistics.spread(values)
        axis.axhline(mean, color=house_style.COLOURS["baseline"], ls=style, lw=1.4, zorder=0)
        band = {"color": house_style.COLOURS["baseline"], "alpha": 0.13, "lw": 0}
        if deviation == deviation:  # one seed has none
            axis.axhspan(mean - deviation, mean + deviation, **band)
        side = {"va": "bottom" if arm == upper else "top", "ha": "right", "fontsize": 11}
        axis.text(0.99, mean, name, transform=end, color="#444444", **side)


def _ticks(study: Study, kinds: Sequence[str]) -> dict[float, str]:
    """At each number of classes that number, and below it how many images each has."""
    ticks = {}
    for arm in transfer_runs.ordered(study.runs, kinds):
        classes, size = study.mean(arm, "classes"), study.mean(arm, "per_class")
        ticks[classes] = f"{classes:,.0f}" + (f"\n{size:,.0f}" if size == size else "")
    return ticks


def draw_stages(axis: Axes, study: Study, metric: str) -> None:
    """Every arm before finetuning (bar) and after it, the highest error at the bottom."""
    arms = sorted(transfer_runs.ordered(study.runs), key=lambda arm: -study.mean(arm))
    for row, arm in enumerate(arms):
        kind = transfer_runs.kind_of(arm)
        before = study.mean(arm, f"{metric}_before")
        after = house_style.with_deviation(axis, row, study.of(arm, metric), kind, across=True)
        shade = house_style.look(kind)["color"]
        if arm != ONE_PASS:
            axis.plot([before, after], [row, row], color=shade, lw=1, alpha=0.6, zorder=1)
            axis.plot(before, row, "|", color=shade, ms=11, mew=2)
    axis.axvline(study.mean(BASELINE, metric), color="#666666", ls="--", lw=1, zorder=0)
    axis.set(xlabel=metric.replace("_", " "), ylim=(-0.6, len(arms) - 0.4))
    axis.set_yticks(range(len(arms)), [transfer_runs.name_of(arm) for arm in arms])
    axis.grid(axis="x")
    house_style.ground(axis, study.toy)


def draw_by_class(axis: Axes, study: Study, readable: Callable[[str], str]) -> None:
    """Errors in each target class, sorted by the baseline's: it, the best rank, two kinds of ids.

    `readable` names a class. The study's runs must have kept arrays.
    """
    errors = transfer_runs.by_class(study.runs, study.arrays)
    others = transfer_runs.ordered(study.runs, ["random", "instance"])
    shown = [BASELINE, study.best_rank, *others[:1], *others[1:][-1:]]
    shown = [arm for arm in shown if arm in errors.columns.get_level_values(0)]
    order = errors[BASELINE].mean(axis=1).sort_values().index
    for row, name in enumerate(order):
        for shift, arm in zip(np.linspace(0.24, -0.24, len(shown)), shown, strict=True):
            kind = transfer_runs.kind_of(arm)
            house_style.with_deviation(
                axis, row + shift, errors.loc[name, arm], kind, True, aside=0
            )
    for arm in shown:
        look = house_style.look(transfer_runs.kind_of(arm))
        axis.plot([], [], ls="", label=transfer_runs.name_of(arm), **look)
    axis.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.03, 1.0), fontsize=11)
    axis.set_yticks(range(len(order)), map(readable, order))
    axis.set(xlabel=f"error after finetuning\n{study.title}", ylim=(-0.6, len(order) - 0.4))
    axis.grid(axis="x")
    house_style.ground(axis, study.toy)
