"""Experiment A: which images are where, which labels they get, how arms differ."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import larger_source

from granularity import labels
from granularity.experiments import imagenet, two_stages
from granularity.hierarchies import wordnet
from granularity.images import splits
from granularity.images.toy import drawing
from granularity.records import launch, runner, tables
from granularity.training import checkpoints, loading, one_stage, presets

torch.set_num_threads(1)
SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 3, "warmup": 1}
TUNED = {**SHORT, "loss": "softmax", "head_init": "zero"}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A drawn world, smaller than the toy's own."""
    folder = tmp_path_factory.mktemp("toy")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    patch = pytest.MonkeyPatch()
    parts = [(part, synsets, first, min(n, 12)) for part, synsets, first, n in drawing.PARTS]
    patch.setattr(drawing, "PARTS", (parts[0], (*parts[1][:3], 6), parts[2]))
    yield {"toy": str(drawing.draw(folder / "dataset"))}
    patch.undo()


def names(part):
    return set(part.images.names[part.rows].tolist())


# ----------------------------------------------------------------------------------------- sets


@pytest.mark.parametrize("source_images", [0, 5])
def test_the_target_is_contained_in_the_source_or_taken_out_of_it(roots, source_images):
    for overlap in ("contained", "disjoint"):
        found = larger_source("toy", roots, overlap=overlap, source_images=source_images)
        both = names(found.target) & names(found.source)
        assert both == (names(found.target) if overlap == "contained" else set())
        assert not names(found.evaluation) & (names(found.target) | names(found.source))
        assert found.classes == drawing.TARGET


def test_so_many_images_of_each_class(roots):
    found = larger_source("toy", roots, target_images=4)
    assert (np.bincount(found.target.leaf) == 4).all()
    smaller = larger_source("toy", roots, target_images=2)
    assert names(smaller.target) < names(found.target)


def test_what_is_held_out_is_not_trained_on_and_is_of_the_training_images(roots):
    whole = larger_source("toy", roots)
    found = larger_source("toy", roots, held_out=True)
    assert not names(found.evaluation) & names(found.target)
    assert names(found.evaluation) | names(found.target) == names(whole.target)
    assert len(np.unique(found.evaluation.leaf)) == len(drawing.TARGET)


@pytest.mark.fault(
    "runs on sets that are not there", "an error before any work that says what to download"
)
def test_a_missing_root_says_what_to_download(roots, tmp_path):
    for dataset, wanted in (("imagenet", "1.1 TB"), ("tiny-imagenet-200", "248 MB")):
        with pytest.raises(KeyError, match=wanted):
            larger_source(dataset, roots)
    with pytest.raises(KeyError, match=r"imagenet1k.*138 GB"):
        larger_source("imagenet", {"imagenet21k": "x"})
    given = {name: str(tmp_path / name) for name in ("imagenet21k", "imagenet1k")}
    with pytest.raises(FileNotFoundError, match=r"no such folder.*1\.1 TB"):
        larger_source("imagenet", given)
    with pytest.raises(KeyError, match="there are toy"):
        larger_source("imagenett", roots)


def test_real_roots_may_have_any_name(roots, tmp_path):
    for name in ("imagenet21k", "imagenet1k"):
        (tmp_path / f"my-{name}").symlink_to(Path(roots["toy"]) / name)
    given = {name: str(tmp_path / f"my-{name}") for name in ("imagenet21k", "imagenet1k")}
    assert names(larger_source("imagenet", given).target) == names(
        larger_source("toy", roots).target
    )


