"""The ImageNet arm: pretrain on a source at a label level, finetune on the target, compare.

The sets stand for the paper's: `imagenet` is ImageNet-21k → ImageNet-1k; `tiny-imagenet-200` cuts
Tiny-ImageNet's training images into a source of all 200 classes and a target of every fourth
(ours); `toy` is drawn. A leaf is a synset, and a level's classes come from WordNet.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from granularity import data, engine, loading, records, splits, train
from granularity import labels as label_functions
from granularity.recipe import Recipe, preset

DUPLICATES = Path(__file__).parent / "tables" / "tiny-imagenet-duplicates.csv"
HELD_OUT = 0.2  # share of the target's training images on which rates and lengths are chosen


@dataclass(frozen=True)
class Part:
    """Some images of a set: `rows` are their numbers in it."""

    images: data.ImageSet
    rows: np.ndarray

    @property
    def leaf(self) -> np.ndarray:
        """Leaves of the images, as indices into the set's classes."""
        return self.images.leaf[self.rows]

    @property
    def fingerprint(self) -> str:
        """Of the set and the images chosen from it."""
        return records.digest([self.images.fingerprint, self.rows.tolist()])


@dataclass(frozen=True)
class Sets:
    """Source, target and what the target is evaluated on; `classes` are the target's leaves."""

    source: Part
    target: Part
    evaluation: Part
    classes: tuple[str, ...]


