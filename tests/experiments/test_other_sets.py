"""Plankton, and a target of classes that its source never saw: stand-ins, and the real sets."""

import os
import tarfile

import numpy as np
import pytest
from PIL import Image
from small_datasets import larger_source, same_images
from test_seen import unseen

from granularity.experiments import datasets, imagenet, inaturalist
from granularity.experiments.datasets import LargerSource, SameImages, Size
from granularity.hierarchies import plankton
from granularity.images import copies, image_set
from granularity.images.copies import Pair

TINY, MINI = datasets.TINY, datasets.MINI
KNOWN, NEW = ("n01443537", "n01629819", "n01641577"), ("n01532829", "n02089867")
SHORT = {"preset": "resnet_toy", "image_size": 16, "batch_size": 8, "epochs": 0, "steps": 2}
TUNED = {**SHORT, "preset": "resnet_toy_finetune"}


def draw(path, rng, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (*size[::-1], 1), np.uint8).repeat(3, axis=2)
    Image.fromarray(pixels).save(path, format="PNG")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A few images of each class; image 0 of a target's class lies byte for byte elsewhere too."""
    folder = tmp_path_factory.mktemp("sets")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for name in KNOWN:
            for i in range(count):
                draw(folder / TINY / part / name / "images" / f"{part}_{name}_{i}.JPEG", rng)
        for name in NEW:
            for i in range(count):
                draw(folder / MINI / part / name / f"{part}{i}.jpg", rng)
    for name in plankton.shipped(unnamed=True).classes:
        for i in range(12 if name == "copepod_cyclopoid_oithona" else 4):
            draw(folder / "plankton/train" / name / f"{i}.jpg", rng, (6, 10))
    for copy, of in COPIES:
        (folder / copy).write_bytes((folder / of).read_bytes())
    return {name: str(folder / name) for name in (TINY, MINI, "plankton")}


COPIES = [
    (f"{TINY}/train/{KNOWN[0]}/images/train_{KNOWN[0]}_3.JPEG", f"{MINI}/val/{NEW[0]}/val0.jpg"),
    (f"{MINI}/train/{NEW[1]}/train1.jpg", f"{MINI}/train/{NEW[0]}/train1.jpg"),
]


@pytest.fixture
def drawn_copies(monkeypatch):
    """The table of the real sets' near copies names those that were drawn."""
    pairs = [Pair(*(name.replace("/images", "") for name in pair), 0, 1.0) for pair in COPIES]
    monkeypatch.setattr(copies, "known", lambda *_: pairs)


def names(part):
    return {os.fsdecode(name) for name in part.names}


@pytest.mark.fault(
    "a copy of an evaluated image in the source of another set (held out: {held_out})",
    "trained on in no stage",
)
@pytest.mark.parametrize("held_out", [False, True])
def test_no_copy_of_an_evaluated_image_is_trained_on(roots, drawn_copies, held_out):
    found = larger_source(MINI, roots, overlap="disjoint", held_out=held_out)
    unseen(found)
    assert set(found.classes) == set(NEW) and not set(found.source.images.classes) & set(NEW)
    lost = f"{KNOWN[0]}/train_{KNOWN[0]}_3.JPEG"
    whole = {os.fsdecode(name) for name in found.source.images.names}
    assert whole - names(found.source) == {lost}
    trained = names(found.target) | (names(found.evaluation) if held_out else set())
    assert len(trained) == 10 and not {f"{name}/train1.jpg" for name in NEW} & trained


def test_without_the_table_the_copy_would_be_trained_on(roots, monkeypatch):
    monkeypatch.setattr(copies, "known", lambda *_: [])
    with pytest.raises(AssertionError):
        unseen(larger_source(MINI, roots, overlap="disjoint"))


def test_images_of_a_class_are_counted_and_the_target_is_in_no_source(roots, drawn_copies):
    found = larger_source(MINI, roots, overlap="disjoint", source_images=2, target_images=3)
    assert 5 <= len(found.source) <= 6 and 4 <= len(found.target) <= 6
    with pytest.raises(ValueError, match="no class of mini-imagenet-75 is among its source's"):
        larger_source(MINI, roots, overlap="contained")


@pytest.mark.fault("a target with more images of a class than the source that has it", "refused")
def test_a_source_holds_no_target_larger_than_itself(roots):
    with pytest.raises(ValueError, match="target_images is 3, source_images 2"):
        larger_source(TINY, roots, overlap="contained", source_images=2, target_images=3)


