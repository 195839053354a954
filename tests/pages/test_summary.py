"""The book's answer in words: as many claims as there are, and never too long."""

from types import SimpleNamespace

import pytest

from granularity.claims import outcome
from granularity.pages import summary


def entry(name, word, records="inaturalist.transfer"):
    rule = SimpleNamespace(records=records)
    claim = SimpleNamespace(id=name, rules=[rule])
    return SimpleNamespace(claim=claim, verdict=outcome.Verdict(word, ""))


FOUND = [
    entry("C1", outcome.REPRODUCED),
    entry("C2", outcome.PARTLY),
    entry("C3", outcome.REPRODUCED, "theory.simulate"),
    entry("C5", outcome.NOT_REPRODUCED),
    entry("C7", outcome.UNDECIDED),
    entry("C10", outcome.SMALLER),
]


def test_every_claim_is_counted_once():
    said = summary.tally(summary.of_images(FOUND))
    assert said == (
        "one is reproduced (C1), one is reproduced in part (C2), "
        "two are not reproduced (C5, C10), one is undecided (C7)"
    )
    assert summary.tally(FOUND[:1], names=False) == "one is reproduced"


def test_every_verdict_has_an_outcome():
    known = set.union(*summary.OUTCOMES.values())
    words = {value for name, value in vars(outcome).items() if name.isupper()}
    assert known == words


def test_an_answer_has_an_end():
    short = "With 400 images per class [leaf labels](page.ipynb) *lose* −3.1 points."
    assert summary.in_short(short) == f"**In short.** {short}"
    with pytest.raises(ValueError, match="61 words, at most 60 wanted"):
        summary.in_short("word " * 61)
    with pytest.raises(ValueError, match=r"5 numbers, at most 4 wanted: 1, 2\.5, 3, 4, −5"):
        summary.in_short("1 and 2.5% and 3 and 4 and −5")


def test_names_are_no_numbers():
    summary.in_short("Claims C1, C2, C3 and C4 on ImageNet-21k and ImageNet-1k, 32 pixels.")
