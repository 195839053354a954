"""Figures and tables of runs of one seed: means, no intervals, and no word "nan"."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import test_levels as ladders
import test_mechanism as fifths
import test_transfer as arms_of_species
from faults_seen import saw

from granularity.analysis import level_runs, spoken
from granularity.figures import (
    house_style,
    levels,
    mechanism,
    numbers,
    overview,
    simulations,
    transfer,
)

published, study = ladders.published, arms_of_species.study  # fixtures, of two seeds each


def simulated():
    curves = {"step": [1, 2, 3], "training_loss": [0.9, 0.5, 0.1]}
    return pd.DataFrame(
        [
            {"labels": labels, "k": k, "seed": 0, "hard_error": 0.3 / k, "easy_error": 0.0}
            | {"response_common": 0.5, "response_fine": 0.2, "curves": curves}
            for labels in ("coarse", "fine")
            for k in (2, 8)
        ]
    )


def errors_of_arms(axis, study):
    transfer.draw_gains(axis, study, transfer.rows_of(study), 0.01)


def stages_of_arms(axis, study):
    transfer.draw_stages(axis, study)


def classes_of_arms(axis, study):
    transfer.draw_by_class(axis, study, str)


def accuracy_of_levels(axis, _):
    one = pd.DataFrame(
        [
            {"arm": arm, "accuracy": 100 * (1 - error), "classes": ladders.CLASSES[arm], "seed": 0}
            for arm, error in ladders.ERROR.items()
        ]
    )
    shown = level_runs.Study("Toy images", True, one, {}, pd.DataFrame(), [0, 4, 9])
    levels.draw_accuracy(axis, shown)
    assert shown.said("leaf") == "90.0%"


def gains_by_fifth(axis, _):
    mechanism.profile(axis, pd.DataFrame(fifths.rows("leaf", "both", 0.1)), "both")


def marks_along(axis, _):
    simulations.along(axis, simulated(), "k", "hard_error", 2)
    simulations.marks(axis, 0.3, [0.2], "#0072B2", across=False)


def traces(axis, _):
    simulations.traced(axis, simulated(), "training_loss", "#0072B2")


def the_story(axis, _):
    overview.responses(axis, simulated().query("k == 8"))


def the_storys_errors(axis, _):
    overview.errors(axis, simulated())


def many_bars(axis, _):
    """Of three places the middle one has an interval."""
    axis.errorbar([1, 2, 3], [4, 5, 6], [[np.nan, 1, np.nan]] * 2, fmt="o")
    found = numbers.table(axis.figure, {})
    assert found[["x", "y"]].to_numpy().tolist() == [[1, 4], [2, 5], [3, 6]]
    assert found["y_low"].dropna().tolist() == [4]
    axis.clear()
    axis.errorbar([1, 2], [4, 5], [[np.nan, np.nan]] * 2, fmt="none")


DRAWN = [errors_of_arms, stages_of_arms, classes_of_arms, accuracy_of_levels, gains_by_fifth]
DRAWN += [marks_along, traces, the_story, the_storys_errors, many_bars]


@pytest.mark.fault(
    "runs of one seed in a figure ({draw})",
    "drawn and read back: means, no intervals, and no number that is none",
)
@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
@pytest.mark.filterwarnings("error")
def test_one_seed_is_drawn_without_intervals(draw, study):
    one = replace(study, runs=study.runs[study.runs["seed"] == 0])
    axis = plt.subplots()[1]
    draw(axis, one)
    axis.figure.canvas.draw()
    table = numbers.table(axis.figure, house_style.COLOURS)
    written = numbers.table(axis.figure, house_style.COLOURS).to_csv(index=False)
    assert "nan" not in written.lower()
    words = [text.get_text() for text in axis.texts]
    assert not any("nan" in word for word in words)
    intervals = table[table["mark"] == "interval"] if len(table) else table
    for column in {"x_low", "x_high", "y_low", "y_high"} & set(intervals):
        assert intervals[column].isna().all()
    saw(f"{len(table)} rows, no ends of intervals")
    plt.close(axis.figure)


def test_one_seed_is_said_without_an_interval():
    (row,) = mechanism.effects(pd.DataFrame(fifths.rows("leaf", "both", 0.1)))
    assert "(" not in row["effect, points"] and row["seeds"] == 1
    assert spoken.points([0.06]) == "+6.0"
    assert spoken.per_cent([0.06]) == "6.0%"
    assert spoken.with_half([0.06]) == "0.06"
