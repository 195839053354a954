"""Which images a run reads: the arguments that choose them, of either experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

Shape = TypeVar("Shape")


@dataclass(frozen=True)
class LargerSource:
    """Which images a run reads where the source is larger than the target.

    So many images of each class (0: all that there are; of a class with fewer what it has), of some
    `classes` alone where they are named. `overlap`: "contained" puts the target's images among the
    source's, as ImageNet-1k's are in ImageNet-21k; "disjoint" keeps them apart.
    With `held_out` a part of the target's training images is evaluated on, and trained on in
    neither stage. `skip` are kinds of what the sets are opened without (`sets.SKIP`).
    """

    dataset: str = "toy"
    overlap: str = "contained"
    source_images: int = 0
    target_images: int = 0
    held_out: bool = False
    skip: Sequence[str] = ()
    classes: Sequence[str] = ()


@dataclass(frozen=True)
class SameImages:
    """Which images a run reads where source and target are the same.

    So many training `images` of each leaf (0: all that there are; of plankton at most so many).
    `target` is "supercategory", "group" of plankton, or a cut of WordNet for Tiny-ImageNet (see
    `tree_of_cuts`). `training` is the folder that iNaturalist's training images are in. With
    `held_out` a part of them is evaluated on, and not trained on. `skip` are kinds of what the
    sets are opened without (`sets.SKIP`).
    """

    dataset: str = "toy"
    target: str = "supercategory"
    training: str = "2021_train_mini"
    images: int = 0
    held_out: bool = False
    skip: Sequence[str] = ()


def names_of(shape: type) -> tuple[str, ...]:
    """The arguments of a run that choose its images."""
    return tuple(item.name for item in fields(shape))


def chosen(shape: type[Shape], arguments: Mapping[str, Any]) -> tuple[Shape, dict[str, Any]]:
    """What some arguments of a run choose, and the other arguments."""
    names = names_of(shape)
    rest = {name: value for name, value in arguments.items() if name not in names}
    return shape(**{name: arguments[name] for name in names if name in arguments}), rest
