"""Labels without meaning: images dealt at random, and every image its own class."""

import numpy as np

from granularity.labels.allocation import check, shares
from granularity.labels.function import LabelFunction
from granularity.labels.kind import Kind
from granularity.labels.per_image import Images, generator, in_order, numbered, target_of
from granularity.labels.tree import Tree


def random(tree: Tree, images: Images, count: int, seed: int) -> LabelFunction:
    """`random:<K>`: inside each target class images are dealt at random into classes, K in all.

    K is shared over the target classes as `shares` says; the classes of one target class differ by
    one image at most. Raises ValueError where K cannot be met.
    """
    order, target = in_order(images, tree), target_of(images, tree)
    parts = shares(tree, np.bincount(target, minlength=tree.target.num_classes), count)
    name, first = f"random:{count}", np.cumsum(parts) - parts
    rng = generator(seed, name)
    numbers = np.empty(len(order), np.int32)
    for label, part in enumerate(parts):
        rows = order[target[order] == label]
        numbers[rows] = first[label] + _deal(len(rows), part, rng)
    return numbered(name, images, numbers)


def random_free(tree: Tree, images: Images, count: int, seed: int) -> LabelFunction:
    """`random-free:<K>`: images are dealt at random into K classes, whatever their target class.

    Class sizes differ by one image at most. Raises ValueError where K cannot be met.
    """
    order = in_order(images, tree)
    check(count, 1, len(order), "all in one")
    numbers = np.empty(len(order), np.int32)
    numbers[order] = _deal(len(order), count, generator(seed, f"random-free:{count}"))
    return numbered(f"random-free:{count}", images, numbers)


def _deal(cards: int, hands: int, rng: np.random.Generator) -> np.ndarray:
    """The hand of each card, shape (cards,): hands differ by one card at most."""
    return rng.permutation(np.arange(cards) % max(hands, 1))


def instance(tree: Tree, images: Images) -> LabelFunction:
    """`instance`: every image is its own class, numbered in the order of the names. No chance."""
    order = in_order(images, tree)
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.arange(len(order))
    return numbered("instance", images, numbers)


KINDS = {
    "random": Kind(
        "random:<K>",
        lambda given: random(given.tree, given.images, int(given.values[0]), given.seed),
        name="random inside, {0}",
        names="random inside",
        group="random",
    ),
    "random-free": Kind(
        "random-free:<K>",
        lambda given: random_free(given.tree, given.images, int(given.values[0]), given.seed),
        name="random over all, {0}",
        names="random over all",
        group="random",
    ),
    "instance": Kind(
        "instance",
        lambda given: instance(given.tree, given.images),
        name="instance labels",
        names="instance labels",
        group="instances",
    ),
}
