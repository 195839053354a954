"""Small trees and images for the tests of label functions, and small drawn datasets."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from granularity.experiments import datasets
from granularity.images.toy import drawing
from granularity.labels import Tree, from_sets


def small_toy(folder: Path, **options) -> dict[str, str]:
    """The drawn datasets, a few images of each class, by name of the root; listed beside them."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    few = {"imagenet21k/train": 12, "imagenet1k/train": 8, "imagenet1k/val": 4}
    parts = [(part, leaves, first, few.get(part, 5)) for part, leaves, first, _ in drawing.PARTS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "PARTS", tuple(parts))
        return {"toy": str(drawing.draw(folder / "dataset", **options))}


@dataclass
class Images:
    """What label functions need of an image set."""

    names: np.ndarray
    leaf: np.ndarray


def tree_of(leaves):
    """A tree of leaves named `target/group/leaf`."""

    def at(name, depth):
        return from_sets(name, leaves, [{"/".join(leaf.split("/")[:depth])} for leaf in leaves])

    return Tree(tuple(leaves), at("target", 1), {"group": at("group", 2), "leaf": at("leaf", 3)})


def larger_source(name, roots, **choice):
    """The sets of a dataset where the source is larger than the target."""
    return datasets.open_sets(datasets.LargerSource(name, **choice), roots)


def same_images(name, roots, **choice):
    """The images of a dataset where source and target are the same, with their tree."""
    return datasets.open_labelled(datasets.SameImages(name, **choice), roots)


def dataset_of(table):
    """Tree, images and embeddings of a table `leaf → number of images`."""
    tree = tree_of(list(table))
    leaf = np.repeat(np.arange(len(table)), list(table.values()))
    names = [f"{tree.leaves[row]}/{i}.jpg".encode() for i, row in enumerate(leaf)]
    # Of the image alone, so that they are the same in any order.
    digests = [zlib.crc32(name) % 1000 / 100 for name in names]
    embeddings = np.stack([leaf * 3.0, digests], axis=1).astype(np.float16)
    return tree, Images(np.array(names, "S40"), leaf), embeddings


def shuffled(tree, images, embeddings, seed):
    """The same dataset with its images and its leaves in another order."""
    rng = np.random.default_rng(seed)
    rows, leaves = rng.permutation(len(images.leaf)), rng.permutation(len(tree.leaves))
    place = np.argsort(leaves)
    other = tree_of([tree.leaves[i] for i in leaves])
    return other, Images(images.names[rows], place[images.leaf[rows]]), embeddings[rows]


# Up to four target classes; a leaf may have no image, but not all of them.
tables = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 3)).map(
        lambda path: "/".join(f"{kind}{i}" for kind, i in zip("tgl", path, strict=True))
    ),
    st.integers(0, 4),
    min_size=1,
    max_size=14,
).filter(lambda table: any(table.values()))

# One of middle size: two target classes of several groups, a small one, one of a single image.
PLAIN = {
    **{f"plants/p{i // 3}/{i}": 10 for i in range(12)},
    **{f"birds/b{i // 2}/{i}": 8 for i in range(6)},
    "fungi/f0/0": 5,
    "fungi/f1/0": 1,
    "mollusks/m0/0": 1,
}