def test_runs_on_new_classes(roots, drawn_copies, tmp_path):
    (setting,) = imagenet.arms(
        level=[0], dataset=MINI, overlap="disjoint", pretraining=SHORT, finetuning=TUNED, seed=0
    )
    (row,) = imagenet.looked_over([setting], roots)
    assert row["target's classes in the source"] == row["target's images in the source"] == 0
    places = {"roots": roots, "stages": str(tmp_path), "train_missing": True}
    assert imagenet.finetune(**setting, **places)["metrics"]["target_classes"] == 2


# --------------------------------------------------------------------------------- plankton


def groups(**choice):
    return {"target": "group"} | choice


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("images", [0, 2])
def test_plankton_is_cut_by_names(roots, held_out, images):
    found = same_images("plankton", roots, **groups(held_out=held_out, images=images))
    unseen(found.sets)
    assert len(found.tree.leaves) == 116 and found.tree.target.num_classes == 12
    ranks = {name: rank.num_classes for name, rank in found.tree.ranks.items()}
    assert ranks == {"depth2": 43, "depth3": 64, "depth4": 112, "leaf": 116}
    if images:
        assert np.bincount(found.sets.source.leaf).max() <= images
    elif not held_out:
        assert len(found.sets.source) == 115 * 3 + 10 and len(found.sets.evaluation) == 115 + 2


def test_its_images_are_whole_on_a_square(roots):
    found = same_images("plankton", roots, **groups()).sets.source
    row = int(found.rows[0])
    image = np.asarray(found.images.read(row)).astype(int)
    plain = np.asarray(image_set.rgb(found.images.content(row), "it"))
    assert image.shape == (10, 10, 3) and plain.shape == (10, 6, 3)
    assert (image[:, 2:8] == plain).all()
    edge = np.concatenate([plain[0], plain[-1], plain[:, 0], plain[:, -1]])
    assert (image[:, [0, 1, 8, 9]] == np.median(edge, axis=0).astype(int)).all()


def test_the_cut_is_the_same_from_a_tar_file(roots, tmp_path):
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        tar.add(f"{roots['plankton']}/train", "train")
    shut = {"plankton": str(tmp_path)}
    one, other = (same_images("plankton", r, **groups(images=2)).sets for r in (roots, shut))
    for part in ("source", "evaluation"):
        assert getattr(one, part).fingerprint == getattr(other, part).fingerprint


def test_runs_on_plankton(roots, tmp_path):
    (asked,) = inaturalist.arms(
        labels="rank:depth2", dataset="plankton", images=2, pretraining=SHORT, finetuning=TUNED,
        seed=0, target="group",
    )  # fmt: skip
    (row,) = inaturalist.looked_over([asked], roots)
    assert row["its classes"] == 43
    found = inaturalist.transfer(**asked, roots=roots, stages=str(tmp_path))["metrics"]
    assert {"balanced_error", "majority_rate"} <= set(found) and found["target_classes"] == 12
    with pytest.raises(ValueError, match="of plankton it is 'group'"):
        same_images("plankton", roots)


# --------------------------------------------------------------------------- the real sets


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield {name: str(real_data / name) for name in (TINY, MINI, "plankton")}


@pytest.mark.parametrize("held_out", [False, True])
def test_no_image_of_the_real_sets_is_evaluated_on_and_trained_on(real, held_out):
    found = larger_source(MINI, real, overlap="disjoint", held_out=held_out)
    unseen(found)
    size = datasets.named(MINI).size_of(LargerSource(overlap="disjoint"))
    assert size == Size(100_000, 37_500, 7_500, 200, 75)
    assert 0 <= size.source - len(found.source) <= 60
    if not held_out:
        assert 0 < size.target - len(found.target) <= 60
        assert len(found.evaluation) == size.evaluation


@pytest.mark.parametrize("held_out", [False, True])
def test_no_real_plankton_is_evaluated_on_and_trained_on(real, held_out):
    found = same_images("plankton", real, **groups(held_out=held_out)).sets
    unseen(found)
    if not held_out:
        size = datasets.named("plankton").size_of(SameImages(target="group"))
        assert len(found.evaluation) == size.evaluation
        assert 0 <= size.source - len(found.source) <= 1000
    capped = same_images("plankton", real, **groups(images=200)).sets.source
    assert np.bincount(capped.leaf).max() == 200
