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
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from granularity.experiments.datasets import MINI, PLANKTON, TINY, TINY_SYNSETS
from granularity.hierarchies import plankton
from granularity.images import splits
from granularity.images.toy import drawing
from granularity.inputs import renamed
from granularity.proofs import layouts_drawn
from granularity.proofs.canary import OPENINGS
from granularity.records.entries import kind_of, named

IMAGES = ("imagenet.pretrain", "imagenet.finetune", "inaturalist.transfer")
EMBEDDING = "resnet10t"  # a network of timm's whose weights come from a file
OPENING = OPENINGS[0]
STEPS, BATCH = 6, 16  # of a canary's stage
PER_CLASS = (10, 2)  # training and validation images of each class of the drawn Tiny-ImageNet
FEW = {"source_images": 6, "target_images": 3, "images": 4}  # of each class, where a run has more
# What a simulation is cut down to, where it has more.
SHORT = {"steps": 12, "batch_size": 16, "logged": 3, "test_samples": 40, "finetune_steps": 3}
SHORT |= {"finite_set": 48}


@dataclass(frozen=True)
class Canary:
    """One short run: its name, the kind of its entry, its arguments, and where things lie."""

    name: str
    kind: str
    arguments: Mapping[str, Any]
    places: Mapping[str, Any] = field(default_factory=dict)
    new: bool = False  # older code may refuse it, and there is nothing to compare then
    waits: bool = False  # asked for twice, and the second time while another holds its stages

    def job(self) -> dict:
        """What `canary` reads of it."""
        names = [self.kind, *named(self.kind).names] if self.kind != OPENING else OPENINGS
        told = {"name": self.name, "arguments": dict(self.arguments), "places": dict(self.places)}
        told |= {"waits": True} if self.waits else {}
        return told | {"entry": names, "first_names": renamed.FIRST}


# ------------------------------------------------------------------------------------- images


def draw(folder: Path) -> dict[str, str]:
    """What canaries read, the same on every machine: small images, and a network's weights.

    Returns where they lie by their names.
    """
    drawing.draw(folder / "toy")
    synsets = TINY_SYNSETS.read_text(encoding="utf-8").split()
    rng = np.random.default_rng(0)
    twin = splits.twins(splits.DUPLICATES)[0][0]
    for part, count in zip(("train", "val"), PER_CLASS, strict=True):
        for number, synset in enumerate(synsets):
            place = folder / TINY / part / synset / "images"
            place.mkdir(parents=True)
            names = [f"{synset}_{image}.JPEG" for image in range(count)]
            if part == "train" and twin.startswith(f"{synset}/"):
                names.append(twin.split("/")[1])  # one that training must leave out
            for name in names:
                grey = rng.integers(0, 90, (64, 64, 3)) + number * 160 // len(synsets)
                kind = "PNG" if name.endswith("_0.JPEG") else "JPEG"  # Pillow decodes both
                Image.fromarray(grey.astype(np.uint8)).save(place / name, kind, quality=90)
    draw_others(folder, rng)
    layouts_drawn.lay_out(folder / "layouts")
    torch.manual_seed(0)
    model = timm.create_model(EMBEDDING)
    save_file(model.state_dict(), folder / "weights.safetensors")
    places = {name: str(folder / name) for name in ("toy", TINY, MINI, PLANKTON, "layouts")}
    return places | {"weights": str(folder / "weights.safetensors")}


def draw_others(folder: Path, rng: np.random.Generator) -> None:
    """Two classes that Tiny-ImageNet lacks, and all of the plankton's, a few images of each."""
    for part, count in zip(("train", "val"), PER_CLASS, strict=True):
        names = [f"{synset}/{n}.jpg" for synset in ("n01532829", "n02089867") for n in range(count)]
        images = {name: layouts_drawn.encoded(rng.integers(0, 255, (32, 32, 3))) for name in names}
        layouts_drawn.write(folder / MINI / part, images)
    names = [f"{name}/{n}.jpg" for name in plankton.shipped(True).classes for n in range(3)]
    shapes = [(12, 9, 3), (9, 9, 3)]
    images = {
        name: layouts_drawn.encoded(rng.integers(0, 255, shapes[len(name) % 2])) for name in names
    }
    layouts_drawn.write(folder / PLANKTON / "train", images)


