"""One record a run: made where it is missing.

A run is one call `entry(**arguments)` of a library function with JSON-plain arguments; its record
holds that call, what came out, and what made it. Its fingerprint is of the call, the data and the
code, so an equal run is never made twice and a changed one never returns old numbers.
"""

import contextlib
import inspect
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from granularity import files
from granularity.fingerprints import equivalence, source
from granularity.fingerprints.digest import digest
from granularity.inputs import renamed
from granularity.records.entries import ENTRIES, kind_of_function
from granularity.records.record import RecordError, git_state, read, write
from granularity.records.tables import of_run
from granularity.training.presets import recipe_of

RECIPES = ("pretraining", "finetuning")  # arguments that are recipes, of whatever entry

# ---------------------------------------------------------------------------- runs in a folder

Data = Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None


def fingerprint(
    entry: Callable, arguments: Mapping[str, Any], data: Mapping | None = None, device: str = "cpu"
) -> str:
    """What names a run: the call, the data it reads, and the oldest code that is equal to ours."""
    kind = kind_of_function(entry)
    found = ENTRIES[kind]
    code = equivalence.oldest(kind, found.code, device)
    return digest([found.names[0], renamed.first(in_full(arguments)), data, code])


def in_full(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with every field of their recipes, whatever preset they name."""
    return dict(arguments) | recipes_of(arguments)


def recipes_of(arguments: Mapping[str, Any]) -> dict[str, dict]:
    """The recipes among a run's arguments, in full."""
    given = {name: arguments[name] for name in RECIPES if arguments.get(name)}
    return {name: recipe_of(recipe).plain() for name, recipe in given.items()}


def complete(
    folder: Path | str,
    entry: Callable[..., Mapping[str, Any]],
    settings: Iterable[Mapping[str, Any]],
    *,
    data: Data = None,
    places: Mapping[str, Any] | None = None,
    chosen: Mapping[str, Any] | None = None,
    writes: bool = True,
) -> list[dict]:
    """Makes the runs `entry(**setting)` that `folder` lacks; returns the records of all, in order.

    Each record is written the moment its run ends, as `folder/<fingerprint>/record.json`, so a
    killed call loses one run at most. The table of contents, `folder/record.json`, is written last.
    `data` says what the runs read, where that is not an argument: of all of them, or of each.
    `places` are arguments that say where things lie on this machine and change no number: they are
    given to every run and stand in no record. `chosen` says of a recipe which runs chose it and
    why: it stands in the records and is no part of their keys. An entry with a parameter
    `run_folder` is told the folder of its record. Of several processes that make a run together one
    `writes`; the others only do their share, and return nothing.
    Where another process completes runs in this folder, this one waits for it.
    Raises RecordError for two equal settings and for a broken record that stands in the way.
    """
    folder, started, state = Path(folder), time.time(), git_state()
    settings, places = [dict(setting) for setting in settings], dict(places or {})
    read_by_each = data_of_each(data, len(settings))
    keys = [
        fingerprint(entry, setting, read, device_of(setting, places))
        for setting, read in zip(settings, read_by_each, strict=True)
    ]
    code = ENTRIES[kind_of_function(entry)].code
    runs = [
        Run(entry, setting, read, places, key, code, state, chosen or {})
        for setting, read, key in zip(settings, read_by_each, keys, strict=True)
    ]
    if len(set(keys)) < len(keys):
        twice = next(s for key, s in zip(keys, settings, strict=True) if keys.count(key) > 1)
        raise RecordError(f"the setting {twice} is asked for twice")
    with files.alone(folder) if writes else contextlib.nullcontext():
        made = made_or_found(folder, runs, writes)
        if writes:
            kind = f"contents of {kind_of_function(entry)}"
            path = folder / "record.json"
            write(path, kind=kind, metrics={}, started=started, state=state, runs=keys)
    return made


def data_of_each(data: Data, runs: int) -> list[Mapping | None]:
    """What each of the runs reads. Raises RecordError for a list of another length."""
    if data is None or isinstance(data, Mapping):
        return [data] * runs
    if len(data) != runs:
        raise RecordError(f"data of {len(data)} runs are stated, and there are {runs}")
    return list(data)


@dataclass(frozen=True)
class Run:
    """One call of an entry, its code, and what the repository was, when all of it was asked for."""

    entry: Callable
    arguments: dict[str, Any]
    data: Mapping[str, Any] | None
    places: dict[str, Any]
    key: str
    code: str
    state: Mapping[str, Any]
    chosen: Mapping[str, Any]

    @property
    def device(self) -> str:
        """What the run computes on."""
        return device_of(self.arguments, self.places)

    def make(self, path: Path) -> None:
        """Makes the run and writes its record."""
        started, kind = time.time(), kind_of_function(self.entry)
        takes = inspect.signature(self.entry).parameters
        told = {"run_folder": path.parent} if "run_folder" in takes else {}
        result = dict(self.entry(**self.arguments, **self.places, **told))
        write(
            path,
            kind=kind,
            fingerprint=self.key,
            entry=kind,
            arguments=self.arguments,
            recipes=recipes_of(self.arguments),
            code=self.code,
            device=self.device,
            data=self.data,
            seed=self.arguments.get("seed"),
            metrics=result.pop("metrics"),
            curves=result.pop("curves", {}),
            started=started,
            state=self.state | at_the_end(kind, self.code),
            **({"chosen": dict(self.chosen)} if self.chosen else {}),
            **result,
        )


def device_of(arguments: Mapping[str, Any], places: Mapping[str, Any]) -> str:
    """What a run computes on: an argument of some entries, a place for others."""
    return str({"device": "cpu", **places, **arguments}["device"])


def at_the_end(kind: str, code: str) -> dict[str, bool]:
    """What became of the code while a run went on, where it is no more what the run began with."""
    source.fingerprint.cache_clear()
    return {} if ENTRIES[kind].code == code else {"changed_while_it_ran": True}


def made_or_found(folder: Path, runs: Sequence[Run], writes: bool) -> list[dict]:
    """The records of all runs in `folder`; those that it lacks are made now."""
    paths = [folder / run.key / "record.json" for run in runs]
    missing = [not path.exists() for path in paths]
    if runs and os.environ.get("WORLD_SIZE", "1") != "1":
        from granularity.training import processes  # torch takes its time to load

        missing = processes.agreed(missing, runs[0].device)
    bar = tqdm(
        total=len(paths),
        initial=len(paths) - sum(missing),
        desc=kind_of_function(runs[0].entry) if runs else None,
        unit="run",
        disable=not writes,
    )
    for path, run, wanted in zip(paths, runs, missing, strict=True):
        if wanted and writes:
            run.make(path)
        elif wanted:
            run.entry(**run.arguments, **run.places)
        bar.update(wanted)
    bar.close()
    return [of_run(read(path), path) for path in paths] if writes else []
