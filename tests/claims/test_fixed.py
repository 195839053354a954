"""A pilot is not the experiment: what a rule fixes decides which runs it judges."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from granularity.claims import fixed, judging, outcome, rules, scoreboard
from granularity.claims.rules import Fixed
from granularity.fingerprints.digest import canonical
from granularity.training import presets
from granularity.training.presets import preset

BOOK = rules.read((ROOT / "book/claims.yml").read_text(encoding="utf-8"))
PAPER = yaml.safe_load((ROOT / "notebooks/params/paper.yaml").read_text(encoding="utf-8"))["runs"]
JUDGED = ["C1", "C2a", "C2", "C5", "C6", "C7", "C8", "C10"]  # on images; C9 stands below
RATES = PAPER["imagenet/finetune"]["rates"]["finetuning"]  # the levels take the best of them
CHOSEN = RATES[1]
TOY = {"preset": "resnet_toy", "loss": "softmax", "image_size": 32}


def set_of(records: str, where: dict, seed: int) -> dict:
    """A run at the paper's scale as the size file asks for it, with what it would measure."""
    if records == "imagenet.finetune":
        given = PAPER["imagenet/finetune"]
        target = where["labels"] == "target"
        counts = {0: 21_843, 1: 5_995, 2: 2_281, 4: 519, 6: 160, 9: 38}  # Table 1
        level = where.get("level", 0)
        return where | {
            "level": level,
            "overlap": "contained",
            "source_images": 0,
            "target_images": 0,
            "pretraining": {} if target else given["levels"]["pretraining"],
            "finetuning": given["baseline"]["scratch"] if target else CHOSEN,
            "classes": 1000 if target else counts[level],
            "target_classes": 1000,
        }
    given = PAPER["inaturalist/transfer"]["resnet34"]
    ranks = {"target": 11, "rank:family": 1103, "rank:species": 10_000, "instance": 500_000}
    stages = where.get("stages", 2)
    return where | {
        "target": "supercategory",
        "training": "2021_train_mini",
        "images": 0,
        "pretraining": given["pretraining"],
        "finetuning": given["finetuning"] if stages == 2 else {},
        "stages": stages,
        "classes": ranks.get(where["labels"], 1103),
        "target_classes": 11,
        "training_images": 500_000,
        "foreign_embedding": 0,
    }


def leaves(rule: rules.Rule) -> list[rules.Rule]:
    return list(rule.parts.values()) or [rule]


def experiment(rule: rules.Rule) -> pd.DataFrame:
    """Runs of all arms of a rule, whose errors are in the paper's direction."""
    rows = {}
    for part in leaves(rule):
        for name, where in part.arms.items():
            wheres = [where]
            if name == "levels":
                wheres = [where | {"level": level} for level in (0, 1, 2, 4, 6, 9)]
            for one in wheres:
                for seed in range(8):
                    run = set_of(part.records, one, seed)
                    rows[canonical(run), seed] = run | {"seed": seed}
    table = pd.DataFrame(rows.values())
    error = 0.5 - 0.02 * np.log2(table["classes"])
    error += 0.4 * table["labels"].str.startswith(("random", "instance", "cluster"))
    error += 0.05 * table["labels"].eq("rank:species") + 0.05 * (
        table["stages"] == 1 if "stages" in table else 0
    )
    noise = 0.001 * table["seed"] * (table.index % 3)
    return table.assign(error=error + noise, training_error=0.01, kind=leaves(rule)[0].records)


def words(found: outcome.Verdict) -> set[str]:
    return {w for part in found.parts.values() for w in words(part)} or {found.word}


def rule_of_levels(name: str) -> bool:
    """Whether a claim is judged by Experiment A, whose levels take the best of several rates."""
    return name in ("C1", "C2a", "C2")


@pytest.mark.parametrize("name", JUDGED)
def test_the_experiment_itself_is_judged(name):
    rule = BOOK.claims[name].rule("paper")
    newest = (6, "2026-11-27") if rule_of_levels(name) else (4, "2026-11-26")
    assert (rule.version, str(rule.date)) == newest and rule.why
    found = judging.verdict(rule, experiment(rule), "paper")
    assert words(found) <= {outcome.REPRODUCED, outcome.NOT_REPRODUCED}, found


