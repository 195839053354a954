"""Figures of Experiment B draw the numbers of the runs, calculated here by hand."""

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


def test_a_line_joins_the_arms_of_a_kind_at_their_numbers_of_classes(axis, study):
    transfer.draw_errors(axis, study)
    joined = [line for line in axis.lines if line.get_linewidth() == 1.3]
    ranks, random, instance = (line.get_xydata().tolist() for line in joined)
    assert ranks == [pytest.approx((4, 0.30)), pytest.approx((16, 0.20))]
    assert random == [pytest.approx((4 * transfer.ASIDE, 0.60))]  # beside the rank
    assert instance == [pytest.approx((64, 0.80))]
    names = {"order", "species (manual ranks)", "random inside", "one label an image"}
    assert names | {"baseline: two stages on the target", "the same, one pass"} == set(texts(axis))
    ticks = [label.get_text() for label in axis.get_xticklabels()]
    assert ticks == ["4\n16", "16\n4", "64\n1"]


def test_the_baseline_is_a_level_with_one_deviation(axis, study):
    transfer.draw_errors(axis, study)
    level = {line.get_linestyle(): line.get_ydata()[0] for line in axis.lines}
    assert (level["--"], level[":"]) == pytest.approx((0.40, 0.50))
    band = axis.patches[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx(
        (0.40 - 0.01 * 2**0.5, 0.40 + 0.01 * 2**0.5)
    )


def test_every_arm_stands_before_and_after_finetuning(axis, study):
    transfer.draw_stages(axis, study, "error")
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names[0] == "one label an image" and names[-1] == "species"
    changes = [line.get_xdata() for line in axis.lines if line.get_alpha() == 0.6]
    assert [sorted(map(float, change)) for change in changes] == [
        pytest.approx(sorted((before, error)))
        for arm, (_, error, before) in sorted(ARMS.items(), key=lambda one: -one[1][1])
        if arm != "one pass"  # it has no second stage
    ]


def test_classes_are_sorted_by_the_baseline(axis, study):
    transfer.draw_by_class(axis, study, str.upper)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["A", "B"]  # 0.5, then 1
    points = {
        (round(float(bar.lines[0].get_xdata()[0]), 3), round(float(bar.lines[0].get_ydata()[0]), 2))
        for bar in axis.containers
    }
    wanted = {(0.5, 0.24), (0.0, 0.0), (1.0, -0.24), (1.0, 1.24), (0.5, 1.0), (1.0, 0.76)}
    assert points == wanted
    assert axis.get_legend_handles_labels()[1] == [
        "target, the baseline",
        "species",
        "random inside, 4",
    ]
