"""Short runs that go every way that published runs went: what two codes are compared by.

A canary is a published run cut short: the same function, labels, networks, losses, precision,
augmentation and stages, on few images or samples and for few steps. There is one for each way among
the published runs, and where the real images are at hand also a published run itself.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from granularity import splits, toy
from granularity.entries import kind_of, named
from granularity.source import LIBRARY

IMAGES = ("imagenet.pretrain", "imagenet.finetune", "inaturalist.transfer")
TINY = "tiny-imagenet-200"
STEPS, BATCH = 6, 16  # of a canary's stage
PER_CLASS = (10, 2)  # training and validation images of each class of the drawn Tiny-ImageNet
FEW = {"source_images": 6, "target_images": 3, "images": 4}  # of each class, where a run has more
# What a simulation is cut down to, where it has more.
SHORT = {"steps": 12, "batch": 16, "logged": 3, "test_samples": 40, "finetune_steps": 3}
SHORT |= {"finite_set": 48}


@dataclass(frozen=True)
class Canary:
    """One short run: its name, the kind of its entry, its arguments, and where things lie."""

    name: str
    kind: str
    arguments: Mapping[str, Any]
    places: Mapping[str, Any] = field(default_factory=dict)

    def job(self) -> dict:
        """What `canary` reads of it."""
        names = [self.kind, *named(self.kind).names]
        told = {"name": self.name, "arguments": dict(self.arguments), "places": dict(self.places)}
        return told | {"entry": names}


# ------------------------------------------------------------------------------------- images


def draw(folder: Path) -> dict[str, str]:
    """Small images for canaries, the same on every machine: the toy world, and a Tiny-ImageNet.

    Returns the roots of both by their names.
    """
    toy.draw(folder / "toy")
    synsets = (LIBRARY / "tables" / f"{TINY}.txt").read_text(encoding="utf-8").split()
    rng = np.random.default_rng(0)
    twin = splits.twins(LIBRARY / "tables" / "tiny-imagenet-duplicates.csv")[0][0]
    for part, count in zip(("train", "val"), PER_CLASS, strict=True):
        for number, synset in enumerate(synsets):
            place = folder / TINY / part / synset / "images"
            place.mkdir(parents=True)
            names = [f"{synset}_{image}.JPEG" for image in range(count)]
            if part == "train" and twin.startswith(f"{synset}/"):
                names.append(twin.split("/")[1])  # one that training must leave out
            for name in names:
                grey = rng.integers(0, 90, (64, 64, 3)) + number * 160 // len(synsets)
                Image.fromarray(grey.astype(np.uint8)).save(place / name, quality=90)
    return {"toy": str(folder / "toy"), TINY: str(folder / TINY)}


# -------------------------------------------------------------------------------------- short


def of_records(records: Iterable[Mapping[str, Any]], roots: Mapping[str, str]) -> list[Canary]:
    """One canary for each way that these records went: the first of them, cut short."""
    found: dict[str, Canary] = {}
    for record in records:
        kind = kind_of(record["entry"])
        if kind in IMAGES:
            name, arguments = way_of_training(kind, record["arguments"]), cut(record["arguments"])
            found.setdefault(name, Canary(name, kind, arguments, {"roots": dict(roots), **ASKED}))
        elif kind == "theory.simulate":
            name = way_of_theory(record["arguments"])
            found.setdefault(name, Canary(name, kind, shortened(record["arguments"])))
    return list(found.values())


# A finetuning trains its own pretraining here, where a version wants to be asked for that.
ASKED = {"train_missing": True}


def way_of_training(kind: str, arguments: Mapping[str, Any]) -> str:
    """Which way through the code a run with images goes, in words."""
    words = [kind, arguments["labels"].partition(":")[0], arguments.get("target", "")]
    words += [arguments.get("overlap", ""), "held out" * arguments.get("held_out", False)]
    for stage in ("pretraining", "finetuning"):
        recipe = arguments.get(stage) or {}
        kept = {name: recipe[name] for name in sorted(recipe) if name not in LENGTHS}
        words.append(json.dumps(kept, sort_keys=True) if recipe else "")
    return ", ".join(filter(None, words))


LENGTHS = {"epochs", "steps", "rate", "warmup", "batch", "weight_decay"}  # numbers, and no way


def way_of_theory(arguments: Mapping[str, Any]) -> str:
    """Which way through the code a simulation goes, in words."""
    told = ("labels", "activation", "biases", "output_weights", "optimiser")
    words = [f"{name} {arguments[name]}" for name in told]
    maybe = ("classes", "finite_set", "finetune_steps", "top_loss", "hard_share", "unevenness")
    words += [name for name in maybe if arguments[name]]
    words += ["superclasses"] if arguments["superclasses"] > 2 else []
    return ", ".join(["theory.simulate", *words])


def cut(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a run with images, for a few of them and a few steps."""
    short = dict(arguments)
    for stage in ("pretraining", "finetuning"):
        if short.get(stage):
            short[stage] = {
                **short[stage],
                "epochs": 0,
                "steps": STEPS,
                "batch": BATCH,
                "warmup": 2,
            }
    for name, few in FEW.items():
        if short.get(name):
            short[name] = few
    return short


def shortened(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a simulation, for a few samples and a few steps."""
    return {
        name: min(value, SHORT[name]) if name in SHORT else value
        for name, value in arguments.items()
    }


def on_photographs(records: Iterable[Mapping[str, Any]], roots: Mapping[str, str]) -> list[Canary]:
    """Of each entry, kind of labels, network and precision the published run of fewest images."""
    best: dict[tuple, tuple[float, Mapping]] = {}
    for record in records:
        kind, arguments = kind_of(record["entry"]), record["arguments"]
        if kind not in IMAGES or arguments["world"] != TINY:
            continue
        recipe = arguments["pretraining"] or arguments["finetuning"]
        options = (recipe.get("preset"), recipe.get("model"), recipe.get("precision"))
        way = (kind, arguments["labels"].partition(":")[0], *options)
        passes = images_passed(arguments)
        if way not in best or passes < best[way][0]:
            best[way] = (passes, record)
    return [
        Canary(
            f"published {record['fingerprint']}: {' '.join(map(str, way))}",
            way[0],
            record["arguments"],
            {"roots": dict(roots), **ASKED},
        )
        for way, (_, record) in best.items()
    ]


def images_passed(arguments: Mapping[str, Any]) -> float:
    """About how many images a run trains on, one after the other, for comparison with others'."""
    per_class = arguments.get("source_images") or arguments.get("images") or 400
    stages = [arguments.get(stage) or {} for stage in ("pretraining", "finetuning")]
    return sum(
        recipe.get("steps", 0) * recipe.get("batch", 128)
        + recipe.get("epochs", 0) * per_class * (83 if "images" in arguments else 200)
        for recipe in stages
    ) * (2 if arguments["labels"].startswith("cluster") else 1)