@pytest.fixture(scope="module")
def tiny(real_data, tmp_path_factory):
    """Tiny-ImageNet, listed once."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    return {"tiny-imagenet-200": str(real_data / "tiny-imagenet-200")}


def test_tiny_imagenet_is_cut_as_said(tiny):
    twins = splits.twins(splits.DUPLICATES)
    lost = {training.encode() for training, _ in twins}
    assert len(lost) == 7
    apart = larger_source("tiny-imagenet-200", tiny, overlap="disjoint")
    within = larger_source("tiny-imagenet-200", tiny, overlap="contained")
    assert names(apart.target) == names(within.target)
    assert not names(apart.target) & names(apart.source)
    assert names(within.target) <= names(within.source)
    for found in (apart, within):
        assert not lost & (names(found.target) | names(found.source))
        assert (
            abs(len(found.source.rows) - 80_000) <= 7 and abs(len(found.target.rows) - 5_000) <= 7
        )
        assert len(found.evaluation.rows) == 2_500 and len(found.classes) == 50
        assert found.classes == found.target.images.classes[::4]


# --------------------------------------------------------------------------------------- labels


def climb(synset, level):
    """A plain walk up WordNet: along every hypernym, and a synset without one stays."""
    if not level:
        return {synset}
    above = wordnet.nouns().hypernyms[synset] or (synset,)
    return set().union(*(climb(parent, level - 1) for parent in above))


@pytest.mark.parametrize("level", [0, 1, 2, 4, 6, 9])
def test_the_labels_of_a_batch_are_those_of_a_walk_up_wordnet(roots, level):
    part = larger_source("toy", roots).source
    recipe = presets.recipe_of(SHORT)
    lookup, table = imagenet.source_labels(part, "level", level, 0)
    images = two_stages.loaded(part, recipe, lookup)
    classes = labels.levels(part.images.classes, [level])[level].classes
    pieces = list(
        one_stage.engine.plan(
            len(images), recipe.batch_size, 0, range(4), micro_batch=recipe.batch_size
        )
    )
    shown = images.batches(iter(pieces), train=True, device=torch.device("cpu"))
    for piece, (_, leaf) in zip(pieces, shown, strict=True):
        found = torch.from_numpy(table.copy())[leaf].numpy()  # as the engine looks them up
        for row, sample in zip(found, piece.samples, strict=True):
            name = part.images.names[part.rows[sample]].decode()
            assert {classes[k] for k in row if k >= 0} == climb(name.partition("/")[0], level)


def test_the_placebo_has_the_level_s_class_sizes_and_no_meaning(roots):
    part = larger_source("toy", roots).source
    _, table = imagenet.source_labels(part, "level", 0, 0)
    lookup, dealt = imagenet.source_labels(part, "random", 0, 0)
    ids = dealt[lookup[part.rows], 0]
    assert np.array_equal(np.bincount(ids), np.bincount(table[part.leaf, 0]))
    assert (ids == part.leaf).mean() < 0.1
    other = imagenet.source_labels(part, "random", 0, 1)[1]
    assert not np.array_equal(other, dealt)
    with pytest.raises(ValueError, match="'level' or 'random'"):
        imagenet.source_labels(part, "randon", 0, 0)


# ----------------------------------------------------------------------------------------- runs


def test_arms_are_all_combinations_and_the_baseline_has_no_pretraining():
    common = {"pretraining": SHORT, "seed": [0, 1], "overlap": ["contained", "disjoint"]}
    assert len(imagenet.arms(level=[0, 9], placebo=0, **common)) == 3 * 2 * 2
    found = imagenet.arms(level=[], baseline=True, finetuning={}, scratch=TUNED, **common)
    assert [arm["labels"] for arm in found] == ["target"] * 4
    assert all(arm["pretraining"] == {} and arm["finetuning"] == TUNED for arm in found)


@pytest.fixture(scope="module")
def study(roots, tmp_path_factory):
    """Two levels, the placebo and the baseline, three steps each; which batches were shown."""
    folder = tmp_path_factory.mktemp("runs")
    shown, patch = [], pytest.MonkeyPatch()
    stage, batches = one_stage.stage, loading.Memory.batches

    def watched(recipe, images, table, num_classes, **options):
        shown.append({"recipe": recipe, "table": table, "pieces": [], **options})
        return stage(recipe, images, table, num_classes, **options)

    def seen(self, plan, train, device):
        for image, leaf in batches(self, plan, train, device):
            if train:
                shown[-1]["pieces"].append(image.clone())
            yield image, leaf

    patch.setattr(one_stage, "stage", watched)
    patch.setattr(loading.Memory, "batches", seen)
    settings = imagenet.arms(
        level=[0, 9], placebo=0, baseline=True, pretraining=SHORT, finetuning=TUNED, scratch=TUNED,
        dataset="toy", seed=0,
    )  # fmt: skip
    places = {"roots": roots, "stages": str(folder / "stages"), "train_missing": True}
    made = runner.complete(folder / "runs", imagenet.finetune, settings, places=places)
    patch.undo()
    return folder, settings, places, made, shown


def test_kept_checkpoints_give_error_against_steps(study, roots, tmp_path):
    """Those on the way are what a shorter run with the same rates ends with."""
    settings = study[1]
    recipe = TUNED | {"schedule": "constant"}
    errors = {}
    for steps in (2, 3):
        setting = settings[-1] | {"finetuning": recipe | {"steps": steps}}
        places = {"roots": roots, "stages": str(tmp_path / "stages"), "keep_every": 2}
        (tmp_path / str(steps)).mkdir()
        found = imagenet.finetune(**setting, **places, run_folder=tmp_path / str(steps))
        told = (tmp_path / str(steps) / "errors_by_step.jsonl").read_text().splitlines()
        errors[steps] = [json.loads(line) for line in told]
        names = ("error", "balanced_error", "top5_error", "loss")
        assert errors[steps][-1] == {"step": steps} | {n: found["metrics"][n] for n in names}
    assert [line["step"] for line in errors[3]] == [2, 3]
    assert errors[3][0] == errors[2][0]


def test_arms_differ_in_the_label_function_alone(study):
    shown = study[-1]
    leaf, _, coarse, _, placebo, _, _ = shown  # pretraining and finetuning each, then the baseline
    for other in (coarse, placebo):
        assert other["recipe"] == leaf["recipe"] and other["seed"] == leaf["seed"]
        assert len(other["pieces"]) == 3
        assert all(torch.equal(*pair) for pair in zip(leaf["pieces"], other["pieces"], strict=True))
        assert not torch.equal(other["table"], leaf["table"])
    build = one_stage.networks.build
    first, second = (build(leaf["recipe"], k, 0).state_dict() for k in (60, 11))
    body = [name for name in first if not name.startswith("fc.")]
    assert body and all(torch.equal(first[name], second[name]) for name in body)
    tuned = [shown[k] for k in (1, 3, 5, 6)]
    for other in tuned[1:]:
        assert all(
            torch.equal(*pair) for pair in zip(tuned[0]["pieces"], other["pieces"], strict=True)
        )


def test_a_finetuning_finds_its_pretraining_and_nothing_trains_twice(study, tmp_path, monkeypatch):
    folder, settings, places, made, _ = study
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("checkpoint-*")}
    pretrained = imagenet.arms(level=[0, 9], placebo=0, pretraining=SHORT, dataset="toy", seed=0)
    monkeypatch.setattr(one_stage.engine, "step_optimiser", None)  # a step would raise
    first = runner.complete(tmp_path / "pre", imagenet.pretrain, pretrained, places=places)
    again = runner.complete(tmp_path / "fine", imagenet.finetune, settings, places=places)
    assert [r["metrics"] for r in again] == [r["metrics"] for r in made]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("checkpoint-*")} == before
    assert all((Path(places["stages"]) / record["stage"] / "done").exists() for record in first)
    assert [record["metrics"]["classes"] for record in first] == [60, 11, 60]
    with pytest.raises(TypeError):
        imagenet.pretrain(**(pretrained[0] | {"seed": 1}), **places)  # that one is not there


def test_finetuning_starts_from_the_pretrained_weights(study):
    shown = study[-1]
    weights = checkpoints.weights(checkpoints.load(one_stage.finished(shown[1]["start"]))[0])
    assert shown[1]["start"].name == shown[0]["key"] and shown[6]["start"] is None
    model = one_stage.networks.build(shown[1]["recipe"], 20, 0)
    one_stage.networks.transfer(model, weights)
    assert torch.equal(model.state_dict()["conv1.0.weight"], weights["conv1.0.weight"])


def test_what_a_run_keeps_of_each_image(study, roots):
    folder, _, _, made, _ = study
    arrays = tables.arrays(folder / "runs")
    part = larger_source("toy", roots).evaluation
    for record in made:
        found = arrays[record["fingerprint"]]
        assert (found["rank"] > 0).mean() == record["metrics"]["error"]
        assert [found["classes"][k] for k in found["label"]] == [
            name.decode().partition("/")[0] for name in part.images.names
        ]
        assert np.array_equal(found["prediction"] == found["label"], found["rank"] == 0)


@pytest.mark.fault(
    "a misspelt field in a recipe of a size file", "refused before any work, with the nearest name"
)
def test_sets_and_recipes_are_looked_over_before_any_work(roots):
    settings = imagenet.arms(level=[0], pretraining=SHORT, dataset="toy", seed=[0, 1])
    (row,) = imagenet.looked_over(settings, roots)
    assert row["images of the source"] == 60 * 12 and row["images of the target"] == 20 * 6
    wrong = imagenet.arms(level=[0], pretraining={"epoch": 3}, dataset="toy", seed=0)
    with pytest.raises(TypeError, match="'epochs'"):
        imagenet.looked_over(wrong, roots)


# ------------------------------------------------------------------------------------ processes


SMALL = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}
VIT = {"model": "vit_tiny_patch16_224", "model_options": SMALL}  # without batch norm
VIT |= {"channels_last": False}


@pytest.mark.faults
def test_two_processes_make_the_same_runs(roots, tmp_path, capsys):
    settings = imagenet.arms(
        level=[0], baseline=True, pretraining=SHORT | VIT, finetuning=TUNED | VIT,
        scratch=TUNED | VIT, dataset="toy", seed=0,
    )  # fmt: skip
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        places = {"roots": roots, "stages": str(folder / "stages"), "train_missing": True}
        launch.launch(folder, imagenet.finetune, settings, places=places, processes=processes)
        if processes == 2:
            assert len(list(folder.glob("*/evaluation.npz"))) == 2  # made by the children
            assert "finetune" in capsys.readouterr().out
        found.append(runner.complete(folder, imagenet.finetune, settings, places=places))
    assert [r["fingerprint"] for r in found[0]] == [r["fingerprint"] for r in found[1]]
    broken = [settings[0] | {"dataset": "nowhere"}]
    with pytest.raises(RuntimeError, match="nowhere"):
        launch.launch(tmp_path / "x", imagenet.finetune, broken, places=places, processes=2)


@pytest.mark.fault(
    "a finetuning of {what} after a pretraining of hours", "refused before the pretraining"
)
@pytest.mark.parametrize("what", ["no steps", "another network"])
def test_a_finetuning_that_cannot_be_is_refused_before_the_pretraining(tmp_path, roots, what):
    changes = {"no steps": {"steps": 0, "epochs": 0.001}, "another network": {"model": "resnet18"}}
    finetuning = TUNED | changes[what] | {"model_options": {}}
    given = {"pretraining": SHORT, "finetuning": finetuning, "roots": roots, "stages": tmp_path}
    with pytest.raises(ValueError, match=r"no step at all|in one only"):
        imagenet.finetune(level=4, **given)
    assert not list(tmp_path.iterdir())
