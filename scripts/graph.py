"""What the Snakefile must know: the sizes' settings, what a chapter reads, what code stands behind.

Everything that a size file says is checked here, before any job starts.
"""

import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from granularity import files, surroundings
from granularity.fingerprints import source
from granularity.fingerprints.digest import digest
from granularity.inputs import plain_yaml, strict
from granularity.inputs.nearest import nearest
from granularity.pages import notebook
from granularity.records.record import ASKED

NOTEBOOKS = Path("notebooks")
PUBLISHED = Path("book/chapters")  # what the table of contents calls a chapter
# Notebooks of runs, and the one whose runs each takes up; the rest of the book are chapters.
RUNS = {
    "theory/simulate": "",
    "imagenet/pretrain": "",
    "imagenet/finetune": "imagenet/pretrain",
    "inaturalist/transfer": "",
}
SIZES = ("smoke", "tiny", "paper")
HOUR = 3600  # seconds
LONGEST = 120  # bytes of a folder's name; file systems end at 255
LOWEST = dict.fromkeys(("level", "placebo", "seed", "workers", "micro_batch", "save_every"), 0)
LOWEST |= {"images": 0, "source_images": 0, "target_images": 0, "processes": 1}
DEVICES = ("cpu", "cuda")
FORM = "{notebook: {setting: {parameter: value}}}"


