"""The optimiser of a recipe, and the learning rate of a step."""

import math
from functools import cache

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info
from torch import Tensor, nn

from granularity.training import checkpoints
from granularity.training.recipe import Recipe

TIMMS = {"sgd": "momentum"}  # timm's "sgd" is Nesterov's, which is "nesterov" there too


def optimiser_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """timm's optimiser of the recipe; biases and norms are not decayed, as timm does it.

    With `layer_decay` a group's learning rate is the schedule's times its `lr_scale`.
    """
    name = TIMMS.get(recipe.optimiser, recipe.optimiser)
    two = get_optimizer_info(name).num_betas == 2
    return create_optimizer_v2(
        model,
        opt=name,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
        layer_decay=recipe.layer_decay if recipe.layer_decay < 1 else None,
        **({"betas": (recipe.momentum, recipe.beta2)} if two else {}),
    )


def check(model: nn.Module, recipe: Recipe) -> None:
    """Raises ValueError, before any work, where a recipe's optimiser cannot train a network.

    It must step without a second derivative or a package that is not here, and a checkpoint must
    hold all that it remembers; with `layer_decay` the network must have more than one layer's rate.
    """
    if get_optimizer_info(TIMMS.get(recipe.optimiser, recipe.optimiser)).second_order:
        raise ValueError(f"optimiser is {recipe.optimiser!r}: it wants second derivatives")
    try:
        resumes = steps_alike(recipe.optimiser)
    except Exception as error:  # of timm, torch, and of packages that are not there
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"optimiser {recipe.optimiser!r} does not work here: {told}") from error
    if not resumes:
        raise ValueError(
            f"optimiser is {recipe.optimiser!r}: it remembers what a checkpoint does not hold, so"
            f" that a run which is resumed would end with other numbers"
        )
    groups = optimiser_of(model, recipe).param_groups if recipe.layer_decay < 1 else []
    if groups and len({group["lr_scale"] for group in groups}) == 1:
        raise ValueError(
            f"layer_decay is {recipe.layer_decay:g}, and timm knows no layers of {recipe.model}"
        )


@cache
def steps_alike(optimiser: str) -> bool:
    """Whether an optimiser that is taken up from a checkpoint's tensors goes on as before.

    Tried on a small network. Raises whatever goes wrong there.
    """
    through = tried(optimiser, 0, 4, {})
    half = tried(optimiser, 0, 2, {})
    resumed = tried(optimiser, 2, 4, half)
    return all(torch.equal(value, resumed[name]) for name, value in through.items())


def tried(optimiser: str, first: int, end: int, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a checkpoint of a small network holds after the steps from `first` to `end`."""
    recipe = Recipe(optimiser=optimiser, learning_rate=0.01, weight_decay=0.1, steps=end)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        used = optimiser_of(model, recipe)
        if tensors:
            model.load_state_dict(checkpoints.part(tensors, "model"))
            checkpoints.restore(used, tensors)
        for step in range(first, end):
            torch.manual_seed(step)
            model(torch.randn(3, 4)).square().sum().backward()
            used.step()
            used.zero_grad(set_to_none=True)
    kept = {f"model.{name}": value.detach() for name, value in model.state_dict().items()}
    return kept | {name: value.clone() for name, value in checkpoints.flat(used).items()}


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
