"""Draws the figure of the README, and the book's card, from the published runs of the theory.

    python scripts/make_story.py

The same records give the same file; a test says when it is to be drawn again.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from granularity import files
from granularity.figures import house_style, overview
from granularity.records import tables

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "book/results/theory/simulate.jsonl"
PICTURE = ROOT / "book/images/story.svg"
CARD = ROOT / "book/_static/card.png"  # what is shown where a page's address is shared


def draw(path: Path) -> None:
    """Writes the figure as SVG, without date or version."""
    mpl.use("svg")
    house_style.style()
    figure = overview.draw(tables.table(RUNS))
    with files.whole(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})


def draw_card(path: Path) -> None:
    """Writes the same figure as PNG, its panels side by side, in the size that cards have."""
    mpl.use("agg")
    house_style.style()
    mpl.rcParams |= {"font.size": 15, "axes.titlesize": 16}
    runs = tables.table(RUNS)
    figure, (learned, wrong) = plt.subplots(1, 2, figsize=(12, 6.3))
    figure.get_layout_engine().set(w_pad=0.25, h_pad=0.2)
    overview.responses(learned, runs[runs["k"] == overview.SHOWN])
    overview.errors(wrong, runs)
    with files.whole(path) as part:
        figure.savefig(
            part,
            format="png",
            dpi=100,
            facecolor="white",
            metadata={"Software": None},
        )


if __name__ == "__main__":
    draw(PICTURE)
    draw_card(CARD)
    print(PICTURE.relative_to(ROOT), CARD.relative_to(ROOT))
