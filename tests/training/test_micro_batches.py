"""What is said to change no number: checkpoints, and how a batch is cut into micro-batches."""

import pytest
import tiny_run as runs
import torch
from faults_seen import saw

from granularity.training import checkpoints, engine, networks, sampling

KINDS = {
    "a ViT": {},
    "a ViT with dropout": runs.DROPOUT,
    "batch norm": runs.RESNET,
    "batch norm of ghost batches": {**runs.RESNET, "ghost_batch": 4},
    "mixup": {**runs.RESNET, "mixup": 0.3},
}


@pytest.mark.fault(
    "checkpoints at every 7th or 20th step, or at the end alone ({kind})",
    "the same log, curves and weights, to the bit",
)
@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_change_no_number(tmp_path, kind):
    recipe = runs.recipe(steps=64, **KINDS[kind])
    made = []
    for every in (0, 7, 20, 50):
        runs.train(tmp_path / str(every), recipe, save_every=every)
        made.append(runs.result(tmp_path / str(every), 64))
    (wanted, wanted_log), *others = made
    assert [line["step"] for line in wanted_log] == [50, 64]
    for tensors, log in others:
        assert log == wanted_log
        assert all(torch.equal(tensors[name], value) for name, value in wanted.items())
    saw(f"losses {[line['loss'] for line in wanted_log]} in all four")


def test_a_checkpoint_of_earlier_code_is_taken_up(tmp_path):
    """Such a one tells no losses: a line of the log stood beside each."""
    recipe = runs.recipe(steps=64)
    run = runs.train(tmp_path, recipe, save_every=30)
    (tmp_path / "checkpoint-64.safetensors").unlink()
    path = tmp_path / "checkpoint-60.safetensors"
    tensors, facts = checkpoints.load(path)
    assert len(facts.pop("pending")) == 10
    checkpoints.save(path, tensors, facts)
    assert runs.start(tmp_path, recipe).resume() == (60, [])
    log = engine.fit(run, recipe, runs.memory(recipe), runs.LABELS, seed=0)
    assert log["step"] == [50, 64]


DEPENDENT = {
    "batch norm": (runs.RESNET, r"batch norm \((.*bn.*)\)"),
    "dropout": (runs.DROPOUT, r"dropout \(blocks\.0"),
    "dropped paths": (
        {"model_options": runs.TINY_VIT["model_options"] | {"drop_path_rate": 0.1}},
        r"dropout \(blocks\.1\.drop_path",
    ),
    "dropped patches": (
        {"model_options": runs.TINY_VIT["model_options"] | {"patch_drop_rate": 0.5}},
        r"dropout \(patch_drop",
    ),
    "mixup": ({"mixup": 0.3}, "mixup"),
}


@pytest.mark.fault(
    "micro-batches for a network with {what}, whose numbers they would change",
    "refused before any step, with what to do",
)
@pytest.mark.parametrize("what", DEPENDENT)
def test_micro_batches_that_change_numbers_are_refused(tmp_path, what):
    changes, told = DEPENDENT[what]
    recipe = runs.recipe(**changes)
    with pytest.raises(ValueError, match=f"has {told}.*micro_batch 0 .* ghost_batch: 4"):
        runs.train(tmp_path, recipe, images=runs.Unread(), micro_batch=4)
    assert not list(tmp_path.iterdir())
    runs.train(tmp_path / "whole", recipe, micro_batch=12)  # a batch: one micro-batch
    # What is refused would have been another number indeed.
    first = [
        runs.train(
            tmp_path / str(piece), runs.recipe(**changes, ghost_batch=piece)
        ).bare.state_dict()
        for piece in (0, 4)
    ]
    assert not all(torch.equal(first[0][name], value) for name, value in first[1].items())


