"""One training engine, for every experiment: it knows images, indices and labels, and none of them.

Chance of a step is a function of (seed, step) and chance of an image of (seed, epoch, image):
nothing depends on workers or on whether a run was stopped in between. So a resumed run makes the
same numbers as one that was never stopped, bit for bit on a CPU. How many processes share a batch,
and in micro-batches of what size, changes rounding alone: where it would change more, as with batch
norm, dropout or mixup, it is refused, or is a part of the recipe.
"""

import contextlib
import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from tqdm import tqdm

from granularity import files
from granularity.inputs import renamed
from granularity.training import checkpoints, evaluation, losses, networks, processes
from granularity.training.checkpoints import CheckpointError
from granularity.training.final_weights import FinalWeights
from granularity.training.optimisation import learning_rate_at
from granularity.training.recipe import Recipe
from granularity.training.sampling import Images, MicroBatch, plan

LOG_EVERY = 50  # steps between two lines of the log; the loss is looked at only then


def mix(
    recipe: Recipe, images: Tensor, targets: Tensor, seed: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mixup of each image and its mirror place in the micro-batch; all labels stay, with shares."""
    if not recipe.mixup:
        return images, targets, None
    share = float(np.random.default_rng([*seed, 1]).beta(recipe.mixup, recipe.mixup))
    both = torch.cat([targets, targets.flip(0)], dim=1)
    weights = torch.full(both.shape, 1 - share, device=images.device)
    weights[:, : targets.shape[1]] = share
    return images.lerp(images.flip(0), 1 - share), both, weights


# ---------------------------------------------------------------------------------- one run


@dataclass
class Run:
    """A network in training: what a checkpoint keeps, and where."""

    folder: Path
    fingerprint: str  # of recipe, data, labels, code and seed: names what may resume what
    model: nn.Module
    optimiser: torch.optim.Optimizer
    accelerator: Accelerator
    final: FinalWeights

    @property
    def bare(self) -> nn.Module:
        """The network without what accelerate and torch.compile wrap round it."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    def checkpoints(self) -> list[Path]:
        """Checkpoints in the folder, newest first."""
        return checkpoints.found(self.folder)

    def save(self, step: int, pending: Sequence[float] = (), keep_every: int = 0) -> None:
        """Keeps the state before `step`, one older one, and those of every `keep_every` steps.

        `pending` are the losses of the steps since the last line of the log.
        """
        if self.accelerator.is_main_process:
            model = {f"model.{name}": value for name, value in self.bare.state_dict().items()}
            facts = {"fingerprint": self.fingerprint, "step": step} | self.final.facts()
            facts |= {"pending": list(pending)} if pending else {}
            path = self.folder / f"checkpoint-{step}.safetensors"
            tensors = model | checkpoints.flat(self.optimiser) | self.final.tensors()
            checkpoints.save(path, tensors, facts)
            for old in checkpoints.passing(self.checkpoints()[2:], keep_every):
                old.unlink()
        # Statistics of batch norm are each process's own: all go on with those that are kept.
        for value in self.bare.buffers():
            broadcast(value)
        self.accelerator.wait_for_everyone()

    def resume(self) -> tuple[int, list[float]]:
        """Takes up the newest checkpoint; its step, and losses that no line of the log tells yet.

        Where there is none, 0 and none. Checkpoints of earlier code had a line of the log each.
        Raises CheckpointError for one that is broken or of another run.
        """
        for path in self.checkpoints()[:1]:
            tensors, facts = checkpoints.load(path)
            if facts["fingerprint"] != self.fingerprint:
                raise CheckpointError(f"{path} is of another run: recipe, data or code differ")
            parts = {name: checkpoints.part(tensors, name) for name in ("model", "average", "best")}
            try:
                self.bare.load_state_dict(parts["model"])
                checkpoints.restore(self.optimiser, tensors)
                self.final.restore(parts, facts)
            except (KeyError, RuntimeError, ValueError) as error:
                raise CheckpointError(f"{path} is of another network: {error}") from error
            return facts["step"], facts.get("pending", [])
        return 0, []


@dataclass(frozen=True)
class When:
    """Steps between two checkpoints, and between two that stay; 0: one at the end, and none."""

    save_every: int = 0
    keep_every: int = 0

    def saved(self, done: int) -> bool:
        """Whether there is a checkpoint after so many steps, before the end."""
        return any(every and done % every == 0 for every in (self.save_every, self.keep_every))


def fit(
    run: Run,
    recipe: Recipe,
    images: Images,
    labels: Tensor,
    *,
    seed: int,
    micro_batch: int = 0,
    save_every: int = 0,
    keep_every: int = 0,
    held_out: Images | None = None,
) -> dict[str, list[float]]:
    """Trains to the recipe's end and returns the log: step, loss, learning_rate, images_per_second.

    `labels` (leaves, q) are class indices padded with -1. `micro_batch`: images that go through the
    network at once, 0 for all of a process's share. `save_every`: steps between two checkpoints, 0
    for one at the end; `keep_every`: between two that stay; neither changes the log. `held_out` are
    the images by whose error a recipe with `early_stopping` stops. The network is left with the
    weights that it is used with (see `final_weights`). Raises ValueError, before any work, for a
    run of no steps and for micro-batches that would change its numbers; FloatingPointError, naming
    the step and the last good checkpoint, where a loss is not finite, or the weights at a
    checkpoint.
    """
    check_labels(recipe, labels)
    steps, when = recipe.length(len(images)), When(save_every, keep_every)
    micro_batch = micro_batch_of(run, recipe, micro_batch)
    first, pending = run.resume()
    log = Log(run.folder / "metrics.jsonl", first, steps, run.accelerator)
    kept = []  # this process's losses of the steps since they were last looked at
    rest = range(first, first if run.final.stopped else steps)
    run.model.train()
    for step, loss in gradients(run, recipe, images, labels, rest, seed, micro_batch):
        step_optimiser(run, recipe, step, steps)
        kept.append(loss)
        done = step + 1
        run.final.step(done)
        if judged := run.final.due(done):
            judge(run, recipe, held_out, labels, done, micro_batch)
        ends = done == steps or run.final.stopped
        logged, saved = done % LOG_EVERY == 0 or ends, when.saved(done) or judged or ends
        if logged or saved:
            pending, kept = pending + summed(kept, done, run), []
        if logged:
            log.add(done, pending, learning_rate_at(recipe, step, steps), recipe.batch_size)
            pending = []
        if saved:
            check_weights(done, run)
            run.save(done, pending, keep_every)
        if ends:
            break
    log.close()
    run.final.put()
    return log.read()


def check_labels(recipe: Recipe, labels: Tensor) -> None:
    """Raises ValueError for several labels of an image where the loss wants one."""
    if recipe.loss == "softmax" and labels.shape[1] != 1:
        raise ValueError("softmax wants one label for each image; use the sigmoid loss for several")


def micro_batch_of(run: Run, recipe: Recipe, asked: int) -> int:
    """How many images a process handles at once: `asked`, or its share of the batch, if less.

    Raises ValueError where that would change the numbers.
    """
    world_size = run.accelerator.num_processes
    share = -(-recipe.batch_size // world_size)
    found = min(asked or share, share)
    networks.check_micro_batches(run.bare, recipe, found, world_size)
    return found


def gradients(
    run: Run,
    recipe: Recipe,
    images: Images,
    labels: Tensor,
    steps: range,
    seed: int,
    micro_batch: int,
) -> Iterator[tuple[int, Tensor]]:
    """Each step with this process's part of its loss, as soon as all its gradients are added up."""
    accelerator, found = run.accelerator, []
    batches = plan(
        len(images),
        recipe.batch_size,
        seed,
        steps,
        micro_batch=micro_batch,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        ghost_batch=recipe.ghost_batch,
    )
    for batch, (x, leaf) in with_images(images, batches, accelerator.device):
        seed_dropout(batch, accelerator.device)
        with note_place(batch):
            found.append(add_gradients(run, recipe, batch, x, labels[leaf]))
        if batch.last:
            yield batch.step, torch.stack(found).sum()
            found = []


def add_gradients(
    run: Run, recipe: Recipe, batch: MicroBatch, x: Tensor, targets: Tensor
) -> Tensor:
    """One micro-batch through the network and back; its part of the step's loss."""
    accelerator = run.accelerator
    x, targets, weights = mix(recipe, x, targets, batch.seed)
    if recipe.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    exact = processes.precise(recipe.precision, accelerator.device)
    with exact, gradients_of(run.model, accelerator, synced=batch.last):
        logits = run.model(x).float()
        loss = losses.of_recipe(recipe)(logits, targets, weights).sum() / recipe.batch_size
        # accelerate averages over processes: we sum
        accelerator.backward(loss * accelerator.num_processes)
    return loss.detach()


def summed(kept: Sequence[Tensor], done: int, run: Run) -> list[float]:
    """The losses of the last steps before `done`, over all processes; all of them are finite."""
    values = run.accelerator.reduce(torch.stack(kept), "sum").tolist()
    check_finite(values, done - len(values), run)
    return values


def judge(
    run: Run, recipe: Recipe, held_out: Images, labels: Tensor, done: int, micro_batch: int
) -> None:
    """Looks at the held-out images with the weights that the run would end with now."""
    found = evaluation.evaluate(
        run.final.candidate, held_out, labels, run.accelerator, recipe, micro_batch=micro_batch
    )
    run.final.judge(done, float((found["rank"] > 0).mean()))
    if run.accelerator.is_main_process:
        run.final.write(run.folder / "held_out.jsonl")
    run.model.train()


@contextlib.contextmanager
def note_place(batch: MicroBatch) -> Iterator[None]:
    """Adds step and images to any error: a label out of range, memory that is used up."""
    try:
        yield
    except Exception as error:
        first, last = batch.samples[0], batch.samples[-1]
        error.add_note(f"step {batch.step}, {len(batch.samples)} images, {first} to {last}")
        raise


def seed_dropout(batch: MicroBatch, device: torch.device) -> None:
    """Each micro-batch has a chance of its own. (`torch.manual_seed` takes 0.5 ms.)"""
    seed = int(np.random.SeedSequence([*batch.seed, batch.places[0]]).generate_state(1)[0])
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def with_images(
    images: Images, batches: Iterator[MicroBatch], device: torch.device
) -> Iterator[tuple[MicroBatch, tuple[Tensor, Tensor]]]:
    """Pieces with their images; the set of images may work ahead of the training."""
    ahead, mine = itertools.tee(batches)
    return zip(mine, images.batches(ahead, train=True, device=device), strict=True)


def gradients_of(model: nn.Module, accelerator: Accelerator, *, synced: bool):
    """Where gradients add up over micro-batches, processes exchange them once, with the last."""
    return contextlib.nullcontext() if synced else accelerator.no_sync(model)


def step_optimiser(run: Run, recipe: Recipe, step: int, steps: int) -> None:
    """One update with the rate of its step, clipped where the recipe says so."""
    if recipe.clip_grad_norm:
        run.accelerator.clip_grad_norm_(run.model.parameters(), recipe.clip_grad_norm)
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate_at(recipe, step, steps) * group.get("lr_scale", 1.0)
    run.optimiser.step()
    run.optimiser.zero_grad(set_to_none=True)


def check_finite(values: list[float], first: int, run: Run) -> None:
    """Raises FloatingPointError at the first loss that is not finite."""
    for step, value in enumerate(values, first):
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {step}; {last_good(run)}")


def check_weights(step: int, run: Run) -> None:
    """Raises FloatingPointError for a tensor that is not finite: no such one is kept."""
    for name, value in run.bare.state_dict().items():
        if not value.isfinite().all():
            raise FloatingPointError(f"{name} is not finite before step {step}; {last_good(run)}")


def last_good(run: Run) -> str:
    """Where to go on from."""
    kept = run.checkpoints()
    return f"the last good checkpoint is {kept[0].name}" if kept else "no checkpoint yet"


class Log:
    """One JSON line for each stretch of steps, and a progress bar; cut back where a run resumes."""

    def __init__(self, path: Path, first: int, steps: int, accelerator: Accelerator):
        """Opens the log of a run that starts before step `first` of `steps`.

        The first process writes it; trackers that `accelerator` was given get the same lines.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.accelerator = path, accelerator
        self.shown = shown = accelerator.is_main_process
        self.since, self.step = time.monotonic(), first
        lines = [line for line in self.lines_of(path) if line["step"] <= first]
        if shown:
            files.write(path, "".join(f"{json.dumps(line)}\n" for line in lines))
        self.bar = tqdm(total=steps, initial=first, unit="step", disable=not shown)

    @staticmethod
    def lines_of(path: Path) -> list[dict]:
        """What stands in a log; a last line that a kill cut short is left out."""
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [renamed.current(json.loads(line)) for line in text.split("\n")[:-1]]

    def add(self, step: int, losses: list[float], learning_rate: float, batch_size: int) -> None:
        """Writes the mean loss of the steps since the last line."""
        now = time.monotonic()
        speed = (step - self.step) * batch_size / max(now - self.since, 1e-9)
        self.bar.update(step - self.step)
        self.bar.set_postfix_str(f"loss {np.mean(losses):.4f}, {speed:,.0f} images/s")
        self.since, self.step = now, step
        line = {"step": step, "loss": float(np.mean(losses)), "learning_rate": learning_rate}
        line |= {"images_per_second": round(speed, 1)}
        if self.shown:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.accelerator.log({k: v for k, v in line.items() if k != "step"}, step=step)

    def read(self) -> dict[str, list[float]]:
        """The log as columns."""
        lines = self.lines_of(self.path)
        return {name: [line[name] for line in lines] for name in (lines[0] if lines else ())}

    def close(self) -> None:
        """Ends the progress bar."""
        self.bar.close()