# -------------------------------------------------------------------------------------- short


def of_records(records: Iterable[Mapping[str, Any]], roots: Mapping[str, str]) -> list[Canary]:
    """One canary for each way that these records went: the first of them, cut short."""
    found: dict[str, Canary] = {}
    for record in records:
        kind, arguments = kind_of(record["entry"]), renamed.current(record["arguments"])
        if kind in IMAGES:
            name, arguments = way_of_training(kind, arguments), cut(arguments)
            found.setdefault(name, Canary(name, kind, arguments, {"roots": dict(roots), **ASKED}))
        elif kind == "theory.simulate":
            name = way_of_theory(arguments)
            found.setdefault(name, Canary(name, kind, shortened(arguments)))
    return list(found.values())


# A finetuning trains its own pretraining here, where a version wants to be asked for that.
ASKED = {"train_missing": True}


def beside(drawn: Mapping[str, str]) -> list[Canary]:
    """Ways that no published run went and others will: the drawn dataset, sets in other layouts."""
    toy, small = Path(drawn["toy"]), {"preset": "resnet_toy", "epochs": 0, "steps": STEPS}
    small |= {"batch_size": BATCH, "warmup": 2}
    tuned = small | {"preset": "resnet_toy_finetune"}
    recipes = {"pretraining": small, "finetuning": tuned}
    roots = dict(drawn) | {name: str(toy / name) for name in ("imagenet21k", "imagenet1k")}
    roots["inaturalist"] = str(toy / "inaturalist")
    places = {"roots": roots, **ASKED}
    datasets = [
        ("imagenet.finetune", {"dataset": "toy", "labels": "level", "level": 4}),
        ("imagenet.finetune", {"dataset": "toy", "labels": "target", "pretraining": {}}),
        ("imagenet.finetune", {"dataset": "imagenet", "labels": "level", "overlap": "disjoint"}),
        ("imagenet.finetune", {"dataset": "toy", "labels": "random", "source_images": 6}),
        ("inaturalist.transfer", {"dataset": "toy", "labels": "rank:family"}),
        ("inaturalist.transfer", {"dataset": "inaturalist", "labels": "cluster:12", "images": 4}),
        ("inaturalist.transfer", {"dataset": "toy", "labels": "cross:12", "finetuning": {}}),
        ("imagenet.finetune", {"dataset": "toy", "labels": "target", **HELD_OUT}),
        ("inaturalist.transfer", {"dataset": TINY, "target": "balanced6", **LEAVES_OF_FOUR}),
        ("imagenet.finetune", {"dataset": "imagenet", "labels": "target", "pretraining": {}}),
    ]
    found = [
        Canary(f"{kind}, {json.dumps(given)}", kind, {"seed": 3, **recipes, **given}, places)
        for kind, given in datasets
    ]
    batches = {"pretraining": small | {"ghost_batch": 8}, "finetuning": tuned | {"ghost_batch": 8}}
    vit = {"model": "vit_tiny_patch16_224", "image_size": 32}
    vit |= {"model_options": {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}}
    larger = {"pretraining": small | vit, "finetuning": tuned | vit | {"image_size": 48}}
    dropped = vit | {"model_options": vit["model_options"] | {"proj_drop_rate": 0.1}}
    in_ghost_batches = {stage: recipe | dropped for stage, recipe in batches.items()}
    ending = {"model": "resnetv2_50", "model_options": {"layers": [1] * 4, "channels": [8] * 4}}
    windows = {"model": "swin_tiny_patch4_window7_224", "image_size": 64, "augmentation": "crop"}
    windows |= {"model_options": {"embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4}}
    shifted = {"pretraining": small | windows, "finetuning": tuned | windows | {"image_size": 96}}
    both, clipped, from_files = (
        {stage: recipe | more for stage, recipe in recipes.items()}
        for more in (ending, {"clip_grad_norm": 1.0}, {"image_size": 72, "augmentation": "crop"})
    )
    options = vit | OPTIONS
    looked_at = {"pretraining": small | options, "finetuning": tuned | options | SMOOTHED}
    for kind, given in (datasets[0], datasets[4]):
        name = f"{kind}, {json.dumps(given)}"
        one, two = ({"seed": 3, **recipe, **given} for recipe in (larger, looked_at))
        found.append(Canary(f"{name}, larger", kind, one, places, waits=True))
        found.append(Canary(f"{name}, options", kind, two, places | KEPT, new=True))
        for words, chosen in (
            ("clipped", clipped),
            ("from files", from_files),
            ("in ghost batches", in_ghost_batches),
            ("a convolution at the end", both),
            ("windows", shifted),
            ("skipping", recipes | {"skip": ["missing"]}),
            *([("of some classes", recipes | SOME)] if kind == "imagenet.finetune" else []),
        ):
            arguments = {"seed": 3, **chosen, **given}
            found.append(Canary(f"{name}, {words}", kind, arguments, places, new=True))
    for kind, given in (
        ("imagenet.finetune", {"dataset": MINI, "labels": "level", "overlap": "disjoint"}),
        ("inaturalist.transfer", {"dataset": PLANKTON, "target": "group", **LEAVES_OF_FOUR}),
        ("inaturalist.transfer", {"dataset": PLANKTON, "target": "group", "labels": "target"}),
    ):
        arguments = {"seed": 3, **recipes, **given}
        found.append(Canary(f"{kind}, {json.dumps(given)}", kind, arguments, places, new=True))
    there = {stage: recipe | {"decoder": "device"} for stage, recipe in from_files.items()}
    for kind, given in (
        ("imagenet.finetune", {"dataset": TINY, "labels": "level", "level": 4, **SMALL_SETS}),
        ("inaturalist.transfer", {"dataset": TINY, "target": "balanced6", **LEAVES_OF_FOUR}),
    ):
        name = f"{kind}, decoded where the network is"
        found.append(Canary(name, kind, {"seed": 3, **there, **given}, places, new=True))
    foreign = datasets[5][1] | {"embedding": EMBEDDING}
    arguments = {"seed": 3, **recipes, **foreign}
    weights = places | {"weights": drawn["weights"]}
    found.append(
        Canary(f"{datasets[5][0]}, {json.dumps(foreign)}", datasets[5][0], arguments, weights)
    )
    places = {"roots": roots | {"start": drawn["weights"]}, **ASKED}
    whole = {"model": EMBEDDING, "model_options": {}}
    first, second = {"pretraining": small | whole}, {"finetuning": tuned | whole}
    for kind, given in (
        ("imagenet.pretrain", {"labels": "level", "level": 4, **first}),
        ("imagenet.finetune", {"labels": "target", "pretraining": {}, **second}),
        ("inaturalist.transfer", {"labels": "rank:family", **first, **second}),
    ):
        arguments = {"dataset": "toy", "seed": 3, "start": "weights.safetensors", **given}
        found.append(Canary(f"{kind}, from weights", kind, arguments, places, new=True))
    return [*found, *openings(drawn)]


def openings(drawn: Mapping[str, str]) -> list[Canary]:
    """Sets in every layout that can be read, and with what is left out where that is asked."""
    root = Path(drawn["layouts"])
    asked = {
        "flat": {},
        "parted": {"part": "train"},
        "tar": {},
        "tars": {},
        "packed": {},
        "numbered": {"classes": ["b", "a"]},
    }
    asked |= {"broken": {"skip_broken": True}, "empty": {"skip_missing": True}}
    every = [
        Canary(f"a set: {name}", OPENING, {"root": str(root / name), **more})
        for name, more in asked.items()
    ]
    left_out = {"skip_extra": True, "skip_missing": True}
    odd = [
        Canary(f"a set: {name}", OPENING, {"root": str(root / name), **left_out}, new=True)
        for name in ("litter", "litter packed")
    ]
    parts = {"class files": "train", "archives": "train", "told": "train", "listed": "train"}
    parts |= {"without folders": "val", "without folders, packed": "val"}
    downloads = [
        Canary(f"a set: {name}", OPENING, {"root": str(root / name), "part": part}, new=True)
        for name, part in parts.items()
    ]
    shrunken = {"root": str(root / "shrunk"), "skip_broken": True}
    return [*every, *odd, *downloads, Canary("a set: shrunk", OPENING, shrunken, new=True)]


def way_of_training(kind: str, arguments: Mapping[str, Any]) -> str:
    """Which way through the code a run with images goes, in words."""
    words = [kind, arguments["labels"].partition(":")[0], arguments.get("target", "")]
    words += [arguments.get("overlap", ""), "held out" * arguments.get("held_out", False)]
    for stage in ("pretraining", "finetuning"):
        recipe = arguments.get(stage) or {}
        kept = {name: recipe[name] for name in sorted(recipe) if name not in LENGTHS}
        words.append(json.dumps(kept, sort_keys=True) if recipe else "")
    return ", ".join(filter(None, words))


HELD_OUT = {"pretraining": {}, "held_out": True}  # of the one experiment that always knew them
OPTIONS = {"ema": 0.5, "layer_decay": 0.7, "optimiser": "lamb", "grad_checkpointing": True}
OPTIONS |= {"early_stopping": 1, "evaluate_every": 2}
SMOOTHED, KEPT = {"label_smoothing": 0.1}, {"save_every": 1, "keep_every": 3}
SOME = {"classes": [*drawing.SYNSETS[10:30]], "source_images": 50}  # no class has so many
SMALL_SETS = {"source_images": 6, "target_images": 3}
LEAVES_OF_FOUR = {"labels": "rank:leaf", "images": 4}
# Fields of a recipe that are numbers, and no way.
LENGTHS = {"epochs", "steps", "learning_rate", "warmup", "batch_size", "weight_decay"}


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
                "batch_size": BATCH,
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
    """Of each entry, kind of labels, network and precision the shortest published run."""
    best: dict[tuple, tuple[tuple[float, float], str, Mapping]] = {}
    for record in records:
        kind, arguments = kind_of(record["entry"]), renamed.current(record["arguments"])
        if kind not in IMAGES or arguments["dataset"] != TINY:
            continue
        recipe = arguments["pretraining"] or arguments["finetuning"]
        options = (recipe.get("preset"), recipe.get("model"), recipe.get("precision"))
        way = (kind, arguments["labels"].partition(":")[0], *options)
        cost = (images_passed(arguments), record["seconds"])
        if way not in best or cost < best[way][0]:
            best[way] = (cost, record["fingerprint"], arguments)
    return [
        Canary(
            f"published {run}: {' '.join(map(str, way))}",
            way[0],
            arguments,
            {"roots": dict(roots), **ASKED},
        )
        for way, (_, run, arguments) in best.items()
    ]


def images_passed(arguments: Mapping[str, Any]) -> float:
    """About how many images a run trains on, one after the other, for comparison with others'."""
    per_class = arguments.get("source_images") or arguments.get("images") or 400
    stages = [arguments.get(stage) or {} for stage in ("pretraining", "finetuning")]
    return sum(
        recipe.get("steps", 0) * recipe.get("batch_size", 128)
        + recipe.get("epochs", 0) * per_class * (83 if "images" in arguments else 200)
        for recipe in stages
    ) * (2 if arguments["labels"].startswith("cluster") else 1)
