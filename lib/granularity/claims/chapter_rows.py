"""What rules say of the runs that a chapter shows, in rows."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from granularity.analysis.transfer_runs import Study
from granularity.claims import bounds, judging, outcome
from granularity.claims.rules import Claim, Rule


def judged(claims: Iterable[Claim], over: Iterable[Study]) -> list[dict[str, str]]:
    """One row for each claim and study: what the claim's rule says of these runs, and why.

    Runs of another kind than the rule names are "not judged". Without the correction for many
    claims, which the scoreboard makes.
    """
    rows = []
    for claim in claims:
        for study in over:
            _, found = judging.in_force(claim, study.runs, study.size)
            none = found.word == outcome.NOT_RUN
            rows.append(
                {
                    "claim": f"{claim.id}: {claim.title}",
                    "runs": study.title,
                    "verdict": "not judged" if none else found.word,
                    "because": "no runs of the kind that the rule names" if none else found.reason,
                }
            )
    return rows


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
