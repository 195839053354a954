"""Verdicts on claims: rules that were written before the runs, applied to the table of runs."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from granularity import fixed
from granularity.analysis import (
    Unfit,
    by_seed,
    contrast,
    fitted_change,
    holm,
    interval,
    once,
    p_value,
    select,
)
from granularity.claims import Condition, Rule

REPRODUCED, NOT_REPRODUCED, PARTLY = "reproduced", "not reproduced", "partly"
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
    p: float = math.nan  # of no effect, two-sided; Holm's correction is applied by `judge`
    parts: Mapping[str, "Verdict"] = field(default_factory=dict)


def verdict(rule: Rule, runs: pd.DataFrame, size: str) -> Verdict:
    """What the runs of one size say about a claim, by its rule.

    A size that the rule does not name has numbers and no verdict: "machinery only". Runs that are
    not what the rule is about, or any rule at this size, are left out, and the reason says why.
    """
    runs = runs[runs["kind"] == rule.records] if "kind" in runs else runs
    if rule.kind == "parts":
        demands = {name: (*rule.fixed, *part.fixed) for name, part in rule.parts.items()}
        made = {
            name: verdict(replace(part, fixed=demands[name], scales=rule.scales), runs, size)
            for name, part in rule.parts.items()
        }
        return combine(made)
    if rule.cells:
        made = {}
        for values in itertools.product(*rule.cells.values()):
            cell = dict(zip(rule.cells, values, strict=True))
            label = ", ".join(f"{column} {value}" for column, value in cell.items())
            made[label.replace("_", " ")] = verdict(
                replace(rule, cells={}), select(runs, cell), size
            )
        return combine(made)
    scale = rule.scales.get(size, ())
    runs, left_out = fixed.parted(runs, rule.arms.values() or [{}], rule.fixed, scale)
    judged = APPLY[rule.kind](rule, runs)
    if left_out:
        judged = replace(judged, reason=f"{judged.reason}; {left_out}")
    if judged.word == NOT_RUN or size in rule.sizes:
        return judged
    allowed = listed(rule.sizes)
    return replace(judged, word=MACHINERY, reason=f"only {allowed} runs can decide this claim")


def listed(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def judge(
    rules: Mapping[str, Rule], runs: pd.DataFrame, size: str, level: float = 0.05
) -> dict[str, Verdict]:
    """The verdicts on all claims, with Holm's correction over the primary contrasts.

    A primary contrast that reproduces its claim alone but not among all of them is undecided.
    """
    found = {name: verdict(rule, runs, size) for name, rule in rules.items()}
    p_values = {}
    for name, rule in rules.items():
        p_values |= primary(rule, found[name], name)
    adjusted = holm(p_values)
    return {name: corrected(found[name], name, adjusted, level) for name in found}


def primary(rule: Rule, found: Verdict, name: str) -> dict[str, float]:
    """The p-values of a claim's primary contrasts, by the path of their parts and cells."""
    if found.parts:
        made = {}
        for part, below in found.parts.items():
            made |= primary(rule.parts.get(part, rule), below, f"{name}/{part}")
        return made
    return {name: found.p} if rule.family == "primary" and rule.kind != "bound" else {}


def corrected(found: Verdict, name: str, adjusted: Mapping[str, float], level: float) -> Verdict:
    """A verdict after the correction, part by part."""
    if found.parts:
        made = {
            part: corrected(v, f"{name}/{part}", adjusted, level) for part, v in found.parts.items()
        }
        return found if found.word == MACHINERY else combine(made)
    if name in adjusted and found.word == REPRODUCED and adjusted[name] >= level:
        reason = f"alone it would hold, but not among {len(adjusted)} contrasts (Holm)"
        return replace(found, word=UNDECIDED, reason=reason)
    return found


def combine(parts: Mapping[str, Verdict]) -> Verdict:
    """One verdict from those of a claim's parts or cells; "partly" where they differ."""
    words = {found.word for found in parts.values()}
    seeds = min(found.seeds for found in parts.values())
    if len(words) == 1:
        word = words.pop()
        reasons = dict.fromkeys(found.reason for found in parts.values())
        told = [f"{n}: {found.word if found.parts else found.reason}" for n, found in parts.items()]
        reason = next(iter(reasons)) if len(reasons) == 1 else "; ".join(told)
        if word in (REPRODUCED, NOT_REPRODUCED):
            reason = f"all {len(parts)} parts agree"
    elif MACHINERY in words:
        word, reason = MACHINERY, next(v.reason for v in parts.values() if v.word == MACHINERY)
    else:
        both = {REPRODUCED, NOT_REPRODUCED} <= words or PARTLY in words
        word = PARTLY if both else UNDECIDED
        reason = "; ".join(f"{name}: {found.word}" for name, found in parts.items())
    return Verdict(word, reason, seeds, parts=dict(parts))


