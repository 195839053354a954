"""The figure of all effects: what is drawn is what the rows say, and no label lies on another."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from granularity.claims import outcome, rules, scoreboard
from granularity.claims.effect_rows import COLUMNS, effect_rows
from granularity.claims.outcome import Verdict
from granularity.figures import forest, house_style

BOOK = rules.read((ROOT / "book/claims.yml").read_text(encoding="utf-8"))
LONG = "a part of a claim with a name as long as that of none of the others, and longer still"


def entry(name, verdict, version, size="tiny"):
    claim = BOOK.claims[name]
    rule = claim.version(version)
    return scoreboard.Entry(claim, {size: verdict}, {size: []}, {size: rule}, {size: ""}, {}, {})


def found(mean, **parts):
    return Verdict("undecided", "…", 8, mean, mean - 0.01, mean + 0.02, parts=parts)


def test_a_row_for_each_effect_in_points_with_the_paper_s_value():
    levels = {"leaf beats level 4": found(0.04), "the line falls": found(0.1)}
    cut = found(0, **{"the manual cut beats the baseline": found(0.05)})
    rows = effect_rows(
        [
            entry("C1", found(0.0, **levels), 3),
            entry("C3", found(0.4), 1, "published"),  # limits, and no effect
            entry("C5", found(0, **{"Tiny-ImageNet": cut, "plankton": cut}), 6),
            entry("C8", found(0.03), 3),
            entry("C8", Verdict(outcome.NOT_RUN, "no run yet"), 3),
            entry("C8", found(0.03), 3, "smoke"),  # decides nothing
        ]
    )
    assert list(rows.columns) == COLUMNS and list(rows["claim"]) == ["C1", "C1", "C5", "C5", "C8"]
    assert list(rows["mean"]) == pytest.approx([4, 10, 5, 5, 3])
    assert list(rows["low"]) == pytest.approx([3, 9, 4, 4, 2])
    assert list(rows["smallest"]) == pytest.approx([1, 1, 2.5, 2.5, 1])
    paper = [4.98, np.nan, 8.76, 8.76, np.nan]
    assert list(rows["paper"]) == pytest.approx(paper, nan_ok=True)
    tiny = "tiny-imagenet-200"
    assert list(rows["set"]) == [tiny, tiny, tiny, "plankton", tiny]
    assert rows["part"].iloc[-1] == BOOK.claims["C8"].title
    assert list(rows["relative"]) == [False, False, True, True, False]


def test_the_paper_s_differences_are_those_of_its_table():
    accuracy = {row[1]: row[-1] for row in BOOK.tables["table1"].rows}
    stated = {(n, v.part): v.value for n, c in BOOK.claims.items() for v in c.paper if v.part}
    for level in (4, 6, 9):
        of_leaf, of_baseline = (accuracy[k] - accuracy[level] for k in (0, None))
        assert stated["C1", f"leaf beats level {level}"] == pytest.approx(of_leaf)
        assert stated["C2", f"level {level}"] == pytest.approx(of_baseline)
    (less,) = [v.value for v in BOOK.claims["C2a"].paper if v.part == ""]
    assert less == pytest.approx(accuracy[0] + accuracy[None] - accuracy[2] - accuracy[4])


def rows(count):
    values = np.linspace(-20, 30, count)
    table = {
        "claim": [f"C{n}" for n in range(count)],
        "part": [LONG if n % 3 == 0 else "short" for n in range(count)],
        "set": [["tiny-imagenet-200", "plankton"][n % 2] for n in range(count)],
        "word": "undecided",
        "mean": values,
        "low": np.where(np.arange(count) == 1, np.nan, values - 2),
        "high": np.where(np.arange(count) == 1, np.nan, values + 1),
        "smallest": 1.0,
        "paper": np.where(np.arange(count) % 2, np.nan, 5.0),
        "relative": False,
    }
    return pd.DataFrame(table)


@pytest.mark.parametrize("count", [1, 9, 40])
def test_no_label_lies_on_another_or_beyond_the_figure(count):
    house_style.style()
    figure = forest.draw(rows(count), {"plankton": "Plankton"})
    (axis,) = figure.axes
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axis.get_yticklabels()]
    assert len(boxes) == count
    for one, other in itertools.pairwise(boxes):
        assert not one.overlaps(other)
    legend = figure.legends[0].get_window_extent()
    whole = figure.bbox
    for box in [*boxes, legend]:
        assert box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
        assert box is legend or not box.overlaps(legend)
    assert all(box.x1 <= axis.get_window_extent().x0 + 1 for box in boxes)


def test_what_is_drawn_is_what_the_rows_say():
    table = rows(4)
    figure = forest.draw(table, {"plankton": "Plankton"})
    (axis,) = figure.axes
    points = [bar.lines[0] for bar in axis.containers if hasattr(bar, "lines")]
    assert [line.get_xdata()[0] for line in points] == pytest.approx(list(table["mean"]))
    looks = {line.get_marker() for line in points}
    assert len(looks) == 2, "a marker for each set of images"
    diamonds = [line for line in axis.lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in diamonds] == [5.0, 5.0]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["tiny-imagenet-200", "Plankton", "too small to count", "the paper"]


def test_no_effect_is_refused():
    with pytest.raises(ValueError, match="no effect to draw"):
        forest.draw(effect_rows([]), {})
