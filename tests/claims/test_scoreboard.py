"""The scoreboard: sizes told apart, older code marked, old verdicts kept, text escaped."""

import dataclasses
import datetime
import itertools
import json
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import clean

from granularity.claims import fixed, judging, outcome, rules, scoreboard
from granularity.fingerprints import equivalence
from granularity.pages import cards
from granularity.records import publish, record

ROOT = Path(__file__).resolve().parents[2]
BOOK = rules.read((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
# C8 as it was with a single contrast, so that the runs of a test are those of two arms.
SHORT = dataclasses.replace(BOOK.claims["C8"], rules=BOOK.claims["C8"].rules[:4])
BOOK = dataclasses.replace(BOOK, claims={**BOOK.claims, "C8": SHORT})


def theory(hard=0.4, seeds=10, standing=equivalence.THIS, **changes) -> pd.DataFrame:
    """Made-up theory runs as claim C3 shows them at k = 8."""
    where = next(s for s in BOOK.claims["C3"].shows if s.where["k"] == 8).where
    rows = [
        {**where, "seed": s, "hard_error": hard + s / 1000, "easy_error": 0.0, **changes}
        for s in range(seeds)
    ]
    return pd.DataFrame(rows).assign(kind="theory.simulate", standing=standing)


def entry(tables, name="C3", book=BOOK) -> scoreboard.Entry:
    return {e.claim.id: e for e in scoreboard.entries(book, tables)}[name]


def test_values_of_each_size_are_shown_and_the_verdict_follows_the_rule():
    found = entry({"smoke": theory(0.5, seeds=3), "published": theory(0.4)})
    (hard, easy), (small, _) = found.lines["published"], found.lines["smoke"]
    assert (hard.what, hard.seeds, small.seeds) == ("hard error, k = 8", 10, 3)
    assert hard.mean == pytest.approx(0.4045)
    assert easy.mean == 0
    words = [found.verdicts[size].word for size in ("smoke", "published")]
    assert words == ["not run"] * 2  # the runs over d that the rule wants are not there


@pytest.mark.fault("numbers that older code made", "marked on the scoreboard")
def test_older_code_is_marked():
    for standing in (equivalence.THIS, equivalence.PROVEN):
        assert not entry({"published": theory(standing=standing)}).lines["published"][0].older
    older = entry({"published": theory(standing=equivalence.OLDER)})
    assert older.lines["published"][0].older
    assert "older code" in cards.card(older)


def test_rows_that_are_worked_out_from_runs_are_no_runs():
    derived = pd.DataFrame({"kind": ["hardness.split"] * 4, "seed": range(4)})
    both = pd.concat([theory(seeds=3), theory(seeds=2, standing=equivalence.OLDER), derived])
    assert scoreboard.counts(both) == (5, 2)


def test_a_comparison_without_one_of_its_arms_is_not_run_and_says_so():
    runs = instance_runs(0.3)
    card = cards.card(entry({"tiny": runs[runs["labels"] == "target"]}, "C8"))
    assert unescape(card).count("no run of the arm 'instance'") == 1, "by the verdict"
    assert card.count("has no runs here") == 1, "by the version before"
    assert card.count("is for runs of another size (paper)") == 2


def test_without_runs_every_card_says_so():
    found = scoreboard.entries(BOOK, {})
    assert {e.verdict.word for e in found} == {"not run"}
    assert cards.cards(found).count("no run yet, at any size") == len(BOOK.claims)


def instance_runs(gain, size="tiny", seeds=8) -> pd.DataFrame:
    """Made-up runs of the arms that the rule for a size reads, and as it fixes them."""
    rule = BOOK.claims["C8"].rule(size)
    fixed = {} if size != "paper" else {"stages": 2}
    for demand in rule.fixed:
        fixed |= demand.are if demand.of in ({}, {"stages": 2}) else {}
    classes = {demand.of["labels"]: demand.are for demand in rule.fixed if "labels" in demand.of}
    arms = {a: fixed | where | classes.get(where["labels"], {}) for a, where in rule.arms.items()}
    rows = [
        {**arms[arm], "seed": s, "error": 0.2 + extra + s / 1e4 * extra, "training_error": 0.01}
        for arm, extra in (("baseline", 0), ("instance", gain))
        for s in range(seeds)
    ]
    return pd.DataFrame(rows).assign(kind="inaturalist.transfer", standing=equivalence.THIS)


def test_the_largest_size_that_may_judge_speaks():
    tables = {"smoke": instance_runs(0.3, "smoke"), "tiny": instance_runs(0.3)}
    found = entry(tables, "C8")
    assert found.verdicts["smoke"].word == "machinery only"
    assert (found.size, found.verdict.word) == ("tiny", "reproduced")
    tables["paper"] = instance_runs(0.0, "paper")
    assert entry(tables, "C8").verdict.word == "not reproduced"
    assert entry({"smoke": tables["smoke"]}, "C8").verdict.word == "machinery only"


def test_a_replaced_rule_keeps_its_verdict_in_sight():
    old = BOOK.claims["C8"].rule("tiny")
    day = old.date + datetime.timedelta(days=1)
    new = dataclasses.replace(
        old, version=old.version + 1, date=day, smallest_effect=0.5, why="It asked for too little."
    )
    rules = (*BOOK.claims["C8"].rules, new)
    claim = dataclasses.replace(BOOK.claims["C8"], rules=rules)
    book = dataclasses.replace(BOOK, claims={**BOOK.claims, "C8": claim})
    found = entry({"tiny": instance_runs(0.3)}, "C8", book)
    assert found.verdict.word == "smaller than the smallest effect"
    html = cards.card(found)
    assert "says <em>reproduced</em>" in html
    assert "It asked for too little." in html


def test_a_card_says_which_newer_rule_waits_and_how_many_seeds_were_planned_and_found():
    old = BOOK.claims["C8"].rule("tiny")
    arms = {arm: {**where, "images": 7} for arm, where in old.arms.items()}
    new = dataclasses.replace(
        old, version=old.version + 1, arms=arms, seeds=12, why="Other images."
    )
    claim = dataclasses.replace(BOOK.claims["C8"], rules=(*BOOK.claims["C8"].rules, new))
    book = dataclasses.replace(BOOK, claims={**BOOK.claims, "C8": claim})
    runs = instance_runs(0.3)
    html = cards.card(entry({"tiny": runs}, "C8", book))
    assert f"Version {new.version}" in html
    assert f"Seeds: {old.seeds} planned, found 8 in every arm." in html
    short = runs[(runs["labels"] == "target") | (runs["seed"] < 3)]
    assert "found baseline 8, instance 3." in cards.card(entry({"tiny": short}, "C8", book))
    begun = instance_runs(0.3, seeds=4).assign(images=7)
    found = entry({"tiny": pd.concat([runs, begun])}, "C8", book)
    assert found.verdict.word == "reproduced"  # by the old version: the new one has not its seeds
    html = cards.card(found)
    assert f"Version {new.version} waits: 4 of its 12 seeds have run in every arm" in html
    assert "says <em>undecided</em> (4 seeds, and the rule wants 12)" in html


def test_each_version_of_a_rule_is_judged_once(monkeypatch):
    asked = []

    def counted(rule, runs, size):
        asked.append((rule.text, rule.version, size))
        return alone(rule, runs, size)

    alone = judging.verdict
    monkeypatch.setattr(judging, "verdict", counted)
    claim = BOOK.claims["C8"]
    tables = {"smoke": instance_runs(0.3, "smoke"), "tiny": instance_runs(0.3)}
    scoreboard.entries(dataclasses.replace(BOOK, claims={"C8": claim}), tables)
    versions = [r.version for r in claim.rules if "tiny" in r.sizes]
    assert len(versions) > 1
    newest = claim.rule("smoke").version
    wanted = {("tiny", v) for v in versions} | {("smoke", newest)}
    assert sorted((size, v) for _, v, size in asked) == sorted(wanted)


@pytest.mark.fault("markup in a claim's text", "shown as text")
def test_text_is_escaped_and_tags_are_closed():
    claim = dataclasses.replace(BOOK.claims["C8"], title="a < b & <script>")
    book = dataclasses.replace(BOOK, claims={"C8": claim})
    html = cards.cards(scoreboard.entries(book, {"tiny": instance_runs(0.3)}))
    assert "<script>" not in html
    open_tags = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "br":
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(html + cards.strip(scoreboard.entries(book, {})))
    assert not open_tags


def write_runs(folder: Path, run: str) -> str:
    """A run in a folder; its line in a published file."""
    made = folder / run / "record.json"
    record.write(made, kind="x.y", fingerprint=run, metrics={"error": 0.5})
    record.write(folder / "record.json", kind="contents of x.y", metrics={}, runs=[run])
    return json.dumps(record.read(made)) + "\n"


def test_load_tells_the_sizes_apart(tmp_path):
    runs, published = tmp_path / "runs" / "smoke", tmp_path / "results"
    assert scoreboard.load(runs, published) == {}
    line, other = write_runs(runs / "study", "a"), write_runs(tmp_path / "elsewhere", "b")
    for name, text in (
        ("theory/simulate.jsonl", line + line),
        ("tiny/one.jsonl", line),
        ("tiny/two.jsonl", line + other),
    ):
        (published / name).parent.mkdir(parents=True, exist_ok=True)
        (published / name).write_text(text, encoding="utf-8")
    found = scoreboard.load(runs, published)
    counted = {size: scoreboard.counts(table)[0] for size, table in found.items()}
    assert counted == {"smoke": 1, "tiny": 2, "published": 1}  # a run in two places is one run


@pytest.mark.fault("a toy is run under a name of its own", "it is of no size that decides a claim")
def test_what_a_run_is_decides_its_size_and_not_what_it_is_called(tmp_path):
    runs, keys = tmp_path / "runs" / "mine", ["whole", "short"]
    for key, samples in zip(keys, (1000, 20), strict=True):
        record.write(
            runs / key / "record.json",
            kind="theory.simulate",
            fingerprint=key,
            metrics={"hard_error": 0.5},
            arguments={"labels": "fine", "test_samples": samples, "seed": 0},
        )
    record.write(runs / "record.json", kind="contents of x", metrics={}, runs=keys)
    found = scoreboard.load(runs, tmp_path / "results", BOOK.scales)
    assert {size: [*table["fingerprint"]] for size, table in found.items()} == {
        "tiny": ["whole"],
        "mine": ["short"],
    }
    assert judging.verdict(BOOK.claims["C3"].rule("mine"), found["mine"], "mine").word in (
        outcome.MACHINERY,
        outcome.NOT_RUN,
    )
    assert scoreboard.name_of("mine") == "The size mine"


@pytest.mark.parametrize(
    ("run", "size"),
    [
        ({"dataset": "inaturalist", "target_classes": 11}, "paper"),
        ({"dataset": "inaturalist", "target_classes": 3}, ""),
        ({"dataset": "toy", "target_classes": 11}, ""),
        ({"dataset": "tiny-imagenet-200", "target": "balanced", "target_classes": 9}, "tiny"),
        ({"dataset": "tiny-imagenet-200", "target": "balanced", "target_classes": 8}, ""),
        ({"dataset": "imagenet", "kind": "imagenet.finetune", "target_classes": 1000}, "paper"),
        ({"kind": "imagenet.pretrain", "dataset": "imagenet"}, ""),
    ],
)
def test_the_size_of_a_run_is_the_one_whose_demands_it_meets(run, size):
    assert fixed.scale_of({"kind": "inaturalist.transfer"} | run, BOOK.scales) == size


def test_published_runs_that_were_made_here_too_are_judged_once(tmp_path, monkeypatch):
    """As where somebody makes the small size and has our published runs beside it."""
    clean(monkeypatch)
    here, published = tmp_path / "runs" / "tiny", tmp_path / "results"
    rng, keys = np.random.default_rng(0), []
    arm = BOOK.claims["C9"].version(3).parts["ImageNet arm"].arms["effect"]
    place = {k: arm[k] for k in ("overlap", "target_images", "held_out")} | {"source_images": 0}
    for labels, seed in itertools.product(("target", "level", "random"), range(4)):
        keys.append(f"{labels}-{seed}")
        record.write(
            here / "study" / keys[-1] / "record.json",
            kind="imagenet.finetune",
            fingerprint=keys[-1],
            entry="granularity.imagenet:finetune",
            arguments={"labels": labels, "level": 0, "seed": seed, "dataset": "toy", **place},
            metrics={"error": 0.5, "training_error": 0.01},
        )
        kept = {"loss": rng.random(40), "rank": rng.integers(0, 2, 40), "label": np.arange(40)}
        np.savez(here / "study" / keys[-1] / "evaluation.npz", **kept)
    record.write(here / "study" / "record.json", kind="contents of x", metrics={}, runs=keys)
    alone = scoreboard.load(here, published)["tiny"]
    (published / "tiny").mkdir(parents=True)
    publish.publish([here / "study"], published / "tiny" / "imagenet.jsonl")
    both = scoreboard.load(here, published)["tiny"]
    assert len(both) == len(alone) and scoreboard.counts(both)[0] == len(keys)
    split = both[both["kind"] == "hardness.split"]
    assert len(split) and not split.duplicated(["compared", "reference", "judge", "seed"]).any()


def test_a_part_in_several_cells_shows_the_number_of_each():
    one = outcome.Verdict("reproduced", "…", 8, 0.02, 0.01, 0.03)
    rows = {"50 images": one, "100 images": dataclasses.replace(one, mean=0.04)}
    said = cards.of_part("level 4", judging.combine(rows))
    assert (said.text, said.word) == ("level 4: ", "reproduced")
    told = (
        ", 8 seeds, 50 images: +2.0 points (+1.0 to +3.0), 100 images: +4.0 points (+1.0 to +3.0)"
    )
    assert said.more == told
    assert cards.of_part("level 4", outcome.Verdict("not run", "…")).more == ""


def test_numbers_are_printed_with_interval_and_seeds():
    assert cards.number(0.41234, 0.4, 0.42, 10) == "41.2% (40.0–42.0), 10 seeds"
    nan = float("nan")
    assert cards.number(0.4, 0.3, 0.5, None) == "40.0% (30.0–50.0)"
    assert cards.number(0.4, nan, nan, 1) == "40.0%, 1 seed"
    assert cards.number(nan, nan, nan, 3) == "3 seeds"
    assert cards.number(0.0, 0.0, 0.0, 3) == "0%, 3 seeds"
    assert cards.number(0.0001, 0.0, 0.0004, None) == "< 0.1% (0.0–0.0)"
