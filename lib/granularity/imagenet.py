"""The ImageNet arm: pretrain on a source at a label level, finetune on the target, compare.

The sets stand for the paper's: `imagenet` is ImageNet-21k → ImageNet-1k; `tiny-imagenet-200` cuts
Tiny-ImageNet's training images into a source of all 200 classes and a target of every fourth
(ours); `toy` is drawn. A leaf is a synset, and a level's classes come from WordNet.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from granularity import data, network, splits, train
from granularity.labels.levels import levels
from granularity.sets import (
    Part,
    Sets,
    hold_out,
    of_classes,
    opened,
    root_of,
    some,
    tiny_imagenet,
    whole,
)
from granularity.stages import (
    Machine,
    combinations,
    described,
    evaluated,
    listed,
    recipe_of,
    trained,
)


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
        taken = np.setdiff1d(taken, same(source, target, target.names))
    else:  # the target's own images first, whatever part of the source is taken
        taken = np.union1d(taken, same(source, target, target.names[rows]))
    return Sets(Part(source, taken), Part(target, rows), whole(evaluation), target.classes)


def same(source: data.ImageSet, target: data.ImageSet, names: np.ndarray) -> np.ndarray:
    """Numbers of the source's images that bear one of the target's `names`, `class/file`.

    Only images of a shared class can, and that leaves few of 14 million names to compare.
    """
    rows = of_classes(whole(source), target.classes).rows
    return rows[np.isin(source.names[rows], names)]


def tiny(roots: Mapping[str, str], overlap: str, source_images: int, target_images: int) -> Sets:
    """Tiny-ImageNet: 400 images of a class are the source's, 100 the target's, by their names."""
    training, evaluation = tiny_imagenet(roots)
    images, classes = training.images, training.images.classes[::4]
    source, target = source_images or 400, target_images or 100
    parts = splits.split(
        images, {"target": target, "source": source - target * (overlap != "disjoint")}
    )
    taken = (
        parts["source"] if overlap == "disjoint" else np.union1d(parts["source"], parts["target"])
    )
    of_target = Part(images, np.intersect1d(parts["target"], training.rows))
    return Sets(
        Part(images, np.intersect1d(taken, training.rows)),
        of_classes(of_target, classes),
        of_classes(whole(evaluation), classes),
        classes,
    )


WORLDS = {"toy": toy, "tiny-imagenet-200": tiny, "imagenet": imagenet}


# ------------------------------------------------------------------------------------- labels


def source_labels(part: Part, kind: str, level: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is looked up for each image of the source's set, and the table it is looked up in.

    `level`: the image's leaf, in the classes of its level (leaves, q). `random`, the placebo: the
    image itself, in a random class of its own (images, 1), with as many classes of the same sizes
    as the level has (an image with several labels counts for its first). Raises ValueError for
    another kind.
    """
    images = part.images
    table = levels(images.classes, [level])[level].indices
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
    return combinations(found)


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
    **places: object,
) -> dict:
    """Pretrains on the source; the network stays in the folder of stages, below its fingerprint.

    `pretraining` is a recipe, as `recipe_of` reads it; `places` are the fields of `stages.Machine`.
    """
    machine, recipe = Machine(**places), recipe_of(pretraining)
    chosen = {"source_images": source_images, "target_images": target_images}
    source = open_sets(world, machine.roots, overlap=overlap, **chosen).source
    lookup, table = source_labels(source, labels, level, seed)
    done = trained(recipe, source, table, machine, seed, lookup=lookup)
    return {
        "metrics": {
            "classes": int(table.max()) + 1,
            "images": len(source),
            "training_loss": done.curves["loss"][-1],
            "parameters": sum(p.numel() for p in done.model.parameters()),
        },
        "stage": done.key,
        **described(done),
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
    run_folder: Path | None = None,
    **places: object,
) -> dict:
    """Finetunes the whole network on the target and evaluates it.

    `labels` "target" is the baseline: it has no pretraining, and `finetuning` is its recipe from
    scratch. The pretrained network of the others is the one that `pretrain` makes of the same
    arguments; where it is not there yet it is made.
    Per-image losses and predictions go to `run_folder/evaluation.npz`, with the images' labels.
    """
    machine, recipe = Machine(**places), recipe_of(finetuning)
    chosen = {
        "overlap": overlap,
        "source_images": source_images,
        "target_images": target_images,
    }
    sets = open_sets(world, machine.roots, held_out=held_out, **chosen)
    train.check(recipe, len(sets.target), machine.at_once)
    before = None
    if labels != "target":
        network.check_both(recipe_of(pretraining), recipe)
        source = {"world": world, "labels": labels, "level": level, "pretraining": pretraining}
        before = pretrain(**source, **chosen, seed=seed, **places)
    start = Path(machine.stages) / before["stage"] if before else None
    of_target = target_labels(sets.target, sets.classes)
    done = trained(recipe, sets.target, of_target, machine, seed, start=start)
    of_evaluation = target_labels(sets.evaluation, sets.classes)
    found = evaluated(done, recipe, sets.evaluation, of_evaluation, machine)
    learnt = evaluated(done, recipe, sets.target, of_target, machine)
    if run_folder is not None and done.accelerator.is_main_process:
        train.keep(found, Path(run_folder) / "evaluation.npz", sets.classes)
    return {
        "metrics": train.measured(found, sets.evaluation.leaf)
        | {
            "training_error": float((learnt["rank"] > 0).mean()),
            "classes": before["metrics"]["classes"] if before else len(sets.classes),
            "target_classes": len(sets.classes),
        },
        **described(done),
    }