def decided(values: pd.Series, rule: Rule) -> Verdict:
    """The verdict on one effect whose positive sign is the paper's direction."""
    mean, low, high = interval(values, rule.interval)
    smallest = rule.smallest_effect
    if len(values) < rule.seeds:
        word, reason = UNDECIDED, few(len(values), rule)
    elif low > 0 and mean >= smallest:
        word, reason = REPRODUCED, f"the interval is above 0, its mean not below {smallest:g}"
    elif high < smallest:
        word, reason = NOT_REPRODUCED, f"the whole interval is below {smallest:g}"
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
        read = once(select(runs, rule.arms[gate.arm]) if gate.arm else runs)
        said = read[gate.metric].dropna() if gate.metric in read else read.iloc[:0]
        if said.empty or len(said) < len(read):
            return f"regime not reached: {len(said)} of {len(read)} runs say '{gate.metric}'"
        mean = float(said.mean())
        if not mean <= gate.at_most:
            return f"regime not reached: {gate.metric} is {mean:.3g}, not {gate.at_most:g} or less"
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


def apply_contrast(rule: Rule, runs: pd.DataFrame) -> Verdict:
    """A weighted sum of arms, paired by seed."""
    return judged_effect(rule, runs, lambda: contrast(runs, rule.metric, rule.arms, rule.effect))


def apply_slope(rule: Rule, runs: pd.DataFrame) -> Verdict:
    """The change of a metric along a column, over all arms but the gate's; each must have runs."""
    gated = {gate.arm for gate in rule.gate}
    on_line = {name: select(runs, arm) for name, arm in rule.arms.items() if name not in gated}

    def values() -> pd.Series:
        if lacking := [name for name, found in on_line.items() if found.empty]:
            raise Unfit(f"no run of arm '{lacking[0]}'")
        return fitted_change(pd.concat(on_line.values()), rule.metric, rule.along)

    return judged_effect(rule, runs, values)


def apply_placebo(rule: Rule, runs: pd.DataFrame) -> Verdict:
    """An effect above zero and above its placebo, where the judge favours nobody.

    A placebo that errs more on the whole can lose only images that the reference gets right, which
    are easy ones, and so has an effect without any gain: to lie above it is hard, and not to lie
    above it refutes nothing.
    """
    found = judged_effect(rule, runs, lambda: contrast(runs, rule.metric, rule.arms, {"effect": 1}))
    if found.word == NOT_RUN or found.seeds < rule.seeds or gate_failure(rule, runs):
        return found
    sign = 1 if rule.direction == "above" else -1
    try:
        harmed = bool(rule.overall) and loses(rule, runs, sign)
        placebo = sign * contrast(runs, rule.metric, rule.arms, {"placebo": 1})
        null = sign * contrast(runs, rule.metric, rule.arms, {"null": 1})
        beyond = sign * contrast(runs, rule.metric, rule.arms, {"effect": 1, "placebo": -1})
    except Unfit as reason:
        return replace(found, word=UNDECIDED, reason=str(reason))
    if min(len(placebo), len(null), len(beyond)) < rule.seeds:
        return replace(found, word=UNDECIDED, reason="too few seeds of the placebo or the null")
    _, null_low, null_high = interval(null, rule.interval)
    if not null_low <= 0 <= null_high:
        return replace(found, word=UNDECIDED, reason="the judge favours an arm: the null is not 0")
    if found.word == NOT_REPRODUCED:
        return found
    if interval(beyond, rule.interval)[2] < rule.smallest_effect:
        if harmed:
            told = "no larger than with the placebo, which had little to lose on hard images"
            return replace(found, word=UNDECIDED, reason=told)
        return replace(found, word=NOT_REPRODUCED, reason="no larger than with the placebo")
    if found.word == REPRODUCED and not found.low > interval(placebo, rule.interval)[2]:
        return replace(found, word=UNDECIDED, reason="its interval and the placebo's overlap")
    return found


def loses(rule: Rule, runs: pd.DataFrame, sign: int) -> bool:
    """Whether the placebo errs more than its reference on the whole."""
    whole = sign * contrast(runs, rule.overall, rule.arms, {"placebo": 1})
    return interval(whole, rule.interval)[2] < 0


