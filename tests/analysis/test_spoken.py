"""Numbers in words: signs, digits and intervals, each against a value worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from granularity.analysis import spoken

# Two seeds: half an interval is 12.7062 · |a − b| / 2.


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.57, 0.59], "58.0% (45.3–70.7)"),
        ([0.25], "25.0%"),
        ([0.0, 0.0, 0.0], "0%"),
        ([0.0, 0.0001], "< 0.1%"),
        ([0.01, 0.05], "3.0% (0.0–28.4)"),  # no share lies below zero
        ([], "–"),
        ([0.2, math.nan], "20.0%"),
    ],
)
def test_shares_are_said_in_per_cent(values, said):
    assert spoken.per_cent(values) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.05, math.nan, 0.07], "+6.0 (−6.7 to +18.7)"),
        ([-0.031], "−3.1"),
        ([-0.0004], "0.0"),
        ([], "–"),
    ],
)
def test_differences_are_said_in_points(values, said):
    assert spoken.points(values) == said


def test_a_mean_and_its_interval_have_one_form():
    assert spoken.between([1, 2, 3], "+.2f") == "+2.00 (−0.48 to +4.48)"
    assert spoken.between([1], ".0f") == "1"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.748, 0.752], "0.750 ± 0.025"),
        ([10, 14], "12 ± 25"),
        ([0.0, 0.0], "0"),
        ([0.5, 0.5], "0.5"),
        ([3], "3"),
    ],
)
def test_half_an_interval_has_two_digits(values, said):
    assert spoken.with_half(values).replace("\N{NO-BREAK SPACE}", " ") == said


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5))
def test_nothing_is_said_as_a_negative_zero_or_with_a_hyphen(values):
    for text in (spoken.points(values), spoken.with_half(values), spoken.between(values, "+.3f")):
        assert "-" not in text
        assert not any(zero in text for zero in ("−0 ", "−0.0 ", "−0.000 ", "± 0.000"))
