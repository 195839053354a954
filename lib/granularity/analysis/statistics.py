"""What runs say: intervals over seeds, differences between arms, corrections for many of them.

Everything takes plain numbers or the table of runs that `tables.table` returns.
"""

import math
from collections.abc import Iterable, Mapping

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


# --------------------------------------------------------------------- arms against a reference


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
