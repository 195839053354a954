"""What was asked of photographs, worked out of made-up runs, against tables done by hand."""

import itertools
import math

import pandas as pd
import pytest

from granularity.analysis import questions, statistics, transfer_runs
from granularity.analysis.questions import ClassSizes, Lengths
from granularity.analysis.transfer_runs import Study

# (labels, level, steps, seed, error): leaf labels are best after 10 steps, level 9 after 100.
RUNS = [
    ("level", 0, 10, 0, 0.10),
    ("level", 0, 10, 1, 0.12),
    ("level", 0, 100, 0, 0.20),
    ("level", 0, 100, 1, 0.22),
    ("level", 9, 10, 0, 0.50),
    ("level", 9, 10, 1, 0.54),
    ("level", 9, 100, 0, 0.30),
    ("level", 9, 100, 1, 0.33),
]
WHERE = {"dataset": "tiny-imagenet-200", "overlap": "contained", "source_images": 400.0}
WHERE |= {"target_images": 100, "held_out": False, "kind": "imagenet.finetune"}


def made(rows, **changes) -> pd.DataFrame:
    columns = ["labels", "level", "steps", "seed", "error"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(finetuning=[{"steps": steps} for steps in table.pop("steps")])
    return table.assign(pretraining=[{}] * len(table), classes=200, **(WHERE | changes))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder whose published files are tables of runs: `put(name, runs)` puts one there."""
    published = {}

    def put(name, runs):
        (tmp_path / name).touch()
        published[tmp_path / name] = runs

    put("imagenet.jsonl", made([("target", 0, 10, 0, 0.6), ("target", 0, 10, 1, 0.64), *RUNS[:2]]))
    put("questions.jsonl", made(RUNS[2:]))
    for module in (questions, transfer_runs):
        monkeypatch.setattr(module.tables, "table", published.__getitem__)
    return tmp_path, put


def test_lengths_are_the_judged_cell_s_runs_and_those_asked_for(place):
    found = questions.lengths(place[0])
    assert (found.arms, found.steps) == (["leaf", "level 9"], [10, 100])
    assert found.of("leaf", 10).to_dict() == {0: 0.10, 1: 0.12}
    assert found.lead(10).to_dict() == pytest.approx({0: 0.40, 1: 0.42})
    assert found.lead(100).to_dict() == pytest.approx({0: 0.10, 1: 0.11})
    assert (found.best("leaf"), found.best("level 9")) == (10, 100)
    assert found.lead_at_best().to_dict() == pytest.approx({0: 0.20, 1: 0.21})
    assert found.baseline().to_dict() == {0: 0.6, 1: 0.64}
    assert questions.seeds(place[0]) == [0, 1]


def test_runs_of_other_worlds_seeds_and_held_out_images_are_no_lengths(place):
    folder, put = place
    other = {"dataset": "toy", "held_out": True, "target_images": 7, "kind": "imagenet.other"}
    others = [made([("level", 0, 999, 0, 0.9)], **{name: value}) for name, value in other.items()]
    put("questions.jsonl", pd.concat([made(RUNS[2:]), *others], ignore_index=True))
    put("imagenet.jsonl", made([*RUNS[:2], ("level", 0, 999, 5, 0.9)]))  # a seed not asked for
    assert questions.lengths(folder).steps == [10, 100]


def test_a_seed_without_a_partner_has_no_lead():
    runs = made(RUNS[:5]).assign(arm=["leaf"] * 4 + ["level 9"], steps=[10, 10, 100, 100, 10])
    lead = Lengths(runs, ["leaf", "level 9"], [10, 100]).lead(10)
    assert lead[0] == pytest.approx(0.4) and math.isnan(lead[1])


@pytest.mark.fault("two runs of an arm, a length and a seed", "refused by name")
def test_a_seed_with_two_runs_of_a_length_is_refused():
    runs = made(RUNS[:1] * 2).assign(arm="leaf", steps=10)
    with pytest.raises(statistics.Unfit, match=r"'steps': 10.*seed 0 has several runs"):
        Lengths(runs, ["leaf"], [10]).of("leaf", 10)


def sizes() -> ClassSizes:
    """Leaf labels (20 classes) and level 9 (4) with 50 and 10 images of each of 20 synsets."""
    errors = {("leaf", 50): 0.2, ("leaf", 10): 0.5, ("level 9", 50): 0.3, ("level 9", 10): 0.6}
    rows = [
        {"arm": arm, "source_images": n, "seed": seed, "error": error + 0.01 * seed * (n == 10)}
        | {"classes": 20 if arm == "leaf" else 4}
        for ((arm, n), error), seed in itertools.product(errors.items(), range(2))
    ]
    return ClassSizes(pd.DataFrame(rows))


def test_sizes_of_classes():
    found = sizes()
    assert found.full == 50
    assert found.cells() == [("leaf", 10), ("leaf", 50), ("level 9", 10), ("level 9", 50)]
    assert [found.classes("level 9", 10), found.classes("leaf", 10)] == [4, 20]
    assert found.images_of_a_class("level 9", 10) == 50  # 10 · 20 / 4: as many as a leaf had
    assert found.images_of_a_class("leaf", 10) == 10
    assert found.better("level 9", 50, 50).to_dict() == pytest.approx({0: 0.1, 1: 0.1})
    assert found.better("level 9", 10, 50).to_dict() == pytest.approx({0: 0.4, 1: 0.41})
    assert found.better("level 9", 10, 10).to_dict() == pytest.approx({0: 0.1, 1: 0.1})


def test_sizes_of_classes_are_those_of_disjoint_sources_at_the_judged_target(place):
    folder, put = place
    apart = made([("level", 9, 10, 0, 0.7), ("level", 4, 10, 1, 0.8)], overlap="disjoint")
    more = [made(RUNS[:1], overlap="disjoint", target_images=7), made(RUNS[2:])]
    alone = made([("target", 0, 10, 0, 0.9)], overlap="disjoint")
    put("questions.jsonl", pd.concat([apart, alone, *more], ignore_index=True))
    found = questions.class_sizes(folder)
    assert found.cells() == [("level 4", 400), ("level 9", 400)]
    assert found.of("level 9", 400).to_dict() == {0: 0.7}


# -------------------------------------------------------------------------------- the second arm


def test_a_vision_transformer_is_told_by_its_recipe():
    recipes = [{"model": "vit_tiny"}, {"model": "resnet10t"}, {"preset": "x"}, {}, math.nan]
    told = questions.is_vit(pd.DataFrame({"pretraining": recipes}))
    assert told.tolist() == [True, False, False, False, False]


def test_the_largest_comparison_of_the_chosen_runs(monkeypatch, tmp_path):
    tables = [
        pd.DataFrame({"target": ["a"] * 5 + ["b"]}),
        pd.DataFrame({"target": ["b"] * 3}),
        pd.DataFrame({"target": ["b"] * 2}),
    ]
    monkeypatch.setattr(questions, "read", lambda path: tables)
    found = questions.asked_of_second(tmp_path, lambda runs: runs["target"] == "b")
    assert len(found.runs) == 3
    assert len(questions.judged_of_second(tmp_path).runs) == 6


def test_a_study_of_the_seeds_of_another():
    of = {seeds: Study("", "tiny", pd.DataFrame({"seed": [*seeds]}), {}) for seeds in ("abc", "bd")}
    found = questions.of_seeds(of["abc"], of["bd"])
    assert found.runs["seed"].tolist() == ["b"] and len(of["abc"].runs) == 3


def test_rates_are_mean_errors_on_held_out_images_of_the_vision_transformers(place):
    folder, put = place
    vit = {"model": "vit_tiny"}
    rows = [
        ("target", 0.1, 0.5, vit),
        ("target", 0.1, 0.7, vit),
        ("target", 0.2, 0.3, vit),
        ("rank:leaf", 0.1, 0.1, vit),
        ("rank:leaf", 0.1, 0.9, {"model": "resnet10t"}),
        ("rank:leaf", 0.1, 0.9, math.nan),
    ]
    runs = pd.DataFrame(rows, columns=["labels", "learning_rate", "error", "pretraining"])
    runs = runs.assign(finetuning=[{"learning_rate": rate} for rate in runs.pop("learning_rate")])
    put("choices.jsonl", runs.assign(seed=[7, 8, 7, 7, 9, 9]))
    table, seeds = questions.rates_of_vit(folder)
    assert seeds == 2
    assert table.loc["target"].to_dict() == pytest.approx({0.1: 0.6, 0.2: 0.3})
    assert table.loc["rank:leaf", 0.1] == 0.1 and math.isnan(table.loc["rank:leaf", 0.2])
