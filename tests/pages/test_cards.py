"""Cards of claims: what stands on their lines, escaped, and looks that the stylesheet knows."""

import dataclasses
import re
from html import unescape

import pytest
from conftest import ROOT

from granularity.claims import judging, outcome, rules, scoreboard
from granularity.claims.outcome import Verdict
from granularity.pages import cards
from granularity.pages.cards import Said

BOOK = rules.read((ROOT / "book/claims.yml").read_text(encoding="utf-8"))
CSS = (ROOT / "book/_static/book.css").read_text(encoding="utf-8")
TEMPLATES = ROOT / "lib/granularity/pages/templates"


def line(what, seeds=8, older=False):
    return scoreboard.Line(what, seeds, 0.4, 0.3, 0.5, older)


def test_shown_quantities_say_their_seeds_once_where_they_agree():
    judged = Verdict("reproduced", "…", 8, 0.1, 0.05, 0.15)
    assert [*cards.ours(judged, [line("a"), line("b", older=True)])] == [
        Said("a: 40.0% (30.0–50.0)"),
        Said("b: 40.0% (30.0–50.0)", older=True),
        Said("8 seeds each"),
    ]
    assert [*cards.ours(judged, [line("a"), line("b", seeds=1)])] == [
        Said("a: 40.0% (30.0–50.0), 8 seeds"),
        Said("b: 40.0% (30.0–50.0), 1 seed"),
    ]


def test_without_shown_quantities_the_effect_stands_there_or_why_there_is_none():
    judged = Verdict("undecided", "too wide", 8, 0.1, 0.05, 0.15)
    assert [*cards.ours(judged, [])] == [Said("effect: +10.0 points (+5.0 to +15.0), 8 seeds")]
    assert [*cards.ours(Verdict("undecided", "why"), [])] == [Said("undecided: why", muted=True)]
    toy = dataclasses.replace(judged, word=outcome.MACHINERY, reason="toys")
    assert [*cards.ours(toy, [])][1:] == [Said("machinery only: toys", muted=True)]
    whole = Verdict("partly", "…", 8, parts={"one": judged})
    assert [*cards.ours(whole, [])] == [
        Said("one: ", "undecided", ", +10.0 points (+5.0 to +15.0), 8 seeds (too wide)")
    ]


@pytest.mark.fault("markup in any text of a claim, its rule or its verdict", "shown as text")
def test_every_text_of_a_card_is_escaped():
    bad = "<script>alert('\"&')</script>"
    claim = BOOK.claims["C8"]
    old, new = claim.rules[0], claim.rules[-1]
    texts = {"text": bad, "refuted_by": f"A{bad}", "why": bad}
    versions = [dataclasses.replace(rule, **texts) for rule in (old, new, new)]
    versions = [dataclasses.replace(rule, version=n) for n, rule in enumerate(versions, 1)]
    told = ("id", "title", "statement", "where", "note", "chapter")
    claim = dataclasses.replace(claim, **dict.fromkeys(told, bad), rules=versions)
    value = dataclasses.replace(claim.paper[0], what=bad, value=bad, unit=bad, mark="O")
    claim = dataclasses.replace(claim, paper=[value])
    inner = Verdict("undecided", bad, 8, 0.1, 0.0, 0.2)
    judged = dataclasses.replace(inner, parts={bad: inner})
    entry = scoreboard.Entry(
        claim,
        {"paper": judged},
        {"paper": [line(bad)]},
        {"paper": versions[1]},
        {"paper": bad},
        {("paper", 1): inner},
        {"paper": bad},
    )
    html = cards.card(entry) + cards.strip([entry], page=bad)
    assert "<script" not in html and "alert('" not in html and "alert('\"" not in html
    assert html.count("&lt;script&gt;") == html.count("&lt;/script&gt;") >= 20
    assert "Version 3 of" in html and "Version 1 of" in html


def test_every_version_of_a_rule_stands_on_its_card_with_why_it_was_written():
    for entry in scoreboard.entries(BOOK, {}):
        html = unescape(cards.card(entry))
        for rule in entry.claim.rules:
            assert f"Version {rule.version} of {rule.date}" in html
            assert rule.text in html and rule.why in html
        told = ["its runs are still to be made", "has no runs here", "is for runs of another size"]
        assert sum(map(html.count, told)) == len(entry.claim.rules) - 1


def test_another_version_says_what_it_judges_at_the_size_that_it_may():
    claim = BOOK.claims["C8"]
    small, large = Verdict("not reproduced", "…", 8), Verdict("reproduced", "…", 8)
    rules_ = {"tiny": claim.version(3), "paper": claim.version(4)}
    verdicts = {"tiny": small, "paper": large}
    first = {("tiny", 1): Verdict("undecided", "…", 8), ("paper", 2): Verdict("not run", "…")}
    none = dict.fromkeys(verdicts, ())
    blank = dict.fromkeys(verdicts, "")
    entry = scoreboard.Entry(claim, verdicts, none, rules_, blank, first, blank)
    said = [cards.said_by(rule, entry) for rule in claim.rules]
    assert said[0].word == "undecided" and said[1] is None and said[4] is None
    assert (said[2], said[3]) == (small, large)


def test_every_verdict_has_a_sign_and_the_stylesheet_has_a_colour_for_it():
    words = {value for name, value in vars(outcome).items() if name.isupper()}
    assert set(cards.SIGNS) == words
    coloured = re.findall(r'\[data-verdict="([^"]+)"\] \{ --gb-colour: #', CSS)
    assert set(coloured) == words


def test_the_stylesheet_knows_every_class_of_the_templates():
    text = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.html"))
    classes = {name for names in re.findall(r'class="([^"]*)"', text) for name in names.split()}
    own = {name for name in classes if name.startswith("gb-")}
    assert len(own) > 4
    assert [name for name in own if f".{name}" not in CSS] == []
    assert "style=" not in text and "<style" not in text


EARLY = ("ImageNet arm", "iNaturalist-style arm")


def test_the_parts_of_early_rules_are_called_as_the_pages_call_them():
    parts = {name: Verdict("undecided", "few seeds", 3, 0.1, 0.0, 0.2) for name in EARLY}
    said = judging.combine(parts | {"level 4": Verdict("reproduced", "")}).reason
    assert said.startswith("Experiment A: undecided; Experiment B: undecided; level 4")
    lines = [of_part.text for of_part in cards.ours(judging.combine(parts), [])]
    assert lines == ["Experiment A: ", "Experiment B: "]