def of_classes(images: data.ImageSet, rows: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Those of the rows whose leaf is among `classes`."""
    wanted = [index for index, name in enumerate(images.classes) if name in set(classes)]
    return rows[np.isin(images.leaf[rows], wanted)]


def open_sets(
    name: str,
    roots: Mapping[str, str],
    *,
    overlap: str = "contained",
    source_images: int = 0,
    target_images: int = 0,
    held_out: bool = False,
) -> Sets:
    """The sets of a world, with so many images of each class (0: all that there are).

    `overlap`: "contained" puts the target's images among the source's, as ImageNet-1k's are in
    ImageNet-21k; "disjoint" keeps them apart. With `held_out` a part of the target's training
    images is evaluated on, and not trained on. Raises KeyError for a world or a root that is not
    named, ValueError for an overlap that a world does not have.
    """
    if name not in WORLDS:
        raise KeyError(f"no images are called {name!r}; there are {', '.join(WORLDS)}")
    if overlap not in ("contained", "disjoint"):
        raise ValueError(f"overlap is {overlap!r}, 'contained' or 'disjoint' wanted")
    sets = WORLDS[name](roots, overlap, source_images, target_images)
    return hold_out(sets) if held_out else sets


def root_of(roots: Mapping[str, str], name: str) -> Path:
    """Where a set lies on this machine. Raises KeyError, with the place to get it from."""
    if not roots.get(name):
        plain = name.replace("-", "")
        known = [text for key, text in data.SOURCES.items() if plain.startswith(key)]
        raise KeyError(
            f"no root is given for {name}. {''.join(known) or 'It is drawn by toy.draw'}"
        )
    return Path(roots[name])


def toy(roots: Mapping[str, str], overlap: str, source_images: int, target_images: int) -> Sets:
    """The drawn world: its target's images are contained in the source, or taken out of it."""
    root = root_of(roots, "toy")
    return two_sets(
        root / "imagenet21k", root / "imagenet1k", overlap, source_images, target_images
    )


def imagenet(
    roots: Mapping[str, str], overlap: str, source_images: int, target_images: int
) -> Sets:
    """The real sets: `roots` has `imagenet21k` and `imagenet1k`, each with `train` (and `val`)."""
    source, target = root_of(roots, "imagenet21k"), root_of(roots, "imagenet1k")
    return two_sets(source, target, overlap, source_images, target_images)


def two_sets(
    source_root: Path, target_root: Path, overlap: str, source_images: int, target_images: int
) -> Sets:
    """Source and target in folders of their own, with `train`, and `val` in the target's."""
    source = opened(str(source_root), "train")
    target = opened(str(target_root), "train")
    evaluation = opened(str(target_root), "val")
    rows = some(target, target_images)
    taken = some(source, source_images)
    if overlap == "disjoint":
        taken = taken[~np.isin(source.names[taken], target.names)]
    else:  # the target's own images first, whatever part of the source is taken
        taken = np.union1d(taken, np.flatnonzero(np.isin(source.names, target.names[rows])))
    everything = np.arange(len(evaluation))
    return Sets(
        Part(source, taken), Part(target, rows), Part(evaluation, everything), target.classes
    )


def tiny(roots: Mapping[str, str], overlap: str, source_images: int, target_images: int) -> Sets:
    """Tiny-ImageNet: 400 images of a class are the source's, 100 the target's, by their names.

    Training images that stand among the validation images too, under another label, are left out.
    """
    root = str(root_of(roots, "tiny-imagenet-200"))
    images, evaluation = opened(root, "train"), opened(root, "val")
    classes = images.classes[::4]
    source, target = source_images or 400, target_images or 100
    parts = splits.split(
        images, {"target": target, "source": source - target * (overlap != "disjoint")}
    )
    rows = of_classes(images, parts["target"], classes)
    taken = (
        parts["source"] if overlap == "disjoint" else np.union1d(parts["source"], parts["target"])
    )
    kept = of_classes(evaluation, np.arange(len(evaluation)), classes)
    alone = splits.drop_twins(images, DUPLICATES)
    return Sets(
        Part(images, np.intersect1d(taken, alone)),
        Part(images, np.intersect1d(rows, alone)),
        Part(evaluation, kept),
        classes,
    )


WORLDS = {"toy": toy, "tiny-imagenet-200": tiny, "imagenet": imagenet}


@cache
def opened(root: str, part: str) -> data.ImageSet:
    """A set, opened once in a process."""
    return data.open_set(root, part)


def some(images: data.ImageSet, per_class: int) -> np.ndarray:
    """So many images of each class, chosen by name; all where 0."""
    if not per_class:
        return np.arange(len(images))
    return splits.split(images, {"taken": per_class})["taken"]


def hold_out(sets: Sets) -> Sets:
    """The target's training images cut in two, class by class: to train on and to choose on."""
    images, rows, leaf = sets.target.images, sets.target.rows, sets.target.leaf
    groups = [rows[leaf == label] for label in np.unique(leaf)]
    held = np.concatenate([group[-max(1, round(HELD_OUT * len(group))) :] for group in groups])
    trained = np.setdiff1d(rows, held)
    return Sets(sets.source, Part(images, trained), Part(images, np.sort(held)), sets.classes)


# ------------------------------------------------------------------------------------- labels


def source_labels(part: Part, kind: str, level: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is looked up for each image of the source's set, and the table it is looked up in.

    `level`: the image's leaf, in the classes of its level (leaves, q). `random`, the placebo: the
    image itself, in a random class of its own (images, 1), with as many classes of the same sizes
    as the level has (an image with several labels counts for its first). Raises ValueError for
    another kind.
    """
    images = part.images
    table = label_functions.levels(images.classes, [level])[level].indices
    if kind == "level":
        return images.leaf, table
    if kind == "random":
        dealt = table[images.leaf, :1].copy()
        dealt[part.rows] = np.random.default_rng([seed, 7]).permutation(dealt[part.rows])
        return np.arange(len(images)), dealt
    raise ValueError(f"labels are {kind!r}, 'level' or 'random' wanted (or 'target', from scratch)")


def target_labels(part: Part, classes: Sequence[str]) -> np.ndarray:
    """Classes of the target's leaves (leaves, 1); -1 for leaves of the set that are not its own."""
    place = {name: index for index, name in enumerate(classes)}
    return np.array([[place.get(name, -1)] for name in part.images.classes], dtype=np.int32)


# -------------------------------------------------------------------------------------- stages


@cache
def pixels_of(images: data.ImageSet, size: int) -> torch.Tensor:
    """A whole set, decoded once in a process."""
    return data.decode(images, size)


def recipe_of(given: Mapping) -> Recipe:
    """A recipe: the name of a preset under "preset", and what differs from it."""
    rest = {name: value for name, value in given.items() if name != "preset"}
    return preset(given.get("preset", "resnet_small"), **rest)


def loaded(
    part: Part, recipe: Recipe, lookup: np.ndarray | None = None, workers: int = 0
) -> engine.Images:
    """The images of a part: in memory at up to 64 pixels, else from their files."""
    lookup = part.images.leaf if lookup is None else lookup
    if recipe.image_size <= 64:
        leaf = torch.from_numpy(lookup.astype(np.int64))
        return loading.Memory(pixels_of(part.images, recipe.image_size), leaf, recipe, part.rows)
    return loading.Files(part.images, recipe, part.rows, lookup, workers)


def arms(
    *,
    level: int | Sequence[int] = (),
    placebo: int | Sequence[int] = (),
    baseline: bool = False,
    finetuning: Mapping | None = None,
    scratch: Mapping | None = None,
    **common: object,
) -> list[dict]:
    """The arguments of `pretrain`, or with `finetuning` those of `finetune`, for whole arms.

    One arm for each level, one with random ids for each level whose class sizes they copy, and
    the baseline with its recipe `scratch`. Any of `common` may be a list: all combinations. A
    recipe may be a list too, to choose from.
    """
    kinds = [("level", k) for k in listed(level)] + [("random", k) for k in listed(placebo)]
    found = [common | {"labels": labels, "level": k} for labels, k in kinds]
    if finetuning is not None:
        found = [arm | {"finetuning": finetuning} for arm in found]
        alone = common | {"labels": "target", "level": 0, "pretraining": {}, "finetuning": scratch}
        found += [alone] if baseline else []
    return [
        dict(zip(arm, combination, strict=True))
        for arm in found
        for combination in itertools.product(*map(listed, arm.values()))
    ]


def looked_over(settings: Sequence[Mapping], roots: Mapping[str, str]) -> list[dict]:
    """What the runs will read, a row for each choice of sets.

    Opens all sets and recipes, so that whatever is missing or misspelt is told before any work.
    """
    found = {}
    names = ("overlap", "source_images", "target_images", "held_out")
    for setting in settings:
        for recipe in ("pretraining", "finetuning"):
            if setting.get(recipe):
                recipe_of(setting[recipe])
        chosen = {name: setting[name] for name in names if name in setting}
        key = (setting["world"], *chosen.items())
        if key not in found:
            sets = open_sets(setting["world"], roots, **chosen)
            found[key] = {
                "world": setting["world"],
                **chosen,
                "images of the source": len(sets.source.rows),
                "its classes": len(sets.source.images.classes),
                "images of the target": len(sets.target.rows),
                "classes of the target": len(sets.classes),
                "images evaluated on": len(sets.evaluation.rows),
            }
    return list(found.values())


def listed(value: object) -> list:
    """A list as it is, anything else as the only item of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def pretrain(
    *,
    world: str = "toy",
    labels: str = "level",
    level: int = 0,
    overlap: str = "contained",
    source_images: int = 0,
    target_images: int = 0,
    pretraining: Mapping = {},
    seed: int = 0,
    roots: Mapping[str, str],
    stages: str,
    device: str = "cpu",
    workers: int = 0,
    at_once: int = 0,
    save_every: int = 0,
) -> dict:
    """Pretrains on the source; the network stays in the folder `stages`, below its fingerprint.

    `pretraining` is a recipe, as `recipe_of` reads it.
    """
    sets = open_sets(
        world, roots, overlap=overlap, source_images=source_images, target_images=target_images
    )
    recipe = recipe_of(pretraining)
    lookup, table = source_labels(sets.source, labels, level, seed)
    done = train.stage(
        recipe,
        loaded(sets.source, recipe, lookup, workers),
        torch.from_numpy(table.copy()),  # the label function keeps its own read-only
        int(table.max()) + 1,
        key=train.key_of("pretrain", recipe.plain(), sets.source.fingerprint, table.tolist(), seed),
        seed=seed,
        folder=Path(stages),
        device=device,
        at_once=at_once,
        save_every=save_every,
    )
    return {
        "metrics": {
            "classes": int(table.max()) + 1,
            "images": len(sets.source.rows),
            "training_loss": done.curves["loss"][-1],
            "parameters": sum(p.numel() for p in done.model.parameters()),
        },
        "curves": {name: done.curves[name] for name in ("step", "loss", "rate")},
        "images_per_second": float(np.median(done.curves["images_per_second"])),
        "stage": done.key,
    }


def finetune(
    *,
    world: str = "toy",
    labels: str = "level",
    level: int = 0,
    overlap: str = "contained",
    source_images: int = 0,
    target_images: int = 0,
    pretraining: Mapping = {},
    finetuning: Mapping = {},
    held_out: bool = False,
    seed: int = 0,
    roots: Mapping[str, str],
    stages: str,
    run_folder: Path | None = None,
    device: str = "cpu",
    workers: int = 0,
    at_once: int = 0,
    save_every: int = 0,
) -> dict:
    """Finetunes the whole network on the target and evaluates it.

    `labels` "target" is the baseline: it has no pretraining, and `finetuning` is its recipe from
    scratch. The pretrained network of the others is the one that `pretrain` makes of the same
    arguments; where it is not there yet it is made.
    Per-image losses and predictions go to `run_folder/evaluation.npz`, with the images' labels.
    """
    places = {
        "roots": roots,
        "stages": stages,
        "device": device,
        "workers": workers,
        "at_once": at_once,
        "save_every": save_every,
    }
    size = {"source_images": source_images, "target_images": target_images}
    start = None
    if labels != "target":
        start = pretrain(
            world=world,
            labels=labels,
            level=level,
            overlap=overlap,
            pretraining=pretraining,
            seed=seed,
            **size,
            **places,
        )
    sets = open_sets(world, roots, overlap=overlap, held_out=held_out, **size)
    recipe = recipe_of(finetuning)
    table = torch.from_numpy(target_labels(sets.target, sets.classes))
    done = train.stage(
        recipe,
        loaded(sets.target, recipe, workers=workers),
        table,
        len(sets.classes),
        key=train.key_of(
            "finetune", recipe.plain(), sets.target.fingerprint, start and start["stage"], seed
        ),
        seed=seed,
        folder=Path(stages),
        start=Path(stages) / start["stage"] if start else None,
        device=device,
        at_once=at_once,
        save_every=save_every,
    )

    def evaluated(part: Part) -> dict[str, np.ndarray]:
        rows = torch.from_numpy(target_labels(part, sets.classes)).to(done.accelerator.device)
        shown = loaded(part, recipe, workers=workers)
        return engine.evaluate(done.model, shown, rows, done.accelerator, recipe)

    found, trained = evaluated(sets.evaluation), evaluated(sets.target)
    if run_folder is not None and done.accelerator.is_main_process:
        of_leaf = target_labels(sets.evaluation, sets.classes)[:, 0]
        found["label"] = of_leaf[sets.evaluation.leaf]
        train.keep(found, Path(run_folder) / "evaluation.npz", sets.classes)
    return {
        "metrics": train.measured(found, sets.evaluation.leaf)
        | {
            "training_error": float((trained["rank"] > 0).mean()),
            "classes": start["metrics"]["classes"] if start else len(sets.classes),
            "target_classes": len(sets.classes),
        },
        "curves": {name: done.curves[name] for name in ("step", "loss", "rate")},
        "images_per_second": float(np.median(done.curves["images_per_second"])),
    }
