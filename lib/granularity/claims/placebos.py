"""Rules that ask on which images a gain sits, beside a placebo: claim C9."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from granularity.analysis.located import located
from granularity.analysis.selection import contrast, once, select
from granularity.analysis.statistics import Unfit, interval
from granularity.claims.effects import judged_effect
from granularity.claims.gates import gate_failure
from granularity.claims.outcome import (
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Verdict,
    few,
)
from granularity.claims.rules import Rule


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
            told = "no larger than with the placebo, which is worse on the whole"
            return replace(found, word=UNDECIDED, reason=told)
        return replace(found, word=NOT_REPRODUCED, reason="no larger than with the placebo")
    if found.word == REPRODUCED and not found.low > interval(placebo, rule.interval)[2]:
        return replace(found, word=UNDECIDED, reason="its interval and the placebo's overlap")
    return found


def loses(rule: Rule, runs: pd.DataFrame, sign: int) -> bool:
    """Whether the placebo errs more than its reference on the whole."""
    whole = sign * contrast(runs, rule.overall, rule.arms, {"placebo": 1})
    return interval(whole, rule.interval)[2] < 0


def apply_located(rule: Rule, runs: pd.DataFrame) -> Verdict:
    """A gain that sits on the hard images, and more so than that of a matched placebo."""
    pair = {name: rule.arms[name] for name in ("coarse", "fine")}
    effect = replace(rule, arms=pair, effect={"coarse": 1, "fine": -1})
    try:
        gains = located(*(of_seeds(runs, arm, name) for name, arm in pair.items()))
    except Unfit as reason:
        return judged_effect(effect, runs, partial(fail, reason))
    found = judged_effect(effect, runs, lambda: gains["beyond_uniform"])
    if found.word == NOT_RUN or found.seeds < rule.seeds or gate_failure(effect, runs):
        return found
    if told := nothing_to_locate(rule, gains):
        return replace(found, word=UNDECIDED, reason=told)
    return against_matched(rule, runs, gains, found) if found.word == REPRODUCED else found


def fail(reason: Exception) -> None:
    """Raises it."""
    raise reason


def of_seeds(runs: pd.DataFrame, arm: Mapping, name: str) -> dict[int, Mapping[str, np.ndarray]]:
    """What each run of an arm kept of its evaluation, by seed.

    Raises Unfit where a seed has two runs, or runs kept nothing, or other images.
    """
    chosen = once(select(runs, arm))
    if chosen.empty:
        return {}
    if chosen["seed"].duplicated().any():
        raise Unfit(f"arm '{name}': a seed has several runs that the rule does not tell apart")
    kept = dict(zip(chosen["seed"], chosen.get("evaluation", ()), strict=True))
    if not all(isinstance(found, Mapping) for found in kept.values()):
        raise Unfit(f"arm '{name}': a run kept nothing of its evaluation")
    return kept


def nothing_to_locate(rule: Rule, gains: pd.DataFrame, arm: str = "fine") -> str:
    """Why the gains of `arm` over the coarse one cannot be located, or nothing."""
    near = float(gains["closeness"].mean())
    if abs(near) > rule.even:
        nearer = "coarse" if near > 0 else arm
        told = f"correlations differ by {abs(near):.3f}, {rule.even:g} is allowed"
        return f"the judge stands nearer to the arm '{nearer}': {told}"
    whole = float(gains["gain"].mean())
    if whole < rule.least_gain:
        return f"no gain to locate: {whole:.3f} on all images, the rule wants {rule.least_gain:g}"
    return ""


def against_matched(rule: Rule, runs: pd.DataFrame, gains: pd.DataFrame, found: Verdict) -> Verdict:
    """The verdict on an effect that is there, beside that of a placebo that gains as much."""
    arms = {name: rule.arms[name] for name in ("coarse", "matched")}
    placebo = replace(rule, arms=arms)
    try:
        others = located(*(of_seeds(runs, arm, name) for name, arm in arms.items()))
        if told := gate_failure(placebo, runs) or nothing_to_locate(rule, others, "matched"):
            raise Unfit(told)
    except Unfit as reason:
        return replace(found, word=UNDECIDED, reason=f"the matched placebo: {reason}")
    pairs = gains.merge(others, on="seed", suffixes=("", "_matched"))
    apart = float((pairs["gain"] - pairs["gain_matched"]).mean())
    if len(pairs) < rule.seeds or abs(apart) > rule.matched:
        told = f"its gain on all images differs by {abs(apart):.3f}, {rule.matched:g} is allowed"
        told = few(len(pairs), rule) if len(pairs) < rule.seeds else told
        return replace(found, word=UNDECIDED, reason=f"the placebo is not matched: {told}")
    beyond = pairs["beyond_uniform"] - pairs["beyond_uniform_matched"]
    _, low, high = interval(beyond, rule.interval)
    if low > 0:
        return found
    word = NOT_REPRODUCED if high < rule.smallest_effect else UNDECIDED
    return replace(found, word=word, reason="no larger than with the matched placebo")