@pytest.mark.parametrize("recipe", RATES, ids=lambda recipe: f"{recipe['learning_rate']}")
def test_whichever_rate_the_held_out_images_chose_is_judged(monkeypatch, recipe):
    monkeypatch.setitem(globals(), "CHOSEN", recipe)
    rule = BOOK.claims["C1"].rule("paper")
    assert words(judging.verdict(rule, experiment(rule), "paper")) == {outcome.REPRODUCED}


@pytest.mark.fault("runs at the paper's scale with a rate that was not tried", "not judged")
def test_a_rate_that_was_not_tried_is_not_judged(monkeypatch):
    monkeypatch.setitem(globals(), "CHOSEN", RATES[0] | {"learning_rate": 0.02})
    rule = BOOK.claims["C1"].rule("paper")
    found = judging.verdict(rule, experiment(rule), "paper")
    assert outcome.REPRODUCED not in words(found)
    told = "learning_rate is 0.02, the rule wants 0.003 or 0.01 or 0.03 or 0.06"
    assert told in str(found)


PILOTS = {  # what a pilot has otherwise, and how that is told
    "32 pixels": ({"pretraining.image_size": 32}, "image_size is 32, the rule wants 224"),
    "another network": ({"pretraining.model": "resnet10t"}, "model is 'resnet10t', the rule wants"),
    "1 epoch": ({"pretraining.epochs": 1}, "epochs is 1.0, the rule wants 90"),
    "a toy's recipe": ({"pretraining": TOY}, "model is 'resnet10t', the rule wants"),
    "40 target classes": ({"target_classes": 40}, "target_classes is 40, the rule wants"),
}


@pytest.mark.fault(
    "runs at the paper's scale with {pilot} (claim {name})", "not judged: it says why"
)
@pytest.mark.parametrize("pilot", PILOTS)
@pytest.mark.parametrize("name", JUDGED)
def test_a_pilot_is_not_judged(name, pilot):
    change, told = PILOTS[pilot]
    rule = BOOK.claims[name].rule("paper")
    table = experiment(rule)
    for place, value in change.items():
        column, _, field = place.partition(".")
        if field:
            table[column] = [run and run | {field: value} for run in table[column]]
        elif column == "pretraining":
            table[column] = [run and value for run in table[column]]
        else:
            table[column] = value
    found = judging.verdict(rule, table, "paper")
    assert words(found) <= {outcome.NOT_RUN, outcome.UNDECIDED}, found
    assert told in str(found)


@pytest.mark.fault(
    "a toy in the place of the paper's sets", "no card says reproduced, old rules too"
)
@pytest.mark.parametrize("name", JUDGED)
def test_no_version_of_a_rule_judges_a_toy_at_the_paper_s_scale(name):
    claim = BOOK.claims[name]
    for rule in claim.rules:
        if "paper" in rule.sizes:
            table = experiment(rule) if rule.version > 1 else experiment(claim.rule("paper"))
            toy = table.assign(classes=10, target_classes=10, training_images=400)
            found = judging.verdict(rule, toy, "paper")
            assert words(found) <= {outcome.NOT_RUN, outcome.UNDECIDED}
    entries = scoreboard.entries(BOOK, {"paper": toy.assign(entry="granularity.imagenet:finetune")})
    (entry,) = [entry for entry in entries if entry.claim.id == name]
    assert outcome.REPRODUCED not in {
        entry.verdict.word,
        *(v.word for v in entry.others.values()),
    }


def test_real_runs_beside_a_pilot_are_judged_and_the_pilot_is_told_of():
    rule = BOOK.claims["C8"].rule("paper")
    real = experiment(rule)
    small = real[real["seed"] < 3].assign(target_classes=4)
    alone, both = (judging.verdict(rule, t, "paper") for t in (real, pd.concat([real, small])))
    assert (both.word, both.mean, both.low) == (alone.word, alone.mean, alone.low)
    assert (
        both.reason
        == f"{alone.reason}; 6 runs are left out: target_classes is 4, the rule wants 11"
    )


