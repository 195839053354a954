"""What grows with a set grows with its images, not with images × classes."""

import pytest

from granularity import notebook
from granularity.benchmarks import full_size
from granularity.experiments import sets
from granularity.hierarchies import wordnet

ROOT = notebook.root(__file__.rpartition("/")[0])
PARTS = ("assemble", "write", "open", "join", "labels", "placebo", "name", "epoch", "metrics")
IMAGES, CLASSES = 50_000, full_size.FULL_CLASSES


@pytest.fixture(scope="module")
def costs():
    """Bytes that each part held at most, by images and classes."""
    found = {}
    for images, classes in ((IMAGES, CLASSES), (2 * IMAGES, CLASSES), (2 * IMAGES, CLASSES // 4)):
        metrics = full_size.full(images=images, classes=classes)["metrics"]
        found[images, classes] = {part: metrics[f"{part}_bytes"] * images for part in PARTS}
        assert all(metrics[f"{part}_seconds"] > 0 for part in PARTS)
        if classes == CLASSES:
            assert (
                metrics["label_classes"]
                == wordnet.class_counts(wordnet.read_list("imagenet21k"), last=full_size.LEVEL)[
                    full_size.LEVEL
                ]
            )
    return found


@pytest.mark.parametrize("part", PARTS)
def test_twice_the_images_hold_at_most_twice_the_memory(costs, part):
    assert costs[2 * IMAGES, CLASSES][part] < 2.1 * costs[IMAGES, CLASSES][part]


@pytest.mark.parametrize("part", PARTS)
def test_nothing_of_the_order_of_images_times_classes_is_held(costs, part):
    """A bit for each pair would be 273 MB here; four times the classes would be four times it."""
    more = costs[2 * IMAGES, CLASSES][part] - costs[2 * IMAGES, CLASSES // 4][part]
    assert more < 1_500 * CLASSES  # bytes for each class: names, lists, a row of labels
    assert costs[2 * IMAGES, CLASSES][part] < 200 * 2 * IMAGES + 1_500 * CLASSES


def test_the_user_s_own_index_files_are_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    full_size.full(images=500, classes=30)
    assert not list(tmp_path.iterdir())
    assert not sets.opened.cache_info().currsize


@pytest.mark.parametrize("asked", [{"images": 30, "classes": 31}, {"classes": 21_844}])
def test_impossible_sizes_are_refused(asked):
    with pytest.raises(ValueError, match="classes for"):
        full_size.full(**asked)


def test_the_run_notebook_offers_every_parameter_with_its_default():
    declared = notebook.declared(ROOT / "notebooks" / "bench" / "full.ipynb")
    defaults = full_size.full.__kwdefaults__
    assert set(declared) == {*defaults, "folder"}
    assert declared["classes"] == defaults["classes"]
    assert declared["images"][-1] == defaults["images"]
