"""One stage of training, in a folder that its fingerprint names."""

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from granularity import files
from granularity.fingerprints import equivalence, source
from granularity.fingerprints.digest import digest
from granularity.training import checkpoints, engine, networks, optimisation, processes, sampling
from granularity.training.final_weights import FinalWeights
from granularity.training.recipe import Recipe

# What makes a stage's numbers: training, and how images are found, decoded, and augmented.
CODE = ("granularity.training.one_stage", "granularity.experiments.two_stages")


@dataclass(frozen=True)
class Trained:
    """A network after its stage, with what made it and what it cost."""

    model: nn.Module
    accelerator: Accelerator
    key: str
    folder: Path
    curves: dict[str, list[float]]
    seconds: float  # of this call: next to nothing where the stage was done before


def code() -> str:
    """The fingerprint of the code that trains a stage and shows images to it."""
    return source.fingerprint(*CODE)


def key_of(*parts: object, device: str = "cpu") -> str:
    """The fingerprint of a stage: what it is made of, and the oldest code that is equal to ours."""
    return digest([*parts, equivalence.oldest(equivalence.STAGE, code(), device)])


def stage(
    recipe: Recipe,
    images: sampling.Images,
    labels: Tensor,
    num_classes: int,
    *,
    key: str,
    seed: int,
    folder: Path,
    start: Path | None = None,
    weights: Mapping[str, Tensor] | None = None,
    device: str = "cpu",
    micro_batch: int = 0,
    save_every: int = 0,
    keep_every: int = 0,
    held_out: sampling.Images | None = None,
    tracker: str = "",
) -> Trained:
    """Trains one stage in `folder/<key>`, or takes up where it was stopped, or finds it done.

    `labels` (leaves, q) are class indices, padded with -1. `start` is the folder of the stage
    whose network is finetuned, `weights` are those of another network to start from; either loses
    its head. `held_out` are images that a recipe with `early_stopping` looks at. `tracker` is one
    of accelerate's: it is told what the log is. Raises as `check` does; CheckpointError for weights
    that do not fit; FileNotFoundError where that stage is not done, ValueError for a device that is
    not there, BlockingIOError where another run trains this stage and several processes cannot wait
    for it.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', and torch sees no GPU here; use 'cpu'")
    begun = time.monotonic()
    check(recipe, len(images), micro_batch)
    accelerator = processes.accelerator_of(device, tracker, folder / key)
    model = networks.build(recipe, num_classes, seed)
    if start is not None:
        networks.transfer(model, checkpoints.weights(checkpoints.load(finished(start))[0]))
    if weights is not None:
        networks.transfer(model, weights)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimiser = optimisation.optimiser_of(model, recipe)
    if recipe.compile:
        model = torch.compile(model)
    model, optimiser = accelerator.prepare(model, optimiser)
    # Once it lies on its device: an average is kept beside it.
    final = FinalWeights(recipe, accelerator.unwrap_model(model, keep_torch_compile=False))
    run = engine.Run(folder / key, key, model, optimiser, accelerator, final)
    with lock_folder(run), processes.tracked(accelerator, recipe.plain() | {"stage": key}):
        accelerator.wait_for_everyone()  # nobody takes up a checkpoint before this folder is theirs
        curves = engine.fit(
            run,
            recipe,
            images,
            labels.to(accelerator.device),
            seed=seed,
            micro_batch=micro_batch,
            save_every=save_every,
            keep_every=keep_every,
            held_out=held_out,
        )
        if accelerator.is_main_process:
            files.write(run.folder / "done", key)
    accelerator.wait_for_everyone()  # the next stage may look for that mark
    return Trained(model, accelerator, key, run.folder, curves, time.monotonic() - begun)


def check(recipe: Recipe, images: int, micro_batch: int = 0) -> None:
    """Raises, before any work, where a stage of so many images cannot be trained.

    ValueError for one of no steps, for a network that does not work at the recipe's size, and for
    micro-batches, or processes, that would change its numbers, and for an optimiser that cannot
    train it; KeyError for a network that timm lacks.
    """
    recipe.length(images)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    share = -(-recipe.batch_size // world_size)
    made = networks.check(recipe)
    networks.check_micro_batches(made, recipe, min(micro_batch or share, share), world_size)
    optimisation.check(made, recipe)


def lock_folder(run: engine.Run) -> contextlib.AbstractContextManager:
    """Keeps a stage's folder to this run; a second one waits, for it will find the stage done.

    One of several processes does so for all; it does not wait, for the others would not know.
    """
    if not run.accelerator.is_main_process:
        return contextlib.nullcontext()
    return files.alone(run.folder, wait=run.accelerator.num_processes == 1)


def finished(folder: Path) -> Path:
    """The last checkpoint of a stage. Raises FileNotFoundError where the stage is not done."""
    found = checkpoints.found(folder)
    if not found or not (folder / "done").exists():
        raise FileNotFoundError(f"the stage in {folder} is not done: run its pretraining first")
    return found[0]
