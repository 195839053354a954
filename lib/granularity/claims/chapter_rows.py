"""What the scoreboard says of the claims that a chapter is about, in rows."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from granularity.claims import bounds, judging, outcome
from granularity.claims.rules import Rule
from granularity.claims.scoreboard import Entry


def judged(found: Iterable[Entry], names: Iterable[str]) -> list[dict[str, str]]:
    """One row for each claim of these names: its verdict and reason, as the scoreboard has them."""
    by_name = {entry.claim.id: entry for entry in found}
    return [
        {
            "claim": f"{name}: {by_name[name].claim.title}",
            "verdict": by_name[name].verdict.word,
            "because": by_name[name].verdict.reason,
        }
        for name in names
    ]


def by_condition(rule: Rule, runs: pd.DataFrame, size: str) -> list[tuple[str, outcome.Verdict]]:
    """A claim's verdict, and that of each of its rule's conditions alone, by the scoreboard's code.

    A condition along a curve is asked together with the first one, which says the seeds.
    """
    found = [("the claim", judging.verdict(rule, runs, size))]
    for condition in rule.conditions:
        alone = (condition,) if condition.until is None else (rule.conditions[0], condition)
        words = bounds.describe(condition)
        if condition.until is not None:
            words += f", up to {condition.until['times']:g} times the step of the vanished loss"
        found.append((words, judging.verdict(replace(rule, conditions=alone), runs, size)))
    return found
