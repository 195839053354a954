"""A set of images without a split of its own, cut in two: a share of every class, by file names.

`splits.split` takes the same number from every class; here classes may be of any size.
"""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from granularity.images.layouts import DataError

EVALUATED = 0.2  # share of a class' images
KEY = b"evaluation"  # so that the order has nothing to do with that of `splits.split`


def by_share(names: Sequence[bytes], share: float = EVALUATED) -> dict[str, np.ndarray]:
    """The indices of `names`, rising, as `train` and `evaluation`.

    `names` are those of an image set, `class/file`. Of every class `share` of the images, rounded,
    are evaluated on; at least one, and never all. They are those whose names come first by a keyed
    BLAKE2b, so the same images are chosen on every machine and in any order of the names. Raises
    DataError, naming it, for a name that is there twice or has no class, and for a class of a
    single image; ValueError for a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}, a number between 0 and 1 wanted")
    classes = _by_class(names)
    evaluated = np.zeros(len(names), bool)
    for rows in classes.values():
        order = sorted(rows, key=lambda i: hashlib.blake2b(bytes(names[i]), key=KEY).digest())
        evaluated[order[: number_of(len(rows), share)]] = True
    return {"train": np.flatnonzero(~evaluated), "evaluation": np.flatnonzero(evaluated)}


def number_of(images: int, share: float = EVALUATED) -> int:
    """How many of a class' images, two or more, are evaluated on."""
    return min(max(1, round(share * images)), images - 1)


def _by_class(names: Sequence[bytes]) -> dict[bytes, list[int]]:
    """Class → indices of its names. Raises the DataErrors of `by_share`."""
    classes: dict[bytes, list[int]] = {}
    seen: set[bytes] = set()
    for i, name in enumerate(names):
        label, slash, file = bytes(name).rpartition(b"/")
        if not (label and slash and file):
            raise DataError(f"{os.fsdecode(name)!r} is no name of an image, as class/file")
        if name in seen:
            raise DataError(f"{os.fsdecode(name)} is there twice")
        seen.add(name)
        classes.setdefault(label, []).append(i)
    for label, rows in classes.items():
        if len(rows) < 2:
            raise DataError(f"class {os.fsdecode(label)} has a single image, two or more wanted")
    return classes
