"""One stage: the options that change how fast it is and not what it keeps."""

import multiprocessing
import time

import pytest
import torch
import torch.nn.functional as F

from granularity import checkpoint, evaluation, files, loading, recipe, train

LABELS = torch.arange(4)[:, None].int()


def short(**changes):
    return recipe.preset(
        "resnet_toy", steps=4, epochs=0, batch=8, image_size=16, warmup=1, **changes
    )


def stage(folder, device="cpu", **changes):
    made = short(**changes)
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(32, 3, 16, 16, generator=generator) * 255).byte()
    images = loading.Memory(pixels, torch.arange(32) % 4, made)
    done = train.stage(made, images, LABELS, 4, key="k", seed=0, folder=folder, device=device)
    return done, evaluation.evaluate(done.model, images, LABELS, done.accelerator, made)


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


@pytest.mark.fault(
    "finetuning of a stage that is not finished", "an error that says what to run first"
)
def test_a_stage_that_is_not_done_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="run its pretraining first"):
        train.finished(tmp_path / "nothing")


def test_evaluation_is_the_same_in_pieces_of_any_size(tmp_path):
    done, whole = stage(tmp_path)
    pixels = torch.arange(32 * 768).reshape(32, 3, 16, 16).byte()
    images = loading.Memory(pixels, torch.arange(32) % 4, short())
    answers = [
        evaluation.evaluate(done.model, images, LABELS, done.accelerator, short(), at_once=size)
        for size in (0, 1, 5)
    ]
    for other in answers[1:]:
        assert (other["prediction"] == answers[0]["prediction"]).all()
        assert other["loss"] == pytest.approx(answers[0]["loss"], rel=1e-4)
    assert len(whole["loss"]) == 32


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_outputs_of_one_target_class_are_pooled_by_their_probabilities(loss):
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    pool = torch.tensor([0, 2, 1, 0, 2, 2])
    found = evaluation.pooled(logits, pool, 4, loss).exp()
    scores = F.softmax(logits, 1) if loss == "softmax" else torch.sigmoid(logits)
    for image in range(5):
        for label in range(3):
            wanted = sum(float(scores[image, k]) for k in range(6) if pool[k] == label)
            assert float(found[image, label]) == pytest.approx(wanted, rel=1e-5)
    assert (found[:, 3] < 1e-20).all()  # no output belongs to it


def hold(folder, begun):
    with files.alone(folder):
        begun.set()
        time.sleep(60)


@pytest.mark.fault(
    "a stage that another process trains, which is then killed",
    "not trained beside it; after the kill the lock is free",
)
def test_a_stage_that_another_process_trains_is_not_trained_beside_it(tmp_path, capsys):
    """The lock goes with its process, even where that is killed."""
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    other = context.Process(target=hold, args=(tmp_path / "k", begun))
    other.start()
    assert begun.wait(20)
    with (
        pytest.raises(BlockingIOError, match="another process works in"),
        files.alone(tmp_path / "k", wait=False),
    ):
        pass
    other.kill()
    other.join()
    done, _ = stage(tmp_path)
    assert (done.folder / "done").exists()


@pytest.mark.fault("a GPU asked for that is not there", "an error that says so")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="torch sees no GPU"):
        stage(tmp_path, device="cuda")
