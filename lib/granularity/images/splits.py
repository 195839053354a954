"""Parts of an image set, chosen by the images' names: the same on every machine."""

import csv
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from granularity.images.layouts import DataError

# Names of Tiny-ImageNet's images that are the same picture: a group a line.
DUPLICATES = Path(__file__).parent / "tables" / "tiny-imagenet-duplicates.csv"


class Named(Protocol):
    """What is needed of an image set here (`granularity.images.image_set.ImageSet` has it)."""

    name: str
    classes: tuple[str, ...]
    leaf: np.ndarray
    names: np.ndarray


def split(
    images: Named, per_class: Mapping[str, int], fewer: bool = False
) -> dict[str, np.ndarray]:
    """Disjoint parts of a set, with `per_class[part]` images of every class: rising indices.

    In each class images are put in the order of the SHA-256 of their names, and the parts take
    theirs one after the other, so they are the same on every machine. The rest is in no part.
    Raises DataError for a class that has too few images, unless `fewer` takes what there is.
    """
    wanted, counts = sum(per_class.values()), np.bincount(images.leaf)
    if counts.min() < wanted and not fewer:
        label = images.classes[counts.argmin()]
        raise DataError(
            f"{images.name}: class {label} has {counts.min():,} images, {wanted:,} wanted"
        )
    rank = ranks(images.names, images.leaf)
    parts, first = {}, 0
    for part, size in per_class.items():
        parts[part] = np.flatnonzero((rank >= first) & (rank < first + size))
        first += size
    return parts


def ranks(names: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """Each image's place in its class, from 0, in the order of the SHA-256 of the names."""
    counts = np.bincount(leaf)
    digests = np.array([hashlib.sha256(name).digest() for name in names], "S32")
    order = np.lexsort((digests, leaf))
    rank = np.empty(len(leaf), np.int64)
    rank[order] = np.arange(len(leaf)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def twins(table: str | Path) -> list[tuple[str, str]]:
    """The identical images of Tiny-ImageNet of which one is in training and one in validation.

    As pairs of names (training, validation), from a table as `groups` reads it.
    """
    pairs = [dict(group) for group in groups(table)]
    return [(pair["train"], pair["val"]) for pair in pairs if len(pair) == 2]


def groups(table: str | Path) -> list[list[tuple[str, str]]]:
    """Images of Tiny-ImageNet that are byte for byte the same: (part, name) of each, by group.

    From a table with the columns `group` and `file`.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    with Path(table).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            _, part, label, *_, name = row["file"].split("/")
            found.setdefault(row["group"], []).append((part, f"{label}/{name}"))
    return list(found.values())


def doubles(table: str | Path) -> list[frozenset[bytes]]:
    """The names of identical training images, a set for each group of two or more."""
    named = [
        {os.fsencode(name) for part, name in group if part == "train"} for group in groups(table)
    ]
    return [frozenset(group) for group in named if len(group) > 1]


def drop_twins(images: Named, table: str | Path) -> np.ndarray:
    """The indices of a set's images without those that `twins(table)` names, rising."""
    named = np.array([os.fsencode(name) for pair in twins(table) for name in pair])
    return np.flatnonzero(~np.isin(images.names, named))
