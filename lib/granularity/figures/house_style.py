"""One style for every figure of the book, and the colours that mean the same in all of them."""

import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import ScaledTranslation
from matplotlib_inline.backend_inline import set_matplotlib_formats

from granularity.analysis import statistics, transfer_runs
from granularity.figures import numbers
from granularity.labels.kinds import KINDS

# Okabe and Ito's palette: told apart with any of the common kinds of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
INDIGO, WINE = "#332288", "#882255"  # Tol's, much darker than Okabe and Ito's

COLOURS = {
    "coarse": VERMILION,
    "fine": BLUE,
    "easy": SKY,
    "hard": PURPLE,
    "baseline": "#666666",
    "paper": BLACK,
    "random": ORANGE,
    "cluster": GREEN,
    "misaligned": WINE,
    "instance": INDIGO,
}

GROUND = {True: "#F3F3F3", False: "white"}  # what a panel lies on, by whether its images are toys

# Groups of label functions: colour, and the markers that its kinds take in turn, first filled, then
# hollow; after them the spare ones likewise.
LOOKS = {
    "target": ("baseline", "o"),
    "ranks": ("fine", "oP"),
    "clusters": ("cluster", "^v"),
    "regrouped": ("misaligned", "D"),
    "random": ("random", "s"),
    "instances": ("instance", "*X"),
}
SPARE = "phH<>8d"


def style() -> None:
    """Sets matplotlib up for a page column and a phone: vector output, large text, quiet axes.

    A notebook's figures carry their numbers as CSV from here on, for the book to link.
    """
    set_matplotlib_formats("svg")
    numbers.offer(COLOURS)
    plt.rcParams.update(
        {
            "figure.figsize": (6.4, 4.0),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 12,
            "axes.titlesize": 13,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": "#E5E5E5",
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK]),
            "lines.linewidth": 2,
            "legend.frameon": False,
            "svg.hashsalt": "granularity",  # the same figure is the same file
            "savefig.bbox": None,
        }
    )


def look(kind: str) -> dict[str, str]:
    """Colour and marker of a kind of label function, as matplotlib's `plot` takes them."""
    own = transfer_runs.OF_TARGET
    group = "target" if kind in own else KINDS[kind].group
    colour, markers = LOOKS[group]
    alike = [*own] if kind in own else [name for name in KINDS if KINDS[name].group == group]
    shade = COLOURS[colour]
    faces = (shade, "white")
    looks = [(one, face) for some in (markers, SPARE) for face in faces for one in some]
    marker, face = looks[alike.index(kind)]
    return {"color": shade, "marker": marker, "markerfacecolor": face}


def with_interval(
    axis: Axes, x: float, values: Sequence[float], kind: str, across: bool = False, aside: float = 5
) -> float:
    """The mean as a large point with its 95% interval; beside it each seed.

    Values lie on the y axis, or `across`, on the x axis. Seeds are small points, `aside` points of
    print from the bar. Returns the mean.
    """
    array = np.asarray(values, dtype=float)
    mean, low, high = statistics.interval(array)
    shown = look(kind)
    bar = [[mean - low], [high - mean]] if low == low else None  # one seed has none
    shift = (0, -aside / 72) if across else (aside / 72, 0)
    beside = axis.transData + ScaledTranslation(*shift, axis.figure.dpi_scale_trans)
    small = {"color": shown["color"], "alpha": 0.6, "s": 14, "linewidths": 0, "zorder": 2}
    large = {**shown, "markersize": 10 if shown["marker"] == "*" else 7, "capsize": 3, "zorder": 3}
    places = np.full(array.size, float(x))
    if across:
        axis.scatter(array, places, transform=beside, **small)
        axis.errorbar(mean, x, xerr=bar, linestyle="", **large)
    else:
        axis.scatter(places, array, transform=beside, **small)
        axis.errorbar(x, mean, yerr=bar, linestyle="", **large)
    # Points that are moved aside are not counted by the axis, which would cut the outermost off.
    axis.update_datalim(np.column_stack((array, places) if across else (places, array)))
    axis.autoscale_view()
    return mean


def shades(colour: str) -> Colormap:
    """From white through one of `COLOURS` to half of its light: how much there is of a thing."""
    full = np.array(to_rgb(COLOURS[colour]))
    return LinearSegmentedColormap.from_list(colour, ["white", full, full / 2])


def cells(
    axis: Axes, grid: np.ndarray, colours: Colormap | str, low: float, high: float
) -> QuadMesh:
    """Numbers (rows, columns) as coloured cells about whole coordinates, the first row below.

    They are drawn as lines and not as pixels, so that dark can turn their colours round.
    """
    rows, columns = (np.arange(count + 1) - 0.5 for count in np.shape(grid))
    look = {"cmap": colours, "vmin": low, "vmax": high, "edgecolors": "face", "linewidth": 0.3}
    axis.grid(visible=False)
    axis.tick_params(length=0)
    return axis.pcolormesh(columns, rows, grid, **look)


def ink(mesh: QuadMesh, value: float) -> str:
    """Black or white, whichever is read better on the colour that a value has among `cells`."""
    linear = np.array(mesh.to_rgba(value)[:3]) ** 2.2
    return "black" if linear @ [0.2126, 0.7152, 0.0722] > 0.18 else "white"


def per_cent(axis: Axis) -> None:
    """Writes shares along a horizontal or vertical axis as per cent; its label says so."""
    axis.set_major_formatter(PercentFormatter(1, symbol=""))


def ground(axis: Axes, toy: bool) -> None:
    """Lays a panel on grey where its images were drawn, so that nobody takes it for photographs."""
    axis.set_facecolor(GROUND[bool(toy)])


def apart(heights: Sequence[float], gap: float) -> np.ndarray:
    """The same heights, moved as little as it takes for labels to lie `gap` from each other."""
    order, moved = np.argsort(heights, kind="stable"), np.array(heights, dtype=float)
    groups = [[place] for place in order]
    while True:  # neighbours that would touch become a group, spread evenly about its mean
        for group in groups:
            middle = np.mean([heights[place] for place in group])
            moved[group] = middle + gap * (np.arange(len(group)) - (len(group) - 1) / 2)
        for lower, upper in itertools.pairwise(groups):
            if moved[upper[0]] - moved[lower[-1]] < gap * (1 - 1e-9):
                lower.extend(upper)
                groups.remove(upper)
                break
        else:
            return moved
