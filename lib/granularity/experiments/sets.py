"""Source, target and evaluation: subsets of image sets, opened, checked, and cut in two.

`datasets` says which images each dataset has; here is what all of them share.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePath

import numpy as np

from granularity.hierarchies import plankton, synset_lists, taxonomy, wordnet
from granularity.images import image_set, sources
from granularity.images.layouts import DataError
from granularity.images.subset import Subset, classes_in, narrowed, of_classes, whole
from granularity.inputs.nearest import hint, nearest

SKIP = ("broken", "missing", "extra")  # what a set may be opened without, where asked
SWAPPED = 3  # so many times the training images in an evaluation set are a mistake
HELD_OUT = 0.2  # share of the target's training images on which rates and lengths are chosen


def is_synset(name: str) -> bool:
    """Whether a class is called like a noun of WordNet, `n02084071`."""
    return name in wordnet.nouns().names


def is_species(name: str) -> bool:
    """Whether a class is called like a species of iNaturalist, by all its ranks."""
    return taxonomy.parse(name) is not None


def is_plankton(name: str) -> bool:
    """Whether a class is one of the plankton's 121."""
    return name in plankton.shipped(unnamed=True).classes


# What classes of a set are called, and whether a name is such a one.
KNOWN = dict.fromkeys(
    ("imagenet21k", "imagenet1k", "tiny-imagenet-200", "mini-imagenet-75"),
    ("a noun of WordNet", is_synset),
)
KNOWN |= {"inaturalist": ("a species with its ranks", is_species)}
KNOWN |= {"plankton": ("a class of plankton", is_plankton)}
# Sets in whose shards class number i is line i of the list of that name.
NUMBERED = ("imagenet1k",)


@dataclass(frozen=True)
class Sets:
    """Source, target and what the target is evaluated on; `classes` are the target's leaves."""

    source: Subset
    target: Subset
    evaluation: Subset
    classes: tuple[str, ...]

    def stated(self, *parts: str) -> dict:
        """What some of the parts are, JSON-plain (see `Subset.stated`)."""
        return {name: getattr(self, name).stated() for name in parts}

    def left_out(self, *parts: str) -> dict:
        """How many items of each kind the sets of some of the parts were opened without."""
        found = {name: dict(getattr(self, name).images.left_out) for name in parts}
        return {name: counts for name, counts in found.items() if counts}


def checked(sets: Sets, skip: Sequence[str] = ()) -> Sets:
    """The sets themselves. Raises DataError, naming the sets, where they are not what they say.

    The target has two classes or more; it is evaluated on these classes (with "missing" in `skip`
    on some of them), on no image that is trained on, and not on many more than that.
    """
    training, evaluation = sets.target.images, sets.evaluation.images
    there = set(classes_in(sets.evaluation))
    if len(sets.classes) < 2:
        raise DataError(
            f"{training.name}: its only class is {sets.classes[0]}: nothing to tell apart"
        )
    strange, lacking = sorted(there - set(sets.classes)), sorted(set(sets.classes) - there)
    if strange or (lacking and "missing" not in skip):
        raise DataError(
            f"{training.name} has {len(sets.classes):,} classes and {evaluation.name}"
            f" {len(there):,}: "
            + (
                f"{strange[0]} is not trained on"
                if strange
                else f"{lacking[0]} is not evaluated on"
            )
        )
    for part in (sets.target, sets.source):
        refuse = refuse_shared if part.images is evaluation else refuse_in_both
        refuse(part, sets.evaluation)
    if len(evaluation) > SWAPPED * len(training):
        raise DataError(
            f"{evaluation.name} has {len(evaluation):,} images and {training.name}"
            f" {len(training):,}: are the two swapped?"
        )
    return sets


def refuse_shared(training: Subset, evaluation: Subset) -> None:
    """Raises DataError, naming it, for an image that two parts of one set both have."""
    shared = np.intersect1d(training.rows, evaluation.rows)
    if len(shared):
        name = os.fsdecode(training.images.names[shared[0]])
        raise DataError(f"{training.images.name}: {name} is trained on and evaluated on")


@cache
def refuse_equal(training: image_set.ImageSet, evaluation: image_set.ImageSet) -> None:
    """Raises DataError, naming it, for an image that lies in both sets under one name."""
    rows = same(training, evaluation.names, evaluation.classes)
    shared = stems(training.names[rows]).tolist()
    places = {name: i for i, name in enumerate(stems(evaluation.names).tolist())} if shared else {}
    for row, other in zip(rows, map(places.get, shared), strict=True):
        if training.sizes[row] == evaluation.sizes[other] and (
            training.content(int(row)) == evaluation.content(other)
        ):
            raise DataError(
                f"{training.name} and {evaluation.name} both hold the image"
                f" {os.fsdecode(training.names[row])}, and {len(rows):,} of {len(evaluation):,}"
                f" names: what is evaluated on is trained on. Is one a link to the other?"
            )


def refuse_in_both(training: Subset, evaluation: Subset) -> None:
    """Raises as `refuse_equal` does, for the sets that two parts are of."""
    refuse_equal(training.images, evaluation.images)


