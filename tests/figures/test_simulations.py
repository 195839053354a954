"""What the figure of ways in which d and k grow draws, against numbers calculated by hand."""

import matplotlib as mpl
import pandas as pd
import pytest

from granularity.analysis.growing_dimension import Way
from granularity.figures import house_style, simulations


def ways():
    rows = [(128, 0, 0.2), (128, 1, 0.4), (1024, 0, 0.6), (1024, 1, 0.6)]
    table = pd.DataFrame(rows, columns=["d", "seed", "error"])
    by = {name: table.assign(error=table["error"] / n) for n, name in enumerate("abcd", 1)}
    return [Way(name, name, "", runs) for name, runs in by.items()]


def test_each_way_is_a_line_through_its_means_beside_the_others():
    axis = mpl.figure.Figure().subplots()
    simulations.draw_ways(axis, ways(), "error")
    lines = [line for line in axis.lines if line.get_linewidth() == 1.2]
    assert [line.get_ydata() for line in lines] == [
        pytest.approx([0.3 / n, 0.6 / n]) for n in (1, 2, 3, 4)
    ]
    assert [line.get_xdata() for line in lines] == [
        pytest.approx([shift, 3 + shift]) for shift in (-0.15, -0.05, 0.05, 0.15)
    ]
    ticks = [text.get_text() for text in axis.get_xticklabels()]
    assert ticks[0] == "128\nk 6" and len(ticks) == 4


def test_names_have_the_colours_of_their_lines():
    axis = mpl.figure.Figure().subplots()
    simulations.name_ways(axis, ways())
    assert [text.get_text() for text in axis.texts] == ["a", "b", "c", "d"]
    assert [text.get_color() for text in axis.texts] == [
        house_style.COLOURS[name] for name in simulations.WAYS
    ]
    assert [text.get_position()[1] for text in axis.texts] == pytest.approx([0.97, 0.9, 0.83, 0.76])
