"""What a run reads is said before it runs; a finetuning knows which pretraining it wants."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_datasets import small_toy

from granularity.experiments import imagenet, inaturalist, sets
from granularity.images import subset
from granularity.records import launch, runner
from granularity.records.record import RecordError
from granularity.training import one_stage, presets

SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 2, "warmup": 1}
TUNED = {**SHORT, "loss": "softmax", "head_init": "zero"}
RUN = {"dataset": "toy", "level": 0, "labels": "level", "pretraining": SHORT, "seed": 0}
BOTH = RUN | {"finetuning": TUNED}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The drawn datasets."""
    return small_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def roots(drawn, tmp_path):
    """The drawn datasets, to be changed."""
    return {"toy": str(shutil.copytree(drawn["toy"], tmp_path / "toy" / "dataset"))}


@pytest.fixture(autouse=True)
def fresh():
    """No set stays open from one test to the next."""
    sets.opened.cache_clear()


def image(roots, part="imagenet21k/train", number=0) -> Path:
    return sorted(Path(roots["toy"], part).rglob("*.JPEG"))[number]


def replaced(path: Path, other: Path) -> None:
    path.unlink()
    shutil.copy(other, path)


def told(settings, roots):
    sets.opened.cache_clear()
    return imagenet.stated(settings, roots)


# ---------------------------------------------------------------------------------- what is read


def test_what_a_run_reads_is_stated_part_by_part(roots):
    baseline = BOTH | {"labels": "target"}
    whole, scratch, first = imagenet.stated([BOTH, baseline, RUN], roots)
    assert list(whole) == ["source", "target", "evaluation"]
    assert list(scratch) == ["target", "evaluation"] and list(first) == ["source"]
    assert first["source"] == whole["source"] and scratch["target"] == whole["target"]
    counts = {name: (part["images"], part["classes"]) for name, part in whole.items()}
    assert counts == {"source": (60 * 12, 60), "target": (20 * 8, 20), "evaluation": (80, 20)}
    assert whole["source"]["set"] == "toy/imagenet21k/train"
    assert json.loads(json.dumps(whole)) == whole
    assert roots["toy"] not in json.dumps(whole)
    (species,) = inaturalist.stated([{"dataset": "toy", "labels": "target"}], roots)
    assert species["source"]["set"] == "toy/inaturalist/2021_train_mini"


def test_a_set_is_called_the_same_wherever_it_lies(roots, tmp_path):
    (before,) = imagenet.stated([BOTH], roots)
    moved = {"toy": shutil.copytree(roots["toy"], tmp_path / "other" / "place")}
    assert imagenet.stated([BOTH], moved) == [before]


CHANGES = {
    "an image removed": lambda roots: image(roots).unlink(),
    "an image added": lambda roots: shutil.copy(image(roots), image(roots).with_name("new.JPEG")),
    "an image of another size": lambda roots: replaced(image(roots), image(roots, number=1)),
    "a class that was not downloaded": lambda roots: shutil.rmtree(image(roots).parent),
}


@pytest.mark.fault(
    "{change} since the record was made, or drawn with another seed",
    "another run, with other data in its record: the old number stays the old data's",
)
@pytest.mark.parametrize("change", [*CHANGES, "another seed"])
def test_other_images_are_another_run(roots, tmp_path, change):
    places = {"roots": roots, "stages": str(tmp_path / "stages")}
    runs = {"entry": imagenet.pretrain, "settings": [RUN], "places": places}
    before = told([RUN], roots)
    (first,) = runner.complete(tmp_path / "runs", **runs, data=before)
    if change in CHANGES:
        CHANGES[change](roots)
    else:
        small_toy(tmp_path / "toy", seed=1)
    after = told([RUN], roots)
    assert after[0]["source"]["fingerprint"] != before[0]["source"]["fingerprint"]
    (second,) = runner.complete(tmp_path / "runs", **runs, data=after)
    assert (first["data"], second["data"]) == (before[0], after[0])
    assert first["fingerprint"] != second["fingerprint"] and first["stage"] != second["stage"]


def test_one_mapping_of_data_for_each_setting(roots, tmp_path):
    settings = [RUN, RUN | {"level": 4}]
    with pytest.raises(RecordError, match="data of 1 runs are stated, and there are 2"):
        runner.complete(tmp_path, imagenet.pretrain, settings, data=told([RUN], roots))


