"""A chapter's verdicts are the scoreboard's: the same entries, the same words."""

from types import SimpleNamespace

import pytest

from granularity.claims import chapter_rows, outcome


def entry(name, word):
    claim = SimpleNamespace(id=name, title=f"title of {name}")
    return SimpleNamespace(claim=claim, verdict=outcome.Verdict(word, f"why {name}"))


FOUND = [entry("C5", outcome.NOT_REPRODUCED), entry("C9", outcome.UNDECIDED)]


def test_a_row_for_each_claim_in_the_order_that_was_asked():
    assert chapter_rows.judged(FOUND, ["C9", "C5"]) == [
        {"claim": "C9: title of C9", "verdict": "undecided", "because": "why C9"},
        {"claim": "C5: title of C5", "verdict": "not reproduced", "because": "why C5"},
    ]
    with pytest.raises(KeyError, match="C6"):
        chapter_rows.judged(FOUND, ["C6"])