@pytest.mark.fault("runs on some chosen classes (claim {name})", "not judged: told")
@pytest.mark.parametrize("name", JUDGED)
def test_a_run_on_chosen_classes_is_of_no_rule(name):
    claim = BOOK.claims[name]
    table = experiment(claim.rule("paper"))
    part = table.assign(chosen_classes=[["n01440764", "n01443537"]] * len(table), error=0.9)
    assert "it has some chosen classes alone" in str(
        judging.verdict(claim.rule("paper"), part, "paper")
    )
    alone, both = (
        judging.verdict(claim.rule("paper"), t, "paper") for t in (table, pd.concat([table, part]))
    )
    assert (both.word, both.mean, both.low) == (alone.word, alone.mean, alone.low)


@pytest.mark.fault("runs that started from published weights (claim {name})", "not judged: told")
@pytest.mark.parametrize("name", JUDGED)
def test_a_run_that_started_from_weights_is_never_the_paper_s_recipe(name):
    claim, start = BOOK.claims[name], "timm:vit_base_patch16_224.augreg_in21k"
    table = experiment(claim.rule("paper"))
    for rule in claim.rules:
        for size in rule.sizes:
            found = judging.verdict(rule, table.assign(start=start), size)
            assert words(found) <= {outcome.NOT_RUN, outcome.UNDECIDED}, found
    found = judging.verdict(claim.rule("paper"), table.assign(start=start), "paper")
    assert f"it started from the weights {start}" in str(found)
    beside = pd.concat([table, table.assign(start=start, error=0.9)])
    alone, both = (judging.verdict(claim.rule("paper"), t, "paper") for t in (table, beside))
    assert [part.mean for part in both.parts.values()] == [p.mean for p in alone.parts.values()]
    assert (both.word, both.mean, both.low) == (alone.word, alone.mean, alone.low)


def test_a_run_that_does_not_say_what_is_fixed_is_left_out():
    rule = BOOK.claims["C8"].rule("paper")
    found = judging.verdict(rule, experiment(rule).drop(columns="training_images"), "paper")
    assert found.word == outcome.NOT_RUN
    assert "the run does not say training_images, the rule wants 500000" in found.reason


# ------------------------------------------------------------------------------- worked-out rows


def splits(**changes) -> pd.DataFrame:
    given = PAPER["inaturalist/transfer"]["resnet34"]
    common = {"study": "inaturalist.transfer", "dataset": "inaturalist", "reference": "baseline"}
    common |= {"judge": "baseline and leaf", "held_out": False, "training": "2021_train_mini"}
    common |= {"images": 0, "pretraining": given["pretraining"], "kind": "hardness.split"}
    common |= {"finetuning": given["finetuning"], "target_classes": 11, "training_images": 500_000}
    effects = {"leaf": 0.1, "random": 0.0, "baseline": 0.0}
    rows = [
        common
        | {"compared": name, "seed": seed, "extra_gain_on_hard": effect + 0.001 * (-1) ** seed}
        for name, effect in effects.items()
        for seed in range(8)
    ]
    return pd.DataFrame(rows).assign(training_error=0.01, gain=0.1).assign(**changes)


@pytest.mark.fault("splits by hardness of a pilot with {changes}", "not judged")
@pytest.mark.parametrize(
    "changes", [{"target_classes": 4}, {"training_images": 900}, {"finetuning": [TOY] * 24}]
)
def test_the_hard_images_of_a_pilot_are_not_judged(changes):
    rule = BOOK.claims["C9"].rule("paper")
    assert judging.verdict(rule, splits(), "paper").word == outcome.REPRODUCED
    assert judging.verdict(rule, splits(**changes), "paper").word == outcome.NOT_RUN


# ----------------------------------------------------------------------------------- small scale


def published(size: str) -> pd.DataFrame:
    return scoreboard.load(Path("runs/smoke"), ROOT / "book/results")[size]


@pytest.fixture(scope="module")
def tiny() -> pd.DataFrame:
    return published("tiny")


