"""Checkpoints: what is not whole, of this run and of tensors alone is refused."""

import json
import os
import pickle
import re
import resource
import signal

import pytest
import tiny_run as runs
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from granularity.training import checkpoints, engine
from granularity.training.checkpoints import CheckpointError

TENSORS = {"model.a": torch.arange(6.0).reshape(2, 3), "model.step": torch.tensor(7)}
TENSORS["optimiser.0.exp_avg"] = torch.tensor([0.1, 0.2], dtype=torch.bfloat16)
FACTS = {"fingerprint": "one", "step": 7}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint-7.safetensors"
    checkpoints.save(path, TENSORS, FACTS)
    return path


def test_what_was_saved_is_loaded(saved):
    tensors, facts = checkpoints.load(saved)
    assert facts == FACTS
    assert {name: (value.dtype, value.tolist()) for name, value in tensors.items()} == {
        name: (value.dtype, value.tolist()) for name, value in TENSORS.items()
    }
    assert set(checkpoints.weights(tensors)) == {"a", "step"}
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


@pytest.mark.fault(
    "a stage that another user of the machine has trained", "its checkpoints can be read by all"
)
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_checkpoint_can_be_read_by_whom_other_files_can(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        checkpoints.save(tmp_path / "checkpoint-7.safetensors", TENSORS, FACTS)
    finally:
        os.umask(before)
    assert (tmp_path / "checkpoint-7.safetensors").stat().st_mode & 0o777 == mode


def refused(path):
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        checkpoints.load(path)


@pytest.mark.fault("a checkpoint cut anywhere (fuzz)", "refused by name")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_checkpoint_is_refused_wherever_it_is_cut(saved, share):
    content = saved.read_bytes()
    cut = saved.with_name("cut")
    cut.write_bytes(content[: int(share * len(content))])
    refused(cut)


@pytest.mark.fault("a checkpoint of which [:{length}] is left", "refused by name")
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, -1])
def test_a_checkpoint_cut_at_a_border_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    refused(saved)


@pytest.mark.fault("a checkpoint with pickled code", "refused; the code is not run")
def test_pickles_and_what_torch_saves_are_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    path = tmp_path / "checkpoint-7.safetensors"
    path.write_bytes(pickle.dumps({"model": Bomb()}))
    refused(path)
    torch.save({"model": torch.ones(2), "more": Bomb()}, path)
    refused(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.fault(
    "tensors of somebody else as a checkpoint (metadata {metadata})", "refused by name"
)
@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"facts": "{"},
        {"facts": "[]"},
        {"facts": "7"},
        {"facts": json.dumps({"step": 7})},
        {"facts": json.dumps({"fingerprint": "one"})},
    ],
)
def test_tensors_of_somebody_else_are_refused(tmp_path, metadata):
    path = tmp_path / "checkpoint-7.safetensors"
    save_file(TENSORS, path, metadata=metadata)
    refused(path)


@pytest.mark.fault("a checkpoint that is not there", "an error that names it")
def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint-7\.safetensors"):
        checkpoints.load(tmp_path / "checkpoint-7.safetensors")


@pytest.mark.fault(
    "disk full while a checkpoint is written", "an error; the earlier checkpoint is intact"
)
def test_a_full_disk_leaves_the_earlier_checkpoint(saved):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            checkpoints.save(
                saved, {"model.a": torch.ones(10_000)}, {"fingerprint": "x", "step": 8}
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert checkpoints.load(saved)[1] == FACTS
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_an_optimiser_is_restored_to_the_bit(tmp_path, optimiser):
    recipe = runs.recipe(optimiser=optimiser, steps=3)
    run = runs.train(tmp_path, recipe)
    tensors = checkpoints.flat(run.optimiser)
    fresh = runs.start(tmp_path, recipe)
    checkpoints.restore(fresh.optimiser, tensors)
    again = checkpoints.flat(fresh.optimiser)
    assert set(again) == set(tensors) != set()
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    dtypes = {name: value.dtype for name, value in tensors.items()}
    assert {name: value.dtype for name, value in again.items()} == dtypes


# -------------------------------------------------------------------------- in the folder of a run


@pytest.mark.fault("a checkpoint of another run in the folder", "refused by name")
def test_a_run_takes_up_no_checkpoint_of_another_run(tmp_path):
    runs.train(tmp_path, runs.recipe())
    other = runs.start(tmp_path, runs.recipe(), fingerprint="two")
    with pytest.raises(CheckpointError, match=r"checkpoint-20\.safetensors is of another run"):
        other.resume()


@pytest.mark.fault("a checkpoint of another network", "refused by name")
def test_a_run_takes_up_no_checkpoint_of_another_network(tmp_path):
    runs.train(tmp_path, runs.recipe())
    deeper = {"model_options": runs.TINY_VIT["model_options"] | {"depth": 3}}
    wider = {"model_options": runs.TINY_VIT["model_options"] | {"embed_dim": 32}}
    for changes in (deeper, wider):
        other = runs.start(tmp_path, runs.recipe(**changes))
        told = r"checkpoint-20\.safetensors is of another network"
        with pytest.raises(CheckpointError, match=told):
            other.resume()


@pytest.mark.fault("a checkpoint of another optimiser", "refused by name")
def test_a_run_takes_up_no_checkpoint_of_another_optimiser(tmp_path):
    runs.train(tmp_path, runs.recipe())
    other = runs.start(tmp_path, runs.recipe(optimiser="adamw"))
    with pytest.raises(CheckpointError, match=r"checkpoint-20\.safetensors"):
        other.resume()


@pytest.mark.fault(
    "the newest checkpoint is cut short",
    "refused by name; without it the run goes on from the one before",
)
def test_a_broken_newest_checkpoint_stops_the_run_and_is_named(tmp_path):
    recipe = runs.recipe()
    runs.train(tmp_path, recipe, save_every=8)
    newest = tmp_path / "checkpoint-20.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=newest.name):
        runs.train(tmp_path, recipe)
    newest.unlink()  # the one before it is still good
    step, pending = runs.start(tmp_path, recipe).resume()
    assert (step, len(pending)) == (16, 16)  # no line of the log tells the losses of 16 steps


@pytest.mark.fault(
    "disk full at a checkpoint in the middle of a run",
    "an error; the next call ends as an undisturbed run, to the bit",
)
def test_a_full_disk_leaves_a_run_that_goes_on(tmp_path, monkeypatch):
    recipe = runs.recipe(steps=16)
    real = checkpoints.save

    def full(path, tensors, facts):
        if facts["step"] == 12:
            raise OSError(28, "No space left on device", str(path))
        real(path, tensors, facts)

    monkeypatch.setattr(engine.checkpoints, "save", full)
    with pytest.raises(OSError, match="No space"):
        runs.train(tmp_path / "run", recipe, save_every=4)
    monkeypatch.undo()
    runs.train(tmp_path / "run", recipe, save_every=4)
    runs.train(tmp_path / "through", recipe, save_every=4)
    (ours, log), (wanted, wanted_log) = (
        runs.result(tmp_path / name, 16) for name in ("run", "through")
    )
    assert log == wanted_log
    assert all(torch.equal(ours[name], value) for name, value in wanted.items())
