"""A dataset that one file declares: runs open it, parameters may name it, the plan reckons it."""

import pytest
from small_datasets import small_toy

from granularity.experiments import datasets, imagenet, inaturalist
from granularity.experiments.datasets import LargerSource, SameImages, Size
from granularity.images import sources
from granularity.images.toy import drawing, species_drawing
from granularity.planning import plan

SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 2, "warmup": 1}
TUNED = {**SHORT, "preset": "resnet_toy_finetune"}


def mine(choice, roots):
    """The drawn ImageNet under a root of another name."""
    return datasets.toy_imagenet(choice, {"toy": roots["mine"]})


def my_species(choice, roots):
    """The drawn species likewise."""
    return datasets.toy_inaturalist(choice, {"toy": roots["mine"]})


MINE = datasets.Dataset(
    roots={"mine": ("imagenet21k/train",)},
    larger_source=mine,
    same_images=my_species,
    sizes={
        LargerSource: lambda choice: Size(720, 96, 48, 60, 12),
        SameImages: lambda choice: Size(300, 300, 60, 60, 3),
    },
)


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    monkeypatch.setitem(datasets.DATASETS, "mine", MINE)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return {"mine": small_toy(tmp_path_factory.mktemp("mine"))["toy"]}


def test_runs_open_it_and_train_on_it(roots, tmp_path):
    (setting,) = imagenet.arms(
        level=[4], dataset="mine", pretraining=SHORT, finetuning=TUNED, seed=0
    )
    (row,) = imagenet.looked_over([setting], roots)
    assert row["dataset"] == "mine" and row["images of the source"] > row["images of the target"]
    places = {"roots": roots, "stages": str(tmp_path), "train_missing": True}
    assert 0 <= imagenet.finetune(**setting, **places)["metrics"]["error"] <= 1
    (asked,) = inaturalist.arms(
        labels="rank:family", dataset="mine", pretraining=SHORT, finetuning=TUNED, seed=0
    )
    assert inaturalist.stated([asked], roots)[0]["source"]["images"] == 300
    found = inaturalist.transfer(**asked, roots=roots, stages=str(tmp_path))
    assert found["metrics"]["training_images"] == 300


def test_the_check_of_parameters_knows_it(roots):
    with pytest.raises(KeyError, match=r"there are toy.* nearest: mine"):
        datasets.named("min")
    with pytest.raises(KeyError, match="no root is given for"):
        datasets.open_sets(LargerSource("mine"), {"mine": ""})
    assert sources.title_of("mine") == "mine"


def test_the_plan_knows_its_size():
    assert plan.size_of(SameImages, {"dataset": "mine", "images": 2}) == Size(120, 120, 60, 60, 3)
    asked = {"dataset": "mine", "source_images": 4, "target_images": 3, "overlap": "contained"}
    assert plan.size_of(LargerSource, asked) == Size(240, 36, 48, 60, 12)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (SameImages("imagenet"), "imagenet has no tree of its leaves"),
        (LargerSource("inaturalist"), "inaturalist has no target of its own"),
        (LargerSource("mine", overlap="within"), "'contained' or 'disjoint' wanted"),
    ],
)
def test_what_a_dataset_does_not_have_is_refused(choice, told, roots):
    opened = datasets.open_sets if isinstance(choice, LargerSource) else datasets.open_labelled
    with pytest.raises(ValueError, match=told):
        opened(choice, roots)


def test_the_toy_is_as_large_as_it_is_drawn():
    drawn = {part: len(classes) * count for part, classes, _, count in drawing.PARTS}
    toy = datasets.named("toy")
    source, target, evaluation = (
        drawn[f"imagenet{part}"] for part in ("21k/train", "1k/train", "1k/val")
    )
    classes = (len(drawing.SYNSETS), len(drawing.TARGET))
    assert toy.size_of(LargerSource()) == Size(source, target, evaluation, *classes)
    images, valid = drawn["inaturalist/2021_train_mini"], drawn["inaturalist/2021_valid"]
    species = (len(species_drawing.SPECIES), len(species_drawing.SUPERCATEGORIES))
    assert toy.size_of(SameImages()) == Size(images, images, valid, *species)


def test_tiny_imagenet_is_as_large_as_it_is():
    """Leaves and images by the published counts: 500 and 50 of each class."""
    tiny = datasets.named("tiny-imagenet-200")
    assert tiny.size_of(SameImages(target="balanced")) == Size(41_500, 41_500, 4_150, 83, 9)
    assert tiny.size_of(SameImages(target="depth5")) == Size(100_000, 100_000, 10_000, 200, 18)
    assert tiny.size_of(LargerSource()) == Size(80_000, 5_000, 2_500, 200, 50)


def test_the_plan_takes_as_many_images_of_tiny_imagenet_as_are_asked_for():
    asked = {"dataset": "tiny-imagenet-200", "source_images": 0, "target_images": 400}
    assert plan.size_of(LargerSource, asked) == Size(80_000, 20_000, 2_500, 200, 50)
    fewer = {**asked, "source_images": 142, "target_images": 0}
    assert plan.size_of(LargerSource, fewer) == Size(28_400, 5_000, 2_500, 200, 50)


def test_one_word_of_what_is_skipped_is_a_list_of_one():
    (level,) = imagenet.arms(level=0, skip="extra")
    (transfer,) = inaturalist.arms(labels="target", finetuning={}, skip="extra")
    assert level["skip"] == transfer["skip"] == ["extra"]
