"""What one kind of label function is: how it is written, made, and told apart from the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from granularity.inputs.nearest import nearest
from granularity.labels.function import LabelFunction
from granularity.labels.per_image import Images
from granularity.labels.tree import Tree

# Kinds of one group share a colour. Tables and figures have the groups in this order.
GROUPS = ("target", "ranks", "clusters", "regrouped", "random", "instances")


@dataclass(frozen=True)
class Given:
    """What a label function is made of: the values of its specification, and where it applies."""

    values: Sequence[str]  # as they were written: `random:41` has "41"
    tree: Tree
    images: Images
    seed: int
    embeddings: np.ndarray | None


@dataclass(frozen=True)
class Kind:
    """One kind of label function. Its module declares it, and whatever shows arms asks here.

    `form` is its specification: `<K>` stands for a number of classes, `<p>` for a share, anything
    else in angles for text. `name` is one such function in a table, with its values in braces;
    `names` are several in a figure. One that is made from image embeddings `counts_as` the kind
    that has as many classes and needs none. Raises ValueError, with the nearest group, for a group
    that is none.
    """

    form: str
    make: Callable[[Given], LabelFunction]
    name: str
    names: str
    group: str  # one of `GROUPS`
    counts_as: str = ""
    by_classes: bool = True  # whether figures set its error against the number of its classes

    def __post_init__(self) -> None:
        """Refuses a group that has no place in tables and no colour."""
        if self.group not in GROUPS:
            near = nearest(self.group, GROUPS, cutoff=0)
            known = ", ".join(GROUPS)
            raise ValueError(
                f"{self.form}: no group is called {self.group!r}; nearest: {near}, of {known}"
            )

    @property
    def of_embeddings(self) -> bool:
        """Whether it is made from image embeddings."""
        return bool(self.counts_as)
