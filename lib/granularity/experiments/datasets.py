"""The datasets that runs may name: which images are source and target, and what is known of each.

One entry of `DATASETS` is all that there is to add for another dataset. Two experiments open them:
in `imagenet` a source has a target of its own (`LargerSource`), in `inaturalist` source and target
are the same images under other labels (`SameImages`).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from granularity.experiments.choices import LargerSource, SameImages
from granularity.experiments.sets import (
    Sets,
    by_name,
    checked,
    hold_out,
    of_chosen,
    opened,
    root_of,
    same,
)
from granularity.hierarchies import plankton, synset_lists, taxonomy, wordnet
from granularity.images import copies, image_set, shares, splits
from granularity.images.subset import Subset, at_most, of_classes, some, whole
from granularity.inputs.nearest import nearest
from granularity.labels.function import LabelFunction
from granularity.labels.tree import Tree, tree_of_cuts, tree_of_plankton, tree_of_taxonomy

Roots = Mapping[str, str]  # where sets lie on this machine, by their names


@dataclass(frozen=True)
class LabelledSets:
    """Images, and the tree of their leaves with the target."""

    sets: Sets
    tree: Tree

    def rows_of(self, function: LabelFunction, part: Subset) -> np.ndarray:
        """A leaf's classes for each class of a part's set (leaves, q); -1 where it is none."""
        table = np.full((len(part.images.classes), function.indices.shape[1]), -1, np.int32)
        place = {name: index for index, name in enumerate(part.images.classes)}
        there = [row for row, leaf in enumerate(function.items) if leaf in place]
        table[[place[function.items[row]] for row in there]] = function.indices[there]
        return table


@dataclass(frozen=True)
class Size:
    """How many images are in source, target and evaluation; how many leaves and target classes."""

    source: int
    target: int
    evaluation: int
    leaves: int
    target_classes: int


@dataclass(frozen=True)
class Dataset:
    """Images under one name, as each of the two experiments opens them; None where it cannot.

    `sizes` are known without opening anything, with all images of each class, by the type of what
    a run chooses. `roots` are the sets that lie on this machine: name → the parts that are read.
    `doubles` gives groups of names of identical training images, where they are known; `synsets` is
    the list that the source's leaves are, by a name of `synset_lists.NAMES`; `target_root` the root
    that is enough for runs that read no source.
    """

    roots: Mapping[str, tuple[str, ...]]
    larger_source: Callable[[LargerSource, Roots], Sets] | None = None
    same_images: Callable[[SameImages, Roots], LabelledSets] | None = None
    sizes: Mapping[type, Callable[[Any], Size]] = field(default_factory=dict)
    doubles: Callable[[], list[frozenset[bytes]]] = list
    synsets: str = ""
    target_root: str = ""

    def size_of(self, choice: LargerSource | SameImages) -> Size:
        """How many images a run reads that chooses some of these."""
        found = self.sizes[type(choice)](choice)
        if isinstance(choice, SameImages):
            source = target = choice.images * found.leaves or found.source
        else:
            if choice.classes:  # the target keeps all of its own here: who knows them
                leaves = min(found.leaves, len(choice.classes))
                source = found.source * leaves // found.leaves
                found = replace(found, source=source, leaves=leaves)
            source = choice.source_images * found.leaves or found.source
            target = choice.target_images * found.target_classes or found.target
        return replace(found, source=min(found.source, source), target=min(found.target, target))


def named(name: str) -> Dataset:
    """The dataset of a name. Raises KeyError, with the nearest one, for another name."""
    if name not in DATASETS:
        near = nearest(name, DATASETS, cutoff=0)
        there = ", ".join(DATASETS)
        raise KeyError(f"no dataset is called {name!r}; there are {there}; nearest: {near}")
    return DATASETS[name]


def open_sets(choice: LargerSource, roots: Roots, source: bool = True) -> Sets:
    """The sets of a source and its target.

    Where no `source` is read and the target has a root of its own, only that is opened, and the
    target stands for the source too. Raises KeyError for a dataset or root that is not named,
    ValueError for what a dataset does not have, DataError for unsound sets (see `sets.checked`).
    """
    found = named(choice.dataset)
    if choice.overlap not in ("contained", "disjoint"):
        raise ValueError(f"overlap is {choice.overlap!r}, 'contained' or 'disjoint' wanted")
    if found.larger_source is None:
        raise ValueError(f"{choice.dataset} has no target of its own beside a larger source")
    alone = "" if source else found.target_root
    root = root_of(roots, alone) if alone else Path()
    sets = of_one_set(choice, alone, root) if alone else found.larger_source(choice, roots)
    beyond = wordnet.nouns().names if alone else ()
    sets = checked(of_chosen(sets, choice.classes, beyond), choice.skip)
    return hold_out(sets, found.doubles()) if choice.held_out else sets


def open_labelled(choice: SameImages, roots: Roots) -> LabelledSets:
    """The images of source and target alike, with the tree of their leaves; see `open_sets`."""
    found = named(choice.dataset)
    if found.same_images is None:
        raise ValueError(f"{choice.dataset} has no tree of its leaves with a target of classes")
    labelled = found.same_images(choice, roots)
    sets = checked(labelled.sets, choice.skip)
    if choice.held_out:
        sets = hold_out(sets, found.doubles())
    return LabelledSets(replace(sets, source=sets.target), labelled.tree)


# ------------------------------------------------------------------------------- ImageNet


def imagenet(choice: LargerSource, roots: Roots) -> Sets:
    """`imagenet21k` and `imagenet1k`, each with `train` (and `val`), in roots of their own."""
    places = {name: root_of(roots, name) for name in ("imagenet21k", "imagenet1k")}
    return of_two_sets(choice, places)


def toy_imagenet(choice: LargerSource, roots: Roots) -> Sets:
    """The drawn ImageNet, in the layout of the real one below the toy's root."""
    root = root_of(roots, "toy")
    return of_two_sets(choice, {f"toy/{n}": root / n for n in ("imagenet21k", "imagenet1k")})


