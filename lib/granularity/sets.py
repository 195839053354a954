"""Parts of image sets: source, target, evaluation; what both arms do with them.

An arm's own module says which images its worlds have; here is what they share.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from granularity import data, splits

DUPLICATES = Path(__file__).parent / "tables" / "tiny-imagenet-duplicates.csv"
HELD_OUT = 0.2  # share of the target's training images on which rates and lengths are chosen


@dataclass(frozen=True)
class Part:
    """Some images of a set: `rows` are their numbers in it, rising."""

    images: data.ImageSet
    rows: np.ndarray

    def __len__(self) -> int:
        """The number of images."""
        return len(self.rows)

    @property
    def leaf(self) -> np.ndarray:
        """Leaves of the images, as indices into the set's classes."""
        return self.images.leaf[self.rows]

    @property
    def names(self) -> np.ndarray:
        """Names of the images, `class/file`, as bytes."""
        return self.images.names[self.rows]

    @property
    def fingerprint(self) -> str:
        """Of the set and the images chosen from it."""
        rows = self.rows.astype("<i8").tobytes()
        return hashlib.sha256(self.images.fingerprint.encode() + rows).hexdigest()[:16]


@dataclass(frozen=True)
class Sets:
    """Source, target and what the target is evaluated on; `classes` are the target's leaves."""

    source: Part
    target: Part
    evaluation: Part
    classes: tuple[str, ...]


def whole(images: data.ImageSet) -> Part:
    """All images of a set."""
    return Part(images, np.arange(len(images)))


def of_classes(part: Part, classes: Sequence[str]) -> Part:
    """Those of the images whose leaf is among `classes`."""
    known = set(classes)
    wanted = [index for index, name in enumerate(part.images.classes) if name in known]
    return Part(part.images, part.rows[np.isin(part.leaf, wanted)])


def some(images: data.ImageSet, per_class: int) -> np.ndarray:
    """So many images of each class, chosen by name; all where 0."""
    if not per_class:
        return np.arange(len(images))
    return splits.split(images, {"taken": per_class})["taken"]


def hold_out(sets: Sets) -> Sets:
    """The target's training images cut in two, class by class: to train on and to choose on."""
    rows, leaf = sets.target.rows, sets.target.leaf
    groups = [rows[leaf == label] for label in np.unique(leaf)]
    held = np.concatenate([group[-max(1, round(HELD_OUT * len(group))) :] for group in groups])
    target = Part(sets.target.images, np.setdiff1d(rows, held))
    return replace(sets, target=target, evaluation=Part(sets.target.images, np.sort(held)))


def root_of(roots: Mapping[str, str], name: str) -> Path:
    """Where a set lies on this machine. Raises KeyError, with the place to get it from."""
    if not roots.get(name):
        plain = name.replace("-", "")
        known = [text for key, text in data.SOURCES.items() if plain.startswith(key)]
        raise KeyError(
            f"no root is given for {name}. {''.join(known) or 'It is drawn by toy.draw'}"
        )
    return Path(roots[name])


@cache
def opened(root: str, part: str) -> data.ImageSet:
    """A set, opened once in a process."""
    return data.open_set(root, part)


def tiny_imagenet(roots: Mapping[str, str]) -> tuple[Part, data.ImageSet]:
    """Tiny-ImageNet's training images and its validation images.

    Training images that stand among the validation images too, under another label, are left out.
    """
    root = str(root_of(roots, "tiny-imagenet-200"))
    images = opened(root, "train")
    return Part(images, splits.drop_twins(images, DUPLICATES)), opened(root, "val")
