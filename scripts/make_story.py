"""Draws the figure of the README from the published runs of the theory.

    python scripts/make_story.py

The same records give the same file; a test says when it is to be drawn again.
"""

from pathlib import Path

import matplotlib as mpl

from granularity import files
from granularity.figures import house_style, overview
from granularity.records import tables

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "book/results/theory/simulate.jsonl"
PICTURE = ROOT / "book/images/story.svg"


def draw(path: Path) -> None:
    """Writes the figure as SVG, without date or version."""
    mpl.use("svg")
    house_style.style()
    figure = overview.draw(tables.table(RUNS))
    with files.whole(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    draw(PICTURE)
    print(PICTURE.relative_to(ROOT))
