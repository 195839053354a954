"""How fast a machine trains a network: measured here or published, scaled by operations.

A network is taken to reach the share of a machine's peak that the most similar one does whose
speed is known: the operations alone would have a ResNet-50 train 4.3 times as fast as a ViT-B/16,
and 3.1 times is what was published.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pandas as pd
import timm
import torch

from granularity.benchmarks import training
from granularity.claims.rules import Table
from granularity.training import networks
from granularity.training.presets import preset, recipe_of
from granularity.training.recipe import Recipe, changed

VIT = preset("vit_b16_i21k")  # what the published speeds are of
PHOTOGRAPH = 500 * 375  # pixels of ImageNet's, mostly
DRAWING = 64  # multiplications that drawing a coordinate of the theory's images is taken for


# ------------------------------------------------------------------------------------ networks


class Measured(NamedTuple):
    """What a network with one class is made of, and costs in a forward pass of one image."""

    parameters: int
    operations: float
    width: int
    attends: bool  # it has layers of attention


@cache
def measured(model: str, options: str, side: int, head: str) -> Measured:
    """What a network with one class is made of.

    The network is not really made: its tensors have shapes and no numbers.
    """
    recipe = changed(
        VIT, model=model, model_options=json.loads(options), image_size=side, head=head
    )
    with torch.device("meta"):
        made = networks.build(recipe, 1, 0)
        numbers = sum(p.numel() for p in made.parameters())
        attends = any("attn" in name for name, _ in made.named_modules())
        return Measured(numbers, training.flops(made, side, "meta"), made.num_features, attends)


def alone(recipe: Recipe) -> Measured:
    """What a recipe's network is made of, with one class."""
    options = json.dumps(recipe.model_options)
    return measured(recipe.model, options, recipe.image_size, recipe.head)


def of_network(recipe: Recipe, classes: int) -> tuple[int, float]:
    """Parameters and operations of a recipe's network with so many classes, at least one."""
    one, more = alone(recipe), max(0, classes - 1)
    return one.parameters + (one.width + 1) * more, one.operations + 2 * one.width * more


def width_of(recipe: Recipe) -> int:
    """Numbers that a network's last layer gets for one image."""
    return alone(recipe).width


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
    attends: bool = True  # as a transformer does

    def of(self, recipe: Recipe, classes: int) -> float:
        """Images a second of another network on this machine."""
        return self.images_per_second * self.operations / operations(recipe, classes)


def published(rates: Table, networks: Table) -> list[Speed]:
    """Speeds that others state, fastest GPU first.

    `rates` are of a ViT-B/16 at 224 pixels and 1,000 classes, on several GPUs; `networks` those of
    several on one GPU, whose ratios are taken for the others too.
    """
    found = [
        speed
        for gpu, how, rate, source in sorted(rates.rows, key=lambda row: -row[2])
        for speed in of_networks(gpu, rate, f"published: {source} ({how})", networks)
    ]
    return found


def of_networks(machine: str, rate: float, source: str, networks: Table) -> list[Speed]:
    """The speed of each network on a GPU that trains the first one at so many images a second."""
    (_, first), *_ = networks.rows
    found = []
    for model, on_one in networks.rows:
        side = int(timm.get_pretrained_cfg(model).input_size[-1])
        recipe = changed(VIT, model=model, model_options={}, image_size=side, head="linear")
        cost, attends = operations(recipe, 1000), alone(recipe).attends
        found.append(Speed(machine, "cuda", rate * on_one / first, cost, source, model, attends))
    return found


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
        attends = alone(recipe).attends
        found.append(Speed(name, device, float(rate), cost, told, model, attends))
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
        attends = alone(recipe).attends
        found.append(Speed(name, "cpu", rate, cost, told, recipe.model, attends))
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
    """The speed of the same machine whose network is most like a recipe's.

    Transformers are like transformers; among them, or the others, operations tell.
    """
    cost, attends = operations(recipe, classes), alone(recipe).attends
    same = [s for s in speeds if (s.device, s.machine) == (speed.device, speed.machine)]
    return min(same, key=lambda s: (s.attends != attends, abs(math.log(s.operations / cost))))


# ------------------------------------------------------------------------------- files, theory


def decoded(runs: pd.DataFrame) -> float:
    """Photographs that one core decodes and crops a second, by the benchmark of training; or NaN.

    Its files are smaller than photographs, as of ImageNet: the time goes with the pixels.
    """
    if "ours_loader" not in runs:
        return math.nan
    return float((runs["ours_loader"] * runs["pixels"] ** 2 / PHOTOGRAPH).median())


def theory_operations(values: Mapping[str, Any]) -> float:
    """Multiplications of a run of the theory, but for a factor that all have."""
    outputs = values["superclasses"]
    if values["labels"] != "coarse":
        outputs = values["classes"] or values["superclasses"] * values["k"]
    steps = values["steps"] + values["finetune_steps"]
    data = values["patches"] * values["d"]
    return steps * values["batch_size"] * data * (outputs * values["width"] + DRAWING)


def theory_seconds(values: Mapping[str, Any], known: Sequence[tuple[float, float]]) -> float:
    """Seconds of a run, from (operations, seconds) of others: by those that are most like it."""
    if not known:
        return math.nan
    cost = theory_operations(values)
    like = min({work for work, _ in known}, key=lambda work: abs(math.log(work / cost)))
    return statistics.median(seconds for work, seconds in known if work == like) * cost / like
