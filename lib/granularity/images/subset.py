"""Some images of a set: what a run trains on, and what it is evaluated on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from granularity.images import image_set, splits
from granularity.images.listing import narrow


@dataclass(frozen=True)
class Subset:
    """Some images of a set: `rows` are their numbers in it, rising."""

    images: image_set.ImageSet
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

    @cached_property
    def fingerprint(self) -> str:
        """Of the names and sizes of these images alone, whatever else the set holds."""
        told = hashlib.sha256(self.images.edition.encode())
        told.update(narrow(self.names).tobytes())
        told.update(self.images.sizes[self.rows].astype("<i8").tobytes())
        return told.hexdigest()[:16]

    def stated(self) -> dict:
        """JSON-plain: the set, and how many images of how many classes, by name and size.

        The edition too, of a set that has one: of packed images, at which size.
        """
        edition = {"edition": self.images.edition} if self.images.edition else {}
        return edition | {
            "set": self.images.name,
            "fingerprint": self.fingerprint,
            "images": len(self),
            "classes": len(classes_in(self)),
        }


def whole(images: image_set.ImageSet) -> Subset:
    """All images of a set."""
    return Subset(images, np.arange(len(images)))


def of_classes(part: Subset, classes: Sequence[str]) -> Subset:
    """Those of the images whose leaf is among `classes`."""
    known = set(classes)
    wanted = [index for index, name in enumerate(part.images.classes) if name in known]
    return Subset(part.images, part.rows[np.isin(part.leaf, wanted)])


def some(images: image_set.ImageSet, per_class: int) -> np.ndarray:
    """So many images of each class, chosen by name; all where 0."""
    if not per_class:
        return np.arange(len(images))
    return splits.split(images, {"taken": per_class})["taken"]


def at_most(part: Subset, per_class: int) -> Subset:
    """At most so many of a part's images of each class, chosen by name; all where 0."""
    if not per_class:
        return part
    return Subset(part.images, part.rows[splits.ranks(part.names, part.leaf) < per_class])


def classes_in(part: Subset) -> list[str]:
    """The leaves that images of a part have, by name."""
    return [part.images.classes[leaf] for leaf in np.unique(part.leaf)]
