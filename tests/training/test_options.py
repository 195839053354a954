"""Options of a recipe that the lineage has not: what they do, when they are refused, resumed."""

import json
import typing
from pathlib import Path

import accelerate
import pytest
import tiny_run as runs
import torch
from accelerate.tracking import GeneralTracker
from faults_seen import saw
from timm.loss import LabelSmoothingCrossEntropy
from torch import nn

from granularity.training import (
    checkpoints,
    engine,
    evaluation,
    losses,
    networks,
    one_stage,
    optimisation,
)
from granularity.training.recipe import LATER, Recipe


def test_a_recipe_without_options_is_written_as_before_there_were_any():
    assert not LATER & set(Recipe(steps=1).plain())
    assert Recipe(steps=1, ema=0.9).plain()["ema"] == 0.9


MISUSED = {
    "label_smoothing of the sigmoid loss": (
        {"label_smoothing": 0.1},
        "label_smoothing is 0.1 and loss is 'sigmoid': only the softmax loss",
    ),
    "early_stopping without evaluations": (
        {"early_stopping": 2},
        r"early_stopping \(2\) and evaluate_every \(0\) go together",
    ),
    "an optimiser that timm lacks": (
        {"optimiser": "adamx"},
        "optimiser is 'adamx'; of timm's 'adam[a-z]*' is nearest",
    ),
    "an average that never moves": ({"ema": 1.0}, "ema must be less than 1, not 1.0"),
    "a layer_decay of 0": ({"layer_decay": 0.0}, "layer_decay must be greater than 0, not 0.0"),
}


@pytest.mark.fault("a recipe with {what}", "refused, with what would do")
@pytest.mark.parametrize("what", MISUSED)
def test_options_that_cannot_be_are_refused(what):
    given, told = MISUSED[what]
    with pytest.raises(ValueError, match=told):
        Recipe(steps=1, **given)


# ------------------------------------------------------------------------------ label smoothing


def test_smoothed_labels_are_timms():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 5, (7, 1), generator=generator)
    recipe = Recipe(steps=1, loss="softmax", label_smoothing=0.2)
    ours = losses.of_recipe(recipe)(logits, targets)
    torch.testing.assert_close(ours.mean(), LabelSmoothingCrossEntropy(0.2)(logits, targets[:, 0]))
    # Of two mixed images it is the mix of theirs.
    other, share = targets.roll(1, 0), torch.tensor([[0.3, 0.7]]).expand(7, 2)
    mixed = losses.of_recipe(recipe)(logits, torch.cat([targets, other], 1), share)
    wanted = 0.3 * ours + 0.7 * losses.of_recipe(recipe)(logits, other)
    torch.testing.assert_close(mixed, wanted, rtol=1e-6, atol=0)


def test_evaluation_knows_no_smoothing(tmp_path):
    recipe = runs.recipe(steps=5, loss="softmax", label_smoothing=0.3)
    run = runs.train(tmp_path, recipe)
    plain = runs.recipe(steps=5, loss="softmax")
    found, wanted = (
        evaluation.evaluate(run.model, runs.memory(r), runs.LABELS, run.accelerator, r)["loss"]
        for r in (recipe, plain)
    )
    assert (found == wanted).all()


# ---------------------------------------------------------------------------------- the average


def test_a_run_ends_with_the_moving_average_of_its_weights(tmp_path):
    """timm's: the first step's weights, then d times the average and 1 - d times the weights."""
    recipe = runs.recipe(steps=6, ema=0.8)
    run = runs.train(tmp_path, recipe, keep_every=1)
    seen = [
        checkpoints.part(checkpoints.load(tmp_path / f"checkpoint-{step}.safetensors")[0], "model")
        for step in range(1, 7)
    ]
    for name, value in run.bare.state_dict().items():
        average = seen[0][name].double()
        for weights in seen[1:]:
            average = 0.8 * average + 0.2 * weights[name]
        torch.testing.assert_close(value.double(), average, rtol=1e-5, atol=1e-7)
    last = checkpoints.load(tmp_path / "checkpoint-6.safetensors")[0]
    given = checkpoints.weights(last)  # what a finetuning starts from
    assert all(torch.equal(given[name], value) for name, value in run.bare.state_dict().items())


# ------------------------------------------------------------------------------- rates by layer


def test_each_layer_has_its_own_rate(tmp_path):
    """A ViT of two blocks has four layers: the patches, the blocks, and the norm with the head."""
    recipe = runs.recipe(steps=1, warmup=0, layer_decay=0.5, learning_rate=0.08)
    run = runs.train(tmp_path, recipe)
    rates = {id(p): g["lr"] for g in run.optimiser.param_groups for p in g["params"]}
    found = {name: rates[id(p)] for name, p in run.bare.named_parameters()}
    wanted = {"patch_embed.proj.weight": 0.01, "blocks.0.mlp.fc1.weight": 0.02}
    wanted |= {"blocks.1.mlp.fc1.bias": 0.04, "head.weight": 0.08, "cls_token": 0.01}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


