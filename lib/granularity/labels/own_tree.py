"""A tree of one's own: a table of classes and their parents, as label functions."""

import csv
from collections.abc import Mapping
from pathlib import Path

from granularity.labels.function import LabelFunction, from_sets
from granularity.labels.tree import LEAF, Tree

HEADER = ["child", "parent"]


def tree_of_csv(path: str | Path) -> Tree:
    """The tree in a CSV file with the columns `child` and `parent`, a row for each class.

    What is nobody's parent is a leaf, what is nobody's child a root; there may be several. The
    ranks are the cuts below the roots: `depth1` has the node one step below a leaf's root, or the
    leaf itself where its path ends before, and the last rank is `leaf`. With several roots there is
    a `depth0` too. A rank with no more classes than the one before is left out; the first that is
    left is the target. Leaves stand in the file's order.

    Raises ValueError, naming file and line, for another header, an empty name, a child with several
    parents and one that is its own ancestor, and for a tree whose leaves nothing tells apart above
    them; FileNotFoundError where there is no file.
    """
    parents = read(Path(path))
    above = set(parents.values())
    paths = {leaf: climbed(leaf, parents) for leaf in parents if leaf not in above}
    leaves, ranks, classes = tuple(paths), {}, 1
    for depth in range(max(map(len, paths.values()))):
        names = [steps[min(depth, len(steps) - 1)] for steps in paths.values()]
        if classes < len(set(names)) < len(leaves):
            ranks[f"depth{depth}"] = single(f"rank:depth{depth}", leaves, names)
            classes = len(set(names))
    if not ranks:
        raise ValueError(f"{path}: no class lies between the leaves and what holds all of them")
    ranks[LEAF] = single(f"rank:{LEAF}", leaves, leaves)
    first = next(iter(ranks.values()))
    target = [first.classes_of(leaf)[0] for leaf in leaves]
    return Tree(leaves, single("target", leaves, target), ranks)


def read(path: Path) -> dict[str, str]:
    """Each class's parent, in the file's order. Raises as `tree_of_csv` does."""
    parents: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        if (header := next(rows, [])) != HEADER:
            raise ValueError(f"{path}:1: the header is {header}, wanted {','.join(HEADER)}")
        for row in filter(None, rows):
            place = f"{path}:{rows.line_num}"
            if len(row) != 2 or not all(name.strip() for name in row):
                raise ValueError(f"{place}: {row}, wanted a child and its parent")
            child, parent = (name.strip() for name in row)
            if child in parents:
                raise ValueError(
                    f"{place}: {child} has the parent {parents[child]} already, and may have one"
                )
            parents[child] = parent
    if not parents:
        raise ValueError(f"{path}: it has no class")
    for child in parents:
        climbed(child, parents, f"{path}: ")
    return parents


def climbed(name: str, parents: Mapping[str, str], place: str = "") -> list[str]:
    """The path from the root down to a class. Raises ValueError where it leads round."""
    found = [name]
    while found[-1] in parents:
        found.append(parents[found[-1]])
        if found[-1] in found[:-1]:
            raise ValueError(f"{place}{found[-1]} lies below itself: {' < '.join(found)}")
    return found[::-1]


def single(name: str, leaves: tuple[str, ...], classes: list[str]) -> LabelFunction:
    """A label function with one class for each leaf."""
    return from_sets(name, leaves, [{label} for label in classes])
