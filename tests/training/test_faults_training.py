"""Training under faults: stale stages, labels out of range, other numbers of processes."""

import math
import re

import numpy as np
import pytest
import tiny_run as runs
import torch
from faults_seen import saw
from PIL import Image

from granularity.experiments import two_stages
from granularity.images import image_set, subset
from granularity.training import engine, loading, one_stage, presets

torch.set_num_threads(1)
CLASSES, IMAGES = 4, 6
SHORT = {
    "preset": "resnet_toy",
    "image_size": 16,
    "epochs": 0,
    "steps": 3,
    "batch_size": 8,
    "warmup": 1,
}
LABELS = np.arange(CLASSES, dtype=np.int32)[:, None]


def drawn(root, shade=0):
    """A set of a few images on the disk."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        for number in range(IMAGES):
            path = root / f"n{label}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 200, (16, 16, 3), dtype=np.uint8)
            if shade and number == label == 0:
                pixels[:] = shade  # another image, which takes other bytes
            Image.fromarray(pixels).save(path)
    return subset.whole(image_set.open_set(root, cache=root.parent / "cache"))


@pytest.fixture
def steps_made(monkeypatch):
    """The steps that were really trained."""
    made, real = [], engine.step_optimiser
    monkeypatch.setattr(
        engine, "step_optimiser", lambda *given: made.append(given[2]) or real(*given)
    )
    return made


STALE = ["recipe", "images", "labels", "seed", "trainer's code"]


@pytest.mark.fault(
    "a finished checkpoint under a changed {what}", "a fresh run; the old one stays as it was"
)
@pytest.mark.parametrize("what", STALE)
def test_a_finished_stage_is_not_taken_for_a_changed_one(tmp_path, steps_made, monkeypatch, what):
    part, machine = drawn(tmp_path / "one"), two_stages.Machine(stages=tmp_path / "stages")
    first = two_stages.train(presets.recipe_of(SHORT), part, LABELS, machine, 0)
    kept = {path: path.read_bytes() for path in first.folder.iterdir()}
    assert steps_made == [0, 1, 2]
    two_stages.train(presets.recipe_of(SHORT), part, LABELS, machine, 0)
    assert steps_made == [0, 1, 2], "the same stage is found done"

    recipe, labels, seed = dict(SHORT), LABELS, 0
    if what == "recipe":
        recipe["learning_rate"] = 0.123
    if what == "images":
        part = drawn(tmp_path / "two", shade=255)
    if what == "labels":
        labels = LABELS[::-1].copy()
    if what == "seed":
        seed = 1
    if what == "trainer's code":
        monkeypatch.setattr(one_stage.source, "fingerprint", lambda *modules: f"another {modules}")
    second = two_stages.train(presets.recipe_of(recipe), part, labels, machine, seed)
    assert steps_made == [0, 1, 2, 0, 1, 2]
    assert second.key != first.key and second.folder != first.folder
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == kept
    saw(f"steps made: {steps_made}; two folders, of the names {first.key} and {second.key}")


# ------------------------------------------------------------------------------- labels, numbers

OUT = {
    "a class index beyond the network's outputs": (99, None),
    "a leaf beyond the table of labels": (None, 77),
}


@pytest.mark.fault(
    "{what}, in training with the {loss} loss", "stops with an error that says the step and images"
)
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("what", OUT)
def test_a_label_out_of_range_stops_the_run(tmp_path, loss, what):
    label, leaf = OUT[what]
    recipe = runs.recipe(loss=loss)
    run, images, labels = runs.start(tmp_path, recipe), runs.memory(recipe), runs.LABELS.clone()
    if label is not None:
        labels[3] = label
    if leaf is not None:
        images.leaf[5] = leaf
    wrong = r"out of (bounds|range)|has"
    with pytest.raises((IndexError, RuntimeError, ValueError), match=wrong) as found:
        engine.fit(run, recipe, images, labels, seed=0, save_every=1)
    (note,) = found.value.__notes__
    assert re.fullmatch(rf"step \d+, {recipe.batch_size} images, \d+ to \d+", note)
    assert runs.newest(tmp_path) < recipe.steps
    saw(f"{type(found.value).__name__}; {note}")


@pytest.mark.fault("an image of a leaf without a label", "refused before any step, by its name")
def test_an_image_without_a_label_is_named(tmp_path, steps_made):
    part, machine = drawn(tmp_path / "one"), two_stages.Machine(stages=tmp_path / "stages")
    with pytest.raises(IndexError, match=r"image n3/0\.png asks for label 3 of 3"):
        two_stages.train(presets.recipe_of(SHORT), part, LABELS[:3], machine, 0)
    assert steps_made == []


@pytest.mark.fault("NaN in a decoded image's pixels", "stops, naming the step; nothing is kept")
def test_a_single_bad_pixel_stops_the_run(tmp_path):
    class OnePixel(loading.Memory):
        def batches(self, plan, train, device):
            for x, leaf in super().batches(plan, train, device):
                x[0, 0, 0, 0] = math.nan
                yield x, leaf

    recipe = runs.recipe()
    plain = runs.memory(recipe)
    images = OnePixel(plain.pixels, plain.leaf, recipe)
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        runs.train(tmp_path, recipe, images, save_every=1)
    assert runs.newest(tmp_path) == 0


# ----------------------------------------------------------------------------- fewer, more of them


@pytest.mark.fault(
    "a run of {before} process(es) killed, and gone on with by {after}",
    "resumes with the same global batch: the numbers are those of an undisturbed run",
)
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (3, 2)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, before, after):
    changes, options = {"steps": 60, "batch_size": 13}, {"save_every": 5}
    reached = runs.kill_half_way(tmp_path / "run", changes, world_size=before, **options)
    assert set(runs.ended(runs.begin(tmp_path / "run", changes, world_size=after, **options))) == {
        0
    }
    assert runs.ended(runs.begin(tmp_path / "through", changes, **options)) == [0]
    (weights, log), (wanted, wanted_log) = (
        runs.result(tmp_path / name, 60) for name in ("run", "through")
    )
    assert set(weights) == set(wanted)
    furthest = max(float((weights[name] - wanted[name]).abs().max()) for name in wanted)
    assert furthest < 1e-3
    assert [line["step"] for line in log] == [line["step"] for line in wanted_log]
    assert [line["loss"] for line in log] == pytest.approx(
        [x["loss"] for x in wanted_log], rel=1e-3
    )
    saw(f"killed after step {reached}; weights at the end differ by {furthest:.0e} at most")