@pytest.mark.fault("rates by layer for a network whose layers timm does not know", "refused")
def test_a_network_without_layers_has_no_rates_by_layer():
    with pytest.raises(ValueError, match=r"layer_decay is 0\.5, and timm knows no layers"):
        optimisation.check(nn.Sequential(nn.Linear(3, 2)), runs.recipe(layer_decay=0.5))


# ------------------------------------------------------------------------ activations made again


def test_activations_that_are_made_again_change_no_bit(tmp_path):
    found = []
    for again in (False, True):
        recipe = runs.recipe(steps=6, **runs.DROPOUT, grad_checkpointing=again)
        run = runs.train(tmp_path / str(again), recipe)
        assert run.bare.grad_checkpointing is again
        found.append(run.bare.state_dict())
    assert all(torch.equal(found[0][name], value) for name, value in found[1].items())


@pytest.mark.fault("activations made again in a network that cannot", "refused before any work")
def test_networks_that_cannot_forget_activations_are_refused():
    with pytest.raises(ValueError, match=r"shows images twice to batch norm \(.*bn"):
        networks.check(runs.recipe(**runs.RESNET, image_size=32, grad_checkpointing=True))
    with pytest.raises(ValueError, match="timm has none for this network"):
        networks.forget_activations(nn.Linear(3, 2), runs.recipe())


# ----------------------------------------------------------------------------------- optimisers

# One that counts in a group, one that keeps fractions, one integers, one three betas, one matrices.
OPTIMISERS = ("lamb", "laprop", "adabelief", "adan", "muon", "lion")


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_run_with_any_optimiser_is_resumed_to_the_bit(tmp_path, name):
    recipe = runs.recipe(steps=12, optimiser=name, learning_rate=0.003, weight_decay=0.1)
    optimisation.check(networks.build(recipe, runs.CLASSES, 0), recipe)
    wanted = runs.train(tmp_path, recipe, save_every=7).bare.state_dict()
    (tmp_path / "checkpoint-12.safetensors").unlink()
    run = runs.train(tmp_path, recipe, save_every=7)
    assert all(torch.equal(value, wanted[name]) for name, value in run.bare.state_dict().items())


UNFIT = {
    "adahessian": "it wants second derivatives",
    "kron": "does not work here",
    "bnbadam": "does not work here",  # a package that is not installed, or wants a GPU
}


@pytest.mark.fault("the optimiser {name}, of which no checkpoint can be kept here", "refused")
@pytest.mark.parametrize("name", UNFIT)
def test_optimisers_that_cannot_be_resumed_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}.*{UNFIT[name]}"):
        optimisation.check(nn.Linear(3, 2), runs.recipe(optimiser=name))


@pytest.mark.fault("an optimiser that remembers what no checkpoint holds", "refused, saying so")
def test_an_optimiser_with_a_memory_of_its_own_is_refused(monkeypatch):
    class Forgetful(torch.optim.SGD):
        """Its steps grow shorter, and it alone knows how many there were."""

        steps = 0

        def step(self):
            self.steps += 1
            for group in self.param_groups:
                group["lr"] = 0.1 / self.steps
            super().step()

    made = lambda model, recipe: Forgetful(model.parameters(), 0.1, momentum=0.9)  # noqa: E731
    monkeypatch.setattr(optimisation, "optimiser_of", made)
    optimisation.steps_alike.cache_clear()
    try:
        with pytest.raises(ValueError, match="remembers what a checkpoint does not hold"):
            optimisation.check(nn.Linear(3, 2), runs.recipe())
    finally:
        optimisation.steps_alike.cache_clear()


# ------------------------------------------------------------------------------- early stopping

STOPPING = {"early_stopping": 2, "evaluate_every": 5, "steps": 150}
LEARNING = STOPPING | {"optimiser": "adamw", "learning_rate": 0.01, "ema": 0.5}


def held_out_errors(folder):
    lines = (folder / "held_out.jsonl").read_text().splitlines()
    return {line["step"]: line["held_out_error"] for line in map(json.loads, lines)}


def stopped(folder, recipe, **options):
    held_out = runs.memory(recipe, 60, seed=1)
    return runs.train(folder, recipe, held_out=held_out, **options), held_out


