"""Intervals, paired differences and corrections, against scipy and against sums done by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from granularity.analysis import selection, statistics

errors = st.floats(0, 1)
samples = st.lists(errors, min_size=2, max_size=12)


@given(samples, st.sampled_from([0.8, 0.95, 0.99]))
def test_interval_is_scipys_t_interval(values, level):
    mean, low, high = statistics.interval(values, level)
    scale = scipy.stats.sem(values)
    wanted = (
        (mean, mean)
        if scale == 0
        else scipy.stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=scale)
    )
    assert (low, high) == pytest.approx(wanted, abs=1e-12)


def test_interval_by_hand():
    # mean 2, deviation 1, standard error 1/√3, and t(2 degrees, 97.5 %) = 4.30265 from any table
    mean, low, high = statistics.interval([1, 2, 3])
    assert (mean, low, high) == pytest.approx(
        (2, 2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-5
    )


def test_interval_of_one_value_or_none():
    assert statistics.interval([0.5])[0] == 0.5
    assert all(map(math.isnan, statistics.interval([0.5])[1:]))
    assert all(map(math.isnan, statistics.interval([])))
    assert all(map(math.isnan, statistics.interval([0.1, math.nan])))


@given(st.lists(errors, min_size=2, max_size=12, unique=True))
def test_p_value_and_interval_agree(values):
    shifted = np.array(values) - 0.5
    _, low, high = statistics.interval(shifted)
    p = statistics.p_value(shifted)
    if abs(p - 0.05) > 1e-6:
        assert (p < 0.05) == (low > 0 or high < 0)


def test_p_value_without_spread():
    assert statistics.p_value([0.25, 0.25, 0.25]) == 0
    assert statistics.p_value([0, 0, 0]) == 1
    assert math.isnan(statistics.p_value([0.25]))


def test_holm_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04; times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, the last to 0.06
    adjusted = statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]


def test_holm_counts_what_was_not_run():
    assert statistics.holm({"a": 0.02, "b": math.nan, "c": math.nan}) == pytest.approx(
        {"a": 0.06, "b": 1, "c": 1}
    )
    assert statistics.holm({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = statistics.holm(p_values)
    for name, p in p_values.items():
        assert p - 1e-12 <= adjusted[name] <= 1
        assert adjusted[name] <= len(p_values) * p + 1e-12
    by_old, by_new = sorted(p_values, key=p_values.get), sorted(adjusted.values())
    assert [adjusted[name] for name in by_old] == by_new


def two_arms(first, second) -> pd.DataFrame:
    rows = [{"labels": "a", "seed": s, "error": e} for s, e in enumerate(first)]
    rows += [{"labels": "b", "seed": s, "error": e} for s, e in enumerate(second)]
    return pd.DataFrame(rows)


A, B = {"labels": "a"}, {"labels": "b"}


def test_paired_difference_by_hand():
    runs = two_arms([0.30, 0.40, 0.50], [0.20, 0.35])  # seed 2 has no partner
    found = selection.paired_difference(runs, "error", A, B)
    assert found.to_dict() == pytest.approx({0: 0.10, 1: 0.05})


@given(st.lists(st.tuples(errors, errors), min_size=2, max_size=9), errors, st.randoms())
def test_shifting_both_arms_or_shuffling_rows_changes_nothing(pairs, shift, rng):
    runs = two_arms(*zip(*pairs, strict=True))
    plain = selection.paired_difference(runs, "error", A, B)
    order = list(range(len(runs)))
    rng.shuffle(order)
    shifted = runs.iloc[order].assign(error=lambda r: r["error"] + shift)
    moved = selection.paired_difference(shifted, "error", A, B)
    assert list(moved.index) == list(plain.index)
    assert moved.to_numpy() == pytest.approx(plain.to_numpy(), abs=1e-12)


@pytest.mark.fault("two runs of one seed in one arm", "refused: they are not two seeds")
def test_two_runs_of_one_seed_are_refused_and_the_same_run_twice_is_not():
    runs = two_arms([0.3, 0.4], [0.2, 0.2]).assign(fingerprint=["p", "q", "r", "s"])
    again = pd.concat([runs, runs])
    assert len(selection.paired_difference(again, "error", A, B)) == 2
    other = runs.assign(fingerprint=["t", "u", "v", "w"], epochs=40)
    with pytest.raises(statistics.Unfit, match="seed 0 has several runs"):
        selection.paired_difference(pd.concat([runs, other]), "error", A, B)


def test_rows_without_a_fingerprint_are_not_the_same_run():
    runs = two_arms([0.3, 0.4], [0.2, 0.2])
    beside = pd.concat([runs, pd.DataFrame([{"arm": "c", "seed": 0, "fingerprint": "p"}])])
    found = selection.paired_difference(beside, "error", A, B)
    assert found.to_numpy() == pytest.approx([0.1, 0.2])


@pytest.mark.fault("an arm of a comparison without runs", "refused by name")
def test_an_arm_without_runs_is_named():
    with pytest.raises(statistics.Unfit, match="'second'"):
        selection.paired_difference(two_arms([0.1], []), "error", A, B)


def test_fitted_change_by_hand():
    # On 1, 2, 4 classes the errors 0.3, 0.2, 0.1 fall by 0.1 a doubling, so by 0.2 over the range.
    rows = [
        {"seed": s, "classes": 2**i, "error": 0.3 - 0.1 * i + s} for s in (0, 1) for i in range(3)
    ]
    found = selection.fitted_change(pd.DataFrame(rows), "error", "classes")
    assert found.to_dict() == pytest.approx({0: -0.2, 1: -0.2})
    with pytest.raises(statistics.Unfit, match="three values"):
        selection.fitted_change(pd.DataFrame(rows[:2]), "error", "classes")


def test_mean_and_deviation_by_hand():
    # mean 0.30; squares of the differences 0.01, 0, 0.01, so 0.02 over two, and its root
    assert statistics.spread([0.2, 0.3, 0.4]) == pytest.approx((0.3, 0.1))
    mean, deviation = statistics.spread([0.25])
    assert mean == 0.25 and math.isnan(deviation)
    assert all(map(math.isnan, statistics.spread([])))


# A table of errors with its statistics worked out by hand:
#   seed        0      1      2     mean   deviation
#   baseline  0.40   0.50   0.60    0.50      0.10
#   family    0.30   0.45   0.45    0.40      0.0866 = √((0.01 + 0.0025 + 0.0025) / 2)
#   random    0.50   0.60     –     0.55      0.0707 = √(0.005)
#   gain of family: 0.10, 0.05, 0.15; mean 0.10, a fifth of the baseline's 0.50
#   gain of random: -0.10, -0.10; over the baseline's 0.45 on these two seeds -0.2222
ERRORS = {"baseline": [0.40, 0.50, 0.60], "family": [0.30, 0.45, 0.45], "random": [0.50, 0.60]}
TABLE = pd.DataFrame(
    [
        {"arm": arm, "seed": seed, "error": error}
        for arm, errors in ERRORS.items()
        for seed, error in enumerate(errors)
    ]
)
BASELINE, FAMILY, RANDOM = ({"arm": arm} for arm in ERRORS)


def test_mean_and_deviation_of_the_table():
    found = {arm: statistics.spread(group["error"]) for arm, group in TABLE.groupby("arm")}
    assert found["baseline"] == pytest.approx((0.5, 0.1))
    assert found["family"] == pytest.approx((0.4, 0.0866), abs=1e-4)
    assert found["random"] == pytest.approx((0.55, 0.0707), abs=1e-4)


def test_gains_of_the_table():
    found = selection.gains(TABLE, "error", "baseline")
    assert found["baseline"].tolist() == [0, 0, 0]
    assert found["family"].tolist() == pytest.approx([0.10, 0.05, 0.15])
    assert found["random"].tolist()[:2] == pytest.approx([-0.10, -0.10])
    assert math.isnan(found["random"][2])
    with pytest.raises(statistics.Unfit, match="'target'"):
        selection.gains(TABLE, "error", "target")
    with pytest.raises(statistics.Unfit, match="'family': seed 0"):
        selection.gains(pd.concat([TABLE, TABLE[TABLE["arm"] == "family"]]), "error", "baseline")


def test_relative_reduction_of_the_table():
    found = selection.relative_reduction(TABLE, "error", BASELINE, FAMILY)
    assert found.to_dict() == pytest.approx({0: 0.2, 1: 0.1, 2: 0.3})
    assert found.mean() == pytest.approx(1 - 0.40 / 0.50)
    worse = selection.relative_reduction(TABLE, "error", BASELINE, RANDOM)
    assert worse.to_dict() == pytest.approx({0: -0.1 / 0.45, 1: -0.1 / 0.45})
    with pytest.raises(statistics.Unfit, match="nothing to reduce"):
        selection.relative_reduction(TABLE.assign(error=0.0), "error", BASELINE, FAMILY)


def test_class_errors_by_hand():
    # class 0: one of two wrong; class 1: none of one; class 2 has no image; class 3: both wrong
    rank, label = np.array([0, 3, 0, 1, 2]), np.array([0, 0, 1, 3, 3])
    found = statistics.class_errors(rank, label, 4)
    assert found[[0, 1, 3]].tolist() == [0.5, 0, 1]
    assert math.isnan(found[2])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
@settings(deadline=None)  # scipy's first call takes its time
def test_rank_correlation_is_scipys(pairs):
    first, second = zip(*pairs, strict=True)
    found = statistics.rank_correlation(first, second)
    if len(set(first)) < 2 or len(set(second)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(first, second).statistic, abs=1e-12)


def test_an_interval_of_correlations_ends_where_they_do():
    # mean 0.8, deviation 0.2, t(2) = 4.30265: 0.8 ± 0.4968 reaches beyond 1
    found = statistics.correlation_interval([0.6, 0.8, 1.0])
    assert found == pytest.approx((0.8, 0.8 - 0.2 * 4.30265 / 3**0.5, 1), abs=1e-5)
    assert statistics.correlation_interval([-1, -1, -1]) == (-1, -1, -1)
    assert math.isnan(statistics.correlation_interval([0.5])[1])


def test_rank_correlations_by_hand():
    # Seed 0: measure 1, 2, 3, 4 and outcome in the same order: 1. Seed 1: the last two places
    # change, so Σd² = 2 and 1 - 6·2 / (4·15) = 0.8. Without the first or the second arm seed 1 has
    # 1 - 6·2 / (3·8) = 0.5, so a mean of 0.75; without one of the last two all is in order.
    rows = [
        {"arm": arm, "seed": seed, "measure": place, "gain": gain}
        for seed, gains in enumerate(([10, 20, 30, 40], [10, 20, 40, 30]))
        for place, (arm, gain) in enumerate(zip("abcd", gains, strict=True), 1)
    ]
    only_here = {"arm": "e", "seed": 0, "measure": 5, "gain": -1}  # an arm that seed 1 lacks
    table = pd.DataFrame([*rows, only_here])
    seeds, left_out = statistics.rank_correlations(table, "measure", "gain")
    assert seeds.to_dict() == pytest.approx({0: 1, 1: 0.8})
    assert left_out == pytest.approx((0.75, 1))
    with pytest.raises(statistics.Unfit, match="four at least"):
        statistics.rank_correlations(table[table["arm"].isin(["a", "b", "c"])], "measure", "gain")
    with pytest.raises(statistics.Unfit, match="twice"):
        statistics.rank_correlations(pd.concat([table, table]), "measure", "gain")


@pytest.mark.parametrize(
    ("value", "wanted", "equal"),
    [
        (0.0353553, 0.05 / 2**0.5, True),
        (0.0353, 0.0354, False),
        (20001, 20000, False),
        (8.0, 8, True),  # a column with gaps holds its integers as floats
        (np.int64(8), 8, True),
        (True, 1, False),
        (np.bool_(True), True, True),
        ("fine", "fine", True),
        (math.nan, 8, False),
        (None, "fine", False),
        ([8, 9], 8, False),
    ],
)
def test_same(value, wanted, equal):
    assert selection.same(value, wanted) is equal


@pytest.mark.parametrize(("effect", "seeds"), [(0.02, 5), (0.014, 7), (0.01, 10), (0.006, 24)])
def test_the_seeds_that_are_needed_suffice_and_one_less_does_not(effect, seeds):
    """Against drawn studies: how often is a true effect found?"""
    assert statistics.seeds_needed(0.01, effect) == seeds
    rng = np.random.default_rng(3)
    found = {}
    for number in (seeds - 1, seeds):
        drawn = rng.normal(effect, 0.01, (20_000, number))
        error = drawn.std(axis=1, ddof=1) / np.sqrt(number)
        limit = scipy.stats.t.ppf(0.975, number - 1)
        found[number] = (drawn.mean(axis=1) / error > limit).mean()
    assert found[seeds - 1] < 0.81
    assert found[seeds] > 0.79


@pytest.mark.parametrize(("spread", "effect"), [(0, 0.01), (0.01, 0), (-1, 0.01)])
def test_no_effect_needs_no_seeds(spread, effect):
    with pytest.raises(ValueError, match="must be above 0"):
        statistics.seeds_needed(spread, effect)
