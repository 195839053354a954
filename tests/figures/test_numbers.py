"""The numbers of a figure, read back from what was drawn."""

import json
import subprocess
import sys
from io import StringIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from granularity.figures import numbers

COLOURS = {"fine": "#0072B2", "coarse": "#D55E00"}


@pytest.fixture
def drawing():
    figure, axes = plt.subplots()
    yield figure, axes
    plt.close(figure)


def read(figure):
    return numbers.table(figure, COLOURS)


def columns(frame, *names):
    return frame[list(names)].to_numpy().tolist()


def test_a_line_keeps_its_points_its_label_and_its_meaning(drawing):
    figure, axes = drawing
    axes.plot([1, 2, 4], [0.5, 0.25, 0.125], color="#0072B2", label="error")
    axes.set(xlabel="k", ylabel="error on hard samples", title="Here")
    found = read(figure)
    assert columns(found, "x", "y") == [[1, 0.5], [2, 0.25], [4, 0.125]]
    about = columns(found, "panel", "x_axis", "y_axis", "mark", "series", "colour")
    assert about == 3 * [["Here", "k", "error on hard samples", "line", "error", "fine"]]
    assert "value" not in found and "x_low" not in found


@pytest.mark.parametrize("letter", ["x", "y"])
def test_intervals_keep_their_ends(drawing, letter):
    figure, axes = drawing
    bars = {f"{letter}err": [[0.1, 0.2], [0.3, 0.4]]}
    axes.errorbar([1, 2], [3, 4], **bars, fmt="o", color="#D55E00")
    found = read(figure)
    middle = np.array([[1, 2], [3, 4]]["xy".index(letter)])
    assert columns(found, "x", "y", "colour") == [[1, 3, "coarse"], [2, 4, "coarse"]]
    assert found[f"{letter}_low"].to_numpy() == pytest.approx(middle - [0.1, 0.2])
    assert found[f"{letter}_high"].to_numpy() == pytest.approx(middle + np.array([0.3, 0.4]))


def test_intervals_without_points_stand_at_their_middle(drawing):
    figure, axes = drawing
    axes.errorbar([1, 2], [3, 4], yerr=0.5, fmt="none")
    assert columns(read(figure), "x", "y", "y_low", "y_high") == [
        [1, 3, 2.5, 3.5],
        [2, 4, 3.5, 4.5],
    ]


def test_bars_have_the_words_of_their_axis(drawing):
    figure, axes = drawing
    axes.barh(["kingdom", "phylum"], [71, 88])
    assert columns(read(figure), "y_label", "x") == [["kingdom", 71], ["phylum", 88]]


def test_stacked_bars_say_where_they_start(drawing):
    figure, axes = drawing
    axes.bar([0, 1], [2, 3], bottom=[0, 5])
    found = read(figure)
    assert found["y"].tolist() == [2, 8]
    assert found["y_low"].iloc[1] == 5


def test_ticks_with_words_name_the_places(drawing):
    figure, axes = drawing
    axes.plot(np.log2([2, 8, 3]), [1, 2, 3])
    axes.set_xticks(np.log2([2, 4, 8]), ["2", "4", "8"])
    assert read(figure)["x_label"].tolist() == ["2", "8", ""]


def test_points_bands_and_lines_across(drawing):
    figure, axes = drawing
    axes.scatter([1, 2], [3, 4], c=[5, 6])
    axes.fill_between([1, 2], [0, 1], [2, 5])
    axes.axhline(0.5)
    axes.vlines([7], 0, 1)
    found = dict(iter(read(figure).groupby("mark")))
    assert columns(found["point"].dropna(subset="value"), "x", "y", "value") == [
        [1, 3, 5],
        [2, 4, 6],
    ]
    assert columns(found["band"], "x", "y_low", "y_high") == [[1, 0, 2], [2, 1, 5]]
    assert found["point"]["y"].iloc[0] == 0.5 and np.isnan(found["point"]["x"].iloc[0])
    assert columns(found["segment"], "x", "y_low", "y_high") == [[7, 0, 1]]


@pytest.mark.parametrize("draw", ["imshow", "pcolormesh"])
def test_cells_of_a_grid_keep_their_values(drawing, draw):
    figure, axes = drawing
    grid = np.arange(6.0).reshape(2, 3)
    grid[0, 0] = np.nan
    if draw == "imshow":
        axes.imshow(grid, extent=(0, 3, 0, 2), origin="lower")
    else:
        axes.pcolormesh(np.arange(4), np.arange(3), grid)
    cells = [[1.5, 0.5, 1], [2.5, 0.5, 2], [0.5, 1.5, 3], [1.5, 1.5, 4], [2.5, 1.5, 5]]
    assert columns(read(figure), "x", "y", "value") == cells


def test_panels_are_told_apart_and_share_an_axis_label():
    figure, (above, below) = plt.subplots(2, 1, sharex=True)
    above.plot([1], [2])
    below.plot([3], [4])
    below.set(xlabel="step", title="Loss")
    found = columns(read(figure), "panel", "x_axis", "y")
    assert found == [
        ["1", "step", 2],
        ["2 Loss", "step", 4],
    ]
    plt.close(figure)


def test_decoration_pictures_and_empty_figures_have_no_table(drawing):
    figure, axes = drawing
    axes.plot([0, 1], [0, 1], transform=axes.transAxes)
    axes.imshow(np.zeros((2, 2, 3)))
    axes.text(0, 0, "text")
    axes.set_title("only this")
    assert numbers.csv(figure, COLOURS) is None


def test_a_table_of_its_own_comes_first(drawing):
    figure, axes = drawing
    axes.plot([1], [2])
    numbers.attach(figure, pd.DataFrame({"species": ["Ammophila"], "count": [3]}))
    assert numbers.csv(figure, COLOURS) == "species,count\nAmmophila,3\n"


def test_outside_of_a_notebook_nothing_is_offered():
    numbers.offer(COLOURS)


CELL = """from granularity.figures import house_style
import matplotlib.pyplot as plt
house_style.style()
figure, axes = plt.subplots()
axes.plot([1, 2], [0.1, 1 / 3], color=house_style.COLOURS["fine"])
None"""


def test_a_notebook_s_figure_carries_its_table(tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(CELL)], metadata=kernel), tmp_path / "a.ipynb")
    command = [sys.executable, "-m", "papermill", "a.ipynb", "b.ipynb", "--no-progress-bar"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (output,) = json.loads((tmp_path / "b.ipynb").read_text())["cells"][0]["outputs"]
    assert "image/svg+xml" in output["data"]
    text = output["data"]["text/csv"]
    frame = pd.read_csv(StringIO("".join(text) if isinstance(text, list) else text))
    assert columns(frame, "colour", "x", "y") == [["fine", 1, 0.1], ["fine", 2, 0.333333]]