def of_one_set(choice: LargerSource, called: str, place: Path) -> Sets:
    """Target and evaluation from `train` and `val` of one set; the target is the source, too."""
    target, evaluation = (
        opened(str(place), part, called, tuple(choice.skip)) for part in ("train", "val")
    )
    wanted = some(target, choice.target_images)
    return Sets(wanted, wanted, whole(evaluation), target.classes)


def of_two_sets(choice: LargerSource, places: Mapping[str, Path]) -> Sets:
    """Source and target from a set each, by the set's name and place.

    The target's images are contained in the source, or taken out of it.
    """
    (larger, of_source), smaller = places.items()
    source = opened(str(of_source), "train", larger, tuple(choice.skip))
    alone = of_one_set(choice, *smaller)
    target, some_of = alone.target.images, some(source, choice.source_images)
    wanted = choice.overlap == "disjoint" or choice.held_out or choice.source_images > 0
    told_apart, taken = by_name(source, target, wanted), some_of.rows
    if choice.overlap == "disjoint":
        taken = np.setdiff1d(taken, same(source, target.names, target.classes))
    elif told_apart and not len(same(source, target.names, target.classes)):
        raise image_set.DataError(
            f"overlap is 'contained', and no image of {target.name} is in {source.name} under its"
            f" name (as {os.fsdecode(target.names[0])}); 'disjoint' keeps two sets apart"
        )
    else:  # the target's own images first, whatever part of the source is taken
        taken = np.union1d(taken, same(source, alone.target.names, target.classes))
    return replace(alone, source=replace(some_of, rows=taken))


# --------------------------------------------------------------------------- Tiny-ImageNet

TINY = "tiny-imagenet-200"
TINY_SYNSETS = resources.files("granularity.hierarchies") / "tables" / f"{TINY}.txt"


def tiny_imagenet(roots: Roots, skip: Sequence[str] = ()) -> tuple[Subset, image_set.ImageSet]:
    """Tiny-ImageNet's training images and its validation images.

    Training images that stand among the validation images too, under another label, are left out.
    """
    root = str(root_of(roots, TINY))
    images, evaluation = (opened(root, part, TINY, tuple(skip)) for part in ("train", "val"))
    return Subset(images, splits.drop_twins(images, splits.DUPLICATES)), evaluation