def test_a_run_that_gets_no_better_stops_early(tmp_path):
    recipe = runs.recipe(**STOPPING, learning_rate=0.0)
    run, _ = stopped(tmp_path, recipe)
    assert list(held_out_errors(tmp_path)) == [5, 10, 15]
    assert engine.Log.lines_of(tmp_path / "metrics.jsonl")[-1]["step"] == 15
    # It is done: nothing is trained where it is asked for again.
    again = runs.train(tmp_path, recipe, images=runs.Unread())
    assert run.checkpoints() == again.checkpoints()


def test_a_run_that_stops_ends_with_the_weights_of_the_lowest_error(tmp_path):
    recipe = runs.recipe(**LEARNING)
    run, held_out = stopped(tmp_path, recipe)
    errors = held_out_errors(tmp_path)
    best = min(errors, key=errors.get)
    assert len(errors) < 30 and list(errors).index(best) == len(errors) - 3
    found = evaluation.evaluate(run.bare, held_out, runs.LABELS, run.accelerator, recipe)
    assert float((found["rank"] > 0).mean()) == errors[best] < errors[5]
    # A finetuning starts from the same.
    kept = checkpoints.weights(checkpoints.load(run.checkpoints()[0])[0])
    assert all(torch.equal(kept[name], value) for name, value in run.bare.state_dict().items())


@pytest.mark.fault(
    "a run with early stopping and averaged weights, stopped in between",
    "taken up, it stops at the same step with the same weights, to the bit",
)
def test_a_run_that_stops_early_is_resumed_to_the_bit(tmp_path):
    recipe = runs.recipe(**LEARNING)
    run, _ = stopped(tmp_path, recipe, keep_every=5)
    wanted, errors = run.bare.state_dict(), held_out_errors(tmp_path)
    for path in run.checkpoints()[:2]:
        path.unlink()
    resumed, _ = stopped(tmp_path, recipe, keep_every=5)
    assert held_out_errors(tmp_path) == errors
    assert all(torch.equal(value, wanted[n]) for n, value in resumed.bare.state_dict().items())
    saw(f"both stop after step {max(errors)}, and end with step {min(errors, key=errors.get)}")


# ------------------------------------------------------------------------------------- trackers


class Heard(GeneralTracker):
    """A tracker that writes down what it is told."""

    name = "heard"
    requires_logging_directory = True
    told: typing.ClassVar[list] = []

    def __init__(self, run_name, logging_dir, **options):
        super().__init__()
        self.lines = []
        self.told.append((run_name, Path(logging_dir).name, self.lines))

    @property
    def tracker(self):
        return None

    def store_init_configuration(self, values):
        self.lines.append(values)

    def log(self, values, step=None, **options):
        self.lines.append({"step": step, **values})

    def finish(self):
        self.lines.append("end")


def a_stage(folder, key, **options):
    recipe = runs.recipe(steps=60)
    given = (recipe, runs.memory(recipe), runs.LABELS, runs.CLASSES)
    return one_stage.stage(*given, key=key, seed=0, folder=folder, **options)


def test_a_tracker_is_told_what_the_log_is(tmp_path, monkeypatch):
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "heard", Heard)
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", ["heard"])
    Heard.told.clear()
    for key in ("one", "two"):  # two stages of a process are two runs
        a_stage(tmp_path, key, tracker="heard")
    assert [told[:2] for told in Heard.told] == [("granularity", "one"), ("granularity", "two")]
    for key, (_, _, (config, *lines, end)) in zip(("one", "two"), Heard.told, strict=True):
        written = (tmp_path / key / "metrics.jsonl").read_text().splitlines()
        assert lines == [json.loads(line) for line in written]
        assert [line["step"] for line in lines] == [50, 60] and end == "end"
        assert (config["stage"], config["learning_rate"]) == (key, 0.05)
        assert all(isinstance(value, (bool, int, float, str)) for value in config.values())


def test_no_tracker_is_loaded_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerate.tracking, "LOGGER_TYPE_TO_CLASS", {})
    assert a_stage(tmp_path, "one").accelerator.trackers == []


@pytest.mark.fault("a tracker that accelerate lacks, or that is not installed", "refused by name")
def test_a_tracker_that_is_not_here_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [])
    with pytest.raises(ValueError, match="no tracker 'tensorbord'; the nearest one is 'tensorboa"):
        a_stage(tmp_path, "one", tracker="tensorbord")
    with pytest.raises(ValueError, match="'wandb' is not installed here: pip install wandb"):
        a_stage(tmp_path, "one", tracker="wandb")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------ kept checkpoints


def test_checkpoints_are_kept_where_asked(tmp_path):
    run = runs.train(tmp_path, runs.recipe(steps=20), save_every=3, keep_every=8)
    found = [checkpoints.step_of(path) for path in run.checkpoints()]
    assert found == [20, 18, 16, 8]
