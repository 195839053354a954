"""Draws the figure of the README, the book's card and the paper's Table 1.

The first two are from the published runs of the theory, the last from the claims' file.

    python scripts/make_story.py

The same records give the same file; a test says when it is to be drawn again.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

from granularity import files
from granularity.claims import rules
from granularity.figures import answer, house_style, overview
from granularity.records import tables

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "book/results/theory/simulate.jsonl"
PICTURE = ROOT / "book/images/story.svg"
CLAIMS = ROOT / "book/claims.yml"
TABLE_1 = ROOT / "book/images/table-1.svg"
CARD = ROOT / "book/_static/card.png"  # what is shown where a page's address is shared


def draw(path: Path) -> None:
    """Writes the README's figure as SVG, without date or version."""
    mpl.use("svg")
    house_style.style()
    written(overview.draw(tables.table(RUNS)), path)


def draw_table_1(path: Path) -> None:
    """Writes the paper's Table 1 as a curve, likewise."""
    mpl.use("svg")
    house_style.style()
    given = rules.read(CLAIMS.read_text(encoding="utf-8")).tables["table1"]
    figure, axis = plt.subplots(figsize=(4.8, 3.8))
    answer.of_paper(axis, pd.DataFrame(given.rows, columns=given.columns))
    written(figure, path)


def written(figure: plt.Figure, path: Path) -> None:
    """Writes a figure as SVG; the same figure is the same file."""
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
    draw_table_1(TABLE_1)
    draw_card(CARD)
    print(*(path.relative_to(ROOT) for path in (PICTURE, TABLE_1, CARD)))
