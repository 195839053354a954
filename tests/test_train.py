"""One stage: the options that change how fast it is and not what it keeps."""

import pytest
import torch

from granularity import checkpoint, engine, loading, recipe, train

LABELS = torch.arange(4)[:, None].int()


def stage(folder, device="cpu", **changes):
    made = recipe.preset(
        "resnet_toy", steps=4, epochs=0, batch=8, image_size=16, warmup=1, **changes
    )
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(32, 3, 16, 16, generator=generator) * 255).byte()
    images = loading.Memory(pixels, torch.arange(32) % 4, made)
    done = train.stage(made, images, LABELS, 4, key="k", seed=0, folder=folder, device=device)
    return done, engine.evaluate(done.model, images, LABELS, done.accelerator, made)


def kept(folder):
    tensors, _ = checkpoint.load(train.finished(folder / "k"))
    return checkpoint.weights(tensors)


def test_channels_last_keeps_the_same_network(tmp_path):
    plain, found = stage(tmp_path / "a", channels_last=False)
    other, same = stage(tmp_path / "b", channels_last=True)
    assert other.curves["loss"] == pytest.approx(plain.curves["loss"], rel=1e-4)
    assert same["loss"] == pytest.approx(found["loss"], rel=1e-3)
    weights, others = kept(tmp_path / "a"), kept(tmp_path / "b")
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in others.items()
    }


@pytest.mark.faults
def test_a_compiled_network_is_kept_under_its_own_names(tmp_path):
    plain, _ = stage(tmp_path / "a")
    compiled, found = stage(tmp_path / "b", compile=True)
    assert set(kept(tmp_path / "a")) == set(kept(tmp_path / "b"))
    assert compiled.curves["loss"] == pytest.approx(plain.curves["loss"], rel=1e-3)
    assert len(found["loss"]) == 32


def test_a_stage_that_is_not_done_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="run its pretraining first"):
        train.finished(tmp_path / "nothing")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="torch sees no GPU"):
        stage(tmp_path, device="cuda")


def test_a_job_with_a_field_too_many_is_refused():
    with pytest.raises(ValueError, match="a job has"):
        train.run_job({"entry": "x:y", "settings": [], "places": {}, "folder": "x", "more": 1})
