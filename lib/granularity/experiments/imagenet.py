"""Experiment A, a larger source: pretrain at a label level, finetune on the target, compare.

The datasets stand for the paper's: `imagenet` is ImageNet-21k → ImageNet-1k; `tiny-imagenet-200`
cuts Tiny-ImageNet's training images into a source of all 200 classes and a target of every fourth
(ours); `toy` is drawn. A leaf is a synset, and a level's classes come from WordNet.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from granularity.experiments import starts
from granularity.experiments.choices import LargerSource, chosen, names_of
from granularity.experiments.datasets import open_sets
from granularity.experiments.sets import Sets, same
from granularity.experiments.two_stages import (
    Machine,
    check_recipes,
    combinations,
    describe,
    errors_by_step,
    evaluate,
    listed,
    once,
    train,
)
from granularity.hierarchies import synset_lists
from granularity.images import image_set
from granularity.images.subset import Subset, classes_in
from granularity.labels.wordnet_levels import levels
from granularity.training import evaluation, networks, one_stage
from granularity.training.presets import recipe_of

PARTS = ("source", "target", "evaluation")


# ------------------------------------------------------------------------------------- labels


def one_class(table: np.ndarray) -> bool:
    """Whether a table (leaves, q) gives all leaves the same classes."""
    return bool((table == table[:1]).all())


def level_table(images: image_set.ImageSet, level: int) -> np.ndarray:
    """The classes of a level for each leaf of a set (leaves, q), padded with -1.

    Raises ValueError, with the highest level that is left, where all leaves have the same.
    """
    table = levels(images.classes, [level])[level].indices
    if one_class(table):
        above = (k for k in count() if one_class(levels(images.classes, [k])[k].indices))
        raise ValueError(
            f"level {level}: all {len(table):,} classes of {images.name} are one there, which"
            f" teaches nothing; the highest level with more than one is {next(above) - 1}"
        )
    return table


def source_labels(part: Subset, kind: str, level: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is looked up for each image of the source's set, and the table it is looked up in.

    `level`: the image's leaf, in the classes of its level (leaves, q). `random`, the placebo: the
    image itself, in a random class of its own (images, 1), with as many classes of the same sizes
    as the level has (an image with several labels counts for its first). Raises ValueError for
    another kind.
    """
    images = part.images
    table = level_table(images, level)
    if kind == "level":
        return images.leaf, table
    if kind == "random":
        dealt = table[images.leaf, :1].copy()
        dealt[part.rows] = np.random.default_rng([seed, 7]).permutation(dealt[part.rows])
        return np.arange(len(images)), dealt
    raise ValueError(f"labels are {kind!r}, 'level' or 'random' wanted (or 'target', from scratch)")


def target_labels(part: Subset, classes: Sequence[str]) -> np.ndarray:
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
    skip: str | Sequence[str] = (),
    start: str = "",
    classes: str | Path | Sequence[str] = (),
    **common: object,
) -> list[dict]:
    """The arguments of `pretrain`, or with `finetuning` those of `finetune`, for whole arms.

    One arm for each level, one with random ids for each level whose class sizes they copy, and
    the baseline with its recipe `scratch`. Any of `common` may be a list: all combinations. A
    recipe may be a list too, to choose from. All have the same `skip`, the same `start`, and the
    same `classes`: a list, the name of one (`synset_lists.NAMES`) or a file with a synset a line.
    """
    kinds = [("level", k) for k in listed(level)] + [("random", k) for k in listed(placebo)]
    found = [common | {"labels": labels, "level": k} for labels, k in kinds]
    if finetuning is not None:
        found = [arm | {"finetuning": finetuning} for arm in found]
        alone = common | {"labels": "target", "level": 0, "pretraining": {}, "finetuning": scratch}
        found += [alone] if baseline else []
    found = combinations(found)
    if finetuning is None:  # a record without this argument means the same as one with False
        found = [{n: v for n, v in arm.items() if n != "held_out" or v} for arm in found]
    listed_classes = synset_lists.read(classes) if isinstance(classes, str | Path) else classes
    same = {"skip": listed(skip), "classes": sorted(set(listed_classes))} | starts.arguments(start)
    return [arm | {name: value for name, value in same.items() if value} for arm in found]


def sets_of(setting: Mapping, roots: Mapping[str, str], source: bool) -> Sets:
    """The sets that a run with these arguments opens, with or without those of a `source`."""
    return open_sets(chosen(LargerSource, setting)[0], roots, source)


def reads(setting: Mapping) -> tuple[str, ...]:
    """Which parts of the sets a run reads: pretraining no target, the baseline no source."""
    if "finetuning" not in setting:
        return ("source",)
    return PARTS[1:] if setting["labels"] == "target" else PARTS


def any_source(settings: Sequence[Mapping]) -> bool:
    """Whether any of some runs reads a source."""
    return any("source" in reads(setting) for setting in settings)


def stated(settings: Sequence[Mapping], roots: Mapping[str, str]) -> list[dict]:
    """What each run will read, JSON-plain: of each part the set and its images, by name and size.

    For key and record of the run, before it starts; see `Subset.stated`.
    """
    source = any_source(settings)
    told = once(
        lambda setting: sets_of(setting, roots, source).stated(*PARTS), names_of(LargerSource)
    )
    return [
        {part: told(setting)[part] for part in reads(setting)} | starts.stated(setting, roots)
        for setting in settings
    ]