def tiny_source(choice: LargerSource, roots: Roots) -> Sets:
    """Tiny-ImageNet: 400 images of a class are the source's, 100 the target's, by their names.

    Raises ValueError for a target that has more of a class than the source which contains it.
    """
    training, evaluation = tiny_imagenet(roots, choice.skip)
    images, classes = training.images, training.images.classes[::4]
    apart = choice.overlap == "disjoint"
    source, target = choice.source_images or 400, choice.target_images or 100
    if not apart and target > source:
        raise ValueError(f"target_images is {target}, source_images {source}: too few hold it")
    parts = splits.split(images, {"target": target, "source": source - target * (not apart)})
    taken = parts["source"] if apart else np.union1d(parts["source"], parts["target"])
    of_target = Subset(images, np.intersect1d(parts["target"], training.rows))
    return Sets(
        Subset(images, np.intersect1d(taken, training.rows)),
        of_classes(of_target, classes),
        of_classes(whole(evaluation), classes),
        classes,
    )


def tiny_leaves(choice: SameImages, roots: Roots) -> LabelledSets:
    """Tiny-ImageNet, cuts of WordNet for ranks; a target may leave classes out."""
    found, evaluation = tiny_imagenet(roots, choice.skip)
    tree = tree_of_cuts(found.images.classes, choice.target)
    wanted = some(found.images, choice.images)
    rows = np.intersect1d(wanted.rows, found.rows)
    part = of_classes(replace(wanted, rows=rows), tree.leaves)
    evaluated = of_classes(whole(evaluation), tree.leaves)
    return LabelledSets(Sets(part, part, evaluated, tree.leaves), tree)


# ------------------------------------------------------------------------- mini-ImageNet-75

MINI = "mini-imagenet-75"


def mini_imagenet(choice: LargerSource, roots: Roots) -> Sets:
    """A target of classes that its source never saw: mini-ImageNet's 75 that Tiny-ImageNet lacks.

    All of Tiny-ImageNet's training images may be the source's. Images of it and of the target that
    look like any other image of the two sets (`copies.known`) are trained on in no stage.
    """
    if choice.overlap != "disjoint":
        raise ValueError(
            f"overlap is {choice.overlap!r}; no class of {MINI} is among its source's, so it is"
            " 'disjoint'"
        )
    source, _ = tiny_imagenet(roots, choice.skip)
    root = str(root_of(roots, MINI))
    target, evaluation = (opened(root, part, MINI, tuple(choice.skip)) for part in ("train", "val"))
    taken = some(source.images, choice.source_images)
    parts = (
        replace(taken, rows=np.intersect1d(taken.rows, source.rows)),
        some(target, choice.target_images),
    )
    alone = [copies.without(part, copies.known()) for part in parts]
    return Sets(*alone, whole(evaluation), target.classes)


# --------------------------------------------------------------------------------- plankton

PLANKTON = "plankton"
COUNTS = plankton.shipped().images  # of its classes


@cache
def plankton_images(root: str, skip: Sequence[str]) -> image_set.ImageSet:
    """Its images, each of them whole on a square, once in a process."""
    return replace(opened(root, "train", PLANKTON, skip), pad=True)


def plankton_leaves(choice: SameImages, roots: Roots) -> LabelledSets:
    """Plankton of the 12 groups with a name, in one folder: a fifth of each class is evaluated.

    Training images that look like another image (`copies.PLANKTON`) are left out.
    """
    if choice.target != "group":
        raise ValueError(f"target is {choice.target!r}; of plankton it is 'group'")
    images = plankton_images(str(root_of(roots, PLANKTON)), tuple(choice.skip))
    tree = tree_of_plankton(plankton.shipped())
    parts = shares.by_share(images.names.tolist())
    training, evaluation = (
        of_classes(Subset(images, parts[name]), tree.leaves) for name in ("train", "evaluation")
    )
    alone = copies.without(training, copies.known(copies.PLANKTON))
    part = at_most(alone, choice.images)
    return LabelledSets(Sets(part, part, evaluation, tree.leaves), tree)


# ----------------------------------------------------------------------------- iNaturalist


def inaturalist(choice: SameImages, roots: Roots) -> LabelledSets:
    """iNaturalist 2021: `2021_valid` and the folder of training images, in one root."""
    return species(choice, root_of(roots, "inaturalist"), "inaturalist")


