"""Networks: timm's, with the heads that the recipes ask for, and pretrained weights put in."""

import math
from collections.abc import Mapping

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from granularity.checkpoint import CheckpointError
from granularity.recipe import Recipe


def classifier_of(model: nn.Module) -> str:
    """The name of a timm network's last layer."""
    name = model.default_cfg["classifier"]
    return name if isinstance(name, str) else name[0]


def build(recipe: Recipe, num_classes: int, seed: int) -> nn.Module:
    """A new network with a head for `num_classes`, its weights a function of the seed alone.

    But for the last layer they do not depend on the number of classes: timm's own head would draw
    numbers for it before the rest is drawn, so every network is made with one class first.
    """
    vit = "vit" in recipe.model
    sized = {"img_size": recipe.image_size} if vit else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(recipe.model, num_classes=1, **sized, **recipe.model_options)
        replace_head(model, recipe, num_classes)
    return model


def replace_head(model: nn.Module, recipe: Recipe, num_classes: int) -> None:
    """A new head: zero weights; bias zero or -ln K; behind a tanh layer where the recipe asks.

    Raises ValueError where the network's own last layer is not a linear one.
    """
    name = classifier_of(model)
    found = model.get_submodule(name)
    if not isinstance(found, nn.Linear):
        raise ValueError(f"{recipe.model} ends in a {type(found).__name__}, not in a Linear layer")
    width = found.in_features
    last = nn.Linear(width, num_classes)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -math.log(num_classes) if recipe.head_start == "prior" else 0.0)
    tanh = (nn.Linear(width, width), nn.Tanh(), last)
    model.set_submodule(name, nn.Sequential(*tanh) if recipe.head == "tanh" else last)


def transfer(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts pretrained weights into all of a network but its head; position embeddings are resized.

    Raises CheckpointError, naming the tensor, where the networks differ.
    """
    head = f"{classifier_of(model)}."
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(head)}
    given = {name: value for name, value in weights.items() if not name.startswith(head)}
    if set(own) != set(given):
        raise CheckpointError(f"another network: {sorted(set(own) ^ set(given))[0]} in one only")
    if "pos_embed" in given and given["pos_embed"].shape[1] != own["pos_embed"].shape[1]:
        given["pos_embed"] = resample_abs_pos_embed(
            given["pos_embed"],
            model.patch_embed.grid_size,
            num_prefix_tokens=model.num_prefix_tokens,
        )
    for name, value in given.items():
        if value.shape != own[name].shape:
            raise CheckpointError(f"{name} is {tuple(value.shape)}, not {tuple(own[name].shape)}")
    for name, value in given.items():
        own[name].copy_(value)
