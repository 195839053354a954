"""Figures of Experiment B draw the numbers of the runs, calculated here by hand."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from granularity.analysis import transfer_runs
from granularity.analysis.transfer_runs import Study
from granularity.figures import transfer

# arm → (classes, error, error before); seeds 0 and 1 lie 0.02 apart around the error
ARMS = {
    "baseline": (2, 0.40, 0.45),
    "one pass": (2, 0.50, 0.50),
    "rank:order": (4, 0.30, 0.35),
    "rank:species": (16, 0.20, 0.30),
    "random:4": (4, 0.60, 0.70),
    "instance": (64, 0.80, 0.90),
}


@pytest.fixture
def study():
    rows = [
        {
            "arm": arm,
            "kind_of_arm": transfer_runs.kind_of(arm),
            "seed": seed,
            "dataset": "toy",
            "fingerprint": f"{arm}-{seed}",
            "classes": classes,
            "target_classes": 2,
            "per_class": 64 / classes,
            "error": error + 0.02 * (seed - 0.5),
            "error_before": before,
        }
        for arm, (classes, error, before) in ARMS.items()
        for seed in (0, 1)
    ]
    label = np.array([0, 0, 1, 1])
    wrong = {"baseline": [1, 1, 1, 0], "rank:species": [1, 0, 0, 0], "random:4": [1, 1, 1, 1]}
    arrays = {
        f"{arm}-{seed}": {"rank": np.array(rank), "label": label, "classes": np.array(["b", "a"])}
        for arm, rank in wrong.items()
        for seed in (0, 1)
    }
    yield Study("Toy species", "smoke", pd.DataFrame(rows), arrays)
    plt.close("all")


@pytest.fixture
def axis():
    return plt.subplots(layout="constrained")[1]


def texts(axis):
    return [text.get_text() for text in axis.texts if text.get_text()]


def test_every_arm_stands_with_its_gain_in_points(axis, study):
    rows = transfer.rows_of(study)
    assert "baseline" not in rows and len(rows) == len(ARMS) - 1
    transfer.draw_gains(axis, study, rows, 0.01)
    means = [box.lines[0].get_xdata()[0] for box in axis.containers]
    assert means == [pytest.approx(100 * (0.40 - ARMS[arm][1])) for arm in rows]
    assert texts(axis) == [f"{ARMS[arm][0]}" for arm in rows] + ["classes"]
    band = axis.patches[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == (-1, 1)
    axis.clear()
    transfer.draw_gains(axis, study, rows[:1], 0.01, {"H, bits": ["0.50"]})
    assert texts(axis) == ["0.50", "H, bits"]


def test_every_arm_stands_before_and_after_finetuning(axis, study):
    transfer.draw_stages(axis, study)
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names[0] == "species" and names[-1] == "instance labels"
    changes = [line.get_xdata() for line in axis.lines if line.get_alpha() == 0.6]
    assert [sorted(map(float, change)) for change in changes] == [
        pytest.approx(sorted((100 * before, 100 * error)))
        for arm, (_, error, before) in sorted(ARMS.items(), key=lambda one: one[1][1])
        if arm != "one pass"  # it has no second stage
    ]


def test_a_measure_names_each_kind_of_labels_once(axis, study):
    study.runs["bits"] = study.runs["classes"] / 64
    transfer.draw_measure(axis, study, "bits", "a measure")
    assert sorted(map(str.strip, texts(axis))) == [
        "instance labels",
        "manual ranks",
        "random inside",
    ]
    assert axis.get_xlabel() == "a measure"


def test_a_map_has_a_number_in_each_cell_and_hatches_those_of_few_seeds(axis):
    gains = {(25, 15): [0.01, 0.01], (50, 15): [-0.02], (50, 40): [0.03] * 8}
    transfer.draw_map(axis, gains, 8)
    assert [text.split("\n")[0] for text in texts(axis)] == ["+1.0", "−2.0", "+3.0"]
    assert len(axis.patches) == 2


def test_classes_are_sorted_by_the_baseline(axis, study):
    transfer.draw_by_class(axis, study, str.upper)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["A", "B"]  # 0.5, then 1
    points = {
        (round(float(bar.lines[0].get_xdata()[0]), 3), round(float(bar.lines[0].get_ydata()[0]), 2))
        for bar in axis.containers
    }
    wanted = {(50, 0.22), (-50, -0.22), (50, 1.22), (0, 0.78)}
    assert points == wanted
    assert axis.get_legend_handles_labels()[1] == ["species", "random inside, 4"]
    assert texts(axis) == ["50%", "100%", "baseline's\nerror"]


def test_without_a_baseline_no_class_is_drawn(axis, study):
    alone = dataclasses.replace(study, runs=study.runs[study.runs["arm"] == "random:4"])
    transfer.draw_by_class(axis, alone, str.upper)
    assert not axis.axison and not axis.containers


def test_easy_and_hard_images_stand_in_the_order_of_the_hard_error(study, axis):
    runs = study.runs.assign(easy_error=study.runs["error"] / 10)
    runs["hard_error"] = 1 - study.runs["error"]  # the arm that is best on easy images is last
    transfer.draw_easy_hard(axis, dataclasses.replace(study, runs=runs))
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names[0] == "species" and names[-1] == "instance labels"
    easy, hard = axis.containers[: len(ARMS)], axis.containers[len(ARMS) :]
    means = [bars.lines[0].get_xdata()[0] for bars in (easy[0], easy[-1], hard[0], hard[-1])]
    assert means == pytest.approx([2, 8, 80, 20])  # per cent
    assert texts(axis) == ["easy", "hard"]
