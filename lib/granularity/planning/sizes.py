"""A size: what a size file asks for, checked before any job starts, and the jobs that it makes.

Places are relative to the repository's root, which is the working folder of whoever asks.
"""

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from granularity import notebook
from granularity.analysis import best_recipe
from granularity.fingerprints.digest import digest
from granularity.inputs import plain_yaml, strict
from granularity.inputs.nearest import nearest
from granularity.inputs.open_recipes import BEST_OF, RECIPES, is_open
from granularity.records.record import RecordError

NOTEBOOKS = Path("notebooks")
PARAMETERS = NOTEBOOKS / "params"  # size files
PUBLISHED = Path("book/chapters")  # what the table of contents calls a chapter
SMOKE = "smoke"  # the size that the notebooks' own defaults are of
TAKEN = (
    "hand",
    "toy",
    "published",
    "nltk_data",
)  # folders of `runs/`, and what the book calls else
ROOTS = "GRANULARITY_ROOTS"  # in the environment: NAME=FOLDER, several divided as in PATH
LONGEST = 120  # bytes of a folder's name; file systems end at 255
LOWEST = dict.fromkeys(("level", "placebo", "seed", "workers", "micro_batch", "save_every"), 0)
LOWEST |= {"keep_every": 0, "images": 0, "source_images": 0, "target_images": 0, "processes": 1}
DEVICES = ("cpu", "cuda")
FORM = "{notebook: {setting: {parameter: value}}}"


@dataclass(frozen=True)
class SizeFile:
    """The fields of a size file; names of notebooks and settings are looked at by `of`."""

    size: str
    limit: Annotated[int, Field(ge=0)] = 0  # seconds
    roots: dict[str, str] | None = None
    runs: dict[str, dict[str, dict[str, Any] | None]] | None = None


@dataclass(frozen=True)
class Size:
    """A size whose file has the right form.

    `runs` are the settings by run notebook; `limit` the seconds that a cell of a run may take, None
    where the file says nothing; `roots` where sets lie on this machine; `place` the file.
    """

    name: str
    place: str
    runs: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    limit: int | None = None
    roots: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its records lie."""
        return Path("runs", self.name)


class Asked(NamedTuple):
    """A job of the graph: its run notebook, its setting, its folder, and what it is given."""

    run: str
    setting: str
    folder: Path
    values: dict[str, Any]


# ------------------------------------------------------------------------------- a size file


def read(path: Path) -> Size:
    """The size of a file. Raises ValueError, naming the file and the place in it, for no such."""
    config = plain_yaml.load(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path}: {config!r:.80}, a mapping with the fields size and runs wanted")
    return of(config, str(path))


def of(config: Mapping, place: str, environment: Mapping[str, str] = os.environ) -> Size:
    """The size that a file's text, or snakemake's config, holds; `place` is the file's name.

    Roots in the environment come before those of the config: they are this machine's. Raises
    ValueError, naming the file and the place in it, for another form.
    """
    try:
        strict.checked(SizeFile, {str(name): value for name, value in config.items()})
    except strict.Misfit as fault:
        raise ValueError(misfit(fault, place, config)) from None
    name, stem = config["size"], Path(place).stem
    if not re.fullmatch(r"\w[\w.-]*", name) or name in TAKEN or len(name.encode()) > LONGEST:
        raise ValueError(f"{place}: a size cannot be called {name!r:.160}; it names a folder")
    if name != stem:  # or two files would write into one folder
        raise ValueError(f"{place}: size is {name!r}, its file's own name {stem!r} wanted")
    asked = config.get("runs") or {}
    for run, settings in asked.items():
        refuse_names(run, settings, place)
    runs = {run: {name: given or {} for name, given in asked[run].items()} for run in asked}
    roots = {**(config.get("roots") or {}), **roots_of(environment)}
    return Size(name, place, runs, config.get("limit"), roots)


def misfit(fault: strict.Misfit, place: str, config: Mapping) -> str:
    """What is wrong with a size file, in words."""
    if fault.field == "size":
        return (
            f"{place}: size is {config.get('size')!r}, the file's own name wanted: "
            "call snakemake with --configfile notebooks/params/smoke.yaml"
        )
    if fault.kind == "unknown":
        near = nearest(fault.field, fault.wanted, cutoff=0.3)
        hint = f"did you mean '{near}'?" if near else f"it has {', '.join(fault.wanted)}"
        return f"{place}: unknown field '{fault.field}'; {hint}"
    where = ", ".join(map(str, [fault.field, *fault.inside]))
    form = f"; {FORM} is the form of runs" if fault.field == "runs" else ""
    return f"{place}, {where}: {fault.value!r:.80}, {fault.wanted[0]} wanted{form}"


def refuse_names(run: str, settings: Mapping, place: str) -> None:
    """Raises ValueError for a name that no notebook, or no folder of a setting, can have."""
    if not re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", run):
        raise ValueError(f"{place}: {run!r} names no notebook; {FORM} wanted")
    for setting in settings:
        if len(setting.encode()) > LONGEST or not re.fullmatch(r"\w[\w.-]*", setting):
            raise ValueError(f"{place}, {run}: a setting cannot be called {setting!r:.160}")


def roots_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Where sets lie, as `GRANULARITY_ROOTS=imagenet21k=/data/a:imagenet1k=/data/b` says it.

    Raises ValueError for a part without a name.
    """
    parts = [part for part in environment.get(ROOTS, "").split(os.pathsep) if part]
    for part in parts:
        name, equals, folder = part.partition("=")
        if not (name and equals and folder):
            raise ValueError(f"{ROOTS}: {part!r}, NAME=FOLDER wanted, as imagenet1k={part}")
    return dict(part.split("=", 1) for part in parts)


