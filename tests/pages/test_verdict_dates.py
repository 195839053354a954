"""Verdicts by date: every version of a rule that says something, the newest first."""

import dataclasses
from datetime import date

import pandas as pd
from conftest import ROOT

from granularity.claims import outcome, rules, scoreboard
from granularity.claims.outcome import Verdict
from granularity.pages import verdict_dates

BOOK = rules.read((ROOT / "book/claims.yml").read_text(encoding="utf-8"))
KIND = "imagenet.finetune"
RUNS = pd.DataFrame(
    {
        "kind": [KIND, KIND, KIND],
        "fingerprint": ["a", "b", "c"],
        "machine": ["m", "m", None],  # the last is worked out of others
        "started": ["2026-01-02T10:00", "2026-01-03T09:00", "2027-01-01T00:00"],
    }
)


def entry(**words):
    """A claim with a version of its rule for each word, dated a month after the other."""
    first = dataclasses.replace(BOOK.claims["C1"].rules[0], arms={}, settings=[], parts={})
    made = [
        dataclasses.replace(first, version=n, date=date(2026, n, 1))
        for n in range(1, len(words) + 1)
    ]
    said = {n: Verdict(word, "") for n, word in enumerate(words.values(), 1)}
    claim = dataclasses.replace(BOOK.claims["C1"], rules=tuple(made))
    newest = said.pop(len(words))
    others = {("tiny", n): verdict for n, verdict in said.items()}
    in_force = {"tiny": made[-1]}
    return scoreboard.Entry(claim, {"tiny": newest}, {"tiny": []}, in_force, {}, others, {})


def test_each_version_that_says_something_has_a_row_the_newest_first():
    found = [entry(a=outcome.UNDECIDED, b=outcome.NOT_RUN, c=outcome.REPRODUCED)]
    rows = verdict_dates.changes(found, {"tiny": RUNS})
    assert [(row["rule of"], row["version"], row["verdict"]) for row in rows] == [
        ("2026-03-01", "3", "reproduced"),
        ("2026-01-01", "1", "undecided"),
    ]
    assert {row["last run"] for row in rows} == {"2026-01-03"}
    assert verdict_dates.changes([entry(a=outcome.MACHINERY)], {"tiny": RUNS}) == []


def test_a_version_that_waits_for_seeds_has_no_row():
    found = entry(a=outcome.UNDECIDED, b=outcome.REPRODUCED, c=outcome.UNDECIDED)
    waits = found.claim.rules[-1]
    spoken, others = Verdict(outcome.REPRODUCED, ""), {**found.others}
    others["tiny", 3] = others.pop(("tiny", 2))
    found = dataclasses.replace(
        found, verdicts={"tiny": spoken}, rules={"tiny": found.claim.rules[1]}, others=others
    )
    rows = verdict_dates.changes([found], {"tiny": RUNS})
    assert waits.version == 3
    assert [row["version"] for row in rows] == ["2", "1"]


def test_a_changelog_fits_below_the_heading_of_a_page():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    shown = verdict_dates.as_part_of_a_page(text)
    assert not any(line.startswith("#") for line in shown.splitlines())
    assert "- A book from two commands" in shown and "\n:::{dropdown} 0.1.0" in shown
    two = verdict_dates.as_part_of_a_page("# Title\n\nOf all.\n\n## B\n\n- new\n\n## A\n\n- old\n")
    assert [part.split() for part in two.split(":::")] == [
        ["Of", "all."],
        ["{dropdown}", "B", "-", "new"],
        [],
        ["{dropdown}", "A", "-", "old"],
        [],
    ]