def of_chosen(sets: Sets, classes: Sequence[str], beyond: Collection[str] = ()) -> Sets:
    """The sets with the images of some classes alone; all where none is named.

    Raises ValueError, with the nearest class, for one that neither source nor target has and that
    is none of those `beyond`, and where fewer than two are the target's.
    """
    if not classes:
        return sets
    known = dict.fromkeys([*sets.source.images.classes, *sets.classes, *beyond])
    for label in classes:
        if label not in known:
            raise ValueError(
                f"classes has {label!r}, which is none of {sets.source.images.name}"
                f"{hint(label, known)}"
            )
    own = tuple(label for label in sets.classes if label in set(classes))
    if len(own) < 2:
        raise ValueError(
            f"classes has {len(own)} of the {len(sets.classes):,} classes of"
            f" {sets.target.images.name}, two or more wanted; {sets.classes[0]} is one"
        )
    source, target, evaluation = (
        narrowed(part, classes) for part in (sets.source, sets.target, sets.evaluation)
    )
    return Sets(source, target, evaluation, own)


def hold_out(sets: Sets, doubles: Iterable[frozenset[bytes]] = ()) -> Sets:
    """The target's training images cut in two, class by class: to train on and to choose on.

    What is held out is taken out of the source too, wherever it bears the same name, and so is
    whatever is identical to it: `doubles` are groups of names of identical images.
    """
    rows, leaf = sets.target.rows, sets.target.leaf
    groups = [rows[leaf == label] for label in np.unique(leaf)]
    held = np.concatenate([group[-max(1, round(HELD_OUT * len(group))) :] for group in groups])
    evaluation = Subset(sets.target.images, np.sort(held))
    names = evaluation.names
    known = set(stems(names).tolist())
    twins = [group for group in map(sorted, doubles) if known & {*stems(np.array(group)).tolist()}]
    seen = np.concatenate([names, np.array([name for group in twins for name in group], "S")])
    return replace(
        sets,
        source=without(sets.source, seen, evaluation.images.classes),
        target=without(Subset(sets.target.images, np.setdiff1d(rows, held)), seen, sets.classes),
        evaluation=evaluation,
    )


def without(part: Subset, names: np.ndarray, classes: Sequence[str]) -> Subset:
    """A part less the images that bear one of `names`, `class/file`, of some `classes`."""
    return replace(part, rows=np.setdiff1d(part.rows, same(part.images, names, classes)))


def same(images: image_set.ImageSet, names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Numbers of a set's images that bear one of `names`, `class/file`, of some `classes`.

    Only images of these classes can, and that leaves few of 14 million names to compare.
    """
    rows = of_classes(whole(images), classes).rows
    return rows[np.isin(stems(images.names[rows]), stems(names))]


def by_name(source: image_set.ImageSet, target: image_set.ImageSet, wanted: bool) -> bool:
    """Whether images of two sets can be told apart by their names, and not by numbers alone.

    A hub's images, and those of some shards, are called by their place. Raises DataError, naming
    the set, where that is so and it is `wanted` to find some of one set in the other.
    """
    numbered = [
        images
        for images in (source, target)
        if PurePath(os.fsdecode(images.names[0])).stem.isdecimal()
    ]
    if numbered and wanted and set(source.classes) & set(target.classes):
        name = os.fsdecode(numbered[0].names[0])
        raise DataError(
            f"{numbered[0].name} numbers its images ({name}), so none of them can be found in the"
            f" other set: overlap 'contained' with all images of the source works; 'disjoint',"
            f" held_out and source_images want sets whose images have their names"
        )
    return not numbered


def stems(names: np.ndarray) -> np.ndarray:
    """Names `class/file` without the file's ending.

    One copy of a set has an image as `.JPEG`, another, in shards or shrunk, as `.jpg`.
    """
    names = np.append(names, b"")  # NumPy does not part an array without texts
    before, _, ending = np.strings.rpartition(names, b".")
    cut = (np.strings.str_len(before) > 0) & (np.strings.find(ending, b"/") < 0)
    return np.where(cut, before, names)[:-1]


def root_of(roots: Mapping[str, str], name: str) -> Path:
    """Where a set lies on this machine. Raises KeyError, with the place to get it from."""
    if not roots.get(name):
        plain = name.replace("-", "")
        known = [str(one) for key, one in sources.SOURCES.items() if plain.startswith(key)]
        raise KeyError(
            f"no root is given for {name}. {''.join(known) or 'It is drawn by toy.draw'}"
        )
    return Path(roots[name])


@cache
def opened(
    root: str,
    part: str | None,
    called: str = "",
    skip: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    cache: str | None = None,
) -> image_set.ImageSet:
    """A set, opened once in a process: for every run, and for a look at it before.

    `called` is what it is called everywhere, `imagenet21k`, whatever its folder is called here; of
    such a set it is known what a class looks like, and of some what class numbers mean. `skip` are
    kinds of what is left out, of `SKIP`; `classes` and `cache` are those of `image_set.open_set`.
    Raises ValueError, with the nearest kind, for another.
    """
    for kind in skip:
        if kind not in SKIP:
            near = nearest(kind, SKIP, cutoff=0)
            raise ValueError(f"skip has {kind!r}; of {', '.join(SKIP)} {near!r} is nearest")
    own = called.rpartition("/")[2]
    images = image_set.open_set(
        root,
        part,
        classes=classes,
        called=KNOWN.get(own),
        numbered=tuple(synset_lists.read(own)) if own in NUMBERED else None,
        cache=cache,
        **{f"skip_{kind}": True for kind in skip},
    )
    return replace(images, name=f"{called}/{part}") if called and part else images
