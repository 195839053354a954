"""Rows of the table of runs: chosen by their columns, one a seed, set against each other."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from granularity.analysis.statistics import Unfit


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


def on_photographs(studies: Iterable[Any]) -> list[Any]:
    """Of some studies, which say whether they are `toy`, those on photographs; else all of them.

    Beside photographs a toy would be read as evidence: a page of its own shows what was drawn.
    """
    every = list(studies)
    return [one for one in every if not one.toy] or every


def from_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs whose networks start from their seed: without those that start from weights."""
    if "start" not in runs:
        return runs
    return runs[runs["start"].isna() | runs["start"].eq("")]


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


def first_below(curves: Mapping[str, Sequence[float]], curve: str, limit: float) -> float | None:
    """The first logged step at which a curve is `limit` or less, or None."""
    below = np.flatnonzero(np.asarray(curves[curve]) <= limit)
    return curves["step"][below[0]] if len(below) else None
