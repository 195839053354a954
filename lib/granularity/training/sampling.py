"""Which images when: the order of an epoch, and the pieces of a batch that a process handles."""

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
        self, plan: Iterator["Piece"], train: bool, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For each piece of the plan its images (n, 3, h, w), augmented in training, and leaves."""


@dataclass(frozen=True)
class Piece:
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
    batch: int,
    seed: int,
    steps: range,
    *,
    at_once: int,
    rank: int = 0,
    world: int = 1,
    piece: int = 0,
) -> Iterator[Piece]:
    """The pieces of one process. Raises ValueError for a batch that is too large or too small.

    Each epoch drops its last, partial batch. See `places_of` for who takes which of a batch.
    """
    each = images // batch
    if not each:
        raise ValueError(f"a batch of {batch} is more than the {images} images there are")
    if batch < world:
        raise ValueError(f"a batch of {batch} for {world} processes leaves one without images")
    mine = places_of(batch, at_once, rank, world, piece)
    current, permutation = -1, None
    for step in steps:
        epoch, index = divmod(step, each)
        if epoch != current:
            current, permutation = epoch, order(images, seed, epoch)
        for places in mine:
            samples = permutation[index * batch + places]
            yield Piece(step, samples, places, (seed, epoch, step), places is mine[-1])


def places_of(batch: int, at_once: int, rank: int, world: int, piece: int) -> list[np.ndarray]:
    """A process's places of a batch, by pieces.

    Process r of w takes places r, r + w, …, at most `at_once` of them in a piece. Where the recipe
    says what is a `piece`, they are the same for any number of processes: each takes every w-th.
    """
    if piece:
        starts = range(rank * piece, batch, world * piece)
        return [np.arange(start, min(start + piece, batch)) for start in starts]
    mine = np.arange(rank, batch, world)
    return [mine[start : start + at_once] for start in range(0, len(mine), at_once)]