def apply_bound(rule: Rule, runs: pd.DataFrame) -> Verdict:
    """Limits and trends at some settings: all must hold, and one that fails refutes."""
    (arm,) = rule.arms.values() or ({},)
    groups = [select(runs, {**arm, **setting}) for setting in rule.settings]
    names = [", ".join(f"{k} {v:g}" for k, v in s.items()) for s in rule.settings]
    if all(group.empty for group in groups):
        if select(runs, arm).empty:
            return Verdict(NOT_RUN, "no run yet")
        return Verdict(NOT_RUN, f"runs at none of the {len(names)} settings that the rule wants")
    lacking = [name for name, group in zip(names, groups, strict=True) if group.empty]
    if lacking:
        return Verdict(UNDECIDED, f"no run at {lacking[0]} (of {len(groups)} settings)")
    try:
        seeds = min(
            len(by_seed(g, c.metric)) for g in groups for c in rule.conditions if not c.until
        )
        if seeds < rule.seeds:
            return Verdict(UNDECIDED, few(seeds, rule), seeds)
        for name, group in zip(names, groups, strict=True):
            if failure := gate_failure(replace(rule, arms={}), group):
                return Verdict(UNDECIDED, f"{failure} ({name})", seeds)
        answers = [holds(c, groups, rule) for c in rule.conditions]
    except Unfit as reason:
        return Verdict(UNDECIDED, str(reason))
    mean, low, high = interval(by_seed(groups[-1], rule.conditions[0].metric), rule.interval)
    words = [describe(c) for c in rule.conditions]
    failed = [w for w, answer in zip(words, answers, strict=True) if answer is False]
    unclear = [w for w, answer in zip(words, answers, strict=True) if answer is None]
    if failed:
        return Verdict(NOT_REPRODUCED, f"fails: {failed[0]}", seeds, mean, low, high)
    if unclear:
        return Verdict(UNDECIDED, f"unclear: {unclear[0]}", seeds, mean, low, high)
    return Verdict(REPRODUCED, f"all {len(words)} conditions hold", seeds, mean, low, high)


def describe(condition: Condition) -> str:
    """A condition in words."""
    where = "" if condition.at == "every" else " at the last setting"
    if condition.trend:
        return f"{condition.metric} {condition.trend}"
    limit = condition.at_most if condition.at_least is None else condition.at_least
    side = "at most" if condition.at_least is None else "at least"
    return f"{condition.metric} {side} {limit:g}{where}"


def holds(condition: Condition, groups: Sequence[pd.DataFrame], rule: Rule) -> bool | None:
    """Whether a condition holds, fails, or (None) cannot be told from these runs' intervals."""
    if condition.trend:
        return trend_holds(condition, groups, rule)
    answers = []
    for group in groups if condition.at == "every" else groups[-1:]:
        if condition.until is None:
            samples = [by_seed(group, condition.metric)]
        else:
            samples = along_curve(group, condition)
        for values in samples:
            _, low, high = interval(values, rule.interval)
            if condition.at_least is None:
                answers.append(at_most(low, high, condition.at_most))
            else:
                answers.append(at_most(-high, -low, -condition.at_least))
    return False if False in answers else None if None in answers else True


def at_most(low: float, high: float, limit: float) -> bool | None:
    """Whether an interval lies at or below a limit (True), above it (False), or across it."""
    return True if high <= limit else False if low > limit else None


def trend_holds(condition: Condition, groups: Sequence[pd.DataFrame], rule: Rule) -> bool | None:
    """Whether a metric rises (falls) by no more than the tolerance from first to last setting.

    The two settings are paired by seed. Raises Unfit where they share fewer than the rule wants.
    """
    first, last = (by_seed(group, condition.metric) for group in (groups[0], groups[-1]))
    change = (last - first).dropna() * (1 if condition.trend == "not rising" else -1)
    if len(change) < rule.seeds:
        raise Unfit(f"first and last setting share {few(len(change), rule)}")
    _, low, high = interval(change, rule.interval)
    return at_most(low, high, condition.tolerance)


def along_curve(group: pd.DataFrame, condition: Condition) -> list[list[float]]:
    """Values over seeds at each logged step of the stretch that `until` describes.

    The stretch is that of the slowest run, for all. Raises Unfit where a run never meets the
    curve's limit or ends before the stretch does, and where runs were logged at different steps.
    """
    until, logged, met = condition.until, [], []
    for curves in once(group)["curves"]:
        missing = {"step", until["curve"], condition.metric} - set(curves)
        if missing:
            raise Unfit(f"a run has no curve '{min(missing)}'")
        step = first_below(curves, until["curve"], until["at_most"])
        if step is None:
            raise Unfit(f"regime not reached: {until['curve']} stays above {until['at_most']:g}")
        met.append(step)
        logged.append(dict(zip(curves["step"], curves[condition.metric], strict=True)))
    end = until["times"] * max(met)
    shortest = min(max(values) for values in logged)
    if shortest < end:
        raise Unfit(f"a run ends at step {shortest:g}, and the rule follows it to {end:g}")
    steps = [[step for step in values if step <= end] for values in logged]
    if any(other != steps[0] for other in steps):
        raise Unfit("the runs were logged at different steps")
    return [[values[step] for values in logged] for step in steps[0]]


def first_below(curves: Mapping[str, Sequence[float]], curve: str, limit: float) -> float | None:
    """The first logged step at which a curve is `limit` or less, or None."""
    below = np.flatnonzero(np.asarray(curves[curve]) <= limit)
    return curves["step"][below[0]] if len(below) else None


APPLY = {
    "contrast": apply_contrast,
    "slope": apply_slope,
    "bound": apply_bound,
    "placebo": apply_placebo,
}
