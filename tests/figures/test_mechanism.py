"""The figure of gains by hardness, against numbers calculated by hand."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from granularity.figures import mechanism

T = 12.7062047364  # Student's t of one degree of freedom, two-sided 5%, from any table


def rows(compared, judge, *seeds):
    """A table of gains: for each seed a gain in the hardest fifth, none elsewhere."""
    return [
        {"seed": seed, "compared": compared, "reference": "baseline", "judge": judge}
        | {f"gain_{fifth}": 0.0 for fifth in range(1, 5)}
        | {"gain_5": gain, "extra_gain_on_hard": gain / 2}
        for seed, gain in enumerate(seeds)
    ]


@pytest.fixture
def gains():
    """Two seeds of leaf labels and of the placebo; a second judge of the former."""
    made = rows("leaf", "both", 0.10, 0.30) + rows("random", "both", -0.02, 0.0)
    return pd.DataFrame(made + rows("leaf", "third", 0.2, 0.2))


def test_the_effects_have_the_interval_of_a_hand_computed_table(gains):
    leaf, placebo, third = mechanism.effects(gains)
    # halves of 10 and 30 points: mean 10, deviation 5√2, standard error 5
    assert leaf == {
        "compared": "leaf labels",
        "with": "baseline",
        "judged by": "both",
        "effect, points": f"+10.0 ({10 - 5 * T:+.1f} to {10 + 5 * T:+.1f})".replace("-", "−"),
        "seeds": 2,
    }
    assert (placebo["compared"], placebo["effect, points"][:4]) == ("random ids (placebo)", "−0.5")
    assert (third["judged by"], third["effect, points"]) == ("third", "+10.0 (+10.0 to +10.0)")


def test_the_quoted_effects_are_means_in_points(gains):
    found = mechanism.quoted(gains)
    assert found["effect_leaf_baseline_by_both"] == pytest.approx(10)
    assert found["effect_random_baseline_by_both"] == pytest.approx(-0.5)


def test_the_profile_shows_every_seed_mean_and_interval_of_one_judge(gains):
    figure, axis = plt.subplots()
    mechanism.profile(axis, gains, "both")
    names = axis.get_legend_handles_labels()[1]
    assert names == ["leaf labels", "random ids (placebo)"], "no null under this judge"
    seeds = [line for line in axis.lines if line.get_marker() == "."]
    assert sorted(line.get_ydata()[4] for line in seeds) == pytest.approx([-2, 0, 10, 30])
    leaf, _ = axis.containers
    assert leaf.lines[0].get_ydata().tolist() == pytest.approx([0, 0, 0, 0, 20])
    low, high = leaf.lines[2][0].get_segments()[4][:, 1]
    assert (low, high) == pytest.approx((20 - 10 * T, 20 + 10 * T))
    assert [label.get_text() for label in axis.get_xticklabels()][::4] == ["easiest", "hardest"]
    plt.close(figure)


def test_the_baselines_errors_are_columns_of_one_judge(gains):
    figure, axis = plt.subplots()
    of_seed = {0: 0.1, 1: 0.3}
    errors = {f"error_{k}": gains["seed"].map(of_seed) + 0.1 * k for k in range(1, 6)}
    errors["error_2"] = gains["judge"].map({"both": 0.5, "third": 0.9})
    mechanism.errors(axis, gains.assign(**errors), "both")
    heights = [column.get_height() for column in axis.patches]
    assert heights == pytest.approx([30, 50, 50, 60, 70])
    plt.close(figure)


def test_where_leaf_labels_gain_most_and_what_is_left_on_the_hardest():
    made = rows("leaf", "baseline and leaf", 0.02, 0.04) + rows("leaf", "third", 0.9, 0.9)
    table = pd.DataFrame(made).assign(gain_2=[0.1, 0.3, 0, 0])
    table = table.assign(**{f"error_{fifth}": 0.19 * fifth for fifth in range(1, 6)})
    found = mechanism.reach(table)
    wanted = {"most": 2, "gain": 20, "error": 38, "last_gain": 3, "last_error": 95}
    assert found == pytest.approx(wanted)
