"""The functions that a record can be of, by names that stay where code moves.

A record names the function that made it, and whoever makes it again calls what it names: so only
what stands here can be called, whatever a record says. A function that moves keeps its name; one
that gets a new name keeps the old ones, since records of years ago hold them.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from granularity.fingerprints import source
from granularity.inputs.nearest import nearest
from granularity.records.record import RecordError


@dataclass(frozen=True)
class Entry:
    """A function that makes runs: where it stands today, and every name that it had before.

    The first of `names` never changes: it is part of what a run is keyed by.
    """

    module: str
    function: str
    names: tuple[str, ...]
    timing: bool = False  # its numbers are seconds: of its commit and machine, and of no other

    def load(self) -> Callable:
        """The function itself."""
        return getattr(importlib.import_module(self.module), self.function)

    @property
    def code(self) -> str:
        """The fingerprint of the code behind it."""
        return source.fingerprint(self.module)


ENTRIES = {  # kind of runs: where its function stands, and what the first records called it
    kind: Entry(
        f"granularity.{module}",
        function,
        (f"granularity.{first}:{function}",),
        timing=module.startswith("benchmarks."),
    )
    for kind, module, function, first in (
        ("theory.simulate", "theory", "simulate", "theory"),
        ("imagenet.pretrain", "experiments.imagenet", "pretrain", "imagenet"),
        ("imagenet.finetune", "experiments.imagenet", "finetune", "imagenet"),
        ("inaturalist.transfer", "experiments.inaturalist", "transfer", "inaturalist"),
        ("bench.loss", "benchmarks.training", "loss", "bench"),
        ("bench.training", "benchmarks.training", "training", "bench"),
        ("bench.packing", "benchmarks.packing", "packing", "benchmarks.packing"),
        ("bench_precision.precision", "benchmarks.precision", "precision", "bench_precision"),
        ("bench_theory.shortcut", "benchmarks.theory", "shortcut", "bench_theory"),
        ("bench_theory.together", "benchmarks.theory", "together", "bench_theory"),
        ("bench_full.full", "benchmarks.full_size", "full", "bench_full"),
    )
}


def kind_of(name: str) -> str:
    """The kind of runs that a name is for, as `theory.simulate`, by its present or an old name.

    Raises RecordError, with the nearest name, for any other.
    """
    known = {old: kind for kind, entry in ENTRIES.items() for old in (kind, *entry.names)}
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"the nearest one is {near}" if near else f"there are {', '.join(ENTRIES)}"
    raise RecordError(f"no runs are made by {name!r}; {hint}")


def named(name: str) -> Entry:
    """The entry of a present or an old name. Raises RecordError."""
    return ENTRIES[kind_of(name)]


def kind_of_function(function: Callable) -> str:
    """The kind of runs that a function makes. Raises RecordError for one that makes none."""
    for kind, entry in ENTRIES.items():
        if (entry.module, entry.function) == (function.__module__, function.__qualname__):
            return kind
    raise RecordError(
        f"{function!r} is no function that makes runs: a record must be repeatable, by a name"
        f" of {__name__}"
    )


def entry_of(name: str) -> Callable:
    """The function that a record names, by its present or an old name, of the registry alone.

    Raises RecordError, with the nearest name, where there is none.
    """
    return named(name).load()
