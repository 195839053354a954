"""The numbers that a figure shows, read off the figure itself, so that no chapter must name them.

In a notebook `offer` lets every figure that is displayed carry its numbers as CSV beside its
picture; the book links them under the figure. Nothing here knows where the numbers came from.
"""

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.core.formatters import BaseFormatter
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

COLUMNS = (
    *("panel", "x_axis", "y_axis", "mark", "series", "colour"),
    *("x", "x_label", "x_low", "x_high", "y", "y_label", "y_low", "y_high", "value"),
)
Rows = list[dict[str, Any]]

OWN: WeakKeyDictionary[Figure, pd.DataFrame] = WeakKeyDictionary()


def attach(figure: Figure, frame: pd.DataFrame) -> None:
    """Gives a figure a table of its own, where what is drawn does not say enough."""
    OWN[figure] = frame


def offer(colours: dict[str, str]) -> None:
    """From now on each figure that this notebook displays carries its table as `text/csv`.

    `colours` names the colours that mean something. Does nothing outside of a notebook.
    """
    shell = get_ipython()
    if shell is None:
        return
    formatter = BaseFormatter(parent=shell.display_formatter)
    formatter.format_type, formatter.print_method = "text/csv", "_repr_csv_"
    formatter.for_type(Figure, lambda figure: csv(figure, colours))
    shell.display_formatter.formatters["text/csv"] = formatter


def csv(figure: Figure, colours: dict[str, str]) -> str | None:
    """A figure's table as CSV, numbers to six digits; None where it has none."""
    frame = OWN.get(figure)
    frame = table(figure, colours) if frame is None else frame
    return None if frame.empty else frame.to_csv(index=False, float_format="%.6g")


def table(figure: Figure, colours: dict[str, str]) -> pd.DataFrame:
    """What is drawn in data coordinates: a row for each point, bar, band's place or image cell.

    Ends of error bars and bands stand in `x_low` to `y_high`; `x_label` and `y_label` are the words
    that an axis has at that place. A series is known by its label where it has one, and by its
    colour, by name where `colours` gives it a meaning. Pictures and decoration are left out, and
    columns that would be empty.
    """
    names = {to_hex(colour): name for name, colour in reversed(colours.items())}
    panels = [
        axes for axes in figure.axes if axes.get_visible() and "colorbar" not in axes.get_label()
    ]
    rows = []
    for number, axes in enumerate(panels, 1):
        place = placed(axes, number if len(panels) > 1 else 0)
        for mark, artist, colour, found in drawn(axes):
            label = str(artist.get_label() or "")
            series = "" if label.startswith("_") else label
            shade = names.get(colour, colour)
            rows += [
                place | {"mark": mark, "series": series, "colour": shade} | row for row in found
            ]
        worded(axes.xaxis, "x", rows, place)
        worded(axes.yaxis, "y", rows, place)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.loc[:, (frame.notna() & (frame != "")).any()]


def placed(axes: Axes, number: int) -> dict[str, str]:
    """Panel and axes by name: a title, and what a shared axis says further down or left."""
    titles = [axes.get_title(loc) for loc in ("left", "center", "right")]
    title = " ".join(" ".join(title for title in titles if title).split())
    panel = f"{number} {title}".strip() if number else title
    siblings = {"x": axes.get_shared_x_axes(), "y": axes.get_shared_y_axes()}
    words = {}
    for letter, group in siblings.items():
        said = [getattr(one, f"get_{letter}label")() for one in [axes, *group.get_siblings(axes)]]
        words[f"{letter}_axis"] = next((text for text in said if text), "")
    return {"panel": panel, **words}


def worded(axis: Axis, letter: str, rows: Rows, place: dict[str, str]) -> None:
    """Adds the words that an axis with ticks of its own has at a row's place."""
    locator = axis.get_major_locator()
    if not isinstance(locator, FixedLocator) and not axis.have_units():
        return
    ticks = np.asarray(locator(), dtype=float)
    words = dict(zip(ticks.round(9), axis.get_major_formatter().format_ticks(ticks), strict=True))
    for row in rows:
        if row.get(letter) is not None and all(row[key] == place[key] for key in place):
            row[f"{letter}_label"] = words.get(round(row[letter], 9), "")


Drawn = tuple[str, Artist, str, Rows]


def drawn(axes: Axes) -> Iterator[Drawn]:
    """Mark, artist, colour and rows of all that stands in data coordinates, in order of kinds."""
    taken: set[Artist] = set()
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer):
            line, caps, bars = container.lines
            taken |= {*caps, *bars, *([line] if line else [])}
            colour = to_hex(line.get_color() if line else bars[0].get_color()[0])
            yield "interval", container, colour, intervals(container)
        elif isinstance(container, BarContainer) and container.patches:
            for bar, row in zip(container.patches, lengths(container), strict=True):
                yield "bar", container, to_hex(bar.get_facecolor()), [row]
    for line in axes.lines:
        if line not in taken and (found := points(line, axes)):
            solid = line.get_linestyle() not in ("None", "none", "", " ") and len(found) > 1
            yield "line" if solid else "point", line, to_hex(line.get_color()), found
    for collection in axes.collections:
        if collection in taken or not inside(collection, axes):
            continue
        if isinstance(collection, PathCollection):
            yield "point", collection, shade(collection), scattered(collection)
        elif isinstance(collection, PolyCollection):
            yield "band", collection, shade(collection), band(collection)
        elif isinstance(collection, LineCollection):
            ends = [ranges(np.asarray(segment)) for segment in collection.get_segments()]
            yield "segment", collection, to_hex(collection.get_color()[0]), ends
        elif isinstance(collection, QuadMesh):
            yield "cell", collection, "", meshed(collection)
    for image in axes.images:
        yield "cell", image, "", pixels(image)


