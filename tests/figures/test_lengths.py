"""What the figure of finetuning's lengths draws, against numbers calculated by hand."""

import itertools

import matplotlib as mpl
import pandas as pd
import pytest

from granularity.analysis.questions import Lengths
from granularity.figures import house_style
from granularity.figures.questions import SHADES, draw_lengths

ERRORS = {("leaf", 10): 0.2, ("leaf", 100): 0.1, ("level 9", 10): 0.6, ("level 9", 100): 0.3}
ERRORS |= {("baseline", 100): 0.5}


def test_lengths_are_drawn_arm_by_arm_beside_the_baseline():
    rows = [
        {"arm": arm, "steps": steps, "seed": seed, "error": error + 0.02 * seed}
        for ((arm, steps), error), seed in itertools.product(ERRORS.items(), range(2))
    ]
    axis = mpl.figure.Figure().subplots()
    draw_lengths(axis, Lengths(pd.DataFrame(rows), ["leaf", "level 9"], [10, 100]))
    means = {line.get_color(): line for line in axis.lines if line.get_marker() == "o"}
    leaf, coarse = means[SHADES["leaf"]], means[SHADES["level 9"]]
    assert list(leaf.get_xdata()) == [10, 100]
    assert list(leaf.get_ydata()) == pytest.approx([21, 11])
    assert list(coarse.get_ydata()) == pytest.approx([61, 31])
    seeds = [line for line in axis.lines if line.get_marker() == "."]
    drawn = sorted(y for line in seeds for y in line.get_ydata())
    assert drawn == pytest.approx([10, 12, 20, 22, 30, 32, 60, 62])
    (dashed,) = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert dashed.get_ydata()[0] == pytest.approx(51)
    assert [text.get_text() for text in axis.texts] == ["leaf", "level 9", "baseline"]
    assert axis.get_xscale() == "log"


def test_leaf_labels_are_blue_and_the_coarsest_level_vermilion_as_everywhere():
    assert SHADES["leaf"] == house_style.COLOURS["fine"]
    assert SHADES["level 9"] == house_style.COLOURS["coarse"]
