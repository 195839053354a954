"""How fast a machine trains a network: measured here or published, scaled by operations.

A network of another kind is taken to reach the share of a machine's peak that the known one does;
a residual network usually reaches less than a transformer.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import torch

from granularity.benchmarks import training
from granularity.claims.rules import Table
from granularity.training import networks
from granularity.training.presets import preset, recipe_of
from granularity.training.recipe import Recipe, changed

VIT = preset("vit_b16_i21k")  # what the published speeds are of


# ------------------------------------------------------------------------------------ networks


@cache
def measured(model: str, options: str, side: int, head: str) -> tuple[int, float, int]:
    """Parameters, operations of a forward pass, and width of a network with one class.

    The network is not really made: its tensors have shapes and no numbers.
    """
    recipe = changed(
        VIT, model=model, model_options=json.loads(options), image_size=side, head=head
    )
    with torch.device("meta"):
        made = networks.build(recipe, 1, 0)
        numbers = sum(p.numel() for p in made.parameters())
        return numbers, training.flops(made, side, "meta"), made.num_features


def of_network(recipe: Recipe, classes: int) -> tuple[int, float]:
    """Parameters and operations of a recipe's network with so many classes, at least one."""
    options = json.dumps(recipe.model_options)
    numbers, work, width = measured(recipe.model, options, recipe.image_size, recipe.head)
    more = max(0, classes - 1)
    return numbers + (width + 1) * more, work + 2 * width * more


def width_of(recipe: Recipe) -> int:
    """Numbers that a network's last layer gets for one image."""
    return measured(recipe.model, json.dumps(recipe.model_options), recipe.image_size, recipe.head)[
        2
    ]


def parameters(recipe: Recipe, classes: int) -> int:
    """Numbers that a network learns."""
    return of_network(recipe, classes)[0]


def operations(recipe: Recipe, classes: int) -> float:
    """Floating-point operations of one forward pass."""
    return of_network(recipe, classes)[1]


# -------------------------------------------------------------------------------------- speeds


@dataclass(frozen=True)
class Speed:
    """How fast one machine, a GPU or a CPU, trained one network, and who says so."""

    machine: str
    device: str  # "cuda" or "cpu"
    images_per_second: float
    operations: float  # of that network, for one image
    source: str
    model: str

    def of(self, recipe: Recipe, classes: int) -> float:
        """Images a second of another network on this machine."""
        return self.images_per_second * self.operations / operations(recipe, classes)


def published(rates: Table) -> list[Speed]:
    """Speeds that others state, of a ViT-B/16 at 224 pixels and 1,000 classes; fastest first."""
    cost = operations(changed(VIT, head="linear"), 1000)
    found = [
        Speed(gpu, "cuda", rate, cost, f"published: {source} ({how})", VIT.model)
        for gpu, how, rate, source in rates.rows
    ]
    return sorted(found, key=lambda speed: -speed.images_per_second)


def recorded(runs: pd.DataFrame) -> list[Speed]:
    """Speeds of this book's own training steps, from records of the benchmark of training."""
    if "ours_step" not in runs:
        return []
    runs = runs[runs["ours_step"].notna()]
    runs = runs.assign(name=[machine_name(row.machine, row.device) for row in runs.itertuples()])
    found = []
    for (name, device, model), group in runs.groupby(["name", "device", "preset_name"]):
        recipe = preset(model)
        cost, rate = operations(recipe, int(group["classes"].iloc[0])), group["ours_step"].median()
        told = f"measured here: the median of {len(group)} runs of the benchmark"
        found.append(Speed(name, device, float(rate), cost, told, model))
    return found


def of_runs(runs: pd.DataFrame) -> list[Speed]:
    """Speeds of finetuning runs on a CPU, in which evaluation and loading are not counted."""
    if "finetuning" not in runs:
        return []
    found = []
    runs = runs[[bool(given) for given in runs["finetuning"]]]
    runs = runs[["gpu" not in described for described in runs["machine"]]]  # which of the two?
    runs = runs.assign(
        recipe=[json.dumps(given, sort_keys=True) for given in runs["finetuning"]],
        name=[machine_name(described, "cpu") for described in runs["machine"]],
    )
    for (name, given), group in runs.groupby(["name", "recipe"]):
        recipe, classes = recipe_of(json.loads(given)), int(group["target_classes"].iloc[0])
        rate = float(group["images_per_second"].median())
        told = f"measured here: the median of {len(group)} runs"
        cost = operations(recipe, classes)
        found.append(Speed(name, "cpu", rate, cost, told, recipe.model))
    return found


def machine_name(described: Mapping[str, Any], device: str) -> str:
    """A GPU's name, or the processor's with its instructions: some have bf16, others emulate it."""
    if device == "cuda":
        return described["gpu"]
    more = f" with {described['instructions']}" if "instructions" in described else ""
    return f"{described['processor']}{more}"


def speed_for(device: str, speeds: Sequence[Speed], name: str = "") -> Speed | None:
    """The first speed of a device whose machine's name holds `name`; None where there is none."""
    fitting = [s for s in speeds if s.device == device and name.lower() in s.machine.lower()]
    return fitting[0] if fitting else None


def nearest(speed: Speed, speeds: Sequence[Speed], recipe: Recipe, classes: int) -> Speed:
    """The speed of the same machine whose network is most like a recipe's, by its operations."""
    cost = operations(recipe, classes)
    same = [s for s in speeds if (s.device, s.machine) == (speed.device, speed.machine)]
    return min(same, key=lambda s: abs(math.log(s.operations / cost)))
