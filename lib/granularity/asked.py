"""What a job of the graph asks for: its notebook's runs, and whether these are made already."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from granularity import equivalence, imagenet, inaturalist, records, theory
from granularity.digest import canonical
from granularity.entries import kind_of, kind_of_function

SETS = ("world", "overlap", "source_images", "target_images")
SOURCE = ("level", "placebo", *SETS, "pretraining", "seed")
TARGET = (*SOURCE, "baseline", "finetuning", "scratch", "held_out")
TRANSFER = ("world", "target", "training", "images", "labels", "embedding", "pretraining")
TRANSFER += ("finetuning", "one_pass", "held_out", "seed")


def runs_of(run: str, values: Mapping[str, Any]) -> tuple[Callable, list[dict]]:
    """The entry and the arguments of all runs of a job; `values` are all of its parameters.

    Raises KeyError for a run notebook that is not known here, and what the settings refuse.
    """
    if run == "theory/simulate":
        given = {name: value for name, value in values.items() if name != "folder"}
        return theory.simulate, theory.grid(**given)
    arms, entry, names = {
        "imagenet/pretrain": (imagenet.arms, imagenet.pretrain, SOURCE),
        "imagenet/finetune": (imagenet.arms, imagenet.finetune, TARGET),
        "inaturalist/transfer": (inaturalist.arms, inaturalist.transfer, TRANSFER),
    }[run]
    return entry, arms(**{name: values[name] for name in names})


def made(folder: Path, run: str, values: Mapping[str, Any]) -> bool:
    """Whether a job has nothing to do: every run that it asks for has its record in `folder`.

    A table of contents alone says nothing: a run with other parameters leaves one in its place.
    """
    try:
        found = records.in_folders(folder).values()
    except (OSError, records.RecordError):
        return False
    entry, settings = runs_of(run, values)
    return all(any_is_of(found, entry, setting) for setting in settings)


def any_is_of(found: Iterable[Mapping], entry: Callable, arguments: Mapping[str, Any]) -> bool:
    """Whether one of some records is that of a run."""
    return any(is_of(record, entry, arguments) for record in found)


def is_of(record: Mapping[str, Any], entry: Callable, arguments: Mapping[str, Any]) -> bool:
    """Whether a record is that of the run `entry(**arguments)`, by our code or by equal code."""
    try:
        same = kind_of(str(record.get("entry"))) == kind_of_function(entry)
    except records.RecordError:
        return False
    arguments_same = canonical(record.get("arguments")) == canonical(dict(arguments))
    return same and arguments_same and records.standing(record) != equivalence.OLDER
