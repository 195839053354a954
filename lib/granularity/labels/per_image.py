"""Label functions of samples: images in the order of their names, and classes as numbers."""

from typing import Protocol

import numpy as np

from granularity.labels.function import LabelFunction
from granularity.labels.tree import Tree


class Images(Protocol):
    """What is needed of an image set here: names (N,), as bytes, and leaves (N,), as indices."""

    names: np.ndarray
    leaf: np.ndarray


def in_order(images: Images, tree: Tree) -> np.ndarray:
    """The indices that put the images in the order of their names, shape (N,).

    Everything that chance enters goes through the images in this order, so that the order of the
    files changes nothing. Raises ValueError where there are no images, two have the same name, or
    a leaf is not one of the tree's.
    """
    names, leaf = images.names, images.leaf
    if not len(names) or names.shape != leaf.shape:
        raise ValueError(f"{len(names):,} names and {len(leaf):,} leaves of images")
    if leaf.min() < 0 or leaf.max() >= len(tree.leaves):
        raise ValueError(
            f"leaves {leaf.min()} to {leaf.max()} of images, the tree has 0 to"
            f" {len(tree.leaves) - 1}"
        )
    order = np.argsort(names, kind="stable")
    twice = np.flatnonzero(names[order[1:]] == names[order[:-1]])
    if len(twice):
        raise ValueError(f"two images are named {_text(names[order[twice[0]]])!r}")
    return order


def target_of(images: Images, tree: Tree) -> np.ndarray:
    """The target class of each image, shape (N,)."""
    return tree.target.indices[images.leaf, 0]


def numbered(name: str, images: Images, numbers: np.ndarray) -> LabelFunction:
    """The label function that gives image i the class `numbers[i]`, of 0 to the largest number.

    Class names are the numbers, padded so that their order as text is their order.
    """
    count = int(numbers.max()) + 1
    width = len(str(count - 1))
    return LabelFunction(
        name,
        tuple([_text(image) for image in images.names.tolist()]),
        tuple(f"{number:0{width}}" for number in range(count)),
        numbers.astype(np.int32)[:, None],
        "sample",
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")  # file names need not be UTF-8


def generator(seed: int, name: str) -> np.random.Generator:
    """The chance of one label function: of its seed and its name, and of nothing else."""
    return np.random.default_rng([seed, *name.encode()])
