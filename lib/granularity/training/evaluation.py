"""What a network says of a set of images: each one once, whatever the processes and the batch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from granularity import files
from granularity.training import losses, processes
from granularity.training.recipe import Recipe
from granularity.training.sampling import Images, MicroBatch

PIXELS = 512 * 384**2  # at once: what fits on a GPU beside a ViT-B


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: Images,
    labels: Tensor,
    accelerator: Accelerator,
    recipe: Recipe,
    *,
    micro_batch: int = 0,
    pool: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Per-image `loss`, `prediction` and `rank` (0: top-1 right), each image once, in order.

    `rank` counts the classes that score above the best of the image's own. With `pool` (outputs,),
    the class of the target that each output of the network belongs to, a target class scores the
    sum of its outputs' probabilities. The result is the same for any number of processes and of
    images `micro_batch` (0: a batch of the recipe, or fewer where it is of many pixels), losses to
    rounding.
    """
    rank, world_size = accelerator.process_index, accelerator.num_processes
    mine = np.arange(rank, len(images), world_size)
    most = max(1, PIXELS // recipe.image_size**2)
    micro_batch = min(micro_batch or recipe.batch_size, recipe.batch_size, most)
    batches = [
        MicroBatch(0, samples, samples, (0, 0, 0))
        for samples in np.array_split(mine, max(1, -(-len(mine) // micro_batch)))
        if len(samples)
    ]
    model.eval()
    loss_of = losses.LOSSES["softmax" if pool is not None else recipe.loss]
    found = []
    for batch, (x, leaf) in zip(
        batches, images.batches(iter(batches), train=False, device=accelerator.device), strict=True
    ):
        with processes.precise(recipe.precision, accelerator.device):
            logits = model(x).float()
        if pool is not None:
            logits = pooled(logits.float(), pool, int(labels.max()) + 1, recipe.loss)
        targets = labels[leaf]
        loss = loss_of(logits, targets)
        own = logits.gather(1, targets.clamp_min(0).long()).masked_fill(targets < 0, -math.inf)
        above = (logits > own.amax(1, keepdim=True)).sum(1)
        parts = (loss.float(), logits.argmax(1), above)
        found.append((batch.samples, *(part.cpu().numpy() for part in parts)))
    every = gather_object(found) if world_size > 1 else found
    columns = [np.concatenate(column) for column in zip(*every, strict=True)]
    in_order = np.argsort(columns[0])
    assert np.array_equal(columns[0][in_order], np.arange(len(images)))
    return dict(
        zip(("loss", "prediction", "rank"), (c[in_order] for c in columns[1:]), strict=True)
    )


def pooled(logits: Tensor, pool: Tensor, classes: int, loss: str) -> Tensor:
    """Logarithms of the target classes' scores (n, classes): sums of their outputs' probabilities.

    `pool` (outputs,) names each output's class; a class without outputs has next to nothing.
    """
    probabilities = logits.softmax(1) if loss == "softmax" else logits.sigmoid()
    sums = probabilities.new_zeros(len(logits), classes)
    return sums.index_add_(1, pool.long(), probabilities).clamp_min(1e-30).log()


def errors_of(found: Mapping[str, np.ndarray], classes: np.ndarray) -> dict[str, float]:
    """Errors over all images: plain, balanced over `classes` (N,), and top-5; and the mean loss."""
    wrong = found["rank"] > 0
    sizes = np.bincount(classes)
    of_class = np.bincount(classes, weights=wrong)[sizes > 0] / sizes[sizes > 0]
    return {
        "error": float(wrong.mean()),
        "balanced_error": float(of_class.mean()),
        "top5_error": float((found["rank"] > 4).mean()),
        "loss": float(found["loss"].mean()),
    }


def keep(found: Mapping[str, np.ndarray], path: Path, classes: Sequence[str]) -> None:
    """Per-image losses, predictions, ranks and labels, and the classes that these number."""
    kinds = {"loss": np.float16, "prediction": np.int32, "rank": np.uint16, "label": np.int32}
    small = {name: found[name].clip(max=60_000).astype(kind) for name, kind in kinds.items()}
    with files.whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **small, classes=np.array(classes))
