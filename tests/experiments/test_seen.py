"""No image that a network is evaluated on was trained on, in any dataset, in any stage."""

import hashlib
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small_datasets import larger_source, same_images, small_toy

from granularity.experiments import imagenet, inaturalist, sets, two_stages
from granularity.images import splits
from granularity.images.layouts import DataError

SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 2, "warmup": 1}
TINY = "tiny-imagenet-200"


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The drawn datasets, in the layouts of the real ones."""
    return small_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def tiny(real_data, tmp_path_factory):
    """Tiny-ImageNet, listed beside the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield {TINY: str(real_data / TINY)}


def contents(part):
    """Digests of the bytes of a part's images, whatever they are called."""
    return {_digest(part.images, int(row)) for row in part.rows}


@cache
def _digest(images, row):
    return hashlib.sha256(images.content(row)).digest()


def real_layout(roots):
    """The drawn sets as the real ones lie."""
    return {name: f"{roots['toy']}/{name}" for name in ("imagenet21k", "imagenet1k", "inaturalist")}


def unseen(found):
    assert len(found.source) and len(found.target) and len(found.evaluation)
    assert not contents(found.evaluation) & (contents(found.source) | contents(found.target))


@pytest.mark.fault(
    "held-out images left in the source (overlap {overlap}, held out: {held_out}, {source_images}"
    " and {target_images} images of a class, {dataset})",
    "no image that is evaluated on is in any training set",
)
@pytest.mark.parametrize("dataset", ["toy", "imagenet"])
@pytest.mark.parametrize("overlap", ["contained", "disjoint"])
@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize(("source_images", "target_images"), [(0, 0), (5, 0), (5, 6), (0, 3)])
def test_no_image_that_is_evaluated_on_is_trained_on(
    roots, dataset, overlap, held_out, source_images, target_images
):
    found = larger_source(
        dataset, roots | real_layout(roots), overlap=overlap, held_out=held_out,
        source_images=source_images, target_images=target_images,
    )  # fmt: skip
    unseen(found)
    inside = contents(found.target) <= contents(found.source)
    assert inside == (overlap == "contained")


@pytest.mark.parametrize("dataset", ["toy", "inaturalist"])
@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("images", [0, 3])
def test_no_image_that_is_evaluated_on_is_trained_on_or_clustered(roots, dataset, held_out, images):
    found = same_images(dataset, roots | real_layout(roots), held_out=held_out, images=images)
    unseen(found.sets)
    # Label functions, clusters and embeddings are made of the source's images alone.
    assert len(inaturalist.labelled(found.sets.source, found.tree).names) == len(found.sets.source)


@pytest.mark.parametrize("overlap", ["contained", "disjoint"])
@pytest.mark.parametrize("held_out", [False, True])
def test_the_same_in_tiny_imagenet(tiny, overlap, held_out):
    for images in ({}, {"source_images": 100, "target_images": 50}):
        unseen(larger_source(TINY, tiny, overlap=overlap, held_out=held_out, **images))


@pytest.mark.fault(
    "a training image that is byte for byte a held-out one under another label",
    "left out of the training images too",
)
@pytest.mark.parametrize("target", ["balanced", "depth5"])
@pytest.mark.parametrize("images", [0, 100])
def test_twins_of_held_out_images_are_not_trained_on(tiny, target, images):
    found = same_images(TINY, tiny, target=target, held_out=True, images=images)
    unseen(found.sets)
    named = set().union(*splits.doubles(splits.DUPLICATES))
    lost = same_images(TINY, tiny, target=target, images=images).sets.source
    rows = np.union1d(found.sets.source.rows, found.sets.evaluation.rows)
    dropped = set(lost.names.tolist()) - set(lost.images.names[rows].tolist())
    assert dropped <= named and bool(dropped) == (images == 0)


def test_the_table_of_twins_has_all_that_there_are(tiny):
    images = sets.opened(tiny[TINY], "train")
    groups = {}
    for row, name in enumerate(images.names.tolist()):
        groups.setdefault(_digest(images, row), set()).add(name)
    found = {frozenset(names) for names in groups.values() if len(names) > 1}
    assert found == set(splits.doubles(splits.DUPLICATES)) and len(found) == 20


@pytest.mark.fault(
    "a pretraining of the whole source taken for a finetuning with held-out images",
    "another stage: its source lacks them, and it is the one that is finetuned",
)
def test_a_held_out_finetuning_has_a_pretraining_of_its_own(roots, tmp_path):
    common = {"dataset": "toy", "level": 0, "pretraining": SHORT, "seed": 0}
    places = {"roots": roots, "stages": str(tmp_path)}
    whole = imagenet.pretrain(**common, **places)
    assert imagenet.pretrain(**common, held_out=False, **places)["stage"] == whole["stage"]
    part = imagenet.pretrain(**common, held_out=True, **places)
    held = larger_source("toy", roots, held_out=True).evaluation
    assert whole["metrics"]["images"] - part["metrics"]["images"] == len(held)
    imagenet.finetune(**common, held_out=True, finetuning=SHORT | {"loss": "softmax"}, **places)
    started = {two_stages.note(path)["start"] for path in tmp_path.glob(f"*/{two_stages.NOTE}")}
    assert started == {None, part["stage"]}


def test_a_pretraining_says_that_it_holds_out_only_where_it_does():
    common = {"level": [0, 4], "dataset": "toy", "seed": 0}
    plain = imagenet.arms(**common)
    assert imagenet.arms(**common, held_out=False) == plain
    assert imagenet.arms(**common, held_out=True) == [arm | {"held_out": True} for arm in plain]


# ------------------------------------------------------------------ images that are numbered


def numbered(folder, into):
    """The images of class folders by their place in the set, as a hub's are called."""
    for place, file in enumerate(sorted(folder.rglob("*.*"))):
        label = file.parent.name
        (into / label).mkdir(parents=True, exist_ok=True)
        (into / label / f"{place:08d}{file.suffix}").write_bytes(file.read_bytes())


@pytest.mark.fault(
    "a set whose images are numbers, and images to be kept apart by name ({which}, {choice})",
    "refused, by the set's name; all of the source's images need no names",
)
@pytest.mark.parametrize("which", ["imagenet21k", "imagenet1k"])
@pytest.mark.parametrize(
    "choice", [{"overlap": "disjoint"}, {"held_out": True}, {"source_images": 5}]
)
def test_sets_that_number_their_images_are_told_apart_by_no_name(roots, tmp_path, which, choice):
    real = real_layout(roots)
    numbered(Path(real[which], "train"), tmp_path / which / "train")
    if which == "imagenet1k":
        shutil.copytree(Path(real[which], "val"), tmp_path / which / "val")
    given = real | {which: str(tmp_path / which)}
    with pytest.raises(DataError, match=rf"{which}/train numbers its images \(n\d+/0000"):
        larger_source("imagenet", given, **choice)
    found = larger_source("imagenet", given)
    assert len(found.source) == len(larger_source("imagenet", real).source)


def test_twins_are_left_out_under_another_ending(roots):
    """A list of doubles may have been made of a copy whose files end otherwise."""
    plain = larger_source("toy", roots)
    held = sets.hold_out(plain)
    seen = held.evaluation.names[0]
    twin = next(name for name in held.target.names if name.split(b"/")[0] == seen.split(b"/")[0])
    other = seen.rpartition(b".")[0] + b".webp"
    found = sets.hold_out(plain, [frozenset({other, twin})])
    assert set(held.target.names) - set(found.target.names) == {twin}
