"""What runs will take before they start: hours from measured or published speeds, and disk.

An estimate, from the recipes, the known sizes of the sets and what a network costs;
nothing is trained. Hours are those of the networks; beside them stand those of decoding the images.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import pandas as pd
import timm

from granularity import theory
from granularity.experiments import imagenet, inaturalist
from granularity.experiments.choices import LargerSource, SameImages, chosen
from granularity.experiments.datasets import Size, named
from granularity.experiments.sets import HELD_OUT
from granularity.hierarchies import synset_lists, taxonomy, wordnet
from granularity.labels.kinds import KINDS
from granularity.labels.specification import needs_embeddings, parse
from granularity.planning.speeds import (
    VIT,
    Speed,
    nearest,
    parameters,
    speed_for,
    theory_seconds,
    width_of,
)
from granularity.training.presets import recipe_of
from granularity.training.recipe import Recipe, changed

FORWARD = 1 / 3  # of the work of a training step
IN_MEMORY = 64  # pixels of a side up to which images lie decoded in memory
PARTS = ("source", "target", "evaluation")
KEPT = 2  # checkpoints of a stage that stay
INDEX_BYTES = 52  # of an index file for each image (the benchmark of full size measures it)
HALF, SINGLE = 2, 4  # bytes of a number


# ----------------------------------------------------------------------------------- what is made


@dataclass(frozen=True)
class Work:
    """What is made once, whoever needs it: a trained stage, or all images in one forward pass."""

    recipe: Recipe
    passes: float  # images, in units of one that a training step takes
    classes: int
    kept: float  # bytes that stay on the disk
    images: int  # that are read, each as often as it is

    def hours(self, speed: Speed, speeds: Sequence[Speed]) -> float:
        """Hours of the machine of `speed`, reckoned with the most similar network's speed on it."""
        like = nearest(speed, speeds, self.recipe, self.classes)
        return self.passes / like.of(self.recipe, self.classes) / 3600


def stage(recipe: Recipe, images: int, classes: int, evaluated: int = 0) -> Work:
    """A trained stage, and the images that its network is evaluated on afterwards."""
    trained = recipe.length(images) * recipe.batch_size
    passes = trained + FORWARD * evaluated
    moments = 1 if recipe.optimiser == "sgd" else 2
    kept = KEPT * (1 + moments) * SINGLE * parameters(recipe, classes)
    return Work(recipe, passes, classes, kept, trained + evaluated)


@cache
def embedding(name: str, images: int) -> Work:
    """All images in one forward pass of a pretrained network of timm's."""
    side = timm.get_pretrained_cfg(name).input_size[-1]
    recipe = changed(VIT, model=name.partition(".")[0], image_size=side, model_options={})
    return Work(recipe, FORWARD * images, 0, images * width_of(recipe) * HALF, images)


def size_of(shape: type, arm: Mapping[str, Any], told: Mapping | None = None) -> Size:
    """How many images a run reads, without those that are held out.

    Those that are there, where `told` says what they are; else by what is known of the set. Raises
    KeyError for an unknown dataset.
    """
    size = named(arm["dataset"]).size_of(chosen(shape, arm)[0])
    if told:
        counted = {part: told[part]["images"] for part in told if part in PARTS}
        same = {"target": counted["source"]} if shape is SameImages else {}
        return replace(size, **counted | same)
    if not arm.get("held_out"):
        return size
    target = int((1 - HELD_OUT) * size.target)
    return replace(size, target=target, evaluation=size.target - target)


def key_of(*parts: object) -> str:
    """Equal for equal work."""
    return json.dumps(parts, sort_keys=True, default=str)


