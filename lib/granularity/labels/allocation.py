"""How many classes each target class gets, where K of them are shared out."""

import numpy as np

from granularity.labels.tree import Tree, nested


def shares(tree: Tree, images: np.ndarray, count: int) -> np.ndarray:
    """The number of classes of each target class, `count` in all; `images` (T,) are its images.

    As the coarsest rank inside the target that has exactly `count` classes shares them; where no
    rank has, by images with largest remainders, and at least one for each target class that has
    images. A share never exceeds the images: what is too much goes to the others, in proportion to
    the images that they have beyond their share. Raises ValueError, with the possible range.
    """
    present = int((images > 0).sum())
    check(count, present, int(images.sum()), "one in each target class")
    for rank in tree.ranks.values():
        if rank.num_classes == count and nested(rank, tree.target):
            # One leaf of each class says in which target class it lies.
            _, first = np.unique(rank.indices[:, 0], return_index=True)
            wanted = np.bincount(tree.target.indices[first, 0], minlength=len(images))
            fit = np.minimum(wanted, images)
            return fit + largest_remainder(images - fit, int((wanted - fit).sum()))
    return _by_images(images, count)


def _by_images(images: np.ndarray, count: int) -> np.ndarray:
    """Largest remainders, after one class each for those that would not have one."""
    small = images == 0
    while True:
        left = count - int((small & (images > 0)).sum())
        weights = np.where(small, 0, images)
        too_small = ~small & (weights * left < weights.sum())
        if not too_small.any():
            return np.where(small, np.minimum(images, 1), largest_remainder(weights, left))
        small |= too_small


def largest_remainder(weights: np.ndarray, count: int) -> np.ndarray:
    """`count` shared out in proportion to `weights`, in whole numbers, exactly.

    Equal remainders go to the first. No share exceeds its weight where `count` is not more than
    their sum.
    """
    total = int(weights.sum())
    if not count:
        return np.zeros_like(weights)
    whole, remainder = np.divmod(weights.astype(np.int64) * count, total)
    first = np.argsort(-remainder, kind="stable")[: count - int(whole.sum())]
    whole[first] += 1
    return whole


def check(count: int, least: int, most: int, why: str) -> None:
    """Raises ValueError, with the possible range, unless `least` ≤ `count` ≤ `most` (images)."""
    if not least <= count <= most:
        raise ValueError(
            f"{count:,} classes cannot be made: {least:,} ({why}) to {most:,} (one an image)"
            " are possible"
        )
