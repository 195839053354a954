"""What runs will take before they start: hours from measured or published speeds, and disk.

An estimate, from the recipes, the known sizes of the sets and what a network costs;
nothing is trained and no image opened. It assumes that images come as fast as a network takes them.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import timm

from granularity.experiments import imagenet, inaturalist
from granularity.experiments.datasets import LargerSource, SameImages, Size, chosen, named
from granularity.experiments.sets import HELD_OUT
from granularity.experiments.two_stages import listed
from granularity.hierarchies import taxonomy, wordnet
from granularity.labels.specification import KINDS, needs_embeddings, parse
from granularity.planning.speeds import VIT, Speed, nearest, parameters, speed_for, width_of
from granularity.training.presets import recipe_of
from granularity.training.recipe import Recipe, changed

FORWARD = 1 / 3  # of the work of a training step
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

    def hours(self, speed: Speed, speeds: Sequence[Speed]) -> float:
        """Hours of the machine of `speed`, reckoned with the most similar network's speed on it."""
        like = nearest(speed, speeds, self.recipe, self.classes)
        return self.passes / like.of(self.recipe, self.classes) / 3600


def stage(recipe: Recipe, images: int, classes: int, evaluated: int = 0) -> Work:
    """A trained stage, and the images that its network is evaluated on afterwards."""
    passes = recipe.length(images) * recipe.batch_size + FORWARD * evaluated
    moments = 1 if recipe.optimiser == "sgd" else 2
    kept = KEPT * (1 + moments) * SINGLE * parameters(recipe, classes)
    return Work(recipe, passes, classes, kept)


@cache
def embedding(name: str, images: int) -> Work:
    """All images in one forward pass of a pretrained network of timm's."""
    side = timm.get_pretrained_cfg(name).input_size[-1]
    recipe = changed(VIT, model=name.partition(".")[0], image_size=side, model_options={})
    return Work(recipe, FORWARD * images, 0, images * width_of(recipe) * HALF)


def size_of(shape: type, arm: Mapping[str, Any]) -> Size:
    """How many images a run reads. Raises KeyError for an unknown dataset."""
    return named(arm["dataset"]).size(chosen(shape, arm)[0])


def key_of(*parts: object) -> str:
    """Equal for equal work."""
    return json.dumps(parts, sort_keys=True, default=str)


def works(run: str, values: Mapping[str, Any]) -> dict[str, Work]:
    """What a job of a run notebook needs, by keys that are equal for equal work.

    `values` are all parameters of the job. The theory's runs are not among them: they train no
    network of a recipe. Raises KeyError for a run notebook that is not known here.
    """
    if run == "theory/simulate":
        return {}
    if run in ("imagenet/pretrain", "imagenet/finetune"):
        return of_imagenet(values, finetuned=run.endswith("finetune"))
    if run == "inaturalist/transfer":
        return of_transfer(values)
    raise KeyError(f"the plan knows no run notebook {run!r}")


def of_imagenet(values: Mapping[str, Any], finetuned: bool) -> dict[str, Work]:
    """The stages of an ImageNet job; a finetuning job names its pretraining too."""
    common = ("dataset", "overlap", "source_images", "target_images", "pretraining", "seed")
    asked = {name: values[name] for name in (*common, "level", "placebo")}
    asked |= {"held_out": values.get("held_out", False), "classes": values.get("classes", ())}
    if finetuned:
        also = ("baseline", "finetuning", "scratch")
        asked |= {name: values[name] for name in also}
    found = {}
    for arm in imagenet.arms(**asked):
        size = size_of(LargerSource, arm)
        source = {n: arm[n] for n in (*common, "labels", "level") if n != "target_images"}
        source |= {"held_out": bool(arm.get("held_out"))}  # such a source has images less
        source |= {"classes": arm.get("classes", [])}
        key = key_of("pretrain", source)
        if arm["labels"] != "target":
            recipe = recipe_of(arm["pretraining"])
            found[key] = stage(recipe, size.source, classes_at(arm["dataset"], arm["level"], size))
        if finetuned:
            share = 1 - HELD_OUT if arm["held_out"] else 1
            target = int(share * size.target)
            seen = target + (size.target - target if arm["held_out"] else size.evaluation)
            recipe = recipe_of(arm["finetuning"])
            found[key_of("finetune", arm)] = stage(recipe, target, size.target_classes, seen)
    return found


@cache
def classes_at(dataset: str, level: int, size: Size) -> int:
    """Classes of a level: counted for ImageNet-21k, at most the leaves for the others."""
    if dataset != "imagenet":
        return size.leaves
    return wordnet.class_counts(wordnet.read_list("imagenet21k"), last=level)[level]


def of_transfer(values: Mapping[str, Any]) -> dict[str, Work]:
    """The stages of a job of the iNaturalist arm, and the embedding that its clusters need."""
    common = ("dataset", "target", "training", "images", "embedding", "pretraining")
    asked = {name: values[name] for name in (*common, "held_out", "seed", "labels", "finetuning")}
    found = {}
    for arm in inaturalist.arms(**asked, one_pass=values["one_pass"]):
        size = size_of(SameImages, arm)
        images = int((1 - HELD_OUT if arm["held_out"] else 1) * size.source)
        seen = images + size.evaluation
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


def plan(
    jobs: Iterable[Job], speeds: Sequence[Speed], theory_seconds: float = math.nan, name: str = ""
) -> pd.DataFrame:
    """A row for each setting: jobs, those done, hours of the machine, the longest job, disk.

    What several jobs need counts for the first of them. `hours` are of one GPU or one CPU, those
    of the theory at `theory_seconds` a run; NaN where no speed is known. `gigabytes` are of
    checkpoints and embeddings that stay, of all jobs, done or not.
    """
    made: set[str] = set()
    rows = []
    for job in sorted(jobs, key=lambda job: not job.done):
        found = works(job.run, job.values)
        fresh = {key: work for key, work in found.items() if key not in made}
        made |= set(fresh)
        device, processes = job.values.get("device", "cpu"), job.values.get("processes", 1)
        speed = speed_for(device, speeds, name if device == "cuda" else "")
        hours = sum(w.hours(speed, speeds) if speed else math.nan for w in fresh.values())
        if job.run == "theory/simulate":
            hours = theory_runs(job.values) * theory_seconds / 3600
        rows.append(
            {
                "run": job.run,
                "setting": job.setting,
                "jobs": 1,
                "done": int(job.done),
                "device": device,
                "processes": processes,
                "hours": 0.0 if job.done else hours,
                "longest": 0.0 if job.done else hours / processes,
                "gigabytes": sum(work.kept for work in fresh.values()) / 1e9,
            }
        )
    if not rows:
        raise ValueError("there are no jobs to plan")
    same = ["run", "setting", "device", "processes"]
    how = {"jobs": "sum", "done": "sum", "hours": total, "longest": "max", "gigabytes": "sum"}
    return pd.DataFrame(rows).groupby(same, as_index=False, sort=True).agg(how)


def total(hours: pd.Series) -> float:
    """The sum, unknown where one of them is."""
    return hours.sum(skipna=False)


def theory_runs(values: Mapping[str, Any]) -> int:
    """Runs of a grid of the theory: all combinations of its lists."""
    return math.prod(len(listed(value)) for value in values.values())


# -------------------------------------------------------------------------------- what is missing


# keys of SOURCES
