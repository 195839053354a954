"""The engine: which image when, at what rate, and a run that is killed, split, or goes wrong."""

import math
import os
import random
import time
import typing

import numpy as np
import pytest
import tiny_run as runs
import torch
from faults_seen import saw
from hypothesis import given, settings
from hypothesis import strategies as st

from granularity.training import checkpoints, engine, evaluation, optimisation, sampling
from granularity.training.processes import accelerator_of
from granularity.training.recipe import Recipe

# ----------------------------------------------------------------------------- which images when


splits = st.integers(1, 40).flatmap(
    lambda images: st.integers(1, images).flatmap(
        lambda batch: st.tuples(
            st.just(images), st.just(batch), st.integers(1, batch), st.integers(1, batch)
        )
    )
)


@given(splits, st.integers(0, 2**40), st.integers(0, 5))
def test_each_image_once_an_epoch_however_it_is_split(split, seed, epoch):
    images, batch, world_size, micro_batch = split
    each = images // batch
    steps = range(epoch * each, (epoch + 1) * each)
    found = runs.micro_batches_of(
        images, batch, seed, steps, micro_batch=micro_batch, world_size=world_size
    )
    seen = [runs.batch_of(pieces) for pieces in found.values()]
    assert all(len(samples) == batch for samples in seen)
    seen = [sample for samples in seen for sample in samples]
    assert len(set(seen)) == each * batch  # the dropped tail is less than a batch
    assert set(seen) <= set(range(images))
    assert seen == sampling.order(images, seed, epoch)[: each * batch].tolist()
    assert {piece.seed for ps in found.values() for piece in ps} == {
        (seed, epoch, step) for step in steps
    }


@given(splits, st.integers(0, 99), st.integers(0, 30), st.integers(0, 30))
def test_a_plan_taken_up_at_a_step_goes_on_as_before(split, seed, first, more):
    images, batch, world_size, micro_batch = split
    whole = runs.micro_batches_of(
        images, batch, seed, range(first + more), micro_batch=micro_batch, world_size=world_size
    )
    rest = runs.micro_batches_of(
        images, batch, seed, range(first, first + more), micro_batch=batch, world_size=1
    )
    assert all(runs.batch_of(whole[step]) == runs.batch_of(pieces) for step, pieces in rest.items())