def works(
    run: str, values: Mapping[str, Any], read: Sequence[Mapping | None] = ()
) -> dict[str, Work]:
    """What a job of a run notebook needs, by keys that are equal for equal work.

    `values` are all parameters of the job; `read` is what each of its runs reads, where that is
    here. The theory's runs are not among them: they train no
    network of a recipe. Raises KeyError for a run notebook that is not known here.
    """
    if run == "theory/simulate":
        return {}
    if run in ("imagenet/pretrain", "imagenet/finetune"):
        return of_imagenet(values, read, finetuned=run.endswith("finetune"))
    if run == "inaturalist/transfer":
        return of_transfer(values, read)
    raise KeyError(f"the plan knows no run notebook {run!r}")


def of_imagenet(
    values: Mapping[str, Any], read: Sequence[Mapping | None], finetuned: bool
) -> dict[str, Work]:
    """The stages of an ImageNet job; a finetuning job names its pretraining too."""
    common = ("dataset", "overlap", "source_images", "target_images", "pretraining", "seed")
    asked = {name: values[name] for name in (*common, "level", "placebo")}
    asked |= {"held_out": values.get("held_out", False), "classes": values.get("classes", ())}
    if finetuned:
        also = ("baseline", "finetuning", "scratch")
        asked |= {name: values[name] for name in also}
    found = {}
    arms = imagenet.arms(**asked)
    for arm, told in zip(arms, read or [None] * len(arms), strict=True):
        size = size_of(LargerSource, arm, told)
        source = {n: arm[n] for n in (*common, "labels", "level") if n != "target_images"}
        source |= {"held_out": bool(arm.get("held_out"))}  # such a source has images less
        source |= {"classes": arm.get("classes", [])}
        key = key_of("pretrain", source)
        if arm["labels"] != "target":
            recipe = recipe_of(arm["pretraining"])
            found[key] = stage(recipe, size.source, classes_at(arm["dataset"], arm["level"], size))
        if finetuned:
            recipe, seen = recipe_of(arm["finetuning"]), size.target + size.evaluation
            work = stage(recipe, size.target, size.target_classes, seen)
            found[key_of("finetune", arm)] = work
    return found


@cache
def classes_at(dataset: str, level: int, size: Size) -> int:
    """Classes of a level: counted where the source's synsets are known, else at most the leaves."""
    synsets = named(dataset).synsets
    if not synsets:
        return size.leaves
    return wordnet.class_counts(synset_lists.read(synsets), last=level)[level]


def of_transfer(values: Mapping[str, Any], read: Sequence[Mapping | None]) -> dict[str, Work]:
    """The stages of a job of Experiment B, and the embedding that its clusters need."""
    common = ("dataset", "target", "training", "images", "embedding", "pretraining")
    asked = {name: values[name] for name in (*common, "held_out", "seed", "labels", "finetuning")}
    found = {}
    arms = inaturalist.arms(**asked, one_pass=values["one_pass"])
    for arm, told in zip(arms, read or [None] * len(arms), strict=True):
        size = size_of(SameImages, arm, told)
        images, seen = size.target, size.target + size.evaluation
        recipe = recipe_of(arm["pretraining"])
        same = {n: arm[n] for n in (*common, "held_out", "seed") if n not in ("embedding",)}
        if needs_embeddings(arm["labels"]):
            if arm["embedding"] == inaturalist.SELF_SUPERVISED:
                first = stage(recipe, images, images, images)
                found[key_of("pretrain", same, "instance")] = first
            else:
                without = {n: v for n, v in same.items() if n not in ("pretraining", "seed")}
                made = embedding(arm["embedding"], images)
                found[key_of("embedding", without, arm["embedding"])] = made
        first = stage(recipe, images, classes_of(arm["labels"], arm["dataset"], images, size), seen)
        found[key_of("pretrain", same, arm["labels"])] = first
        if arm["finetuning"]:
            second = stage(recipe_of(arm["finetuning"]), images, size.target_classes, seen)
            found[key_of("finetune", same, arm["labels"], arm["finetuning"])] = second
    return found


