"""What a size could decide, and what less would cost and find."""

import math

import pytest
from conftest import ROOT

from granularity import notebook
from granularity.claims import rules
from granularity.claims.outcome import Verdict
from granularity.planning import designs, plan, speeds
from granularity.training.presets import preset

BOOK = rules.read((ROOT / "book/claims.yml").read_text(encoding="utf-8"))
VIT = preset("vit_b16_i21k")
RATE = speeds.Speed("A100", "cuda", 1000.0, speeds.operations(VIT, 21_843), "a test", VIT.model)


def job(run: str, setting: str, **given) -> plan.Job:
    values = notebook.declared(ROOT / "notebooks" / f"{run}.ipynb")
    asked = {"dataset": "imagenet", "placebo": [], "device": "cuda", "baseline": False}
    asked = {name: v for name, v in asked.items() if name in values} | given
    return plan.Job(run, setting, values | asked)


RECIPES = {"pretraining": {"preset": "vit_b16_i21k"}}
TUNED = RECIPES | {"finetuning": {"preset": "vit_b16_i1k_finetune"}}
JOBS = [
    *(job("imagenet/pretrain", "levels", level=level, seed=0, **RECIPES) for level in (0, 1, 4)),
    *(job("imagenet/finetune", "levels", level=level, seed=0, **TUNED) for level in (0, 1, 4)),
    job("imagenet/finetune", "rates", level=0, seed=[7, 8, 9], held_out=True, **TUNED),
]


def test_seeds_that_choose_rates_decide_nothing():
    assert designs.seeds_of(JOBS) == {"imagenet.pretrain": 1, "imagenet.finetune": 1}
    more = [job("imagenet/finetune", "levels", level=9, seed=[1, 2], **TUNED)]
    assert designs.seeds_of([*JOBS, *more])["imagenet.finetune"] == 3


def test_each_claim_s_rule_says_how_many_seeds_it_wants():
    rows = {row["claim"]: row for row in designs.wanted(BOOK, JOBS)}
    rule = BOOK.claims["C1"].rule("paper")
    assert rows["C1"]["wanted"] == rule.seeds and rows["C1"]["planned"] == 1
    assert rows["C1"]["runs"] == "imagenet.finetune"
    assert rows["C8"]["planned"] == 0, "no run of the other arm is planned"


def test_fewer_seeds_cost_less_and_find_less():
    known = plan.Known([RATE])
    eight, three, smaller, shorter = designs.cheaper(JOBS, known, "", 0.01)
    assert eight["gpu_hours"] == pytest.approx(8 / 3 * three["gpu_hours"], rel=1e-3)  # heads differ
    assert eight["gpu_hours"] > three["gpu_hours"] > smaller["gpu_hours"] > shorter["gpu_hours"]
    assert eight["points"] == pytest.approx(2.3646 / 8**0.5, rel=1e-4)  # a table of t: 7 degrees
    assert three["points"] == pytest.approx(4.3027 / 3**0.5, rel=1e-4)


def test_a_size_without_the_arm_has_no_designs():
    assert designs.cheaper(JOBS[:3], plan.Known([RATE]), "", 0.01) == []


def test_the_spread_behind_an_interval_is_found_again():
    """An interval of three seeds, made by hand: 0.4 ± 4.3027 · 0.02 / √3."""
    wide = 4.302653 * 0.02 / math.sqrt(3)
    found = Verdict("undecided", "", 3, 0.4, 0.4 - wide, 0.4 + wide)
    assert designs.deviation(found, 0.95) == pytest.approx(0.02, rel=1e-6)
