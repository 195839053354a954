"""Rules of limits and trends, at each of some settings: the theory's claims."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from granularity.analysis.selection import by_seed, first_below, once, select
from granularity.analysis.statistics import Unfit, interval
from granularity.claims.gates import gate_failure
from granularity.claims.outcome import (
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Verdict,
    few,
)
from granularity.claims.rules import Condition, Rule


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
