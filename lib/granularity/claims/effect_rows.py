"""The effects behind verdicts, in rows: what a figure of all claims shows."""

from collections.abc import Iterator, Sequence

import pandas as pd

from granularity.claims.outcome import Verdict, part_name
from granularity.claims.rules import Claim, Rule
from granularity.claims.scoreboard import Entry

COLUMNS = ["claim", "part", "set", "word", "mean", "low", "high", "smallest", "paper", "relative"]
OF_SIZE = {"tiny": "tiny-imagenet-200"}  # the images of a rule that names none
POINTS = 100  # in an error of 1


def effect_rows(found: Sequence[Entry]) -> pd.DataFrame:
    """One row for each contrast that has runs, of the rules in force, in the order of the claims.

    `mean`, `low` and `high` are in points of error, where `relative` in per cent of an arm's error;
    above 0 is the paper's direction. `smallest` is the smallest effect, `paper` the paper's value
    in the same unit or nan, `set` the dataset. Limits, which are no effects, are left out, and so
    are sizes that decide nothing.
    """
    rows = []
    for entry in found:
        rule = entry.rules.get(entry.size)
        if rule and entry.size in rule.sizes:
            effects = of_part(entry.claim, rule, entry.verdict, entry.size, ())
            rows += [{"claim": entry.claim.id, **row} for row in effects]
    return pd.DataFrame(rows, columns=COLUMNS)


def of_part(
    claim: Claim, rule: Rule, judged: Verdict, size: str, path: tuple[str, ...]
) -> Iterator[dict]:
    """The rows of a rule and of all that it is made of; `path` leads to it."""
    for name, part in judged.parts.items():
        yield from of_part(claim, rule.parts.get(name, rule), part, size, (*path, name))
    if judged.parts or rule.kind == "bound" or not judged.seeds:
        return
    images = next((where["dataset"] for where in rule.arms.values() if "dataset" in where), "")
    relative = bool(rule.relative_to)
    yield {
        "part": ", ".join(map(part_name, path)) or claim.title,
        "set": images or OF_SIZE.get(size, ""),
        "word": judged.word,
        **{end: POINTS * getattr(judged, end) for end in ("mean", "low", "high")},
        "smallest": POINTS * rule.smallest_effect,
        "paper": of_paper(claim, path, "%" if relative else "points"),
        "relative": relative,
    }


def of_paper(claim: Claim, path: tuple[str, ...], unit: str) -> float:
    """The paper's value of an effect, in this unit; nan where it states none."""
    stated = [v for v in claim.paper if v.unit == unit and v.part is not None]
    return next((float(v.value) for v in stated if v.part in (*path, "")), float("nan"))
