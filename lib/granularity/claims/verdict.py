"""What a rule says of runs: a word, why, and the numbers; what all kinds of rules decide alike."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from granularity.analysis.selection import once, select
from granularity.analysis.statistics import Unfit, interval, p_value
from granularity.claims.rules import Gate, Rule

REPRODUCED, NOT_REPRODUCED, PARTLY = "reproduced", "not reproduced", "partly"
SMALLER = "smaller than the smallest effect"  # above zero, and too small to count
UNDECIDED, NOT_RUN = "undecided", "not run"
MACHINERY = "machinery only"  # runs of a size that proves no claim, whatever their numbers


@dataclass(frozen=True)
class Verdict:
    """A word, why it is that word, and the numbers it rests on (nan where there are none)."""

    word: str
    reason: str
    seeds: int = 0
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan  # of no effect, two-sided; Holm's correction is applied by `among_all`
    parts: Mapping[str, "Verdict"] = field(default_factory=dict)


def decided(values: pd.Series, rule: Rule) -> Verdict:
    """The verdict on one effect whose positive sign is the paper's direction."""
    mean, low, high = interval(values, rule.interval)
    smallest = rule.smallest_effect
    if len(values) < rule.seeds:
        word, reason = UNDECIDED, few(len(values), rule)
    elif low > 0 and mean >= smallest:
        word, reason = REPRODUCED, f"the interval is above 0, its mean not below {smallest:g}"
    elif high < smallest:
        word = SMALLER if low > 0 else NOT_REPRODUCED
        reason = f"the whole interval is {'above 0 and ' * (low > 0)}below {smallest:g}"
    elif low > 0:
        word, reason = UNDECIDED, f"above 0, but the mean is below {smallest:g}"
    else:
        word, reason = UNDECIDED, f"the interval holds 0 and {smallest:g}: too wide to tell"
    return Verdict(word, reason, len(values), mean, low, high, p_value(values))


def few(seeds: int, rule: Rule) -> str:
    """The reason of a verdict that lacks seeds."""
    return f"{seeds} seed{'s' * (seeds != 1)}, and the rule wants {rule.seeds}"


def gate_failure(rule: Rule, runs: pd.DataFrame) -> str:
    """Why the runs are not in the regime that the claim is about, or nothing.

    A run that does not say the metric may be out of it.
    """
    for gate in rule.gate:
        for name in [gate.arm] if gate.arm else rule.arms or [""]:
            read = once(select(runs, rule.arms[name]) if name else runs)
            if told := out_of_regime(gate, read):
                arm = f" by the arm '{name}'" if name and not gate.arm else ""
                return f"regime not reached{arm}: {told}"
    return ""


def out_of_regime(gate: Gate, runs: pd.DataFrame) -> str:
    """Why runs fail a gate, or nothing."""
    said = runs[gate.metric].dropna() if gate.metric in runs else runs.iloc[:0]
    if said.empty or len(said) < len(runs):
        return f"{len(said)} of {len(runs)} runs say '{gate.metric}'"
    mean = float(said.mean())
    if not mean <= gate.at_most:
        return f"{gate.metric} is {mean:.3g}, not {gate.at_most:g} or less"
    return ""


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
