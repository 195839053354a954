"""What the figures of several chapters share."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from granularity.analysis import transfer_runs
from granularity.figures import house_style
from granularity.labels import kind
from granularity.labels.kinds import KINDS

heights = st.lists(st.floats(-5, 5), min_size=1, max_size=9)


@given(heights, st.floats(0.01, 1))
def test_labels_lie_apart_in_the_same_order_about_the_same_middle(values, gap):
    moved = house_style.apart(values, gap)
    order = np.argsort(values, kind="stable")
    assert (np.diff(moved[order]) >= gap * (1 - 1e-6)).all()
    assert moved.mean() == pytest.approx(np.mean(values), abs=1e-9)


def test_labels_that_do_not_touch_stay():
    assert house_style.apart([0.3, 0.1, 0.7], 0.2).tolist() == [0.3, 0.1, 0.7]
    assert house_style.apart([0.5, 0.5, 2], 0.2) == pytest.approx([0.4, 0.6, 2])


def test_every_kind_of_arm_has_its_own_look():
    looks = [tuple(house_style.look(kind).values()) for kind in transfer_runs.kinds()]
    assert len(set(looks)) == len(looks) == len(KINDS) + 1  # the target in one pass too


def test_every_group_of_label_functions_has_a_look():
    assert tuple(house_style.LOOKS) == kind.GROUPS


@pytest.mark.parametrize("across", [False, True])
def test_seeds_mean_and_interval_are_drawn(across):
    figure, axis = plt.subplots()
    assert house_style.with_interval(axis, 1, [0.2, 0.3, 0.4], "random", across) == pytest.approx(
        0.3
    )
    (bar,) = axis.containers[0].lines[2]
    ends = np.sort(bar.get_segments()[0][:, 0 if across else 1])
    half = 4.3026527297 * 0.1 / 3**0.5  # t of two degrees of freedom from any table; deviation 0.1
    assert ends == pytest.approx([0.3 - half, 0.3 + half])
    assert len(axis.collections[0].get_offsets()) == 3
    plt.close(figure)


@pytest.mark.parametrize("across", [False, True])
def test_the_outermost_seed_lies_within_the_axes(across):
    figure, axis = plt.subplots()
    house_style.with_interval(
        axis, 0, [*[1.0] * 9, 5.0], "random", across
    )  # mean 1.4, interval from 0.5
    low, high = axis.get_xlim() if across else axis.get_ylim()
    assert low < 0.5 and high > 5
    plt.close(figure)