def toy_inaturalist(choice: SameImages, roots: Roots) -> LabelledSets:
    """The drawn iNaturalist, in the layout of the real one below the toy's root."""
    return species(choice, root_of(roots, "toy") / "inaturalist", "toy/inaturalist")


def species(choice: SameImages, root: Path, called: str) -> LabelledSets:
    """Species in folders of their own, named after all their ranks."""
    if choice.target != "supercategory":
        raise ValueError(f"target is {choice.target!r}; of species it is 'supercategory'")
    source, evaluation = (
        opened(str(root), part, called, tuple(choice.skip))
        for part in (choice.training, "2021_valid")
    )
    part = some(source, choice.images)
    tree = tree_of_taxonomy(taxonomy.read(source.classes))
    return LabelledSets(Sets(part, part, whole(evaluation), source.classes), tree)


# ------------------------------------------------------------------------------------ all


def size_of_tiny_source(choice: LargerSource) -> Size:
    """As many images of a class as are chosen, 400 and 100 where none are, see `tiny_source`."""
    source, target = choice.source_images or 400, choice.target_images or 100
    return Size(200 * source, 50 * target, 2_500, 200, 50)


def size_of_tiny_leaves(choice: SameImages) -> Size:
    """The leaves of Tiny-ImageNet below a target, 500 training images and 50 others of each."""
    tree = tree_of_cuts(TINY_SYNSETS.read_text(encoding="utf-8").split(), choice.target)
    leaves = len(tree.leaves)
    return Size(500 * leaves, 500 * leaves, 50 * leaves, leaves, tree.target.num_classes)


def size_of_inaturalist(choice: SameImages) -> Size:
    """iNaturalist 2021 by its folder of training images."""
    source = 500_000 if choice.training == "2021_train_mini" else 2_686_843
    return Size(source, source, 100_000, 10_000, 11)


DATASETS = {
    "toy": Dataset(
        roots={},
        larger_source=toy_imagenet,
        same_images=toy_inaturalist,
        sizes={
            LargerSource: lambda choice: Size(2_400, 320, 400, 60, 20),
            SameImages: lambda choice: Size(840, 840, 600, 60, 8),
        },
    ),
    TINY: Dataset(
        roots={TINY: ("train", "val")},
        larger_source=tiny_source,
        same_images=tiny_leaves,
        sizes={
            LargerSource: size_of_tiny_source,
            SameImages: size_of_tiny_leaves,
        },
        doubles=lambda: splits.doubles(splits.DUPLICATES),
    ),
    MINI: Dataset(
        roots={TINY: ("train", "val"), MINI: ("train", "val")},
        larger_source=mini_imagenet,
        sizes={LargerSource: lambda choice: Size(100_000, 37_500, 7_500, 200, 75)},
    ),
    PLANKTON: Dataset(
        roots={PLANKTON: ("train",)},
        same_images=plankton_leaves,
        sizes={
            SameImages: lambda choice: Size(
                *2 * [sum(min(n - shares.number_of(n), choice.images or n) for n in COUNTS)],
                sum(map(shares.number_of, COUNTS)),
                len(COUNTS),
                12,
            )
        },
    ),
    "imagenet": Dataset(
        roots={"imagenet21k": ("train",), "imagenet1k": ("train", "val")},
        larger_source=imagenet,
        sizes={LargerSource: lambda choice: Size(14_197_122, 1_281_167, 50_000, 21_843, 1_000)},
        synsets="imagenet21k",
        target_root="imagenet1k",
    ),
    # The source as it can be had today. The paper's claims are judged on the one above alone.
    "imagenet-winter21": Dataset(
        roots={"imagenet21k": ("train",), "imagenet1k": ("train", "val")},
        larger_source=imagenet,
        sizes={LargerSource: lambda choice: Size(13_153_500, 1_281_167, 50_000, 19_167, 1_000)},
        synsets=synset_lists.WINTER_2021,
        target_root="imagenet1k",
    ),
    "inaturalist": Dataset(
        roots={"inaturalist": ("{training}", "2021_valid")},
        same_images=inaturalist,
        sizes={SameImages: size_of_inaturalist},
    ),
}
