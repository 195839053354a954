"""What runs say: intervals over seeds, differences between arms, corrections for many of them.

Everything takes plain numbers or the table of runs that `records.table` returns.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import nctdtr, stdtr, stdtrit  # Student's t; scipy.stats takes a second to load


class Unfit(ValueError):
    """Runs that cannot answer a question; the message is the reason that the reader is given."""


def interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent runs and its two-sided t interval, as (mean, low, high).

    One value alone has a mean and no interval: (mean, nan, nan). No value at all gives three nans.
    A nan among the values is a run without a result and makes all three nan.
    """
    array = np.asarray(list(values), dtype=float)
    if array.size == 0:
        return math.nan, math.nan, math.nan
    mean = float(array.mean())
    if array.size < 2:
        return mean, math.nan, math.nan
    quantile = stdtrit(array.size - 1, 0.5 + level / 2)
    half = float(quantile * array.std(ddof=1) / math.sqrt(array.size))
    return mean, mean - half, mean + half


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean of independent runs and their standard deviation, that of a sample (n - 1).

    One value alone has no deviation: (mean, nan). No value at all gives two nans.
    """
    array = np.asarray(list(values), dtype=float)
    mean = float(array.mean()) if array.size else math.nan
    return mean, float(array.std(ddof=1)) if array.size > 1 else math.nan


def p_value(values: Iterable[float]) -> float:
    """Two-sided p-value of a mean of zero, by Student's t; nan below two values.

    Values that are all equal have no spread: p is 0 where they differ from zero, else 1.
    """
    array = np.asarray(list(values), dtype=float)
    if array.size < 2:
        return math.nan
    spread = array.std(ddof=1) / math.sqrt(array.size)
    if spread == 0:
        return float(array.mean() == 0)
    return float(2 * stdtr(array.size - 1, -abs(array.mean() / spread)))


def seeds_needed(
    spread: float, effect: float, power: float = 0.8, level: float = 0.05, most: int = 1000
) -> int:
    """How many seeds a paired t-test takes to see an effect with so much power (O).

    `spread` is the standard deviation of the difference within a seed, `effect` its true mean.
    Raises ValueError where no effect or no spread is given; more than `most` seeds count as `most`.
    """
    if not (spread > 0 and effect > 0):
        raise ValueError(f"spread ({spread}) and effect ({effect}) must be above 0")
    for seeds in range(2, most):
        limit = stdtrit(seeds - 1, 1 - level / 2)
        shift = effect / spread * math.sqrt(seeds)
        if 1 - nctdtr(seeds - 1, shift, limit) >= power:
            return seeds
    return most


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: p-values that may each be held against the common level.

    A nan is a contrast that has not been run. It counts in the family, as 1, so that a verdict
    does not change because another contrast is run later or left out.
    """
    known = {name: 1.0 if math.isnan(p) else p for name, p in p_values.items()}
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(known, key=known.__getitem__)):
        largest = max(largest, min(1.0, (len(known) - rank) * known[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


# ------------------------------------------------------------------------------ runs of an arm


def select(runs: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The runs whose columns have these values (see `same`); none where a column is missing."""
    keep = np.ones(len(runs), dtype=bool)
    for column, wanted in where.items():
        if column not in runs:
            return runs.iloc[:0]
        keep &= np.array([same(value, wanted) for value in runs[column]], dtype=bool)
    return runs[keep]


def same(value: Any, wanted: Any) -> bool:
    """Equality of plain values. Fractions agree to three digits; True is never 1."""
    value = plain(value)
    if isinstance(value, bool) or isinstance(wanted, bool) or type(wanted) not in (int, float):
        return type(value) is type(wanted) and value == wanted
    if not isinstance(value, (int, float)):
        return False
    whole = float(value).is_integer() and float(wanted).is_integer()
    return value == wanted if whole else math.isclose(value, wanted, rel_tol=1e-3)


def plain(value: Any) -> Any:
    """A NumPy number as Python's own; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def once(runs: pd.DataFrame) -> pd.DataFrame:
    """Each run once, by its fingerprint; rows that are worked out of several runs have none."""
    if "fingerprint" not in runs:
        return runs
    return runs[runs["fingerprint"].isna() | ~runs["fingerprint"].duplicated()]


def by_seed(runs: pd.DataFrame, metric: str, name: str = "runs") -> pd.Series:
    """One value a seed, sorted. Raises Unfit where a seed has two runs: they are not one arm.

    The same run read twice (equal fingerprints) counts once; a run without a result is left out.
    """
    runs = once(runs)
    if metric not in runs:
        return pd.Series(dtype=float)
    twice = runs["seed"][runs["seed"].duplicated()]
    if len(twice):
        raise Unfit(
            f"{name}: seed {twice.iloc[0]} has several runs that the rule does not tell apart"
        )
    return runs.set_index("seed")[metric].astype(float).dropna().sort_index()


def contrast(
    runs: pd.DataFrame,
    metric: str,
    arms: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, float],
) -> pd.Series:
    """The weighted sum of a metric over arms, within each seed that all of these arms have.

    Raises Unfit, naming the arm, where one has no run or a seed has two.
    """
    columns = {}
    for name in weights:
        chosen = select(runs, arms[name])
        columns[name] = by_seed(chosen, metric, f"arm '{name}'")
        if columns[name].empty:
            lacking = f" has '{metric}'" if len(chosen) else ""
            raise Unfit(f"no run of the arm '{name}'{lacking}")
    paired = pd.concat(columns, axis=1, join="inner")
    return (paired * pd.Series(weights)).sum(axis=1)


def paired_difference(
    runs: pd.DataFrame, metric: str, first: Mapping[str, Any], second: Mapping[str, Any]
) -> pd.Series:
    """`metric` of the first arm minus that of the second, by seed."""
    return contrast(runs, metric, {"first": first, "second": second}, {"first": 1, "second": -1})


def fitted_change(runs: pd.DataFrame, metric: str, along: str) -> pd.Series:
    """By how much a line through each seed's runs changes `metric` over the range of log2(along).

    In the metric's own unit, so that one smallest effect serves contrasts and slopes. Seeds that
    lack a value of `along` are left out. Raises Unfit below three values of it.
    """
    runs = once(runs)
    if runs.empty or metric not in runs or along not in runs:
        raise Unfit(f"no run with '{metric}' and '{along}'")
    if runs.duplicated(["seed", along]).any():
        raise Unfit(f"a seed has several runs with the same '{along}'")
    wide = runs.pivot(index="seed", columns=along, values=metric).dropna()
    if wide.shape[1] < 3:
        raise Unfit(f"a slope needs three values of '{along}', here are {wide.shape[1]}")
    x = np.log2(wide.columns.to_numpy(dtype=float))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum() * (x.max() - x.min())
    return (wide * weights).sum(axis=1)


# --------------------------------------------------------------------- arms against a reference


def gains(runs: pd.DataFrame, metric: str, reference: str, arm: str = "arm") -> pd.DataFrame:
    """By how much each arm's error is below the reference's of the same seed: seeds × arms.

    The column `arm` names the arms; the reference's own gain is 0. A seed that an arm or the
    reference lacks is nan there. Raises Unfit where the reference has no run or a seed has two.
    """
    found = {
        name: by_seed(group, metric, f"arm '{name}'")
        for name, group in runs.groupby(arm, sort=False)
    }
    if reference not in found or found[reference].empty:
        raise Unfit(f"no run of the arm '{reference}' to compare with")
    wide = pd.concat(found, axis=1)
    return wide.rsub(wide[reference], axis=0)


def relative_reduction(
    runs: pd.DataFrame, metric: str, reference: Mapping[str, Any], compared: Mapping[str, Any]
) -> pd.Series:
    """The share of the reference's error that the compared arm does not make, by seed.

    Paired differences over the *mean* error of the reference on these seeds, so that the mean of
    the shares is the reduction of the mean errors; the paper's 8.76% is such a number. Raises
    Unfit where an arm has no run or a seed has two, or where the reference makes no error.
    """
    difference = paired_difference(runs, metric, reference, compared)
    errors = by_seed(select(runs, reference), metric).loc[difference.index]
    if not errors.mean() > 0:
        raise Unfit(f"the reference's mean {metric} is {errors.mean():g}: nothing to reduce")
    return difference / errors.mean()


def class_errors(rank: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """The share of wrong images in each class, (classes,); nan for a class without images.

    `rank` (N,) is the place of the right class in a network's outputs, 0 where it is first.
    """
    counts = np.bincount(label, minlength=classes).astype(float)
    wrong = np.bincount(label, np.asarray(rank) > 0, minlength=classes)
    return np.divide(wrong, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def rank_correlation(first: Iterable[float], second: Iterable[float]) -> float:
    """Spearman's rank correlation; equal values share the mean of their places.

    nan below three pairs, or where all values of one side are equal.
    """
    places = pd.DataFrame({"first": list(first), "second": list(second)}, dtype=float).rank()
    if len(places) < 3 or (places.nunique() < 2).any():
        return math.nan
    return float(np.corrcoef(places["first"], places["second"])[0, 1])


def correlation_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """`interval` of correlations, cut at -1 and 1: no correlation lies beyond."""
    mean, low, high = interval(values)
    return mean, *(float(np.clip(end, -1, 1)) for end in (low, high))


def rank_correlations(
    table: pd.DataFrame, measure: str, outcome: str, arm: str = "arm"
) -> tuple[pd.Series, tuple[float, float]]:
    """How a measure orders the arms as an outcome does: by seed, and with one arm left out.

    Within each seed, Spearman's correlation over the arms that all seeds have. The second part is
    the lowest and the highest mean over seeds when each arm in turn is left out: an interval over
    seeds says nothing of the choice of arms, this says something. Raises Unfit below four such
    arms, or where an arm has a seed twice.
    """
    if table.duplicated([arm, "seed"]).any():
        raise Unfit("an arm has a seed twice")
    wide = table.pivot(index="seed", columns=arm, values=[measure, outcome]).astype(float)
    wide = wide.loc[:, wide.notna().all()]
    if not {measure, outcome} <= set(wide.columns.get_level_values(0)):
        raise Unfit(f"no arm has both {measure} and {outcome} for every seed")
    arms = [name for name in wide[measure].columns if name in wide[outcome].columns]
    if len(arms) < 4:
        raise Unfit(f"{len(arms)} arms, and an order that can be compared takes four at least")

    def over(chosen: list[str]) -> pd.Series:
        pairs = zip(wide[measure][chosen].to_numpy(), wide[outcome][chosen].to_numpy(), strict=True)
        return pd.Series([rank_correlation(*pair) for pair in pairs], index=wide.index)

    left_out = [over([name for name in arms if name != other]).mean() for other in arms]
    return over(arms), (float(np.min(left_out)), float(np.max(left_out)))
