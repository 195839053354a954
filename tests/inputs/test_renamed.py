"""Names of today and of earlier records: none is lost, and no fingerprint moves."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from granularity import notebook, theory
from granularity.experiments import choices, two_stages
from granularity.inputs import renamed
from granularity.records import runner
from granularity.training.presets import recipe_of
from granularity.training.recipe import Recipe

RESULTS = Path(__file__).parents[2] / "book" / "results"
# A recipe as the first records had it, field by field.
FIRST_FIELDS = """model model_options image_size head head_start loss optimiser rate momentum beta2
    weight_decay batch epochs steps warmup schedule clip augmentation randaugment mixup precision
    channels_last compile"""
PLAIN = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*renamed.NOW, "loss", "seed"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_there_and_back_is_the_same(values):
    assert renamed.first(renamed.current(values)) == values


def test_all_names_of_today_are_names_and_none_of_the_first_is():
    known = {field.name for shape in (Recipe, theory.Setting) for field in fields(shape)}
    known |= {field.name for field in fields(two_stages.Machine)}
    known |= {*choices.names_of(choices.LargerSource), *choices.names_of(choices.SameImages)}
    assert set(renamed.FIRST) <= known
    assert not set(renamed.NOW) & known


def test_a_recipe_is_keyed_by_its_first_names():
    recipe = renamed.first(Recipe(steps=3, schedule="step").plain())
    assert {*recipe} == set(FIRST_FIELDS.split()) and recipe["schedule"] == "thirds"
    assert renamed.first(Recipe(steps=3, ghost_batch=8).plain())["piece"] == 8


def test_options_of_a_network_keep_their_names():
    given = {"finetuning": {"rate": 1, "model_options": {"rate": 2, "world": 3}}}
    assert renamed.current(given)["finetuning"] == {
        "learning_rate": 1,
        "model_options": {"rate": 2, "world": 3},
    }


def made_before_the_names(record) -> bool:
    """Whether a record is of the time when functions were called by their modules."""
    return record["entry"].startswith("granularity.")


@pytest.mark.parametrize("file", sorted(RESULTS.glob("t*/*.jsonl")), ids=lambda file: file.stem)
def test_published_runs_keep_their_fingerprints_under_the_names_of_today(file):
    for record in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
        today = renamed.current(record["arguments"])
        assert not set(renamed.NOW) & {*today}
        # what a fingerprint is taken of: a record of today and one of then are called alike
        assert renamed.first(today) == renamed.first(record["arguments"])
        if made_before_the_names(record):
            assert renamed.first(today) == record["arguments"]
        if record["kind"] == "theory.simulate":
            assert runner.fingerprint(theory.simulate, today) == record["fingerprint"]


@pytest.mark.fault(
    "a name that was changed since, {old}, in a recipe, a setting or a notebook's parameters",
    "refused; the name of today is told",
)
@pytest.mark.parametrize("old", sorted(renamed.NOW))
def test_an_old_name_is_refused_and_the_new_one_told(old):
    new, told = renamed.NOW[old], f"'{renamed.NOW[old]}'"
    if new in Recipe.__dataclass_fields__:
        with pytest.raises(TypeError, match=told):
            recipe_of({"preset": "resnet_toy", old: 1})
    if new in theory.Setting.__dataclass_fields__:
        with pytest.raises(TypeError, match=told):
            theory.grid(**{old: 1})
    with pytest.raises(notebook.ParameterError, match=told):
        notebook.check({old: 1}, {new: 1, "worlds": 2, "rates": 3, "batches": 4}, "mine.yaml")


def test_an_old_value_is_refused_and_the_new_one_told():
    with pytest.raises(ValueError, match="'step' is nearest"):
        recipe_of({"preset": "resnet_toy", "schedule": "thirds"})
