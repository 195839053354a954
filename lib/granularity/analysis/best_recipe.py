"""The recipe that runs on held-out images choose, for jobs that take it up.

A size file says `finetuning: {best_of: rates}`: of the recipes that its setting `rates` tries, the
one that did best there. See `inputs.open_recipes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from granularity.fingerprints.digest import canonical, digest
from granularity.inputs.open_recipes import BEST_OF, RECIPES, is_open
from granularity.records import tables
from granularity.records.record import RecordError
from granularity.training.presets import recipe_of
from granularity.training.recipe import Recipe

LEARNT = 0.05  # the largest training error of a network that has learnt its images
RULE = (
    "the lowest mean error on held-out images; of those recipes with a training error of 5% or less"
    " in every run, where there is one, and of learning rates that are no edge of the grid"
)


@dataclass(frozen=True)
class Tried:
    """A recipe, its mean error on held-out images, and the largest training error of its runs."""

    recipe: Mapping[str, Any]
    error: float
    training_error: float


def settled(given: Mapping[str, Any], root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of a job with its recipes chosen, and for records why each was.

    `root` is what the folders of runs are below. Raises RecordError where runs are missing.
    """
    values, why = dict(given), {}
    for name, recipe in given.items():
        if is_open(recipe):
            folders = [root / folder for folder in recipe[BEST_OF]]
            tried = runs_of(folders, recipe[RECIPES])
            values[name] = dict(best(tried).recipe)
            why[name] = {"rule": RULE, "of": list(recipe[BEST_OF]), "tried": list(map(vars, tried))}
    return values, why


def runs_of(folders: Sequence[Path], recipes: Sequence[Mapping[str, Any]]) -> list[Tried]:
    """How each recipe did, over all finetunings of these folders: the same arms for each.

    Raises RecordError where a recipe has no run, or another number of arms than another, and for
    runs that are no choice since no image was held out.
    """
    found: dict[str, dict[str, Mapping]] = {in_full(recipe): {} for recipe in recipes}
    for made in (run for folder in folders for run in tables.collect(folder)):
        arguments = dict(made["arguments"])
        recipe = in_full(arguments.pop("finetuning"))
        if recipe in found:
            if not arguments.get("held_out"):
                raise RecordError(f"{made['fingerprint']} held no image out: it chooses no recipe")
            found[recipe][digest(arguments)] = made["metrics"]
    arms = {arm for runs in found.values() for arm in runs}
    for recipe, runs in zip(recipes, found.values(), strict=True):
        if set(runs) != arms or not arms:
            places = ", ".join(map(str, folders))
            raise RecordError(f"{places}: {len(runs)} of {len(arms)} runs with {dict(recipe)}")
    return [
        Tried(
            dict(recipe),
            float(np.mean([run["error"] for run in runs.values()])),
            float(max(run["training_error"] for run in runs.values())),
        )
        for recipe, runs in zip(recipes, found.values(), strict=True)
    ]


def best(tried: Sequence[Tried]) -> Tried:
    """The recipe that `RULE` chooses. Raises RecordError where all rates are edges of a grid."""
    recipes = [one.recipe for one in tried]
    refuse_edges(recipes)
    inner = [one for one in tried if not is_edge(one.recipe, recipes)]
    learnt = [one for one in inner if one.training_error <= LEARNT]
    return min(learnt or inner, key=lambda one: one.error)


def refuse_edges(recipes: Sequence[Mapping[str, Any]]) -> None:
    """Raises RecordError where every rate is an edge, so that none could be chosen of any runs."""
    if all(is_edge(recipe, recipes) for recipe in recipes):
        raise RecordError("every learning rate is an edge of its grid: try three or more")


def is_edge(one: Mapping[str, Any], recipes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no lower or no higher learning rate is tried in an otherwise equal recipe."""
    recipe = recipe_of(one)
    rates = [
        other.learning_rate
        for other in map(recipe_of, recipes)
        if at_one_rate(other) == at_one_rate(recipe)
    ]
    return recipe.learning_rate in (min(rates), max(rates))


def at_one_rate(recipe: Recipe) -> Recipe:
    """A recipe, whatever its learning rate."""
    return replace(recipe, learning_rate=1.0)


def in_full(recipe: Mapping[str, Any]) -> str:
    """All fields of a recipe, as one text; of none, nothing."""
    return canonical(recipe_of(recipe).plain()) if recipe else ""