def looked_over(settings: Sequence[Mapping], roots: Mapping[str, str]) -> list[dict]:
    """What the runs will read, a row for each choice of sets.

    Opens all sets and recipes, so that whatever is missing or misspelt is told before any work.
    """
    names, source = names_of(LargerSource), any_source(settings)
    opened_once = once(lambda setting: {"sets": sets_of(setting, roots, source)}, names)
    rows = []
    for setting in settings:
        check_recipes(setting)
        starts.refuse_unfit(setting, roots)
        sets = opened_once(setting)["sets"]
        if "source" in reads(setting):
            level_table(sets.source.images, setting["level"])
        row = {name: setting[name] for name in names if name in setting} | counted(sets, source)
        rows += [row] if row not in rows else []
    return rows


def counted(sets: Sets, of_source: bool = True) -> dict:
    """How many images and classes each part has, and how many of the target's the source has.

    Nothing `of_source` is told where none is read.
    """
    source, target = sets.source, sets.target
    classes = set(classes_in(source))
    joined = same(source.images, target.names, sets.classes)
    short = {"classes with fewer than asked for": source.short} if source.short else {}
    told = short | {
        "images of the source": len(source),
        "classes of the source": len(classes),
        "images of the target": len(target),
        "classes of the target": len(sets.classes),
        "target's images in the source": len(np.intersect1d(joined, source.rows)),
        "target's classes in the source": len(classes & set(sets.classes)),
        "images evaluated on": len(sets.evaluation),
        "classes evaluated on": len(classes_in(sets.evaluation)),
        "left out": sets.left_out(*PARTS),
    }
    return {name: value for name, value in told.items() if of_source or "source" not in name}


def pretrain(
    *,
    labels: str = "level",
    level: int = 0,
    pretraining: Mapping = {},
    seed: int = 0,
    start: str = "",
    **places: object,
) -> dict:
    """Pretrains on the source; the network stays in the folder of stages, below its fingerprint.

    `pretraining` is a recipe, as `recipe_of` reads it; `start` names weights to start from in place
    of the seed's (see `starts`), which no recipe of the paper has; `places`
    are fields of `LargerSource`, which choose images, and of `two_stages.Machine`. With `held_out`
    the source has no image that a finetuning with `held_out` is evaluated on.
    """
    choice, places = chosen(LargerSource, places)
    machine = Machine(**places)
    sets = open_sets(choice, machine.roots)
    begun = starts.read(start, machine.roots)
    done, classes = train_source(
        sets.source, labels, level, pretraining, machine, seed, start=begun
    )
    return {
        "metrics": {
            "classes": classes,
            "images": len(sets.source),
            "training_loss": done.curves["loss"][-1],
            "parameters": sum(p.numel() for p in done.model.parameters()),
        },
        "stage": done.key,
        "left_out": sets.left_out("source"),
        **describe(done),
    }


def train_source(
    source: Subset,
    labels: str,
    level: int,
    pretraining: Mapping,
    machine: Machine,
    seed: int,
    *,
    start: starts.Weights | None = None,
    wanted: bool = False,
) -> tuple[one_stage.Trained, int]:
    """The pretrained network, and its number of classes.

    Trained here; where it is `wanted` by a finetuning it must have been, see `two_stages.train`.
    """
    lookup, table = source_labels(source, labels, level, seed)
    recipe = recipe_of(pretraining)
    done = train(recipe, source, table, machine, seed, lookup=lookup, start=start, wanted=wanted)
    return done, int(table.max()) + 1


def finetune(
    *,
    labels: str = "level",
    level: int = 0,
    pretraining: Mapping = {},
    finetuning: Mapping = {},
    seed: int = 0,
    start: str = "",
    run_folder: Path | None = None,
    **places: object,
) -> dict:
    """Finetunes the whole network on the target and evaluates it.

    `labels` "target" is the baseline: it has no pretraining, and `finetuning` is its recipe from
    scratch. The pretrained network of the others is the one that `pretrain` makes of the same
    arguments and data; where it is not there this stops and says what differs, unless
    `train_missing` asks for it to be made. With `held_out` no image that is evaluated on was seen
    in pretraining either. `start` names weights that the first stage starts from in place of the
    seed's: the pretraining's, or of labels "target" this one's. `places` are fields of
    `LargerSource`, which choose images, and of `two_stages.Machine`.
    Per-image losses and predictions go to `run_folder/evaluation.npz`, with the images' labels;
    with `keep_every` the errors of each kept checkpoint to `run_folder/errors_by_step.jsonl`.
    """
    choice, places = chosen(LargerSource, places)
    machine, recipe = Machine(**places), recipe_of(finetuning)
    sets = open_sets(choice, machine.roots, source=labels != "target")
    one_stage.check(recipe, len(sets.target), machine.micro_batch)
    begun, classes, before = starts.read(start, machine.roots), len(sets.classes), None
    if labels != "target":
        networks.check_both(recipe_of(pretraining), recipe)
        before, classes = train_source(
            sets.source, labels, level, pretraining, machine, seed, start=begun, wanted=True
        )
        begun = before.folder
    of_target = target_labels(sets.target, sets.classes)
    done = train(recipe, sets.target, of_target, machine, seed, start=begun)
    of_evaluation = target_labels(sets.evaluation, sets.classes)
    found = evaluate(done, recipe, sets.evaluation, of_evaluation, machine)
    learnt = evaluate(done, recipe, sets.target, of_target, machine)
    errors_by_step(done, recipe, sets.evaluation, of_evaluation, machine, run_folder)
    if run_folder is not None and done.accelerator.is_main_process:
        evaluation.keep(found, Path(run_folder) / "evaluation.npz", sets.classes)
    return {
        "metrics": evaluation.errors_of(found, sets.evaluation.leaf)
        | {
            "training_error": float((learnt["rank"] > 0).mean()),
            "classes": classes,
            "target_classes": len(sets.classes),
        },
        "stage": done.key,
        "pretraining_stage": before.key if before else None,
        "left_out": sets.left_out(*PARTS if labels != "target" else PARTS[1:]),
        **describe(done),
    }
