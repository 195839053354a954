"""Runs that a rule reads, and of them those that may be judged: of its network, images and recipe.

A pilot on a few images gives numbers as the experiment itself does, and its record differs from the
experiment's in nothing but these.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from granularity.analysis.selection import once, plain, same, select
from granularity.claims.rules import Fixed, Rule
from granularity.training.presets import recipe_of


def read_by(rule: Rule, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs that a rule reads, arm by arm and each once, whether they may be judged or not.

    An arm of a part is called `arm (part)`; a rule without arms has one without a name, and where
    it is a part, with the part's.
    """
    if rule.parts:
        return {
            f"{arm} ({name})" if arm else name: read
            for name, part in rule.parts.items()
            for arm, read in read_by(part, runs).items()
        }
    runs = runs[runs["kind"] == rule.records] if "kind" in runs else runs
    return {
        arm: once(pd.concat([select(runs, {**where, **one}) for one in rule.settings or [{}]]))
        for arm, where in (rule.arms or {"": {}}).items()
    }


def seeds_of(rule: Rule, runs: pd.DataFrame) -> dict[str, int]:
    """How many seeds each of a rule's arms has, by the names of `read_by`."""
    return {
        arm: int(read["seed"].nunique()) if len(read) else 0
        for arm, read in read_by(rule, runs).items()
    }


def has_its_seeds(rule: Rule, runs: pd.DataFrame) -> bool:
    """Whether every arm of a rule, and of its parts, has the seeds that were planned for it."""
    if rule.parts:
        return all(has_its_seeds(part, runs) for part in rule.parts.values())
    return all(found >= rule.seeds for found in seeds_of(rule, runs).values())


def parted(
    runs: pd.DataFrame,
    arms: Iterable[Mapping[str, Any]],
    demands: Sequence[Fixed],
    scale: Sequence[Fixed] = (),
) -> tuple[pd.DataFrame, str]:
    """The runs without those of the arms that fail a demand; how many these are, and the first's.

    A run that started from weights or has some chosen classes alone is of no rule, whatever else it
    says: the rules are about networks that start from their seed, and about whole sets. A demand
    binds the runs that have the values `of`. What a rule demands every run has to say; `scale`
    speaks of runs of all kinds and ages, and a run that does not say something passes.
    """
    runs = runs.reset_index(drop=True)
    lacks = np.full(len(runs), "", dtype=object)
    read = runs.loc[sorted({row for arm in arms for row in select(runs, arm).index})]
    told = dict(zip(read.index, read.to_dict("records"), strict=True))
    for row, run in told.items():
        if is_said(run.get("start")) and run["start"]:
            lacks[row] = f"it started from the weights {run['start']}, and no rule is of such runs"
        if is_said(run.get("chosen_classes")):
            lacks[row] = "it has some chosen classes alone, and no rule is of such runs"
    for demand in (*demands, *scale):
        for row in select(read, demand.of).index:
            are = demand.are
            if demand in scale:
                are = as_far_as_said(told[row], are)
            lacks[row] = lacks[row] or difference(told[row], are)
    first = next(filter(None, lacks), "")
    others = int((lacks != "").sum())
    told = f"{others} run{'s are' if others > 1 else ' is'} left out: {first}" if others else ""
    return runs[lacks == ""], told


def scale_of(run: Mapping[str, Any], scales: Mapping[str, Sequence[Fixed]]) -> str:
    """The first size whose demands on such a run it meets; nothing where it meets none's.

    A size that demands nothing of a run of its kind does not know it.
    """
    for size, demands in scales.items():
        binding = [demand.are for demand in demands if not difference(run, demand.of)]
        if binding and not any(difference(run, as_far_as_said(run, are)) for are in binding):
            return size
    return ""


def as_far_as_said(run: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the wanted values of which a run says anything."""
    return {name: value for name, value in wanted.items() if is_said(run.get(name))}


def difference(run: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first value of a run that is not as it is wanted, in words; nothing where all are."""
    for name, value in wanted.items():
        found = plain(run.get(name))
        if isinstance(value, Mapping):
            if told := of_recipe(found, value):
                return f"{name}: {told}"
        elif not is_said(found):
            return f"the run does not say {name}, the rule wants {value!r}"
        elif not any(same(found, one) for one in listed(value)):
            wanted = " or ".join(map(repr, listed(value)))
            return f"{name} is {found!r}, the rule wants {wanted}"
    return ""


def listed(value: Any) -> list:
    """The values that a demand allows."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def is_said(value: Any) -> bool:
    """Whether a run says a value; pandas has nan for what one run of a table does not say."""
    return value is not None and not (isinstance(value, float) and value != value)


def of_recipe(found: Any, wanted: Mapping[str, Any]) -> str:
    """The first field of a recipe that is not as wanted; a recipe without fields is none."""
    if not isinstance(found, Mapping):
        return "the run does not say it"
    if not found or not wanted:
        return "" if found == wanted else "there is one" if found else "there is none"
    try:
        fields = json.loads(resolved(json.dumps(found, sort_keys=True)))
    except (KeyError, TypeError, ValueError) as error:
        return f"a recipe that is none any more ({error})"
    for name, value in wanted.items():
        if not any(same(fields.get(name), one) for one in listed(value)):
            wanted = " or ".join(map(repr, listed(value)))
            return f"{name} is {fields.get(name)!r}, the rule wants {wanted}"
    return ""


@cache
def resolved(given: str) -> str:
    """All fields of a recipe as a record holds it, both as JSON: a preset and what differs."""
    return json.dumps(recipe_of(json.loads(given)).plain())
