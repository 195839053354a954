"""The benchmarks at their smallest: both sides do the same work, and every number is there."""

import math

import pytest
import torch

from granularity import notebook
from granularity.benchmarks import precision, training
from granularity.training.presets import preset

ROOT = notebook.root(__file__.rpartition("/")[0])


def test_both_losses_are_the_same_loss():
    logits, targets = training.drawn(7, 101, 2, seed=3, device="cpu")
    assert all(len(set(row)) == 2 for row in targets.tolist())
    ours, theirs = (training.loss_and_gradient(kind, logits, targets) for kind in training.LOSSES)
    torch.testing.assert_close(ours, theirs)


def test_the_record_of_a_loss():
    metrics = training.loss(seed=0, images=8, memory_images=512, repeats=2)["metrics"]
    wanted = {f"{kind}_{unit}" for kind in training.LOSSES for unit in ("ms", "buffers")}
    assert set(metrics) == wanted | {"speedup"}
    assert all(math.isfinite(value) for value in metrics.values())
    # In units of the logits' size: at most two is what the index loss promises.
    assert 0.9 < metrics["index_buffers"] < 2.1 < metrics["dense_buffers"] < 4


def test_the_record_of_training():
    small = {"batch_size": 4, "steps": 3, "turns": 1, "images": 12, "classes": 3, "pixels": 40}
    metrics = training.training(seed=0, **small)["metrics"]
    assert set(metrics) == (
        {
            f"{side}_{kind}"
            for side in (
                "ours",
                "timm",
            )
            for kind in training.KINDS
        }
        | {f"{kind}_ratio" for kind in training.KINDS}
        | {"lookup_share", "matrix_tflops", "matrix_share"}
    )
    assert all(value > 0 for value in metrics.values())
    assert metrics["lookup_share"] < 1


def test_both_sides_take_the_same_steps(tmp_path):
    """On one held batch, without warm-up, the two loops end with the same weights."""
    recipe = preset("resnet_small", batch_size=4, steps=3, epochs=0, warmup=0, augmentation="crop")
    training.draw_files(tmp_path / "images", 12, 3, 40, seed=0)
    ours, theirs = (
        side(recipe, tmp_path, 3, 0, "cpu", 0) for side in (training.Ours, training.Timms)
    )
    held = next(ours.loader())
    for side in (ours, theirs):
        assert side.train(held) > 0
    for name, value in ours.model.state_dict().items():
        torch.testing.assert_close(theirs.model.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_the_record_of_precisions():
    found = precision.precision(seed=0, network_name="vit", batch_size=2, steps=1, turns=1)
    metrics = found["metrics"]
    assert set(metrics) == {f"{s}_{u}" for s in precision.SETTINGS for u in ("rate", "ratio")}
    assert all(value > 0 for value in metrics.values())
    assert metrics["fp32_ratio"] == 1


def test_each_precision_is_what_its_name_says():
    for name, setting in precision.SETTINGS.items():
        recipe = preset("resnet_small", **setting)
        assert (recipe.precision == "bf16") == name.startswith("bf16")
        assert recipe.channels_last == name.endswith("last")


def test_a_network_that_is_not_measured_is_an_error():
    with pytest.raises(ValueError, match="'vgg'; there are resnet, vit"):
        precision.precision(seed=0, network_name="vgg")


@pytest.mark.parametrize("entry", ["training", "losses", "precision"])
def test_the_run_notebook_offers_every_parameter_with_its_default(entry):
    functions = {
        "training": training.training,
        "losses": training.loss,
        "precision": precision.precision,
    }
    swept = ("folder", "seed", "network_name")
    declared = notebook.declared(ROOT / "notebooks" / "bench" / f"{entry}.ipynb")
    told = {name: value for name, value in declared.items() if name not in swept}
    defaults = functions[entry].__kwdefaults__.items()
    assert told == {name: value for name, value in defaults if name not in swept}


@pytest.mark.fault("a benchmark on a GPU that is not there", "an error that says so")
def test_a_gpu_that_is_not_there_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="no GPU"):
        training.training(seed=0, device="cuda")