def inside(artist: Artist, axes: Axes) -> bool:
    """Whether an artist's places are data and not parts of the page."""
    moves = artist.get_offset_transform() if isinstance(artist, PathCollection) else None
    return (moves or artist.get_transform()).contains_branch(axes.transData)


def shade(collection: PathCollection | PolyCollection) -> str:
    """The one face colour of a collection; nothing where there are several."""
    faces = {to_hex(colour) for colour in collection.get_facecolor()}
    return faces.pop() if len(faces) == 1 else ""


def points(line: Line2D, axes: Axes) -> Rows:
    """A line's points; of a line across the whole panel the one coordinate that is data."""
    in_x, in_y = line.get_transform().contains_branch_seperately(axes.transData)
    x, y = np.asarray(line.get_xdata(False), float), np.asarray(line.get_ydata(False), float)
    if in_x and in_y:
        return [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]
    if in_x or in_y:
        return [{"x": x[0]} if in_x else {"y": y[0]}]
    return []


def intervals(container: ErrorbarContainer) -> Rows:
    """The points of error bars with their ends, where they have any: one seed has no interval."""
    line, _, bars = container.lines
    there = {"x": container.has_xerr, "y": container.has_yerr}
    letters = [letter for letter in there if there[letter]]
    # A bar that is not finite keeps its place among the paths; among the segments it would not.
    ends = {
        letter: np.reshape([path.vertices for path in bar.get_paths()], (-1, 2, 2))
        for letter, bar in zip(letters, bars, strict=True)
    }
    if line is not None:
        middles = np.column_stack([line.get_xdata(False), line.get_ydata(False)])
    else:
        middles = ends[letters[0]].mean(axis=1)
    rows = [{"x": float(x), "y": float(y)} for x, y in middles]
    for letter, pairs in ends.items():
        for row, (low, high) in zip(rows, pairs[:, :, "xy".index(letter)], strict=True):
            if np.isfinite([low, high]).all():
                row |= {f"{letter}_low": low, f"{letter}_high": high}
    return [row for row in rows if np.isfinite([row["x"], row["y"]]).all()]


def lengths(container: BarContainer) -> Rows:
    """Bars: where each stands and how far it reaches; where it starts, if not at zero."""
    rows = []
    for bar in container.patches:
        (x, y), wide, high = bar.get_xy(), bar.get_width(), bar.get_height()
        if container.orientation == "horizontal":
            row = {"y": y + high / 2, "x": x + wide} | ({"x_low": x} if x else {})
        else:
            row = {"x": x + wide / 2, "y": y + high} | ({"y_low": y} if y else {})
        rows.append({name: float(value) for name, value in row.items()})
    return rows


def scattered(collection: PathCollection) -> Rows:
    """Points, with the value that colours them where there is one."""
    rows = [{"x": float(x), "y": float(y)} for x, y in np.ma.getdata(collection.get_offsets())]
    values = collection.get_array()
    if values is not None:
        rows = [row | {"value": float(v)} for row, v in zip(rows, np.ravel(values), strict=True)]
    return rows


def band(collection: PolyCollection) -> Rows:
    """Lower and upper edge of a filled band at each of its places."""
    rows = []
    for path in collection.get_paths():
        outline = pd.DataFrame(path.vertices, columns=["x", "y"]).groupby("x")["y"]
        edges = outline.agg(["min", "max"]).itertuples()
        rows += [{"x": x, "y_low": low, "y_high": high} for x, low, high in edges]
    return rows


def ranges(segment: np.ndarray) -> dict[str, float]:
    """Both ends of a segment; one number where they agree."""
    row = {}
    for letter, first, last in zip("xy", segment[0], segment[-1], strict=True):
        ends = {f"{letter}_low": first, f"{letter}_high": last}
        row |= {letter: first} if first == last else ends
    return row


def meshed(mesh: QuadMesh) -> Rows:
    """Cells of a mesh by their middle."""
    corners = mesh.get_coordinates()
    middles = (corners[:-1, :-1] + corners[1:, :-1] + corners[:-1, 1:] + corners[1:, 1:]) / 4
    values = np.ma.filled(np.ma.asarray(mesh.get_array(), dtype=float), np.nan)
    return cells(middles[..., 0], middles[..., 1], values.reshape(middles.shape[:2]))


def pixels(image: AxesImage) -> Rows:
    """Cells of an image of numbers by their middle; an image of colours is a picture."""
    values = image.get_array()
    if values is None or values.ndim != 2:
        return []
    height, width = values.shape
    left, right, bottom, top = image.get_extent()
    if image.origin == "upper":
        bottom, top = top, bottom
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = bottom + (np.arange(height) + 0.5) * (top - bottom) / height
    return cells(*np.meshgrid(x, y), np.ma.filled(np.ma.asarray(values, dtype=float), np.nan))


def cells(x: np.ndarray, y: np.ndarray, values: np.ndarray) -> Rows:
    """Rows of a grid's cells that have a value."""
    columns = zip(x.ravel(), y.ravel(), values.ravel(), strict=True)
    return [{"x": a, "y": b, "value": v} for a, b, v in columns if np.isfinite(v)]
