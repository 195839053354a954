"""A tree of label functions over leaves: a target, and ranks from coarse to fine."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from granularity.hierarchies import wordnet_cuts
from granularity.hierarchies.plankton import RANKS as DEPTHS
from granularity.hierarchies.plankton import TARGET as GROUP
from granularity.hierarchies.plankton import Plankton
from granularity.hierarchies.taxonomy import RANKS, Taxonomy
from granularity.inputs.nearest import nearest
from granularity.labels.function import LabelFunction, from_sets

LEAF = "leaf"  # the last rank of WordNet's trees
TARGETS = ("depth5", "balanced", "balanced6")
TARGET_DEPTH = 5


@dataclass(frozen=True, eq=False, repr=False)
class Tree:
    """Leaves, a target that each of them belongs to, and manual ranks, from coarse to fine.

    All are label functions of the leaves, in their order, with one class a leaf. Every rank is
    nested in the next finer one and the last has one class for each leaf. A rank may be coarser
    than the target, or cut it (kingdoms cut the supercategories of iNaturalist).

    Raises ValueError where this does not hold.
    """

    leaves: tuple[str, ...]
    target: LabelFunction
    ranks: dict[str, LabelFunction]

    def __post_init__(self) -> None:
        """Checks everything once."""
        for name, function in {"target": self.target, **self.ranks}.items():
            if function.domain != "leaf" or function.items != self.leaves:
                raise ValueError(f"tree: {name} is not a function of the tree's leaves")
            if function.indices.shape[1] != 1:
                raise ValueError(f"tree: {name} gives a leaf several classes, one wanted")
        for coarse, fine in pairwise(self.ranks):
            if not nested(self.ranks[fine], self.ranks[coarse]):
                raise ValueError(f"tree: a class of {fine} lies in several classes of {coarse}")
        if not self.ranks or next(reversed(self.ranks.values())).num_classes != len(self.leaves):
            raise ValueError("tree: the last rank wants one class for each leaf")

    def rank(self, name: str) -> LabelFunction:
        """The rank of that name; ValueError, with the nearest one, where there is none."""
        if name not in self.ranks:
            near = nearest(name, self.ranks)
            hint = f"nearest: {near}" if near else f"valid: {', '.join(self.ranks)}"
            raise ValueError(f"no rank named {name!r}; {hint}")
        return self.ranks[name]

    def inside(self, name: str) -> LabelFunction:
        """The rank of that name, if every class of it lies in one target class.

        Raises ValueError where there is none, or where one of its classes does not.
        """
        function = self.rank(name)
        if not nested(function, self.target):
            fit = [rank for rank in self.ranks if nested(self.ranks[rank], self.target)]
            raise ValueError(
                f"rank {name!r} has classes in several target classes; those inside one are:"
                f" {', '.join(fit)}"
            )
        return function

    def __repr__(self) -> str:
        """One line, for example: 200 leaves, target 18, depth6 41, depth7 83, …."""
        ranks = ", ".join(f"{name} {rank.num_classes:,}" for name, rank in self.ranks.items())
        return f"Tree({len(self.leaves):,} leaves, target {self.target.num_classes:,}, {ranks})"


def nested(fine: LabelFunction, coarse: LabelFunction) -> bool:
    """Whether every class of `fine` lies in one class of `coarse` (one class an item, both)."""
    pairs = fine.indices[:, 0].astype(np.int64) * coarse.num_classes + coarse.indices[:, 0]
    return len(np.unique(pairs)) == fine.num_classes


def tree_of_taxonomy(taxonomy: Taxonomy) -> Tree:
    """The tree of iNaturalist's species: the target is the supercategory, the ranks are all seven.

    Leaves are the folders' names, in the order given.
    """
    leaves = tuple(taxonomy.folders)
    target = _single("target", leaves, taxonomy.classes("supercategory"))
    return Tree(
        leaves,
        target,
        {rank: _single(f"rank:{rank}", leaves, taxonomy.classes(rank)) for rank in RANKS},
    )


def tree_of_cuts(synsets: Sequence[str], target: str = "depth5") -> Tree:
    """The tree of a synset list: WordNet cut at depths, as `hierarchies.wordnet_cuts` does it.

    Targets: `depth5`, the cut at depth 5; `balanced`, nodes with 6 to 12 leaves each, where the
    leaves below none of them are left out (`tree.leaves` are those that stay, in the order given);
    `balanced6`, the same nodes with six leaves each, those whose SHA-256 comes first.

    The ranks `depth<k>` are the cuts from depth 6, each cut by the target too, and the last is
    `leaf`: only those that have more classes than the one before, or the target. Raises ValueError
    for another target, and for what `granularity.hierarchies.wordnet_cuts` refuses.
    """
    if target not in TARGETS:
        near = nearest(target, TARGETS, cutoff=0.3)
        hint = f"nearest: {near}" if near else f"valid: {', '.join(TARGETS)}"
        raise ValueError(f"no target named {target!r}; {hint}")
    if target == "depth5":
        leaves = tuple(synsets)
        node_of = dict(zip(leaves, wordnet_cuts.at_depth(leaves, TARGET_DEPTH), strict=True))
    else:
        node_of = {leaf: node for node, below in _nodes(synsets, target) for leaf in below}
        leaves = tuple(leaf for leaf in synsets if leaf in node_of)
    aim = _single("target", leaves, [node_of[leaf] for leaf in leaves])
    ranks, classes = {}, aim.num_classes
    for depth in range(TARGET_DEPTH + 1, max(len(wordnet_cuts.path(leaf)) for leaf in leaves)):
        at = wordnet_cuts.at_depth(leaves, depth)
        # A node may lie above leaves of several targets, so the target is part of its name.
        names = [f"{node_of[leaf]}/{node}" for leaf, node in zip(leaves, at, strict=True)]
        if classes < len(set(names)) < len(leaves):
            ranks[f"depth{depth}"] = _single(f"rank:depth{depth}", leaves, names)
            classes = len(set(names))
    ranks[LEAF] = _single(f"rank:{LEAF}", leaves, leaves)
    return Tree(leaves, aim, ranks)


def tree_of_plankton(plankton: Plankton) -> Tree:
    """The tree of plankton classes: the target is the group, the ranks are `depth2` to `leaf`."""
    leaves = plankton.classes
    nodes_at = {rank: plankton.nodes(rank) for rank in DEPTHS[1:-1]} | {LEAF: leaves}
    target = _single("target", leaves, plankton.nodes(GROUP))
    ranks = {rank: _single(f"rank:{rank}", leaves, nodes) for rank, nodes in nodes_at.items()}
    return Tree(leaves, target, ranks)


def _nodes(synsets: Sequence[str], target: str) -> list[tuple[str, Sequence[str]]]:
    nodes = wordnet_cuts.balanced(synsets)
    if target == "balanced":
        return list(nodes.items())

    def digest(leaf: str) -> bytes:
        return hashlib.sha256(leaf.encode()).digest()

    return [
        (node, sorted(below, key=digest)[: wordnet_cuts.SMALLEST]) for node, below in nodes.items()
    ]


def _single(name: str, leaves: Sequence[str], classes: Sequence[str]) -> LabelFunction:
    return from_sets(name, leaves, [{label} for label in classes])
