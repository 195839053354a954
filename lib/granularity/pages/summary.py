"""The book's answer in words, counted from the verdicts: Home and the results say it alike."""

import re
from collections.abc import Sequence

from granularity.claims import outcome
from granularity.claims.scoreboard import Entry

COUNTS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# What a reader is told, and the verdicts' words behind it.
OUTCOMES = {
    "reproduced": {outcome.REPRODUCED},
    "reproduced in part": {outcome.PARTLY},
    "not reproduced": {outcome.NOT_REPRODUCED, outcome.SMALLER},
    "undecided": {outcome.UNDECIDED, outcome.NOT_RUN, outcome.MACHINERY},
}
WORDS, NUMBERS = 60, 4  # of the answer that a page opens with
NUMBER = re.compile(r"(?<![\w.,^-])[+−]?\d[\d,.]*")


def in_short(answer: str) -> str:
    """The answer that a page opens with, as Markdown.

    Raises ValueError where it is longer than 60 words or has more than four numbers.
    """
    plain = re.sub(r"\]\([^)]*\)|[*\[\]]", " ", answer)
    words, numbers = len(plain.split()), NUMBER.findall(plain)
    if words > WORDS:
        raise ValueError(f"{words} words, at most {WORDS} wanted: {answer:.80}")
    if len(numbers) > NUMBERS:
        raise ValueError(f"{len(numbers)} numbers, at most {NUMBERS} wanted: {', '.join(numbers)}")
    return f"**In short.** {answer}"


def of_images(found: Sequence[Entry]) -> list[Entry]:
    """The claims about images: all but those that simulations of the theory decide."""
    return [entry for entry in found if entry.claim.rules[0].records != "theory.simulate"]


def named(found: Sequence[Entry], told: str) -> list[str]:
    """The claims with one of `OUTCOMES`."""
    return [entry.claim.id for entry in found if entry.verdict.word in OUTCOMES[told]]


def tally(found: Sequence[Entry], names: bool = True) -> str:
    """How many claims have which outcome: `two are reproduced (C1, C8), one is undecided (C7)`."""
    parts = []
    for told in OUTCOMES:
        claims = named(found, told)
        if claims:
            verb = "is" if len(claims) == 1 else "are"
            which = f" ({', '.join(claims)})" if names else ""
            parts.append(f"{COUNTS[len(claims)]} {verb} {told}{which}")
    return ", ".join(parts)
