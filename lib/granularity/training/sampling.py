"""Which images when: the order of an epoch, and the micro-batches that a process handles."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Images(Protocol):
    """What the engine asks of a set of images."""

    def __len__(self) -> int:
        """The number of images."""

    def batches(
        self, plan: Iterator["MicroBatch"], train: bool, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For each micro-batch its images (n, 3, h, w), augmented in training, and leaves (n,)."""


@dataclass(frozen=True)
class MicroBatch:
    """The images that one process handles at once, and where chance for them comes from."""

    step: int
    samples: np.ndarray  # (n,) indices of images
    places: np.ndarray  # (n,) their places in the step's batch
    seed: tuple[int, ...]  # (run's seed, epoch, step)
    last: bool = True  # of its process in this step


def order(images: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a permutation that depends on the seed and the epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(images)


def plan(
    images: int,
    batch_size: int,
    seed: int,
    steps: range,
    *,
    micro_batch: int,
    rank: int = 0,
    world_size: int = 1,
    ghost_batch: int = 0,
) -> Iterator[MicroBatch]:
    """One process's micro-batches. Raises ValueError for a batch that is too large or too small.

    Each epoch drops its last, partial batch. See `places_of` for who takes which of a batch.
    """
    each = images // batch_size
    if not each:
        raise ValueError(f"a batch of {batch_size} is more than the {images} images there are")
    if batch_size < world_size:
        raise ValueError(f"a batch of {batch_size} for {world_size} processes leaves one empty")
    mine = places_of(batch_size, micro_batch, rank, world_size, ghost_batch)
    current, permutation = -1, None
    for step in steps:
        epoch, index = divmod(step, each)
        if epoch != current:
            current, permutation = epoch, order(images, seed, epoch)
        for places in mine:
            samples = permutation[index * batch_size + places]
            yield MicroBatch(step, samples, places, (seed, epoch, step), places is mine[-1])


def places_of(
    batch_size: int, micro_batch: int, rank: int, world_size: int, ghost_batch: int
) -> list[np.ndarray]:
    """A process's places of a batch, by micro-batches.

    Process r of w takes places r, r + w, …, at most `micro_batch` of them at once. Where the recipe
    has a `ghost_batch`, they are the same for any number of processes: each takes every w-th.
    """
    if ghost_batch:
        starts = range(rank * ghost_batch, batch_size, world_size * ghost_batch)
        return [np.arange(start, min(start + ghost_batch, batch_size)) for start in starts]
    mine = np.arange(rank, batch_size, world_size)
    return [mine[start : start + micro_batch] for start in range(0, len(mine), micro_batch)]