def test_other_seeds_and_epochs_have_other_orders():
    orders = [tuple(sampling.order(50, seed, epoch)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16


@pytest.mark.fault(
    "a batch larger than the set, or smaller than the processes", "refused with both numbers"
)
def test_a_batch_that_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="a batch of 9 is more than the 8 images"):
        next(sampling.plan(8, 9, 0, range(1), micro_batch=9))
    with pytest.raises(ValueError, match="a batch of 2 for 3 processes"):
        next(sampling.plan(8, 2, 0, range(1), micro_batch=1, rank=2, world_size=3))


# ------------------------------------------------------------------------- optimiser, schedule

RATES = {  # 10 steps, 2 of them warm-up, rate 8: by hand
    "constant": [4, 8, 8, 8, 8, 8, 8, 8, 8, 8],
    "linear": [4, 8, 8, 7, 6, 5, 4, 3, 2, 1],
    "cosine": [4, 8, 8, 7.69552, 6.82843, 5.53073, 4, 2.46927, 1.17157, 0.30448],
    "step": [4, 8, 8, 8, 0.8, 0.8, 0.8, 0.08, 0.08, 0.008],
}


@pytest.mark.parametrize("schedule", RATES)
def test_the_rate_of_each_step(schedule):
    recipe = Recipe(learning_rate=8, steps=10, warmup=2, schedule=schedule)
    rates = [optimisation.learning_rate_at(recipe, step, 10) for step in range(10)]
    assert rates == pytest.approx(RATES[schedule], rel=1e-4)


def test_every_schedule_of_a_recipe_is_known():
    choices = typing.get_args(typing.get_type_hints(Recipe)["schedule"])
    assert set(choices) == set(RATES)


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert optimisation.learning_rate_at(Recipe(learning_rate=8, steps=10), 0, 10) == 8


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_the_optimiser_is_torchs_and_decays_weights_alone(name, kind):
    recipe = runs.recipe(optimiser=name, momentum=0.7, beta2=0.8, weight_decay=0.3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    optimiser = optimisation.optimiser_of(model, recipe)
    assert type(optimiser).__name__ == kind
    groups = optimiser.param_groups
    decays = {tuple(p.shape): group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {(2, 3): 0.3, (2,): 0.0}
    if name == "sgd":
        assert (groups[0]["momentum"], groups[0]["nesterov"]) == (0.7, False)
    else:
        assert tuple(groups[0]["betas"]) == (0.7, 0.8)


@given(st.integers(0, 10**6), st.integers(1, 7))
@settings(deadline=None)
def test_mixup_keeps_all_labels_with_their_shares(seed, images):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(images, 3, 2, 2, generator=generator)
    targets = torch.randint(-1, 9, (images, 2), generator=generator)
    mixed, both, weights = engine.mix(Recipe(mixup=0.3, steps=1), x, targets, (seed, 0, 0))
    share = weights[0, 0].item()
    assert 0 <= share <= 1
    for place in range(images):
        mirror = images - 1 - place
        wanted = share * x[place] + (1 - share) * x[mirror]
        torch.testing.assert_close(mixed[place], wanted)
        assert both[place].tolist() == [*targets[place].tolist(), *targets[mirror].tolist()]
        assert weights[place].tolist() == pytest.approx(
            [share, share, 1 - share, 1 - share], abs=1e-6
        )
    assert engine.mix(Recipe(steps=1), x, targets, (seed, 0, 0)) == (x, targets, None)


# ------------------------------------------------------------------------------------ whole runs


def test_a_run_learns_and_logs(tmp_path):
    recipe = runs.recipe(steps=120, optimiser="adamw", learning_rate=0.01)
    images = runs.memory(recipe)
    run = runs.start(tmp_path, recipe)
    log = engine.fit(run, recipe, images, runs.LABELS, seed=0)
    assert log["step"] == [50, 100, 120]
    # 0.01 (1 + cos(π (step - 3) / 117)) / 2 of the steps 49, 99 and 119, by hand.
    assert log["learning_rate"] == pytest.approx([6.646869e-3, 7.740496e-4, 1.802362e-6], rel=1e-5)
    assert all(speed > 0 for speed in log["images_per_second"])
    assert log["loss"][-1] < 0.75 * log["loss"][0]
    assert [path.name for path in run.checkpoints()] == ["checkpoint-120.safetensors"]
    found = evaluation.evaluate(run.model, images, runs.LABELS, run.accelerator, recipe)
    assert (found["rank"] == 0).mean() > 0.6


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_evaluation_equals_a_plain_loop(tmp_path, loss):
    recipe = runs.recipe(loss=loss, steps=10)
    images = runs.memory(recipe)
    run = runs.train(tmp_path, recipe, images)
    labels = runs.LABELS.flip(0)
    found = evaluation.evaluate(run.model, images, labels, run.accelerator, recipe)
    for index in range(len(images)):
        x = images.pixels[index : index + 1].float() / 127.5 - 1
        with torch.no_grad():
            logits = run.bare(x)[0].double()
        own = int(labels[images.leaf[index], 0])
        wanted = -logits.log_softmax(0)[own]
        if loss == "sigmoid":
            wanted = torch.log1p(logits.exp()).sum() - logits[own]
        assert found["loss"][index] == pytest.approx(wanted.item(), rel=1e-4)
        assert found["prediction"][index] == logits.argmax()
        assert found["rank"][index] == (logits > logits[own]).sum()


def test_with_several_labels_the_best_of_an_images_own_counts(tmp_path):
    recipe = runs.recipe(steps=10)
    images = runs.memory(recipe)
    run = runs.train(tmp_path, recipe, images)
    both = torch.cat([runs.LABELS, runs.LABELS.roll(1)], dim=1)
    both[0, 1] = -1
    one, two, either = (
        evaluation.evaluate(run.model, images, labels, run.accelerator, recipe)["rank"]
        for labels in (both[:, :1], runs.LABELS.roll(1), both)
    )
    alone = images.leaf.numpy() == 0
    assert np.array_equal(either, np.where(alone, one, np.minimum(one, two)))


def test_micro_batches_add_up_to_the_whole_batch(tmp_path):
    recipe = runs.recipe(steps=8, clip_grad_norm=0.5, optimiser="adamw", learning_rate=0.003)
    whole = runs.train(tmp_path / "whole", recipe)
    parts = runs.train(tmp_path / "parts", recipe, micro_batch=5)
    runs.close(whole.bare.state_dict(), parts.bare.state_dict())


def test_clipping_bounds_the_step(tmp_path):
    free = runs.recipe(steps=1, warmup=0, learning_rate=1, momentum=0, schedule="constant")
    moved = []
    for recipe in (free, runs.recipe(**(free.plain() | {"clip_grad_norm": 0.01}))):
        before = runs.start(tmp_path, recipe).bare.state_dict()
        after = runs.train(tmp_path / str(recipe.clip_grad_norm), recipe).bare.state_dict()
        moved.append(math.sqrt(sum((after[name] - before[name]).square().sum() for name in before)))
    assert moved[0] > 0.02
    assert moved[1] == pytest.approx(0.01, rel=1e-3)


# ------------------------------------------------------------------------------- killed, resumed

KILLED = {
    "sgd, mixup, ghost batches": {"mixup": 0.2, "clip_grad_norm": 1.0, "ghost_batch": 5},
    "adamw, dropout": {
        "optimiser": "adamw",
        "learning_rate": 0.003,
        "weight_decay": 0.1,
        **runs.DROPOUT,
    },
    "batch norm": {**runs.RESNET, "clip_grad_norm": 1.0},
    "batch norm of ghost batches": {**runs.RESNET, "ghost_batch": 4},
    "batch norm in bf16": {**runs.RESNET, "precision": "bf16"},
}
QUICK = ("adamw, dropout", "batch norm")


@pytest.mark.fault(
    "training killed at four random moments ({case})",
    "resumed, it ends with the same weights and log, to the bit",
)
@pytest.mark.parametrize(
    "case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.faults) for c in KILLED]
)
def test_a_run_killed_at_any_moment_ends_as_one_that_ran_through(tmp_path, case):
    steps = 150
    changes, options = KILLED[case] | {"steps": steps}, {"save_every": 7}
    assert runs.ended(runs.begin(tmp_path / "through", changes, **options)) == [0]
    rng = random.Random(case)
    for target in sorted(rng.sample(range(7, 120), 4)):
        (process,) = runs.begin(tmp_path / "killed", changes, **options)
        while runs.newest(tmp_path / "killed") < target:
            assert process.exitcode is None
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        assert runs.ended([process]) == [-9]
        assert runs.newest(tmp_path / "killed") < steps
    assert runs.ended(runs.begin(tmp_path / "killed", changes, **options)) == [0]
    (weights, log), (wanted, wanted_log) = (
        runs.result(tmp_path / name, steps) for name in ("killed", "through")
    )
    assert set(weights) == set(wanted)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert log == wanted_log
    assert [line["step"] for line in log] == [50, 100, 150]
    saw(f"all {len(weights)} tensors and {len(log)} lines of the log are the same")


@pytest.mark.fault(
    "a processor with a matrix unit, on which bf16 convolutions differ from call to call",
    "the unit is not used: five runs end with the same weights, to the bit",
)
def test_bf16_gives_the_same_bits_every_time(tmp_path):
    changes = KILLED["batch norm in bf16"] | {"steps": 40}
    found = []
    for number in range(5):
        folder = tmp_path / str(number)
        assert runs.ended(runs.begin(folder, changes)) == [0]
        found.append(runs.result(folder, 40))
    (wanted, log), *others = found
    for weights, other_log in others:
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
        assert other_log == log
    unit = "has the unit" if torch.cpu._is_amx_tile_supported() else "has no such unit"
    saw(f"{len(wanted)} tensors the same five times; this processor {unit}")


def test_a_finished_run_is_not_trained_again(tmp_path):
    recipe = runs.recipe()
    before = runs.train(tmp_path, recipe).bare.state_dict()
    again = runs.train(tmp_path, recipe, images=runs.Unread())
    assert all(torch.equal(before[name], value) for name, value in again.bare.state_dict().items())


def test_two_checkpoints_are_kept(tmp_path):
    run = runs.train(tmp_path, runs.recipe(steps=20), save_every=6)
    assert [path.stem for path in run.checkpoints()] == ["checkpoint-20", "checkpoint-18"]


# -------------------------------------------------------------------------------- two processes


@pytest.mark.parametrize("micro_batch", [0, 4])
def test_two_processes_train_and_evaluate_as_one(tmp_path, micro_batch):
    changes = {"batch_size": 13, "clip_grad_norm": 0.5, "steps": 12}
    one = runs.begin(tmp_path / "one", changes, save_every=4)
    two = runs.begin(tmp_path / "two", changes, world_size=2, save_every=4, micro_batch=micro_batch)
    assert runs.ended(one + two) == [0, 0, 0]
    (weights, log), (wanted, wanted_log) = (
        runs.result(tmp_path / name, 12) for name in ("two", "one")
    )
    runs.close(weights, wanted, rtol=1e-4, atol=1e-6)
    assert [line["loss"] for line in log] == pytest.approx([line["loss"] for line in wanted_log])
    found, single = (np.load(tmp_path / name / "evaluation.npz") for name in ("two", "one"))
    assert len(found["loss"]) == 31  # a prime
    assert np.array_equal(found["prediction"], single["prediction"])
    assert np.array_equal(found["rank"], single["rank"])
    np.testing.assert_allclose(found["loss"], single["loss"], rtol=1e-5)


@pytest.mark.fault(
    "one of two training processes killed",
    "the other ends with an error; resumed, the run ends as an undisturbed one",
)
def test_where_one_process_dies_the_run_fails_and_can_be_resumed(tmp_path):
    changes, options = {"steps": 60}, {"save_every": 5}
    started = runs.begin(tmp_path / "run", changes, world_size=2, **options)
    while runs.newest(tmp_path / "run") < 20:
        assert started[0].exitcode is None
        time.sleep(0.001)
    started[1].kill()
    main, killed = runs.ended(started)
    assert main not in (0, -9)
    assert killed == -9
    assert runs.newest(tmp_path / "run") < 60
    assert runs.ended(runs.begin(tmp_path / "run", changes, world_size=2, **options)) == [0, 0]
    assert runs.ended(runs.begin(tmp_path / "through", changes, world_size=2, **options)) == [0, 0]
    (weights, log), (wanted, wanted_log) = (
        runs.result(tmp_path / name, 60) for name in ("run", "through")
    )
    runs.close(weights, wanted)
    assert [line["step"] for line in log] == [line["step"] for line in wanted_log]
    saw(f"exit codes {main} and {killed}; resumed, all {len(weights)} tensors are the same")


@pytest.mark.fault(
    "a run begun by {before} process(es) and killed, gone on with by {after}",
    "it ends with the numbers of an undisturbed one, to rounding",
)
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_is_resumed_by_another_number_of_processes(tmp_path, before, after):
    changes, options = {"steps": 60, "clip_grad_norm": 0.5}, {"save_every": 5}
    runs.kill_half_way(tmp_path / "run", changes, world_size=before, **options)
    resumed = runs.begin(tmp_path / "run", changes, world_size=after, **options)
    through = runs.begin(tmp_path / "through", changes, **options)
    assert runs.ended(resumed + through) == [0] * (after + 1)
    (weights, log), (wanted, wanted_log) = (
        runs.result(tmp_path / name, 60) for name in ("run", "through")
    )
    runs.close(weights, wanted, rtol=1e-3, atol=1e-5)
    assert [line["step"] for line in log] == [line["step"] for line in wanted_log]
    losses, wanted = ([line["loss"] for line in lines] for lines in (log, wanted_log))
    assert losses == pytest.approx(wanted, rel=1e-5)
    saw(f"losses {losses} and {wanted}")


def each_its_own(folder, place):
    """Statistics that differ between processes, until a checkpoint is kept."""
    os.environ.update(place | {"OMP_NUM_THREADS": "1"})
    run = runs.start(folder, runs.recipe(**runs.RESNET))
    rank = run.accelerator.process_index
    for name, value in run.bare.named_buffers():
        if name.endswith("running_mean"):
            value.fill_(rank + 1)
    run.save(3)
    kept = {name: value for name, value in run.bare.named_buffers() if name.endswith("_mean")}
    assert kept
    torch.save(kept, folder / f"{rank}.pt")


@pytest.mark.fault(
    "two processes whose batch norm has other statistics, at a checkpoint",
    "both go on with those that are kept",
)
def test_all_processes_go_on_with_the_statistics_that_are_kept(tmp_path):
    started = runs.begin(tmp_path, {}, world_size=2, task=each_its_own)
    assert runs.ended(started) == [0, 0]
    tensors = checkpoints.weights(checkpoints.load(tmp_path / "checkpoint-3.safetensors")[0])
    for rank in (0, 1):
        kept = torch.load(tmp_path / f"{rank}.pt")
        assert all(torch.equal(value, tensors[name]) for name, value in kept.items())
        assert all((value == 1).all() for value in kept.values())


# ------------------------------------------------------------------------------------- gone wrong


class Poisoned:
    """Images that hold no numbers at one step."""

    def __init__(self, images, step):
        self.images, self.step = images, step

    def __len__(self):
        return len(self.images)

    def batches(self, plan, train, device):
        for piece in plan:
            ((x, leaf),) = self.images.batches(iter([piece]), train, device)
            yield x * (math.nan if piece.step == self.step else 1), leaf


@pytest.mark.fault(
    "NaN in the images of a step",
    "stops; names the step and the last good checkpoint, from which it can go on",
)
def test_a_loss_that_is_not_finite_stops_and_names_the_last_good_checkpoint(tmp_path):
    recipe = runs.recipe(steps=20)
    told = r"the loss is nan at step 13; .* checkpoint-12\.safetensors"
    with pytest.raises(FloatingPointError, match=told):
        runs.train(tmp_path, recipe, Poisoned(runs.memory(recipe), 13), save_every=4)
    assert runs.newest(tmp_path) == 12
    # Resumed with good images it goes on from there.
    mended = runs.train(tmp_path, recipe, save_every=4).bare.state_dict()
    wanted = runs.train(tmp_path / "through", recipe, save_every=4).bare.state_dict()
    assert all(torch.equal(mended[name], value) for name, value in wanted.items())


@pytest.mark.fault(
    "NaN in the images before the first checkpoint", "stops; names the step; no checkpoint is kept"
)
def test_before_the_first_checkpoint_there_is_none_to_name(tmp_path):
    recipe = runs.recipe(steps=20)
    with pytest.raises(FloatingPointError, match="nan at step 2; no checkpoint yet"):
        runs.train(tmp_path, recipe, Poisoned(runs.memory(recipe), 2))
    assert runs.newest(tmp_path) == 0


@pytest.mark.fault(
    "an infinite gradient in the step before a checkpoint",
    "stops; names weight and step; the weights are not kept",
)
def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    """A gradient may overflow where the loss of its step, the last before saving, did not."""
    recipe = runs.recipe(steps=20)
    run = runs.start(tmp_path, recipe)
    calls = []
    weight = run.bare.head.weight

    def overflow(gradient):
        calls.append(1)
        return gradient * (math.inf if len(calls) == 8 else 1)

    weight.register_hook(overflow)
    with pytest.raises(FloatingPointError, match=r"head\.weight .* step 8; .* checkpoint-4"):
        engine.fit(run, recipe, runs.memory(recipe), runs.LABELS, seed=0, save_every=4)
    assert runs.newest(tmp_path) == 4


@pytest.mark.fault("several labels an image for the softmax loss", "refused before any step")
def test_softmax_refuses_several_labels_under_mixup_too(tmp_path):
    recipe = runs.recipe(loss="softmax", mixup=0.2)
    run = runs.start(tmp_path, recipe)
    with pytest.raises(ValueError, match="one label"):
        engine.fit(run, recipe, runs.memory(recipe), runs.LABELS.expand(-1, 2), seed=0)


# ------------------------------------------------------------------------------------------ log


@pytest.mark.fault(
    "a log whose last line a kill cut short", "that line is left out, and made again"
)
def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 5, "loss": 1.0}\n{"step": 10, "loss": 0.5}\n{"step": 15, "lo')
    assert [line["step"] for line in engine.Log.lines_of(path)] == [5, 10]
    engine.Log(path, 5, 20, accelerator_of("cpu")).close()
    assert path.read_text() == '{"step": 5, "loss": 1.0}\n'
