"""Rules of one effect, the contrasts and slopes, and how any effect is held against its limits."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from granularity.analysis.selection import by_seed, contrast, fitted_change, select
from granularity.analysis.statistics import Unfit, interval, p_value
from granularity.claims.gates import gate_failure
from granularity.claims.outcome import (
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    SMALLER,
    UNDECIDED,
    Verdict,
    few,
)
from granularity.claims.rules import Rule


def apply_contrast(rule: Rule, runs: pd.DataFrame) -> Verdict:
    """A weighted sum of arms, paired by seed, or the share that it is of an arm's mean error."""

    def values() -> pd.Series:
        found = contrast(runs, rule.metric, rule.arms, rule.effect)
        if not rule.relative_to:
            return found
        whole = by_seed(select(runs, rule.arms[rule.relative_to]), rule.metric).loc[found.index]
        if not whole.mean() > 0:
            raise Unfit(f"the arm '{rule.relative_to}' makes no error: nothing to be a share of")
        return found / whole.mean()

    return judged_effect(rule, runs, values)


def apply_slope(rule: Rule, runs: pd.DataFrame) -> Verdict:
    """The change of a metric along a column, over all arms but the gate's; each must have runs."""
    gated = {gate.arm for gate in rule.gate}
    on_line = {name: select(runs, arm) for name, arm in rule.arms.items() if name not in gated}

    def values() -> pd.Series:
        if lacking := [name for name, found in on_line.items() if found.empty]:
            raise Unfit(f"no run of arm '{lacking[0]}'")
        return fitted_change(pd.concat(on_line.values()), rule.metric, rule.along)

    return judged_effect(rule, runs, values)


def judged_effect(rule: Rule, runs: pd.DataFrame, values_of: Callable[[], pd.Series]) -> Verdict:
    """A verdict on an effect, with the gate; runs that cannot answer leave it undecided.

    Without a run of an arm that the effect weighs it was not run.
    """
    lacking = [name for name, where in rule.arms.items() if select(runs, where).empty]
    if len(lacking) == len(rule.arms):
        return Verdict(NOT_RUN, "no run yet")
    if needed := [name for name in rule.effect if name in lacking]:
        return Verdict(NOT_RUN, f"no run of the arm '{needed[0]}'")
    try:
        values = values_of() * (1 if rule.direction == "above" else -1)
    except Unfit as reason:
        return Verdict(UNDECIDED, str(reason))
    found, failure = decided(values, rule), gate_failure(rule, runs)
    return replace(found, word=UNDECIDED, reason=failure) if failure else found


def in_words(rule: Rule) -> str:
    """The smallest effect that a rule counts: in points, or in per cent of an arm's error."""
    size = 100 * rule.smallest_effect
    return f"{size:g}%" if rule.relative_to else f"{size:g} point{'s' * (size != 1)}"


def decided(values: pd.Series, rule: Rule) -> Verdict:
    """The verdict on one effect whose positive sign is the paper's direction."""
    mean, low, high = interval(values, rule.interval)
    smallest = rule.smallest_effect
    least = f"the smallest effect, {in_words(rule)}"
    if len(values) < rule.seeds:
        word, reason = UNDECIDED, few(len(values), rule)
    elif low > 0 and mean >= smallest:
        word, reason = REPRODUCED, f"the interval is above 0, and its mean is at least {least}"
    elif high < smallest:
        word = SMALLER if low > 0 else NOT_REPRODUCED
        reason = f"the whole interval is {'above 0 and ' * (low > 0)}below {least}"
    elif low > 0:
        word, reason = UNDECIDED, f"above 0, but the mean is below {least}"
    else:
        word, reason = UNDECIDED, f"the interval holds 0 and {least}: too wide to tell"
    return Verdict(word, reason, len(values), mean, low, high, p_value(values))