@pytest.mark.fault(
    "two processes for a network with {what}", "refused before any step: no checkpoint"
)
@pytest.mark.parametrize("what", ["batch norm", "dropout", "mixup"])
def test_processes_that_change_numbers_are_refused(tmp_path, what):
    started = runs.begin(tmp_path / "two", DEPENDENT[what][0], world_size=2)
    assert runs.ended(started) == [1, 1]
    assert not list((tmp_path / "two").iterdir())


def test_batch_norm_in_two_processes_is_refused_with_micro_batches_too():
    recipe = runs.recipe(**runs.RESNET, ghost_batch=6)
    model = networks.build(recipe, 3, 0)
    with pytest.raises(ValueError, match=r"batch norm .*; use 1 process"):
        networks.check_micro_batches(model, recipe, 6, 2)


@pytest.mark.fault(
    "a recipe's ghost batch that a process cannot hold at once",
    "refused before any step, with both sizes",
)
def test_a_ghost_batch_larger_than_what_is_held_at_once_is_refused(tmp_path):
    recipe = runs.recipe(**runs.DROPOUT, ghost_batch=6)
    with pytest.raises(ValueError, match=r"a ghost_batch of 6 images, and .* handles 4 at once"):
        runs.train(tmp_path, recipe, micro_batch=4)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_ghost_batches_of_a_recipe_are_those_of_any_number_of_processes(world_size):
    found = runs.micro_batches_of(
        40, 13, 0, range(3), micro_batch=13, world_size=1
    )  # without a ghost batch: all at once
    assert all(len(pieces) == 1 for pieces in found.values())
    for step in range(3):
        pieces = [
            piece
            for rank in range(world_size)
            for piece in sampling.plan(
                40,
                13,
                0,
                range(step, step + 1),
                micro_batch=13,
                rank=rank,
                world_size=world_size,
                ghost_batch=4,
            )
        ]
        assert runs.batch_of(pieces) == runs.batch_of(found[step])
        assert sorted(map(tuple, (p.places.tolist() for p in pieces))) == [
            (0, 1, 2, 3),
            (4, 5, 6, 7),
            (8, 9, 10, 11),
            (12,),
        ]
        assert sum(piece.last for piece in pieces) == world_size


@pytest.mark.parametrize("micro_batch", [0, 4])
def test_a_recipes_ghost_batches_train_alike_in_one_and_two_processes(tmp_path, micro_batch):
    """With dropout, which is drawn for each micro-batch."""
    changes = runs.DROPOUT | {"batch_size": 12, "steps": 12, "ghost_batch": 4, "mixup": 0.3}
    one = runs.begin(tmp_path / "one", changes)
    two = runs.begin(tmp_path / "two", changes, world_size=2, micro_batch=micro_batch)
    assert runs.ended(one + two) == [0, 0, 0]
    (weights, log), (wanted, wanted_log) = (
        runs.result(tmp_path / name, 12) for name in ("two", "one")
    )
    runs.close(weights, wanted, rtol=1e-4, atol=1e-6)
    assert log[0]["loss"] == pytest.approx(wanted_log[0]["loss"], rel=1e-5)


EMPTY = {
    "fewer epochs than half a step's": (
        {"epochs": 0.05, "steps": 0},
        r"0\.05 epochs of 61 images in batches of 12, 5 an epoch, are no step .* at least 0\.2",
    ),
    "a batch larger than the set": ({"batch_size": 62}, "a batch of 62 is more than the 61 images"),
    "a batch larger than the set, and epochs": (
        {"batch_size": 62, "steps": 0, "epochs": 3},
        "a batch of 62 is more than the 61 images",
    ),
}


@pytest.mark.fault("a recipe of no steps: {what}", "refused before any work, with all numbers")
@pytest.mark.parametrize("what", EMPTY)
def test_a_run_of_no_steps_is_refused(tmp_path, what):
    changes, told = EMPTY[what]
    with pytest.raises(ValueError, match=told):
        runs.train(tmp_path, runs.recipe(**changes), images=runs.Unread())
    assert not list(tmp_path.iterdir())
