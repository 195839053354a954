"""Label functions by their specification, as parameters of runs write it."""

from dataclasses import replace

import numpy as np

from granularity.inputs.nearest import nearest
from granularity.labels.clusters import cluster, cluster_crossed, cluster_free
from granularity.labels.function import LabelFunction
from granularity.labels.per_image import Images
from granularity.labels.random_labels import instance, random, random_free
from granularity.labels.regrouped_leaves import cross, misaligned, mixed
from granularity.labels.tree import Tree

# What each specification looks like, by its kind.
KINDS = {
    "target": "target",
    "rank": "rank:<rank>",
    "random": "random:<K>",
    "random-free": "random-free:<K>",
    "cluster": "cluster:<K>",
    "cluster-free": "cluster-free:<K>",
    "cluster-crossed": "cluster-crossed:<K>",
    "cross": "cross:<K>",
    "misaligned": "misaligned:<rank>:<p>",
    "instance": "instance",
    "mixed": "mixed:<rank>,<rank>,…",
}
DEALT = {"random": random, "random-free": random_free}
CLUSTERED = {
    "cluster": cluster,
    "cluster-free": cluster_free,
    "cluster-crossed": cluster_crossed,
}


def needs_embeddings(spec: str) -> bool:
    """Whether a label function is made from image embeddings; ValueError for no specification."""
    return parse(spec)[0] in CLUSTERED


def make(
    spec: str, tree: Tree, images: Images, seed: int, embeddings: np.ndarray | None = None
) -> LabelFunction:
    """The label function that a specification names: one of `KINDS`, as `cluster:1103`.

    Of the tree's leaves for `target`, `rank`, `cross`, `misaligned` and `mixed`, of the images for
    the others, which are in the images' order and carry their names. `images.leaf` (N,) are indices
    into `tree.leaves`; `embeddings` (N, D) are in the images' order, for clusters only. With one
    seed a function is the same whatever the order of the files, and `target`, `rank`, `mixed` and
    `instance` are the same with any seed. Functions differ only where their names differ, or seeds.

    Raises ValueError for what is no specification, with the nearest one, for a number of classes
    or a share that cannot be met, with the possible range, and for clusters without embeddings.
    """
    kind, values = parse(spec)
    try:
        if kind in CLUSTERED:
            if embeddings is None:
                raise ValueError("it is made from image embeddings, and none are given")
            return CLUSTERED[kind](tree, images, int(values[0]), seed, embeddings)
        if kind in DEALT:
            return DEALT[kind](tree, images, int(values[0]), seed)
        if kind == "instance":
            return instance(tree, images)
        if kind == "cross":
            return cross(tree, int(values[0]), seed)
        if kind == "misaligned":
            return misaligned(tree, values[0], float(values[1]), seed)
        if kind == "mixed":
            return mixed(tree, values[0].split(","))
        function = tree.target if kind == "target" else tree.rank(values[0])
        return replace(function, name=spec)
    except ValueError as error:
        raise ValueError(f"label function {spec!r}: {error}") from error


def parse(spec: str) -> tuple[str, list[str]]:
    """A specification's kind and its values, as text.

    Raises ValueError, with the nearest kind or the form wanted, for what is none.
    """
    kind, *values = spec.split(":")
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        hint = f"nearest: {KINDS[near]}" if near else f"valid: {', '.join(KINDS.values())}"
        raise ValueError(f"no label function named {spec!r}; {hint}")
    form = KINDS[kind].split(":")[1:]
    fits = len(values) == len(form) and all(values)
    for wanted, value in zip(form, values, strict=False):
        if wanted == "<K>":
            fits &= value.isascii() and value.isdigit()
        if wanted == "<p>":
            fits &= _is_share(value)
    if not fits:
        raise ValueError(
            f"label function {spec!r}: wanted {KINDS[kind]}, K a whole number, p from 0 to 1"
        )
    return kind, values


def _is_share(value: str) -> bool:
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False
