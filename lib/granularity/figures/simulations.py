"""Figures of the theory's runs: every seed, mean and interval, along a parameter or in a plane."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from granularity.analysis import statistics
from granularity.analysis.growing_dimension import Way
from granularity.analysis.theory_runs import SWEEP, arm, mean
from granularity.figures import house_style

# The parameters by the paper's symbol, for axes.
SYMBOLS = {
    "k": "subclasses $k$",
    "d": "dimension $d$",
    "width": "neurons per output $m$",
    "noise": r"noise $\sigma_\zeta$",
    "strong_noise": r"strong noise $\sigma_{\zeta*}$",
    "opposing_amplitude": r"opposing amplitude $\alpha^\dagger$",
    "opposing_patches": r"opposing patches $s^\dagger$",
    "feature_patches": "patches per feature $s^*$",
    "amplitude_spread": r"spread of amplitudes $\iota$",
    "batch_size": "samples per step $N$",
    "learning_rate": r"learning rate $\eta$",
    "threshold": r"threshold $\tau$",
}
PARTS = {
    "hard_error_common_removed": "common feature removed",
    "hard_error_opposing": "… and opposing feature",
    "hard_error_strong_patch": "… and strong noise patch",
    "hard_error": "all of it: a hard sample",
}


def marks(
    axis: Axes, where: float, values: Iterable[float], colour: str, across: bool = True
) -> float:
    """Every seed as a faint point, mean and 95% interval over it; returns the mean.

    `across`: values run upwards, at `where` along; else the other way round.
    """
    values = list(values)
    middle, low, high = statistics.interval(values)
    bars = [[middle - low], [high - middle]]
    style = {"color": colour, "marker": "o", "ms": 4.5, "capsize": 3, "elinewidth": 1.2}
    point = {"ls": "", "marker": ".", "color": colour, "alpha": 0.45, "ms": 6.5, "mew": 0}
    if across:
        axis.plot([where] * len(values), values, **point)
        axis.errorbar(where, middle, bars, **style)
    else:
        axis.plot(values, [where] * len(values), **point)
        axis.errorbar(middle, where, xerr=bars, **style)
    return middle


def traced(
    axis: Axes, table: pd.DataFrame, curve: str, colour: str
) -> tuple[list[float], np.ndarray]:
    """A curve along training: every seed as a thin line, mean and 95% interval over them.

    Returns the logged steps and the mean.
    """
    steps = table["curves"].iloc[0]["step"]
    values = np.array([curves[curve] for curves in table["curves"]])
    middle, low, high = np.array([statistics.interval(column) for column in values.T]).T
    axis.plot(steps, values.T, color=colour, lw=0.6, alpha=0.35)
    axis.fill_between(steps, low, high, color=colour, alpha=0.25, lw=0)
    axis.plot(steps, middle, color=colour)
    return steps, middle


def along(
    axis: Axes, table: pd.DataFrame, parameter: str, metric: str, base: object = None
) -> dict[str, float]:
    """One panel: a metric against a parameter's values, evenly spaced, for coarse and fine labels.

    The base's value is marked. Returns the last mean by labels.
    """
    values = sorted(table[parameter].unique().tolist())
    last = {}
    for labels, shift in (("coarse", -0.06), ("fine", 0.06)):
        colour = house_style.COLOURS[labels]
        some = [v for v in values if len(arm(table, metric, labels=labels, **{parameter: v}))]
        means = [
            marks(
                axis,
                values.index(value) + shift,
                arm(table, metric, labels=labels, **{parameter: value}),
                colour,
            )
            for value in some
        ]
        axis.plot([values.index(v) + shift for v in some], means, color=colour, lw=1.2)
        last[labels] = means[-1] if means else np.nan
    axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axis.set_xlim(-0.4, len(values) - 0.6)
    if base in values:
        axis.axvline(values.index(base), color="#BBBBBB", lw=6, alpha=0.4, zorder=0)
    axis.set_xlabel(SYMBOLS.get(parameter, parameter))
    return last


def reaches(axis: Axes, found: Mapping[str, Mapping[str, tuple[float, float]]]) -> list[str]:
    """How far a metric goes while one parameter at a time takes its values, widest first.

    `found` are the lowest and highest mean by labels and parameter. Returns the rows' parameters.
    """
    names = {name for of_labels in found.values() for name in of_labels}
    nothing = (np.nan, np.nan)

    def widest(name: str) -> float:
        ends = [of_labels.get(name, nothing) for of_labels in found.values()]
        return float(np.nanmax([high - low for low, high in ends]))

    rows = sorted(names, key=widest, reverse=True)
    for (labels, of_labels), shift in zip(found.items(), (-0.14, 0.14), strict=True):
        ends = np.array([of_labels.get(name, nothing) for name in rows])
        places = np.arange(len(rows)) + shift
        axis.hlines(places, *ends.T, color=house_style.COLOURS[labels], lw=5, label=labels)
    axis.set_yticks(range(len(rows)), [SYMBOLS.get(name, name) for name in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.grid(axis="x")
    return rows


WAYS = ("coarse", "random", "cluster", "fine")  # colours of the ways in which d and k grow


def draw_ways(axis: Axes, ways: Sequence[Way], metric: str) -> None:
    """A metric against d and k, a line for each way in which they grow, side by side at each d."""
    dims = list(SWEEP)
    for place, (way, colour) in enumerate(zip(ways, WAYS, strict=True)):
        found = {d: values for d, values in way.by_dimension(metric).items() if len(values)}
        xs = [dims.index(d) + 0.1 * (place - (len(ways) - 1) / 2) for d in found]
        shade = house_style.COLOURS[colour]
        middle = [
            marks(axis, x, values, shade) for x, values in zip(xs, found.values(), strict=True)
        ]
        axis.plot(xs, middle, color=shade, lw=1.2)
    axis.axhline(0.5, color=house_style.COLOURS["baseline"], lw=1, ls="--")
    axis.set_xticks(range(len(dims)), [f"{d:,}\nk {SWEEP[d]['k']}" for d in dims])
    axis.set(xlabel="dimension d, subclasses k", ylim=(-0.03, 0.72))


def name_ways(axis: Axes, ways: Sequence[Way]) -> None:
    """The names of the ways, in their colours, one below the other in the corner of a panel."""
    for row, (way, colour) in enumerate(zip(ways, WAYS, strict=True)):
        where = {"transform": axis.transAxes, "va": "top"}
        axis.text(0.03, 0.97 - 0.07 * row, way.label, color=house_style.COLOURS[colour], **where)


def map_of(
    axis: Axes,
    table: pd.DataFrame,
    across: str,
    upwards: str,
    metric: str,
    colour: str,
    top: float = 0.6,
) -> None:
    """A phase diagram: the mean of a share over seeds, as shade and per cent, in every cell."""
    xs, ys = (sorted(table[name].unique().tolist()) for name in (across, upwards))
    grid = np.array([[mean(table, metric, **{across: x, upwards: y}) for x in xs] for y in ys])
    mesh = house_style.cells(axis, grid, house_style.shades(colour), 0, top)
    for row, column in np.argwhere(~np.isnan(grid)):
        value = grid[row, column]
        look = {"ha": "center", "va": "center", "color": house_style.ink(mesh, value)}
        axis.text(column, row, f"{100 * value:.0f}", **look)
    axis.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    axis.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    axis.set(xlabel=SYMBOLS.get(across, across), ylabel=SYMBOLS.get(upwards, upwards))