def use_this_environment() -> None:
    """Lets jobs find papermill and python beside the snakemake that was called, and no more.

    Of this machine's settings they see what `surroundings` leaves, however Snakemake was called.
    """
    surroundings.refuse_another_library(Path.cwd())
    wanted = surroundings.neutral(os.environ, Path.cwd())
    wanted["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{wanted['PATH']}"
    os.environ.clear()
    os.environ.update(wanted)


def refuse_unlike_looks(files: Iterable[str | Path]) -> None:
    """Raises YamlError, with file and line, for a YAML file that reads otherwise than it looks.

    Snakemake and Jupyter Book have loaders of their own, which keep the last of two equal keys.
    """
    for path in files:
        plain_yaml.load(Path(path))


@dataclass(frozen=True)
class SizeFile:
    """The fields of a size file; names of notebooks and settings are looked at by `checked`."""

    size: Literal["smoke", "tiny", "paper"]
    limit: Annotated[int, Field(ge=0)] = 0  # seconds
    runs: dict[str, dict[str, dict[str, Any] | None]] | None = None


def size(config: dict) -> str:
    """The size that a size file names. Raises ValueError for a file of another form."""
    place = f"notebooks/params/{config.get('size')}.yaml"
    try:
        strict.checked(SizeFile, {str(name): value for name, value in config.items()})
    except strict.Misfit as fault:
        if fault.field == "size":
            raise ValueError(
                f"size is {config.get('size')!r}, one of {', '.join(SIZES)} wanted: "
                "call snakemake with --configfile notebooks/params/smoke.yaml"
            ) from None
        if fault.kind == "unknown":
            near = nearest(fault.field, fault.wanted, cutoff=0.3)
            hint = f"did you mean '{near}'?" if near else f"it has {', '.join(fault.wanted)}"
            raise ValueError(f"{place}: unknown field '{fault.field}'; {hint}") from None
        where = ", ".join(map(str, [fault.field, *fault.inside]))
        form = f"; {FORM} is the form of runs" if fault.field == "runs" else ""
        told = f"{fault.value!r:.80}, {fault.wanted[0]} wanted{form}"
        raise ValueError(f"{place}, {where}: {told}") from None
    return config["size"]


def limit(config: dict) -> int:
    """The seconds that a cell of a run may take; 0 for as long as it wants.

    An hour at the smoke size, where the size file says nothing. A cell of the others may train for
    days, and a cluster has limits of its own.
    """
    return config.get("limit", HOUR if config["size"] == "smoke" else 0)


def papermill(seconds: int) -> str:
    """The command of a job, with its time limit: a cell that takes longer fails it."""
    command = "papermill {input.notebook} {log.notebook} -f {input.parameters} --no-progress-bar"
    return f"{command} --execution-timeout {seconds}" if seconds else command


def write_if_changed(path: Path, values: dict) -> None:
    """Writes YAML, but leaves an equal file and its time alone: Snakemake looks at both."""
    text = plain_yaml.dump(values)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def jobs_of(setting: str, values: dict) -> dict[str, dict]:
    """The jobs of a setting: one, or under `each` one for every combination of the lists there.

    `levels: {each: {level: [0, 4], seed: [0]}, dataset: imagenet}` gives `levels-level0-seed0` and
    `levels-level4-seed0`: jobs for as many GPUs. A combination that is too long for a folder's name
    is called by its digest. A list outside `each` goes to one notebook.
    """
    each = values.get("each")
    if each is None:
        return {setting: values}
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


def checked(config: dict) -> dict[str, dict[str, dict]]:
    """The settings of a size file, by run notebook. Raises ValueError where it has another form."""
    place = f"notebooks/params/{size(config)}.yaml"
    runs = config.get("runs") or {}
    for name, settings in runs.items():
        if not re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", name):
            raise ValueError(f"{place}: {name!r} names no notebook; {FORM} wanted")
        for setting in settings:
            long = len(setting.encode()) > LONGEST
            if long or not re.fullmatch(r"\w[\w.-]*", setting):  # it names a folder
                raise ValueError(f"{place}, {name}: a setting cannot be called {setting!r:.160}")
    return {
        name: {setting: given or {} for setting, given in settings.items()}
        for name, settings in runs.items()
    }


def checked_jobs(config: dict) -> Iterator[tuple[str, str, Path, dict]]:
    """All jobs of a size: run notebook, setting, folder, and the parameters that it is given.

    Raises ParameterError, naming the file, the setting and the nearest name, for what a notebook
    does not have; ValueError for another form; FileNotFoundError for a notebook that is not there.
    """
    for name, settings in checked(config).items():
        existing(f"{NOTEBOOKS}/{name}.ipynb", f"notebooks/params/{config['size']}.yaml")
        allowed = notebook.declared(NOTEBOOKS / f"{name}.ipynb")
        for setting, given in settings.items():
            for job, values in jobs_of(setting, given).items():
                place = f"notebooks/params/{config['size']}.yaml, {name}, {job}"
                notebook.check(values, allowed, place)
                refuse_out_of_range(values, place)
                folder = Path("runs", config["size"], name, job)
                values = sized(allowed, config["size"]) | values | {"folder": folder.as_posix()}
                yield name, setting, folder, values


def refuse_out_of_range(values: dict, place: str) -> None:
    """Raises ParameterError for a number below its lowest, and for a device that there is not."""
    for name, low in LOWEST.items():
        given = values.get(name, low)
        for value in given if isinstance(given, list) else [given]:
            if value < low:
                told = f"'{name}' is {value}, at least {low} wanted"
                raise notebook.ParameterError(f"{place}: parameter {told}")
    if values.get("device", "cpu") not in DEVICES:
        near = nearest(values["device"], DEVICES, cutoff=0)
        told = f"'device' is {values['device']!r}, one of {', '.join(DEVICES)} wanted"
        raise notebook.ParameterError(f"{place}: parameter {told}; did you mean '{near}'?")


def prepare_runs(config: dict) -> dict[str, list[str]]:
    """Writes the parameters of all jobs, checked; returns run notebook → its records.

    The list of all jobs' folders goes beside them: what lies there of settings that the size file
    had once is not read any more.
    """
    prepared: dict[str, list[str]] = {}
    for name, _, folder, values in checked_jobs(config):
        write_if_changed(folder / "parameters.yaml", values)
        prepared.setdefault(name, []).append((folder / "record.json").as_posix())
    runs = Path("runs", config["size"])
    folders = [Path(path).parent for group in prepared.values() for path in group]
    asked = [folder.relative_to(runs).as_posix() for folder in folders]
    files.write(runs / ASKED, json.dumps(asked) + "\n")
    return prepared


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


def of_size(value: object, size: str) -> object:
    """A default that names a folder of smoke runs, for another size; any other value as it is."""
    smoke = "runs/smoke"
    below = isinstance(value, str) and (value == smoke or value.startswith(f"{smoke}/"))
    return value.replace(smoke, f"runs/{size}", 1) if below else value


def sized(defaults: dict, size: str) -> dict:
    """Those of a notebook's defaults that name a folder of smoke runs, for another size."""
    found = {name: of_size(value, size) for name, value in defaults.items()}
    return {name: value for name, value in found.items() if value != defaults[name]}


def prepare_chapters(size: str) -> list[str]:
    """Writes each chapter's parameters for a size; returns the chapters' records."""
    records = []
    for chapter in chapters():
        folder = Path("runs", size, "chapters", chapter)
        defaults = notebook.declared(NOTEBOOKS / f"{chapter}.ipynb")
        values = {name: of_size(value, size) for name, value in defaults.items()}
        for value in values.values():
            if str(value).startswith("book/"):
                existing(value, f"notebooks/{chapter}.ipynb")
        write_if_changed(folder / "parameters.yaml", {**values, "folder": folder.as_posix()})
        records.append((folder / "record.json").as_posix())
    return records


def reads(size: str, records: dict[str, list[str]]) -> Callable[..., list[str]]:
    """The input function of a chapter: the records and published files that its parameters name."""
    prepared = [record for group in records.values() for record in group]

    def inputs(wildcards) -> list[str]:
        defaults = notebook.declared(NOTEBOOKS / f"{wildcards.chapter}.ipynb")
        paths = [str(of_size(value, size)) for name, value in defaults.items() if name != "folder"]
        runs = [record for record in prepared for path in paths if record.startswith(f"{path}/")]
        published = [
            file.as_posix()
            for path in paths
            if path.startswith(("book/", "notebooks/params/", "CHANGELOG"))
            for file in sorted([Path(path), *Path(path).rglob("*")])
            if file.is_file()
        ]
        return sorted({*runs, *published})

    return inputs


def made_before(records: dict[str, list[str]], name: str) -> Callable[..., list[str]]:
    """The input function of a run that takes up those of notebook `name`: its record of that name.

    Where there is none, a job that `each` made waits for those of the same combination, whatever
    their setting is called.
    """

    def inputs(wildcards) -> list[str]:
        found = {Path(record).parent.name: record for record in records.get(name, [])}
        if wildcards.setting in found:
            return [found[wildcards.setting]]
        _, dash, combination = wildcards.setting.partition("-")
        same = [job for job in found if dash and job.partition("-")[2] == combination]
        return [found[job] for job in same]

    return inputs


def machine_of(input) -> dict:
    """What a job's parameters say of the machine that it wants; the notebook's defaults else."""
    given = plain_yaml.load(Path(input.parameters))
    return {"device": "cpu", "processes": 1, "workers": 0} | given


def gpus(wildcards, input) -> int:
    """GPUs of a job: one for each of its processes, none where it works on the CPU."""
    wanted = machine_of(input)
    return wanted["processes"] if wanted["device"] == "cuda" else 0


def cpus(wildcards, input) -> int:
    """Cores of a job: each of its processes has one, and one for each of its workers.

    Not Snakemake's `threads`, which would become the number of threads of every process.
    """
    wanted = machine_of(input)
    return wanted["processes"] * (1 + wanted["workers"])


def code_of(name: str) -> list[str]:
    """The library's files behind a notebook."""
    cells = notebook.code_cells(NOTEBOOKS / f"{name}.ipynb")
    return [
        str(path)
        for path in source.behind(source.imports_of(cell["source"] for cell in cells)).values()
    ]


def run_code(size: str, records: dict[str, list[str]], name: str) -> list[str]:
    """The library's files behind a run of this size, at the smoke size only.

    At the others the records' fingerprints decide, or a comment would start days of training again.
    """
    return code_of(name) if size == "smoke" and name in records else []


def chapter_code(wildcards) -> list[str]:
    """The library's files behind a chapter, at every size: running one again costs seconds."""
    return code_of(wildcards.chapter)


def pages() -> list[str]:
    """What the book is built from, beside the chapters."""
    own = [f"{entry}.md" for entry in contents() if not Path(entry).is_relative_to(PUBLISHED)]
    folders = [Path("book", name) for name in ("_static", "_templates", "images")]
    files = [*Path("book").glob("*.*"), *(path for folder in folders for path in folder.glob("*"))]
    static = sorted(str(path) for path in files if path.is_file())
    pages = [existing(page, "_toc.yml") for page in own]
    library = sorted(path.as_posix() for path in Path("lib/granularity").rglob("*.py"))
    made_by = ["_config.yml", "_toc.yml", "scripts/book.py", "scripts/pages.py"]
    return [*made_by, *pages, *static, *library]  # its docstrings are a page
