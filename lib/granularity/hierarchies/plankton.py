"""The tree of the plankton classes: 121 classes in 14 groups, up to five steps deep.

Of the National Data Science Bowl of 2015 (Oregon State University's Hatfield Marine Science
Center), as its organisers published it; the table inside this package says where it is from. As in
nature, classes are of very unequal size: 9 to 1,979 images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from granularity.inputs.nearest import hint

RANKS = ("depth1", "depth2", "depth3", "depth4", "depth5")
TARGET = "depth1"  # the groups
UNNAMED = ("no_class", "unknown")  # groups of what is no organism, or of none that is known
CLASSES, IMAGES = 121, 30_336  # of the set, as published


@dataclass(frozen=True, repr=False)
class Plankton:
    """Classes of plankton with their number of images and their way down the tree.

    `paths[i]` leads from the group of class i down to `classes[i]`, its last node.
    """

    classes: tuple[str, ...]
    images: tuple[int, ...]
    paths: tuple[tuple[str, ...], ...]

    def nodes(self, rank: str) -> tuple[str, ...]:
        """The node of every class at a rank of `RANKS`; a class that is not as deep stays itself.

        A node is named by its path, `crustaceans/shrimp_like/decapods*`, because the classes
        decapods and euphausiids lie below inner nodes of the same name (the `*` marks these).
        Raises ValueError for an unknown rank.
        """
        if rank not in RANKS:
            raise ValueError(f"no rank named {rank!r}{hint(rank, RANKS)}")
        depth = RANKS.index(rank) + 1
        return tuple("/".join(path[:depth]) for path in self.paths)

    def without(self, groups: Sequence[str]) -> "Plankton":
        """The classes of the other groups. Raises ValueError for a group that is not there."""
        there = sorted({path[0] for path in self.paths})
        for group in groups:
            if group not in there:
                raise ValueError(f"no group named {group!r}{hint(group, there, shown=14)}")
        rows = [i for i, path in enumerate(self.paths) if path[0] not in groups]
        return Plankton(
            tuple(self.classes[i] for i in rows),
            tuple(self.images[i] for i in rows),
            tuple(self.paths[i] for i in rows),
        )

    def __repr__(self) -> str:
        """One line: Plankton(121 classes in 14, 48, 69, 117, 121 nodes, 30,336 images)."""
        nodes = ", ".join(f"{len(set(self.nodes(rank)))}" for rank in RANKS)
        return (
            f"Plankton({len(self.classes)} classes in {nodes} nodes, {sum(self.images):,} images)"
        )


@cache
def shipped(unnamed: bool = False) -> Plankton:
    """The 116 classes of the 12 groups of the target; with `unnamed` all 121, of all 14 groups.

    In the order of their names. Raises ValueError where the table inside this package is not whole.
    """
    path = resources.files("granularity.hierarchies") / "tables" / "plankton.csv"
    found = read_table(path)
    if (len(found.classes), sum(found.images)) != (CLASSES, IMAGES):
        raise ValueError(f"{path}: {found}, wanted {CLASSES} classes with {IMAGES:,} images")
    return found if unnamed else found.without(UNNAMED)


def read_table(path: Traversable) -> Plankton:
    """The classes of a table: a line `path,images` each, the path's nodes apart by `/`.

    Lines that start with `#` are comments, and the first other line is a header. Raises ValueError,
    naming file and line, for a class that is there twice, that is an inner node of the tree, that
    is deeper than `RANKS`, or whose number of images is none.
    """
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    rows = [(number, line) for number, line in lines if line and not line.startswith("#")][1:]
    paths = [tuple(line.partition(",")[0].split("/")) for _, line in rows]
    inner = {nodes[:depth] for nodes in paths for depth in range(1, len(nodes))}
    found: dict[str, int] = {}
    for (number, line), nodes in zip(rows, paths, strict=True):
        place, name, images = f"{path}:{number}: ", nodes[-1], line.partition(",")[2]
        if not images.isdecimal() or int(images) == 0:
            raise ValueError(f"{place}{name!r} has {images!r} images, a number above 0 wanted")
        if len(nodes) > len(RANKS):
            raise ValueError(f"{place}{name!r} lies at depth {len(nodes)}, {len(RANKS)} at most")
        if nodes in inner:
            raise ValueError(f"{place}{name!r} is a class, and other classes lie below it")
        if name in found:
            raise ValueError(f"{place}{name!r} stands in the table twice")
        found[name] = int(images)
    return Plankton(tuple(found), tuple(found.values()), tuple(paths))
