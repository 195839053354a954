"""The recipe that held-out runs choose, against choices done by hand."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, registered

from granularity.analysis import best_recipe
from granularity.analysis.best_recipe import Tried
from granularity.inputs import open_recipes, plain_yaml
from granularity.records import runner, tables
from granularity.records.record import RecordError

PRESET = {"preset": "resnet_small"}
ERRORS = {  # by learning rate: error of leaf and of target labels, training error of both
    0.01: (0.30, 0.34, 0.02, 0.03),
    0.02: (0.28, 0.30, 0.03, 0.05),
    0.04: (0.20, 0.30, 0.01, 0.20),
    0.08: (0.10, 0.10, 0.01, 0.01),
}


def at(rate: float) -> dict:
    return {**PRESET, "learning_rate": rate}


RECIPES = [at(rate) for rate in ERRORS]


def study(labels, finetuning, seed, held_out, device="cpu"):
    """A run of made-up errors."""
    leaf, target, learnt_leaf, learnt_target = ERRORS[finetuning["learning_rate"]]
    found = {"leaf": (leaf, learnt_leaf), "target": (target, learnt_target)}[labels]
    return {"metrics": dict(zip(("error", "training_error"), found, strict=True))}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes the runs of some label functions and recipes, each label function in its folder."""
    entry = registered(monkeypatch, study)

    def make(labels=("leaf", "target"), recipes=RECIPES, held_out=True) -> list[str]:
        for name in labels:
            settings = [
                {"labels": name, "finetuning": recipe, "seed": 7, "held_out": held_out}
                for recipe in recipes
            ]
            runner.complete(tmp_path / name, entry, settings)
        return list(labels)

    return make


def open_recipe(folders, recipes=RECIPES):
    return {"finetuning": {open_recipes.BEST_OF: folders, open_recipes.RECIPES: recipes}}


def test_the_lowest_mean_error_of_those_that_have_learnt_and_are_no_edge(made, tmp_path):
    """0.08 is lowest and an edge; 0.04 is next and one of its networks has not learnt; so 0.02."""
    values, why = best_recipe.settled({"seed": 3, **open_recipe(made())}, tmp_path)
    assert values == {"seed": 3, "finetuning": at(0.02)}
    told = why["finetuning"]
    assert told["of"] == ["leaf", "target"] and told["rule"] == best_recipe.RULE
    means = {one["recipe"]["learning_rate"]: one["error"] for one in told["tried"]}
    assert means == pytest.approx({0.01: 0.32, 0.02: 0.29, 0.04: 0.25, 0.08: 0.10})
    assert [one["training_error"] for one in told["tried"]] == [0.03, 0.05, 0.20, 0.01]


def test_parameters_without_an_open_recipe_stay_as_they_are(tmp_path):
    given = {"finetuning": at(0.1), "seed": [1, 2], "scratch": {}}
    assert best_recipe.settled(given, tmp_path) == (given, {})


def tried(*errors, training_error=0.0, **recipe):
    rates = (0.01, 0.02, 0.04, 0.08)
    return [
        Tried({**at(rate), **recipe}, error, training_error)
        for rate, error in zip(rates, errors, strict=False)
    ]


def test_where_none_has_learnt_the_lowest_error_is_chosen():
    found = best_recipe.best(tried(0.1, 0.3, 0.2, 0.1, training_error=0.5))
    assert found.recipe["learning_rate"] == 0.04


def test_the_edges_are_those_of_otherwise_equal_recipes():
    plain = tried(0.3, 0.2, 0.3, augmentation="none")
    shifted = tried(0.3, 0.3, 0.25, 0.1)
    found = best_recipe.best(plain + shifted)
    assert found.recipe == {**at(0.02), "augmentation": "none"}


@pytest.mark.fault("a grid of two learning rates, to choose from", "refused: both are edges")
def test_two_rates_are_edges_both():
    with pytest.raises(RecordError, match="three or more"):
        best_recipe.best(tried(0.1, 0.2))


@pytest.mark.fault("a recipe is to be chosen, and {lack}", "refused, with the place")
@pytest.mark.parametrize(
    ("lack", "told"),
    [
        ("no run is there", "leaf"),
        ("an arm lacks a rate", "1 of 2 runs with .*0.08"),
        ("its runs held no image out", "held no image out"),
        ("no run has a recipe", "0 of 2 runs with .*0.5"),
    ],
)
def test_what_chooses_nothing_is_refused(made, tmp_path, lack, told):
    recipes, folders = RECIPES, ["leaf", "target"]
    if lack == "an arm lacks a rate":
        made(("leaf",))
        made(("target",), RECIPES[:-1])
    elif lack == "its runs held no image out":
        made(held_out=False)
    elif lack == "no run has a recipe":
        made()
        recipes = [*RECIPES, at(0.5)]
    with pytest.raises((RecordError, OSError), match=told):
        best_recipe.settled(open_recipe(folders, recipes), tmp_path)


SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 3, "warmup": 1}
TUNED = {"preset": "resnet_toy_finetune", "image_size": 16, "epochs": 0, "steps": 3, "warmup": 1}
COMMON = {"dataset": "toy", "placebo": [], "level": 4, "seed": 0, "pretraining": SHORT}
SIZE = {
    "size": "mine",
    "runs": {
        "imagenet/pretrain": {
            "levels": COMMON,
            "rates": COMMON | {"held_out": True},
        },
        "imagenet/finetune": {
            "levels": COMMON | {"baseline": False, "finetuning": {"best_of": "rates"}},
            "rates": COMMON
            | {
                "baseline": False,
                "held_out": True,
                "finetuning": [TUNED | {"learning_rate": rate} for rate in (0.001, 0.01, 0.1)],
            },
        },
    },
}


def test_the_graph_makes_the_choosing_runs_first_and_the_record_says_which_and_why(house):
    shutil.rmtree(house.folder / "notebooks/theory")
    for name in ("imagenet/pretrain", "imagenet/finetune"):
        (house.folder / "notebooks/imagenet").mkdir(exist_ok=True)
        shutil.copy(ROOT / f"notebooks/{name}.ipynb", house.folder / f"notebooks/{name}.ipynb")
    house.write("_toc.yml", "format: jb-book\nroot: book/index\n")
    house.write("notebooks/params/mine.yaml", plain_yaml.dump(SIZE))
    target = "runs/mine/imagenet/finetune/levels/record.json"
    command = [sys.executable, "-m", "snakemake", "--configfile", "notebooks/params/mine.yaml"]
    command += ["--cores", "1", "--quiet", "all", "--", target]
    ended = subprocess.run(command, cwd=house.folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    finetuned = Path(house.folder, "runs/mine/imagenet/finetune")
    (made,) = tables.collect(finetuned / "levels")
    tried_there = tables.collect(finetuned / "rates")
    assert len(tried_there) == 3
    told = made["chosen"]["finetuning"]
    assert told["of"] == ["runs/mine/imagenet/finetune/rates"]
    errors = {
        run["arguments"]["finetuning"]["learning_rate"]: run["metrics"] for run in tried_there
    }
    assert {one["recipe"]["learning_rate"]: one["error"] for one in told["tried"]} == {
        rate: metrics["error"] for rate, metrics in errors.items()
    }
    assert made["arguments"]["finetuning"] == TUNED | {"learning_rate": 0.01}, (
        "the others are edges"
    )
    assert not made["arguments"].get("held_out")