def classes_of(labels: str, dataset: str, images: int, size: Size) -> int:
    """Classes of a label function, for its head's size; where they are not known, all leaves."""
    kind, given = parse(labels)
    if kind == "target":
        return size.target_classes
    if kind == "instance":
        return images
    if "<K>" in KINDS[kind].form:
        return int(given[0])
    of_one_rank = "<rank>" in KINDS[kind].form and kind != "mixed"
    return classes_at_rank(given[0]) if dataset == "inaturalist" and of_one_rank else size.leaves


@cache
def classes_at_rank(rank: str) -> int:
    """Classes at a rank of iNaturalist 2021."""
    return len(set(taxonomy.shipped().classes(rank)))


# ---------------------------------------------------------------------------------------- plan


@dataclass(frozen=True)
class Job:
    """A job of the graph: all its parameters, and whether its record is there."""

    run: str
    setting: str
    values: Mapping[str, Any]
    done: bool = False
    read: Sequence[Mapping | None] = ()  # what each of its runs reads; None where it is not here

    @cached_property
    def works(self) -> dict[str, Work]:
        """What it needs, see `works`; the same on every machine."""
        return works(self.run, self.values, self.read)


@dataclass(frozen=True)
class Known:
    """What hours are reckoned with: speeds of networks, of decoding on a core, and of the theory.

    `theory` has (operations, seconds) of runs, see `speeds.theory_operations`; `decoded` are
    photographs a second.
    """

    speeds: Sequence[Speed] = ()
    theory: Sequence[tuple[float, float]] = ()
    decoded: float = math.nan


def plan(jobs: Iterable[Job], known: Known, name: str = "") -> pd.DataFrame:
    """A row for each setting: jobs, those done, hours of the machine, the longest job, disk.

    What several jobs need counts for the first of them. `hours` are of one GPU or one CPU, and
    `decoding` those in which the job's workers decode its photographs; NaN where no speed is known.
    `gigabytes` are of checkpoints and embeddings that stay, of all jobs, done or not.
    """
    made: set[str] = set()
    rows = []
    for job in sorted(jobs, key=lambda job: not job.done):
        try:
            found = job.works
        except ValueError as error:  # as of a batch that is larger than the set
            raise ValueError(f"{job.run}, {job.setting}: {error}") from None
        fresh = {key: work for key, work in found.items() if key not in made}
        made |= set(fresh)
        device, processes = job.values.get("device", "cpu"), job.values.get("processes", 1)
        speed = speed_for(device, known.speeds, name if device == "cuda" else "")
        hours = sum(w.hours(speed, known.speeds) if speed else math.nan for w in fresh.values())
        if job.run == "theory/simulate":
            hours = theory_hours(job.values, known)
        workers = processes * max(1, job.values.get("workers", 0))
        photographs = sum(w.images for w in fresh.values() if w.recipe.image_size > IN_MEMORY)
        rows.append(
            {
                "run": job.run,
                "setting": job.setting,
                "jobs": 1,
                "done": int(job.done),
                "device": device,
                "processes": processes,
                "hours": 0.0 if job.done else hours,
                "decoding": photographs * (not job.done) / known.decoded / workers / 3600,
                "longest": 0.0 if job.done else hours / processes,
                "gigabytes": sum(work.kept for work in fresh.values()) / 1e9,
            }
        )
    if not rows:
        raise ValueError("there are no jobs to plan")
    same = ["run", "setting", "device", "processes"]
    how = {"jobs": "sum", "done": "sum", "hours": total, "decoding": total, "longest": "max"}
    how |= {"gigabytes": "sum"}
    return pd.DataFrame(rows).groupby(same, as_index=False, sort=True).agg(how)


def total(hours: pd.Series) -> float:
    """The sum, unknown where one of them is."""
    return hours.sum(skipna=False)


def theory_hours(values: Mapping[str, Any], known: Known) -> float:
    """Hours of a grid of the theory, run by run."""
    given = {name: value for name, value in values.items() if name != "folder"}
    return sum(theory_seconds(run, known.theory) for run in theory.grid(**given)) / 3600
