"""Some images of a set: what a run trains on, and what it is evaluated on."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np

from granularity.images import image_set, splits
from granularity.images.listing import narrow


@dataclass(frozen=True)
class Subset:
    """Some images of a set: `rows` are their numbers in it, rising.

    `short` counts the classes of the set that have fewer images than were asked for of each.
    """

    images: image_set.ImageSet
    rows: np.ndarray
    short: int = 0

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

        The edition too, of a set that has one (of packed images, at which size), and the number of
        classes with fewer images than were asked for, where there are any.
        """
        told = {"edition": self.images.edition, "short_classes": self.short}
        return {name: value for name, value in told.items() if value} | {
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
    return replace(part, rows=part.rows[np.isin(part.leaf, wanted)])


def some(images: image_set.ImageSet, per_class: int) -> Subset:
    """So many images of each class, chosen by name, or what a class has; all where 0."""
    if not per_class:
        return whole(images)
    rows = splits.split(images, {"taken": per_class}, fewer=True)["taken"]
    return Subset(images, rows, int(np.count_nonzero(images.counts < per_class)))


def narrowed(part: Subset, classes: Sequence[str]) -> Subset:
    """The same images less all that are of no class in `classes`, of a set that has no others."""
    images, kept = set_of(part.images, frozenset(classes))
    return Subset(images, np.flatnonzero(np.isin(kept, part.rows)))


@cache
def set_of(
    images: image_set.ImageSet, classes: frozenset[str]
) -> tuple[image_set.ImageSet, np.ndarray]:
    """A set's images of some classes as a set of its own, and their numbers in the first."""
    rows = of_classes(whole(images), sorted(classes)).rows
    there, leaf = np.unique(images.leaf[rows], return_inverse=True)
    names, sizes = narrow(images.names[rows]), images.sizes[rows]
    own = replace(
        images,
        classes=tuple(images.classes[i] for i in there),
        leaf=leaf.astype("<i4"),
        names=names,
        sizes=sizes,
        fingerprint=hashlib.sha256(names.tobytes() + sizes.tobytes()).hexdigest(),
        content=partial(content_of, images.content, rows),
    )
    return own, rows


def content_of(content: Callable[[int], bytes], rows: np.ndarray, i: int) -> bytes:
    """The encoded bytes of image `rows[i]` of a larger set."""
    return content(int(rows[i]))


def at_most(part: Subset, per_class: int) -> Subset:
    """At most so many of a part's images of each class, chosen by name; all where 0."""
    if not per_class:
        return part
    return Subset(part.images, part.rows[splits.ranks(part.names, part.leaf) < per_class])


def classes_in(part: Subset) -> list[str]:
    """The leaves that images of a part have, by name."""
    return [part.images.classes[leaf] for leaf in np.unique(part.leaf)]