@pytest.mark.fault("toy runs among those of the small scale: {change}", "no verdict of theirs")
@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "toy"},
        {"target_classes": 3},
        {"finetuning": TOY},
    ],
)
@pytest.mark.parametrize("name", ["C1", "C2", "C8", "C9"])
def test_a_toy_is_no_run_of_the_small_scale(tiny, name, change):
    rule, _ = judging.in_force(BOOK.claims[name], tiny, "tiny")
    assert words(judging.verdict(rule, tiny, "tiny")) & {outcome.REPRODUCED, "not reproduced"}
    column, value = next(iter(change.items()))
    found = judging.verdict(rule, tiny.assign(**{column: [value] * len(tiny)}), "tiny")
    assert words(found) <= {outcome.NOT_RUN, outcome.UNDECIDED}, found


def test_no_published_run_is_left_out(tiny):
    for table, size in ((tiny, "tiny"), (published("published"), "published")):
        for claim in BOOK.claims.values():
            for rule in claim.rules:
                found = judging.verdict(rule, table, size)
                assert "left out" not in str(found), f"{claim.id}, version {rule.version}"


# ------------------------------------------------------------------------------ what a rule reads


def numbered(rule: rules.Rule, table: pd.DataFrame) -> dict[str, list[int]]:
    return {arm: list(read["n"]) for arm, read in fixed.read_by(rule, table).items()}


def test_a_rule_reads_the_runs_of_its_arms_and_each_once():
    small = BOOK.claims["C8"].version(3)
    rule = dataclasses.replace(small, arms={"a": {"labels": "x"}, "b": {"labels": "y"}})
    rows = [("x", "p"), ("y", "q"), ("x", "p"), ("z", "r"), ("x", None), ("x", None)]
    table = pd.DataFrame(rows, columns=["labels", "fingerprint"]).assign(n=range(6))
    table = table.assign(kind=[rule.records] * 5 + ["another kind"])
    assert numbered(rule, table) == {"a": [0, 4], "b": [1]}  # the run `p` was read twice
    whole = dataclasses.replace(small, parts={"one": rule, "two": rule}, arms={})
    arms = ["a (one)", "b (one)", "a (two)", "b (two)"]
    assert [*numbered(whole, table)] == arms
    assert numbered(rule, pd.DataFrame({"n": []})) == {"a": [], "b": []}


def test_a_rule_of_settings_reads_the_runs_at_these_alone():
    bound = BOOK.claims["C3"].rule("published")
    rule = dataclasses.replace(bound, arms={"a": {"k": 2}}, settings=({"d": 8}, {"d": 16}))
    table = pd.DataFrame({"k": [2, 2, 2, 3], "d": [16, 8, 32, 8], "n": range(4)})
    assert numbered(rule, table) == {"a": [1, 0]}
    free = dataclasses.replace(rule, arms={})
    assert numbered(free, table) == {"": [1, 3, 0]}
    assert [*numbered(dataclasses.replace(bound, parts={"p": free}), table)] == ["p"]


# -------------------------------------------------------------------------------------- the parts


@given(st.sampled_from(sorted(presets.PRESETS)), st.data())
def test_any_other_value_of_a_recipe_s_field_is_told(name, data):
    whole = preset(name).plain()
    field = data.draw(st.sampled_from(sorted(whole)))
    others = {"str": "x", "int": 7777, "float": 0.777, "bool": not whole[field], "dict": {"a": 1}}
    other = others[type(whole[field]).__name__]
    assert fixed.of_recipe({"preset": name}, whole) == ""
    told = fixed.of_recipe({"preset": name}, whole | {field: other})
    assert told.startswith(f"{field} is ") and repr(other) in told


def test_no_recipe_and_a_recipe_are_told_apart():
    assert fixed.of_recipe({}, {}) == ""
    assert fixed.of_recipe({}, {"model": "x"}) == "there is none"
    assert fixed.of_recipe({"preset": "resnet34"}, {}) == "there is one"
    assert "none any more" in fixed.of_recipe({"preset": "resnet35"}, {"model": "x"})


def test_only_the_runs_of_the_arms_are_counted():
    runs = pd.DataFrame({"labels": ["a", "b", "b"], "n": [1, 2, 3], "seed": [0, 0, 1]})
    left, told = fixed.parted(runs, [{"labels": "b"}], [Fixed({"n": 3}), Fixed({"n": 9}, {"n": 1})])
    assert list(left["n"]) == [1, 3]
    assert told == "1 run is left out: n is 2, the rule wants 3"