@pytest.mark.faults
def test_the_data_travel_to_several_processes(roots, tmp_path):
    places = {"roots": roots, "stages": str(tmp_path / "stages")}
    vit = {"model": "vit_tiny_patch16_224"}  # batch norm wants one process
    vit |= {"model_options": {"patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}}
    settings = [RUN | {"pretraining": SHORT | vit}]
    runs = {"entry": imagenet.pretrain, "settings": settings, "places": places}
    runs |= {"data": told(settings, roots)}
    launch.launch(tmp_path / "runs", **runs, processes=2)
    (path,) = (tmp_path / "runs").glob("*/record.json")
    (record,) = runner.complete(tmp_path / "runs", **runs)
    assert record["fingerprint"] == path.parent.name and record["data"] == runs["data"][0]


def test_a_part_is_named_by_its_own_images_alone(roots):
    """Neither another class of the set, nor the order or the place of its images, matters."""
    root = f"{roots['toy']}/imagenet21k"
    images = sets.opened(root, "train")
    some = images.classes[5:9]
    before = subset.of_classes(subset.whole(images), some)
    shutil.copytree(Path(root, "train", some[0]), Path(root, "train", "n00000001"))
    sets.opened.cache_clear()
    after = subset.of_classes(subset.whole(sets.opened(root, "train")), some)
    assert not np.array_equal(before.rows, after.rows)
    assert before.fingerprint == after.fingerprint
    fewer = subset.Subset(after.images, after.rows[1:])
    assert fewer.fingerprint != after.fingerprint


# ------------------------------------------------------------------------------ the pretraining


def pretrained(roots, tmp_path, **other):
    places = {"roots": roots, "stages": str(tmp_path / "stages")}
    return imagenet.pretrain(**RUN | other, **places)["stage"], places


@pytest.fixture
def no_step(monkeypatch):
    monkeypatch.setattr(one_stage.engine, "step_optimiser", None)  # a step would raise TypeError


def test_a_stage_says_what_it_was_made_of(roots, tmp_path):
    key, places = pretrained(roots, tmp_path)
    note = json.loads(Path(places["stages"], key, "stage.json").read_text("utf-8"))
    assert note["images"] == imagenet.stated([RUN], roots)[0]["source"]
    assert note["recipe"] == presets.recipe_of(SHORT).plain() and note["seed"] == 0
    assert note["start"] is None and note["classes"] == 60


DIFFER = {
    "a class is missing": (
        {},
        CHANGES["a class that was not downloaded"],
        r"images of the images \(720, wanted 708\)",
    ),
    "an image was removed": (
        {},
        CHANGES["an image removed"],
        r"images of the images \(720, wanted 719\)",
    ),
    "another learning rate": (
        {"pretraining": SHORT | {"learning_rate": 0.2}},
        None,
        r"learning_rate \(0\.1, wanted 0\.2\)",
    ),
    "another seed": ({"seed": 3}, None, r"seed \(0, wanted 3\)"),
    "another level": ({"level": 4}, None, r"labels \(.*classes \(60, wanted "),
    "held-out images": ({"held_out": True}, None, r"images of the images \(720, wanted 680\)"),
}


@pytest.mark.fault(
    "a finetuning whose pretraining is not there: {what}",
    "it stops and says what differs; nothing is trained unless it was asked for",
)
@pytest.mark.parametrize("what", DIFFER)
def test_a_pretraining_that_is_not_there_is_not_made_on_the_quiet(
    roots, tmp_path, monkeypatch, what
):
    key, places = pretrained(roots, tmp_path)
    other, change, said = DIFFER[what]
    if change:
        change(roots)
        sets.opened.cache_clear()
    before = sorted(Path(places["stages"]).iterdir())
    with pytest.raises(FileNotFoundError, match=said) as stopped:
        imagenet.finetune(**BOTH | other, **places)
    assert key in str(stopped.value) and "train_missing" in str(stopped.value)
    assert sorted(Path(places["stages"]).iterdir()) == before
    made = imagenet.finetune(**BOTH | other, **places, train_missing=True)
    assert made["metrics"]["error"] <= 1 and len([*Path(places["stages"]).iterdir()]) == 3


@pytest.mark.fault(
    "a pretraining that was stopped half-way, asked for by a finetuning",
    "it stops and says that the pretraining is not done",
)
def test_a_pretraining_that_is_not_done_is_not_there(roots, tmp_path, no_step):
    places = {"roots": roots, "stages": str(tmp_path / "stages")}
    with pytest.raises(FileNotFoundError, match=r"is not there.*No other stage"):
        imagenet.finetune(**BOTH, **places)
    with pytest.raises(TypeError):
        imagenet.pretrain(**RUN, **places)
    with pytest.raises(FileNotFoundError, match="is begun and not done"):
        imagenet.finetune(**BOTH, **places)


def test_the_baseline_needs_no_pretraining(roots, tmp_path):
    places = {"roots": roots, "stages": str(tmp_path / "stages")}
    found = imagenet.finetune(**BOTH | {"labels": "target", "pretraining": {}}, **places)
    assert found["metrics"]["classes"] == 20


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": 3'])
def test_a_note_that_is_none_is_passed_over(roots, tmp_path, text):
    key, places = pretrained(roots, tmp_path)
    Path(places["stages"], key, "stage.json").write_text(text)
    assert imagenet.finetune(**BOTH, **places)["metrics"]
    Path(places["stages"], key, "stage.json").write_text(text)
    with pytest.raises(FileNotFoundError, match="nothing was trained"):
        imagenet.finetune(**BOTH | {"seed": 1}, **places)


@pytest.mark.fault(
    "a broken file that was skipped is deleted, or another class comes to the set",
    "the stage is found done, and no step is made",
)
def test_what_is_skipped_anyway_changes_no_stage(roots, tmp_path, monkeypatch):
    broken = image(roots).with_name("broken.JPEG")
    broken.write_bytes(b"no image")
    os.utime(broken.parent, (0, 0))
    key, places = pretrained(roots, tmp_path, skip=["broken"])
    broken.unlink()
    sets.opened.cache_clear()
    monkeypatch.setattr(one_stage.engine, "step_optimiser", None)
    again = imagenet.pretrain(**RUN, **places)
    assert again["stage"] == key and again["left_out"] == {}
