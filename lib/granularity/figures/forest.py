"""Every claim's effects in one figure: mean, interval, the smallest that counts, the paper's."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from granularity.figures import house_style

LOOKS = (  # of sets of images, in turn
    {"marker": "o", "color": house_style.BLUE},
    {"marker": "s", "color": house_style.GREEN},
    {"marker": "^", "color": house_style.ORANGE},
    {"marker": "v", "color": house_style.PURPLE},
)
PAPER = {"marker": "D", "color": house_style.BLACK, "markerfacecolor": "white", "linestyle": ""}
BAND = "#D9D9D9"
ROW, WIDTH, LETTERS = 0.3, 6.4, 26  # inches of a row, of the page; letters of a label's line


def draw(effects: pd.DataFrame, titles: dict[str, str]) -> Figure:
    """The effects that `claims.effect_rows` gives, in points: above 0 is the paper's direction.

    `titles` are names of the datasets. Raises ValueError where there is no effect to draw.
    """
    if effects.empty:
        raise ValueError("no effect to draw: no claim has runs that may decide it")
    words = [label(row) for row in effects.itertuples()]
    tall = np.array([ROW * (text.count("\n") + 1) for text in words])
    heights = np.cumsum(tall) - tall / 2
    figure, axis = plt.subplots(figsize=(WIDTH, tall.sum() + 1.6))
    looks = dict(zip(effects["set"].unique(), LOOKS, strict=False))
    for row, place in zip(effects.itertuples(), heights, strict=True):
        one(axis, row, place, looks[row.set])
    axis.axvline(0, color="#666666", lw=1, zorder=1)
    axis.set_yticks(heights, words)
    axis.tick_params(axis="y", length=0)
    shares = "; where % is said, share of the error" * bool(effects["relative"].any())
    axis.set(ylim=(tall.sum(), 0), xlabel=f"effect in points{shares}")
    axis.grid(visible=True, axis="x")
    axis.grid(visible=False, axis="y")
    shown = [Line2D([], [], **look, label=titles.get(name, name)) for name, look in looks.items()]
    shown += [Patch(color=BAND, label="too small to count")]
    shown += [Line2D([], [], **PAPER, label="the paper")] if effects["paper"].notna().any() else []
    figure.legend(handles=shown, loc="outside upper center", ncols=2)
    return figure


def label(row: object) -> str:
    """A claim and its part, in lines that fit beside the figure."""
    part = re.sub(r"target images (\d+)", r"\1 images", row.part)
    text = f"{row.claim}  {part}".strip() + " (%)" * bool(row.relative)
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) >= LETTERS:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def one(axis: Axes, row: object, place: float, look: dict[str, str]) -> None:
    """One effect at its height: the band from 0 to what counts, mean and interval, the paper's."""
    axis.barh(place, row.smallest, height=0.8 * ROW, color=BAND, linewidth=0, zorder=0)
    ends = None if np.isnan(row.low) else [[row.mean - row.low], [row.high - row.mean]]
    axis.errorbar(row.mean, place, xerr=ends, capsize=3, markersize=6, **look)
    if row.paper == row.paper:
        axis.plot(row.paper, place, markersize=7, zorder=3, **PAPER)
