"""Label functions by their specification, as parameters of runs write it."""

import numpy as np

from granularity.inputs.nearest import nearest
from granularity.labels.function import LabelFunction
from granularity.labels.kind import Given
from granularity.labels.kinds import KINDS
from granularity.labels.per_image import Images
from granularity.labels.tree import Tree


def needs_embeddings(spec: str) -> bool:
    """Whether a label function is made from image embeddings; ValueError for no specification."""
    return KINDS[parse(spec)[0]].of_embeddings


def make(
    spec: str, tree: Tree, images: Images, seed: int, embeddings: np.ndarray | None = None
) -> LabelFunction:
    """The label function that a specification names: one of `KINDS`, as `cluster:1103`.

    Its items are the tree's leaves, or the images, in their order and by their names. `images.leaf`
    (N,) are indices into `tree.leaves`; `embeddings` (N, D) are in the images' order, for kinds
    that are made from them. With one seed a function is the same whatever the order of the files.
    Functions differ only where their names differ, or seeds.

    Raises ValueError for what is no specification, with the nearest one, for a number of classes
    or a share that cannot be met, with the possible range, and for embeddings that are not given.
    """
    kind, values = parse(spec)
    try:
        if KINDS[kind].of_embeddings and embeddings is None:
            raise ValueError("it is made from image embeddings, and none are given")
        return KINDS[kind].make(Given(values, tree, images, seed, embeddings))
    except ValueError as error:
        raise ValueError(f"label function {spec!r}: {error}") from error


def parse(spec: str) -> tuple[str, list[str]]:
    """A specification's kind and its values, as text.

    Raises ValueError, with the nearest kind or the form wanted, for what is none.
    """
    kind, *values = spec.split(":")
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        forms = ", ".join(known.form for known in KINDS.values())
        hint = f"nearest: {KINDS[near].form}" if near else f"valid: {forms}"
        raise ValueError(f"no label function named {spec!r}; {hint}")
    form = KINDS[kind].form.split(":")[1:]
    fits = len(values) == len(form) and all(values)
    for wanted, value in zip(form, values, strict=False):
        if wanted == "<K>":
            fits &= value.isascii() and value.isdigit()
        if wanted == "<p>":
            fits &= _is_share(value)
    if not fits:
        raise ValueError(
            f"label function {spec!r}: wanted {KINDS[kind].form}"
            + ", K a whole number" * ("<K>" in form)
            + ", p from 0 to 1" * ("<p>" in form)
        )
    return kind, values


def _is_share(value: str) -> bool:
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False
