"""What a rule may say of runs: a word, why it is that word, and the numbers behind it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from granularity.claims.rules import Rule

REPRODUCED, NOT_REPRODUCED, PARTLY = "reproduced", "not reproduced", "partly"
SMALLER = "smaller than the smallest effect"  # above zero, and too small to count
UNDECIDED, NOT_RUN = "undecided", "not run"
MACHINERY = "machinery only"  # runs of a size that proves no claim, whatever their numbers


def part_name(name: str) -> str:
    """A part of a rule, as pages call it; early rules, whose texts stay, call some otherwise."""
    early = {
        "ImageNet arm": "Experiment A",
        "iNaturalist-style arm": "Experiment B",
        "nested": "random inside",
        "free": "random over all",
        "the right arm of the U": "the right side of the U",
    }
    return early.get(name, name)


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


def few(seeds: int, rule: Rule) -> str:
    """The reason of a verdict that lacks seeds."""
    return f"{seeds} seed{'s' * (seeds != 1)}, and the rule wants {rule.seeds}"
