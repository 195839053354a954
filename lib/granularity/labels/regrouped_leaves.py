"""Labels that regroup leaves: across the target, in part across it, or by different ranks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from granularity.labels.function import LabelFunction, from_sets
from granularity.labels.kind import Kind
from granularity.labels.per_image import generator
from granularity.labels.tree import Tree

EXCHANGES = 20  # tries for each moved leaf: enough that the places it may go to are equally likely


# --- cross ----------------------------------------------------------------------------------------


def cross(tree: Tree, count: int, seed: int) -> LabelFunction:
    """`cross:<K>`: leaves grouped at random across target classes into K classes.

    Classes differ by one leaf at most. Where chance leaves all of a class inside one target class,
    it exchanges a leaf with a class that can spare one, so that as many classes as possible have
    leaves of several target classes (a class of one leaf cannot). Raises ValueError where K is not
    between 1 and the number of leaves.
    """
    leaves, target = _by_name(tree)
    if not 1 <= count <= len(leaves):
        raise ValueError(
            f"{count:,} classes cannot be made: 1 (all in one) to {len(leaves):,} (one a leaf)"
            " are possible"
        )
    dealt = generator(seed, f"cross:{count}").permutation(leaves)
    groups = [dealt[first::count].tolist() for first in range(count)]
    _mix(groups, target)
    numbers = np.empty(len(leaves), np.int64)
    for number, group in enumerate(groups):
        numbers[group] = number
    width = len(str(count - 1))
    return from_sets(f"cross:{count}", tree.leaves, [{f"{n:0{width}}"} for n in numbers])


def _mix(groups: list[list[int]], target: np.ndarray) -> None:
    """Exchanges leaves, in place, until no more groups can have several target classes."""
    pure: dict[int, list[list[int]]] = {}
    for group in groups:
        if len(group) > 1 and (target[group] == target[group[0]]).all():
            pure.setdefault(target[group[0]], []).append(group)
    # Two groups of different target classes mix each other; the most frequent two first.
    while len([label for label in pure if pure[label]]) > 1:
        one, other = sorted(pure, key=lambda label: (-len(pure[label]), label))[:2]
        _exchange(pure[one].pop(), 0, pure[other].pop(), 0)
    left = [(label, group) for label, waiting in pure.items() for group in waiting]
    # What is left is of one target class: it needs a leaf of another, from a group with two such,
    # or from a group of one leaf.
    for group in groups:
        if not left:
            return
        label = left[-1][0]
        others = np.flatnonzero(target[group] != label)
        for spare in others[1:] if len(group) > 1 else others:
            if left:
                _exchange(left.pop()[1], 0, group, int(spare))


def _exchange(one: list[int], i: int, other: list[int], j: int) -> None:
    one[i], other[j] = other[j], one[i]


# --- misaligned -----------------------------------------------------------------------------------


def misaligned(tree: Tree, rank: str, share: float, seed: int) -> LabelFunction:
    """`misaligned:<rank>:<p>`: the rank, with a share p of its leaves moved across the target.

    The moved leaves exchange their classes, so that each lands in a class of another target class
    and every class keeps its number of leaves; 0 is the rank itself. p is met to within one leaf,
    since a number of leaves is moved (two at least). With the same seed a larger share moves about
    the same leaves and more. Raises ValueError, with the possible range, for another p: where one
    target class has more than half of the leaves, only as many of its own can move as there are
    others; also for a rank that is not inside the target, or has one leaf a class.
    """
    function, (leaves, target) = tree.inside(rank), _by_name(tree)
    if function.num_classes == len(leaves):
        raise ValueError(f"rank {rank!r} has one leaf a class: to move leaves would rename classes")
    moved = _to_move(np.bincount(target), share)
    # Not of the share, so that shares can be compared.
    rng = generator(seed, f"misaligned:{rank}")
    chosen, room = [], np.full(tree.target.num_classes, moved // 2)
    for leaf in rng.permutation(leaves):
        if room[target[leaf]] and len(chosen) < moved:
            room[target[leaf]] -= 1
            chosen.append(leaf)
    indices = function.indices.copy()
    if chosen:
        origin = _derangement(np.array(chosen), target, rng)
        indices[origin[:, 0]] = function.indices[origin[:, 1]]
    return replace(function, name=f"misaligned:{rank}:{share:g}", indices=indices)


def _to_move(sizes: np.ndarray, share: float) -> int:
    """The number of leaves that are moved, nearest to the share of all."""
    total, wanted = int(sizes.sum()), share * int(sizes.sum())
    # m leaves can change places across the target if no target class has more than half of them.
    possible = [m for m in range(total + 1) if m != 1 and np.minimum(sizes, m // 2).sum() >= m]
    nearest = min(possible[1:] if share else [0], key=lambda m: abs(m - wanted), default=None)
    if nearest is None or abs(nearest - wanted) > 1:
        more = [f" or {m / total:.4g} to {possible[-1] / total:.4g}" for m in possible[1:2]]
        raise ValueError(
            f"a share of {share:g} of {total:,} leaves cannot move to other target classes:"
            f" 0{''.join(more)} is possible"
        )
    return nearest


def _derangement(chosen: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pairs (leaf, the leaf whose class it takes), shape (m, 2), of different target classes.

    A rotation of the leaves, grouped by target class, by half of their number is one solution; from
    it pairs exchange what they take, at random, where both stay in other target classes.
    """
    chosen = chosen[np.argsort(target[chosen], kind="stable")]
    taken = np.roll(chosen, len(chosen) // 2)
    for i, j in rng.integers(0, len(chosen), (EXCHANGES * len(chosen), 2)):
        if target[chosen[i]] != target[taken[j]] and target[chosen[j]] != target[taken[i]]:
            taken[i], taken[j] = taken[j], taken[i]
    return np.stack([chosen, taken], axis=1)


# --- mixed ----------------------------------------------------------------------------------------


def mixed(tree: Tree, ranks: Sequence[str]) -> LabelFunction:
    """`mixed:<rank>,<rank>,…`: the target classes, sorted by name, take the ranks in turn.

    No chance. A class is named by its rank and its name there. Raises ValueError for a rank that is
    not inside the target, a repeated one, and for more ranks than target classes.
    """
    functions = [tree.inside(rank) for rank in ranks]
    if len(set(ranks)) < len(ranks) or not 1 <= len(ranks) <= tree.target.num_classes:
        raise ValueError(
            f"ranks {', '.join(ranks)}: 1 to {tree.target.num_classes} different ones can be mixed,"
            " at most one a target class"
        )
    turn = tree.target.indices[:, 0] % len(ranks)
    sets = [
        {f"{ranks[k]} {functions[k].classes[functions[k].indices[leaf, 0]]}"}
        for leaf, k in enumerate(turn)
    ]
    return from_sets(f"mixed:{','.join(ranks)}", tree.leaves, sets)


def _by_name(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Leaves as indices, in the order of their names; the target class of each leaf, by index."""
    return np.argsort(np.array(tree.leaves), kind="stable"), tree.target.indices[:, 0]


KINDS = {
    "mixed": Kind(
        "mixed:<rank>,<rank>,…",
        lambda given: mixed(given.tree, given.values[0].split(",")),
        name="mixed, {0}",
        names="mixed ranks",
        group="ranks",
    ),
    "misaligned": Kind(
        "misaligned:<rank>:<p>",
        lambda given: misaligned(given.tree, given.values[0], float(given.values[1]), given.seed),
        name="{0}, {1} moved",
        names="ranks, part moved",
        group="regrouped",
        by_classes=False,
    ),
    "cross": Kind(
        "cross:<K>",
        lambda given: cross(given.tree, int(given.values[0]), given.seed),
        name="regrouped leaves, {0}",
        names="regrouped leaves",
        group="regrouped",
        by_classes=False,
    ),
}
