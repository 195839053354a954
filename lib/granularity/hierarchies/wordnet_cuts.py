"""WordNet's nouns as a tree, cut into classes: at a depth, or into nodes of about equal size.

A synset's depth is the length of its shortest path from the root, along hypernyms and instance
hypernyms. Climbing goes to the hypernym of smallest depth, to the one listed first in the noun file
where several are equal, so that every synset has one path: the tables are those of
`granularity.hierarchies.wordnet`, which keep that order.
"""

from collections.abc import Sequence
from functools import cache

from granularity.hierarchies import wordnet

SMALLEST, LARGEST = 6, 12  # leaves in a class of the balanced cut


@cache
def path(synset: str) -> tuple[str, ...]:
    """The synsets from the root down to `synset`: `path(…)[k]` has depth k.

    Raises ValueError for an unknown synset.
    """
    above = wordnet.nouns().with_instances.get(synset)
    if above is None:
        _check([synset])
    paths = [path(hypernym) for hypernym in above]
    # min keeps the first of equals: the one that the noun file lists first.
    return (*min(paths, key=len), synset) if paths else (synset,)


def at_depth(synsets: Sequence[str], depth: int) -> list[str]:
    """For each synset the one above it at a depth; a synset that is not as deep stays itself.

    Raises ValueError for an unknown or repeated synset, and for a negative depth.
    """
    _check(synsets)
    if depth < 0:
        raise ValueError(f"depth {depth}: depths start at 0")
    return [path(synset)[: depth + 1][-1] for synset in synsets]


def balanced(
    synsets: Sequence[str], smallest: int = SMALLEST, largest: int = LARGEST
) -> dict[str, tuple[str, ...]]:
    """Disjoint WordNet nodes with `smallest` to `largest` of the synsets each: node → its synsets.

    A synset lies below a node if any path leads there, instances included. Nodes are taken from the
    largest to the smallest where none of their synsets is taken yet; of equally large nodes the one
    of smaller depth comes first, then the smaller offset. The synsets of a node are sorted; those
    that are below no node are left out. Raises ValueError for an unknown or repeated synset, and
    where no node is that large.
    """
    _check(synsets)
    below: dict[str, list[str]] = {}
    for synset in sorted(synsets):
        for node in wordnet.closure([synset], wordnet.nouns().with_instances):
            below.setdefault(node, []).append(synset)
    found: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for node in sorted(below, key=lambda node: (-len(below[node]), len(path(node)), node)):
        if smallest <= len(below[node]) <= largest and taken.isdisjoint(below[node]):
            found[node] = tuple(below[node])
            taken.update(below[node])
    if not found:
        raise ValueError(
            f"no node of WordNet has {smallest} to {largest} of the {len(synsets):,} synsets"
        )
    return found


def _check(synsets: Sequence[str]) -> None:
    wordnet.levels(synsets, 0, "ended")  # the cheapest reading, for its refusals