# ----------------------------------------------------------------------------------- its jobs


def jobs(size: Size) -> Iterator[Asked]:
    """All jobs of a size, with the parameters that each is given.

    Raises ParameterError, naming the file, the setting and the nearest name, for what a notebook or
    the size does not have; FileNotFoundError for a notebook that is not there.
    """
    for run, settings in size.runs.items():
        existing(f"{NOTEBOOKS}/{run}.ipynb", size.place)
        allowed = notebook.declared(NOTEBOOKS / f"{run}.ipynb")
        here = {"roots": dict(size.roots)} if size.roots and "roots" in allowed else {}
        for setting, given in settings.items():
            for job, values in jobs_of(setting, given).items():
                place = f"{size.place}, {run}, {job}"
                notebook.check(values, allowed, place)
                refuse_out_of_range(values, place)
                folder = size.folder / run / job
                values = sized(allowed, size.name) | here | values | {"folder": folder.as_posix()}
                values |= {
                    name: tried(size, run, name, recipe[BEST_OF], place)
                    for name, recipe in values.items()
                    if is_open(recipe)
                }
                yield Asked(run, setting, folder, values)


def jobs_of(setting: str, values: Mapping) -> dict[str, dict]:
    """The jobs of a setting: one, or under `each` one for every combination of the lists there.

    `levels: {each: {level: [0, 4], seed: [0]}, dataset: imagenet}` gives `levels-level0-seed0` and
    `levels-level4-seed0`: jobs for as many GPUs. A combination that is too long for a folder's name
    is called by its digest. A list outside `each` goes to one notebook.
    """
    each = values.get("each")
    if each is None:
        return {setting: dict(values)}
    if not isinstance(each, dict) or not all(v and isinstance(v, list) for v in each.values()):
        raise ValueError(f"{setting}: each is {each!r:.80}, {{parameter: [values]}} wanted")
    common = {name: value for name, value in values.items() if name != "each"}
    found = {}
    for combination in itertools.product(*each.values()):
        chosen = dict(zip(each, combination, strict=True))
        words = [re.sub(r"[^\w.]", "_", f"{key}{value}") for key, value in chosen.items()]
        combination = "-".join(words)  # names a folder: no colon, no space
        if len(combination.encode()) > LONGEST:  # a whole recipe, say
            combination = digest(str(chosen))
        name = f"{setting}-{combination}"
        if name in found:
            raise ValueError(f"{setting}: each makes two jobs called {name}")
        found[name] = common | chosen
    return found


