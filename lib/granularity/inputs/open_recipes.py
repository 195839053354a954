"""A recipe that runs have yet to choose, as size files and jobs write it.

In a size file `finetuning: {best_of: rates}` names a setting; a job's parameters have the folders
of that setting's jobs instead, and the recipes that they try.
"""

from collections.abc import Mapping
from typing import Any

BEST_OF, RECIPES = "best_of", "recipes"


def is_open(value: object) -> bool:
    """Whether a parameter stands for a recipe that is not chosen yet."""
    return isinstance(value, Mapping) and BEST_OF in value


def folders_of(values: Mapping[str, Any]) -> list[str]:
    """The folders of all runs that choose a recipe for a job, of its parameters."""
    return [folder for value in values.values() if is_open(value) for folder in value[BEST_OF]]
