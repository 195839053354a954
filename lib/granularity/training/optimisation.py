"""The optimiser of a recipe, and the learning rate of a step."""

import math

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from granularity.training.recipe import Recipe


def optimiser_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """timm's optimiser of the recipe; biases and norms are not decayed, as timm does it."""
    beta = {} if recipe.optimiser == "sgd" else {"betas": (recipe.momentum, recipe.beta2)}
    name = {"sgd": "momentum"}.get(recipe.optimiser, recipe.optimiser)  # timm's "sgd" is Nesterov's
    return create_optimizer_v2(
        model,
        opt=name,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
        **beta,
    )


def learning_rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step: linear warm-up from one warm-up step's share, then the schedule.

    A pure function of the step, so that there is no state to lose.
    """
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, steps - recipe.warmup)
    factor = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "step": 0.1 ** sum(step >= steps * third for third in (1 / 3, 2 / 3, 8 / 9)),
    }[recipe.schedule]
    return recipe.learning_rate * factor