def is_made(folder: Path) -> bool:
    """Whether a job has its record, of the parameters that it has now."""
    made, given = folder / "record.json", folder / "parameters.yaml"
    return made.exists() and made.stat().st_mtime_ns >= given.stat().st_mtime_ns


def tried(size: Size, run: str, name: str, setting: object, place: str) -> dict[str, list]:
    """The recipes of a setting to choose from, and the folders of its jobs; see `open_recipes`.

    Raises ParameterError for what is no setting, for one that tries none on held-out images, and
    for rates of which none could be chosen.
    """
    settings = size.runs[run]
    if setting not in [*settings]:  # whatever it is, a list of two for one
        near = nearest(str(setting), settings, cutoff=0)
        told = f"{name} is to be the best of {setting!r}, which is no setting of {run}"
        raise notebook.ParameterError(f"{place}: {told}; did you mean {near!r}?")
    given = settings[setting]
    recipes = given.get(name)
    if not isinstance(recipes, list) or given.get("held_out") is not True:
        told = (
            f"the setting {setting} tries no list of recipes '{name}' on images that it holds out"
        )
        raise notebook.ParameterError(f"{place}: {told} (held_out: true)")
    try:
        best_recipe.refuse_edges(recipes)
    except (RecordError, ValueError) as error:
        raise notebook.ParameterError(
            f"{place}: {name} of the setting {setting}: {error}"
        ) from None
    folders = [(size.folder / run / job).as_posix() for job in jobs_of(setting, given)]
    return {BEST_OF: folders, RECIPES: recipes}


def refuse_out_of_range(values: Mapping, place: str) -> None:
    """Raises ParameterError for a number below its lowest, and for a device that there is not."""
    for name, low in LOWEST.items():
        given = values.get(name, low)
        for value in given if isinstance(given, list) else [given]:
            if value < low:
                told = f"'{name}' is {value}, at least {low} wanted"
                raise notebook.ParameterError(f"{place}: parameter {told}")
    if values.get("device", "cpu") not in DEVICES:
        meant = "cuda" if values["device"] == "gpu" else values["device"]
        near = nearest(meant, DEVICES, cutoff=0)
        told = f"'device' is {values['device']!r}, one of {', '.join(DEVICES)} wanted"
        raise notebook.ParameterError(f"{place}: parameter {told}; did you mean '{near}'?")


def of_size(value: object, size: str) -> object:
    """A default that names a folder of smoke runs, for another size; any other value as it is."""
    smoke = f"runs/{SMOKE}"
    below = isinstance(value, str) and (value == smoke or value.startswith(f"{smoke}/"))
    return value.replace(smoke, f"runs/{size}", 1) if below else value


def sized(defaults: Mapping, size: str) -> dict:
    """Those of a notebook's defaults that name a folder of smoke runs, for another size."""
    found = {name: of_size(value, size) for name, value in defaults.items()}
    return {name: value for name, value in found.items() if value != defaults[name]}


# ------------------------------------------------------------------------------- its chapters


def existing(path: str, named_by: str) -> str:
    """The path itself. Raises FileNotFoundError where it is not there.

    Snakemake would take a made file whose source is missing for a source itself, and do nothing.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{named_by} names {path}, which is not there")
    return path


def contents() -> list[str]:
    """Files of the table of contents, without suffix, in order.

    Raises ValueError where it is none: an empty book must not pass for a whole one.
    """

    def files(node: dict | list) -> list[str]:
        if isinstance(node, list):
            return [file for item in node for file in files(item)]
        own = [node[key] for key in ("root", "file") if key in node]
        below = [node[key] for key in ("parts", "chapters", "sections") if key in node]
        return own + files(below)

    try:
        found = files(plain_yaml.load(Path("_toc.yml")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"_toc.yml: no table of contents ({error})") from error
    if not found or not all(isinstance(file, str) for file in found):
        raise ValueError(f"_toc.yml: no table of contents, its files are {found!r:.80}")
    return found


def chapters() -> list[str]:
    """Notebooks, below `notebooks/` and without suffix, that the book shows as chapters."""
    entries = [Path(entry) for entry in contents()]
    return [
        entry.relative_to(PUBLISHED).as_posix()
        for entry in entries
        if entry.is_relative_to(PUBLISHED)
    ]
