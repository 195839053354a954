"""Recipes: strict about names and values, and the presets are those of the papers."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from granularity.training import presets
from granularity.training.presets import preset
from granularity.training.recipe import Recipe, changed

# The lineage's table, typed here for itself: pretraining, the baseline, finetuning.
SAME = {"model": "vit_base_patch16_224", "precision": "bf16", "augmentation": "crop"}
ADAM = {
    "optimiser": "adamw",
    "momentum": 0.9,
    "beta2": 0.999,
    "batch_size": 4096,
    "warmup": 10_000,
    "image_size": 224,
    "loss": "sigmoid",
    "head": "tanh",
    "head_init": "prior",
    "steps": 0,
    "model_options": {"pos_drop_rate": 0.1, "proj_drop_rate": 0.1},
}
TABLE = {
    "vit_b16_i21k": SAME
    | ADAM
    | {
        "epochs": 90,
        "learning_rate": 1e-3,
        "schedule": "linear",
        "weight_decay": 0.03,
        "clip_grad_norm": 0,
    },
    "vit_b16_i1k_scratch": SAME
    | ADAM
    | {
        "epochs": 300,
        "learning_rate": 3e-3,
        "schedule": "cosine",
        "weight_decay": 0.3,
        "clip_grad_norm": 1,
    },
    "vit_b16_i1k_finetune": SAME
    | {
        "optimiser": "sgd",
        "momentum": 0.9,
        "batch_size": 512,
        "epochs": 0,
        "steps": 20_000,
        "schedule": "cosine",
        "weight_decay": 0,
        "clip_grad_norm": 1,
        "image_size": 384,
        "loss": "softmax",
        "head": "linear",
        "head_init": "zero",
        "model_options": {},
    },
    "resnet34": {
        "model": "resnet34",
        "optimiser": "sgd",
        "momentum": 0.9,
        "epochs": 90,
        "weight_decay": 1e-4,
        "image_size": 224,
    },
}


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_has_the_values_of_the_papers(name):
    found = preset(name).plain()
    assert {field: found[field] for field in TABLE[name]} == TABLE[name]
    assert (found["mixup"], found["randaugment"]) == (0, "")  # none in the lineage


def test_rates_of_the_lineage():
    assert preset("vit_b16_i1k_finetune").learning_rate in (0.003, 0.01, 0.03, 0.06)
    large = preset("resnet34")
    assert large.learning_rate == pytest.approx(0.1 * large.batch_size / 256)
    assert -math.log(21_843) == pytest.approx(-10, abs=0.01)  # what "prior" stands for


def test_lengths():
    assert preset("vit_b16_i21k").length(14_197_122) == 90 * 3466
    assert preset("vit_b16_i1k_finetune").length(10**6) == 20_000
    assert Recipe(epochs=0.5, batch_size=10).length(99) == 4


@pytest.mark.parametrize("name", presets.PRESETS)
def test_plain_fields_make_an_equal_recipe(name):
    one = preset(name)
    again = Recipe(**json.loads(json.dumps(one.plain())))
    assert again == one
    assert changed(again) == one


@given(
    st.fixed_dictionaries(
        {"steps": st.integers(1, 10**6)},
        optional={
            "learning_rate": st.floats(0, 10) | st.integers(0, 10),
            "loss": st.sampled_from(["sigmoid", "softmax"]),
            "clip_grad_norm": st.floats(0, 5),
            "compile": st.booleans(),
            "model_options": st.dictionaries(
                st.text(max_size=5), st.integers() | st.lists(st.integers(), max_size=3)
            ),
        },
    )
)
def test_any_recipe_survives_json(values):
    one = Recipe(**values)
    assert Recipe(**json.loads(json.dumps(one.plain()))) == one


def test_a_recipe_is_frozen_and_shares_nothing():
    one = preset("resnet_small")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.learning_rate = 1.0
    one.plain()["model_options"]["channels"][0] = 999
    options = {"depth": 2}
    two = Recipe(steps=1, model_options=options)
    options["depth"] = 3
    assert two.model_options == {"depth": 2}
    assert preset("resnet_small").model_options["channels"][0] == 32


@pytest.mark.fault("a recipe with {given}", "refused by field, with the nearest name or value")
@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"warm_up": 3}, TypeError, "no field 'warm_up'; the nearest one is 'warmup'"),
        ({"optimizer": "sgd"}, TypeError, "'optimizer'; the nearest one is 'optimiser'"),
        ({"learning_rate": "0.1"}, TypeError, "rate must be a float, not '0.1'"),
        ({"batch_size": 12.0}, TypeError, "batch_size must be an int, not 12.0"),
        ({"batch_size": True}, TypeError, "batch_size must be an int, not True"),
        ({"compile": 1}, TypeError, "compile must be a bool, not 1"),
        ({"model": None}, TypeError, "model must be a str, not None"),
        ({"model_options": 3}, TypeError, "model_options must be a mapping, not 3"),
        ({"loss": "sigmiod"}, ValueError, "loss is 'sigmiod'; .* 'sigmoid' is nearest"),
        ({"schedule": "cos"}, ValueError, "schedule is 'cos'; .* 'cosine' is nearest"),
        ({"precision": "fp16"}, ValueError, "precision is 'fp16'; .* nearest"),
        ({"learning_rate": -0.1}, ValueError, "rate must be at least 0, not -0.1"),
        ({"learning_rate": math.nan}, ValueError, "rate must be a finite number, not nan"),
        ({"learning_rate": math.inf}, ValueError, "rate must be a finite number, not inf"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"steps": 5}, ValueError, r"one of epochs \(15.0\) and steps \(5\) must be 0"),
        ({"epochs": 0}, ValueError, r"one of epochs \(0.0\) and steps \(0\)"),
    ],
)
def test_a_wrong_value_is_refused_by_name(given, error, told):
    with pytest.raises(error, match=told):
        preset("resnet_small", **given)


@pytest.mark.fault("an unknown preset", "refused, with the nearest name")
def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(KeyError, match="the nearest one is 'vit_b16_i21k'"):
        preset("vit_b16_21k")
