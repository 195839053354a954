"""Verdicts on claims: each rule, written before the runs, is applied to the table of runs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from granularity.analysis.selection import select
from granularity.analysis.statistics import holm
from granularity.claims import fixed
from granularity.claims.bounds import apply_bound
from granularity.claims.effects import apply_contrast, apply_slope
from granularity.claims.outcome import (
    MACHINERY,
    NOT_REPRODUCED,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    SMALLER,
    UNDECIDED,
    Verdict,
    part_name,
)
from granularity.claims.placebos import apply_located, apply_placebo
from granularity.claims.rules import Claim, Rule


class Judged(NamedTuple):
    """A version of a claim's rule, and what it says of the runs of one size."""

    rule: Rule
    verdict: Verdict


def verdict(rule: Rule, runs: pd.DataFrame, size: str) -> Verdict:
    """What the runs of one size say about a claim, by its rule.

    A size that the rule does not name has numbers and no verdict: "machinery only". Runs that are
    not what the rule is about, or any rule at this size, are left out, and the reason says why.
    """
    runs = runs[runs["kind"] == rule.records] if "kind" in runs else runs
    if rule.parts:
        demands = {name: (*rule.fixed, *part.fixed) for name, part in rule.parts.items()}
        made = {
            name: verdict(replace(part, fixed=demands[name], scales=rule.scales), runs, size)
            for name, part in rule.parts.items()
        }
        return over_sets(made) if rule.kind == "sets" else combine(made)
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


def in_force(claim: Claim, runs: pd.DataFrame, size: str) -> Judged:
    """The newest version of a claim's rule, for a size, whose seeds are all there, and its verdict.

    A version is written before its runs, and speaks when every seed that it planned has run: an
    effect that is looked at again and again while seeds come in is found too often. Until then the
    one before speaks. Where none has its seeds it is the newest that has runs, where none has these
    the newest. No version is judged twice.
    """
    fitting = [rule for rule in claim.rules if size in rule.sizes] or [claim.rule(size)]
    fitting.sort(key=lambda rule: (fixed.has_its_seeds(rule, runs), rule.version), reverse=True)
    judged = []
    for rule in fitting:
        judged.append(Judged(rule, verdict(rule, runs, size)))
        if judged[-1].verdict.word != NOT_RUN:
            return judged[-1]
    return max(judged, key=lambda one: one.rule.version)


def listed(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def among_all(alone: Mapping[str, Judged], level: float = 0.05) -> dict[str, Verdict]:
    """The verdicts on all claims, by name, with Holm's correction over the primary contrasts.

    A primary contrast that reproduces its claim alone but not among all of them is undecided.
    """
    p_values = {}
    for name, (rule, found) in alone.items():
        p_values |= primary(rule, found, name)
    adjusted = holm(p_values)
    return {
        name: corrected(rule, found, name, adjusted, level) for name, (rule, found) in alone.items()
    }


def primary(rule: Rule, found: Verdict, name: str) -> dict[str, float]:
    """The p-values of a claim's primary contrasts, by the path of their parts and cells."""
    if found.parts:
        made = {}
        for part, below in found.parts.items():
            made |= primary(rule.parts.get(part, rule), below, f"{name}/{part}")
        return made
    return {name: found.p} if rule.family == "primary" and rule.kind != "bound" else {}


def corrected(
    rule: Rule, found: Verdict, name: str, adjusted: Mapping[str, float], level: float
) -> Verdict:
    """A verdict after the correction, part by part."""
    if found.parts:
        made = {
            part: corrected(rule.parts.get(part, rule), one, f"{name}/{part}", adjusted, level)
            for part, one in found.parts.items()
        }
        if found.word == MACHINERY:
            return found
        return over_sets(made) if rule.kind == "sets" else combine(made)
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
        told = [
            f"{part_name(name)}: {found.word if found.parts else found.reason}"
            for name, found in parts.items()
        ]
        reason = next(iter(reasons)) if len(reasons) == 1 else "; ".join(told)
        if word in (REPRODUCED, NOT_REPRODUCED, SMALLER):
            reason = f"{'both' if len(parts) == 2 else f'all {len(parts)}'} parts say so"
    elif MACHINERY in words:
        word, reason = MACHINERY, next(v.reason for v in parts.values() if v.word == MACHINERY)
    else:
        short = words & {NOT_REPRODUCED, SMALLER}
        both = (REPRODUCED in words and short) or PARTLY in words
        word = PARTLY if both else NOT_REPRODUCED if words == short else UNDECIDED
        reason = "; ".join(f"{part_name(name)}: {found.word}" for name, found in parts.items())
    return Verdict(word, reason, seeds, parts=dict(parts))


def over_sets(sets: Mapping[str, Verdict]) -> Verdict:
    """One verdict from those on several sets of images: "partly" where a claim holds on one alone.

    It is not run before each of them has runs.
    """
    if waiting := [name for name, found in sets.items() if found.word == NOT_RUN]:
        return Verdict(NOT_RUN, f"no run yet on {waiting[0]}")
    whole = combine(sets)
    if whole.word == UNDECIDED and REPRODUCED in {found.word for found in sets.values()}:
        return replace(whole, word=PARTLY)
    return whole


APPLY = {
    "contrast": apply_contrast,
    "slope": apply_slope,
    "bound": apply_bound,
    "placebo": apply_placebo,
    "located": apply_located,
}
