"""A part of a large source: some of its classes, and so many images as a class has."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import larger_source

from granularity.experiments import datasets, imagenet, sets
from granularity.images.toy import drawing
from granularity.records import runner, tables

torch.set_num_threads(1)
SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 3, "warmup": 1}
CHOSEN = (*drawing.SYNSETS[:4], *drawing.TARGET[:3])


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    parts = [(part, synsets, first, min(n, 12)) for part, synsets, first, n in drawing.PARTS]
    patch.setattr(drawing, "PARTS", (parts[0], (*parts[1][:3], 6), parts[2]))
    root = drawing.draw(folder / "dataset")
    rare = Path(root, "imagenet21k", "train", drawing.SYNSETS[0])  # a class of the source's alone
    for file in sorted(rare.iterdir())[3:]:
        file.unlink()
    yield {"toy": str(root)}
    patch.undo()


def names(part):
    return set(part.names.tolist())


# --- So many images of each class ----------------------------------------------------------------


@pytest.mark.fault("fewer images of a class than are asked for", "what there is, and it is told")
def test_a_class_with_fewer_images_gives_what_it_has(roots):
    found = larger_source("toy", roots, overlap="disjoint", source_images=5)
    sizes = dict(zip(found.source.images.classes, np.bincount(found.source.leaf), strict=True))
    assert sizes[drawing.SYNSETS[0]] == 3 and found.source.short == 1
    others = [n for label, n in sizes.items() if label not in drawing.TARGET]
    assert sorted(set(others)) == [3, 5]
    assert found.stated("source")["source"]["short_classes"] == 1
    assert imagenet.counted(found)["classes with fewer than asked for"] == 1


def test_nothing_is_said_where_every_class_has_enough(roots):
    for number in (0, 3):
        found = larger_source("toy", roots, source_images=number)
        assert "short_classes" not in found.stated("source")["source"]
        assert "classes with fewer than asked for" not in imagenet.counted(found)


def test_more_than_any_class_has_is_all(roots):
    every = larger_source("toy", roots)
    found = larger_source("toy", roots, source_images=50, target_images=50)
    assert names(found.source) == names(every.source) and names(found.target) == names(every.target)
    assert found.source.short == len(drawing.SYNSETS) and found.target.short == len(drawing.TARGET)


# --- Some classes --------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", ["contained", "disjoint"])
def test_only_the_chosen_classes_are_read(roots, overlap):
    every = larger_source("toy", roots, overlap=overlap)
    found = larger_source("toy", roots, overlap=overlap, classes=CHOSEN)
    assert found.classes == drawing.TARGET[:3]
    assert found.source.images.classes == tuple(sorted(CHOSEN))
    for part in ("source", "target", "evaluation"):
        whole, some = getattr(every, part), getattr(found, part)
        wanted = {n for n in names(whole) if n.decode().split("/")[0] in CHOSEN}
        assert names(some) == wanted and len(some) == len(wanted)
        for row in some.rows[::5]:
            name = some.images.names[row]
            (other,) = np.flatnonzero(whole.images.names == name)
            assert some.images.content(int(row)) == whole.images.content(int(other))
            assert some.images.classes[some.images.leaf[row]] == name.decode().split("/")[0]


def test_the_chosen_classes_are_the_set_of_their_folders(roots, tmp_path):
    """As if the other folders were not there: the same fingerprints of sets and images."""
    copy = shutil.copytree(roots["toy"], tmp_path / "toy")
    for label in set(drawing.SYNSETS) - set(CHOSEN):
        for part in ("imagenet21k/train", "imagenet1k/train", "imagenet1k/val"):
            shutil.rmtree(copy / part / label, ignore_errors=True)
    few = larger_source("toy", {"toy": str(copy)})
    found = larger_source("toy", roots, classes=CHOSEN)
    parts = ("source", "target", "evaluation")
    assert few.stated(*parts) == found.stated(*parts)
    assert few.source.images.fingerprint == found.source.images.fingerprint


@pytest.mark.fault("a class chosen that a set does not have", "refused, with the nearest one")
def test_a_class_that_is_not_there_names_the_nearest(roots):
    wrong = drawing.TARGET[0][:-1] + "x"
    with pytest.raises(ValueError, match=rf"classes has '{wrong}', .*nearest: n\d{{8}}"):
        larger_source("toy", roots, classes=(*CHOSEN, wrong))
    with pytest.raises(ValueError, match=r"classes has 1 of the 20 classes of .*two or more"):
        larger_source("toy", roots, classes=CHOSEN[:5])


def test_classes_come_from_a_list_or_a_file_and_stand_in_the_arguments(tmp_path):
    common = {"level": [0, 4], "pretraining": SHORT, "dataset": "toy", "seed": 0}
    file = tmp_path / "pilot.txt"
    file.write_text("\n".join(CHOSEN[::-1]) + "\n")
    by_file = imagenet.arms(**common, classes=file)
    assert by_file == imagenet.arms(**common, classes=list(CHOSEN))
    assert {tuple(arm["classes"]) for arm in by_file} == {tuple(sorted(CHOSEN))}
    assert len(imagenet.arms(**common, classes="imagenet1k")[0]["classes"]) == 1000
    plain = imagenet.arms(**common)
    assert imagenet.arms(**common, classes=[]) == plain and "classes" not in plain[0]
    file.write_text("n01440764\nn0144076x\n")
    with pytest.raises(ValueError, match=r"pilot\.txt:2.*n0144076x"):
        imagenet.arms(**common, classes=str(file))
    with pytest.raises(FileNotFoundError, match="nearest: imagenet1k"):
        imagenet.arms(**common, classes="imagenet1")


def test_a_pilot_trains_on_its_classes_alone(roots, tmp_path):
    (setting,) = imagenet.arms(
        level=0, pretraining=SHORT, dataset="toy", seed=0, classes=list(CHOSEN)
    )
    made = imagenet.pretrain(**setting, roots=roots, stages=str(tmp_path / "stages"))
    assert made["metrics"]["classes"] == len(CHOSEN)
    (told,) = imagenet.stated([setting], roots)
    assert told["source"]["classes"] == len(CHOSEN)
    assert made["metrics"]["images"] == told["source"]["images"]


def test_the_plan_knows_that_a_pilot_is_smaller():
    whole = datasets.named("imagenet").size_of(datasets.LargerSource("imagenet"))
    pilot = datasets.named("imagenet").size_of(
        datasets.LargerSource("imagenet", classes=[f"n{n:08d}" for n in range(2184)])
    )
    assert pilot.leaves == 2184 and pilot.target == whole.target
    assert pilot.source == pytest.approx(whole.source / 10, rel=0.01)


def test_sets_without_a_choice_are_as_they_were(roots):
    found = datasets.toy_imagenet(datasets.LargerSource("toy"), roots)
    assert sets.of_chosen(found, ()) is found


@pytest.mark.fault(
    "a run on chosen classes", "its record has both: those it was to have, and its labels"
)
def test_a_run_on_chosen_classes_has_its_record(roots, tmp_path):
    settings = imagenet.arms(level=0, classes=list(CHOSEN), pretraining=SHORT, seed=0)
    places = {"roots": roots, "stages": str(tmp_path / "stages")}
    (made,) = runner.complete(tmp_path / "runs", imagenet.pretrain, settings, places=places)
    row = tables.row(made)
    assert made["metrics"]["classes"] == row["classes"] == len(CHOSEN)
    assert row["chosen_classes"] == sorted(CHOSEN)
