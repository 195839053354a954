"""What the Snakefile must know: the sizes' settings, what a chapter reads, what code stands behind.

Everything that a size file says is checked here, before any job starts.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from granularity import files, notebook, surroundings
from granularity.fingerprints import equivalence, source
from granularity.inputs import open_recipes, plain_yaml
from granularity.planning import sizes
from granularity.planning.sizes import NOTEBOOKS, PUBLISHED, SMOKE, Size, existing, of_size
from granularity.records.record import ASKED
from granularity.surroundings import AS_IS, WITHOUT

HOUR = 3600  # seconds
# Notebooks of runs, and the one whose runs each takes up; the rest of the book are chapters.
RUNS = {
    "theory/simulate": "",
    "imagenet/pretrain": "",
    "imagenet/finetune": "imagenet/pretrain",
    "inaturalist/transfer": "",
}


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


def size(config: dict, files: Iterable[str | Path]) -> Size:
    """The size that snakemake was called with: its file, with what `--config` adds."""
    return sizes.of(config, str(next(reversed([*files]), "snakemake")))


def limit(size: Size) -> int:
    """The seconds that a cell of a run may take; 0 for as long as it wants.

    An hour at the smoke size, where the size file says nothing. A cell of the others may train for
    days, and a cluster has limits of its own.
    """
    return (HOUR if size.name == SMOKE else 0) if size.limit is None else size.limit


def papermill(seconds: int, alone: str = "python -P ") -> str:
    """The command of a job, with its time limit: a cell that takes longer fails it."""
    command = "scripts/execute.py {input.notebook} {log.notebook} -f {input.parameters}"
    limited = f" --execution-timeout {seconds}" if seconds else ""
    return f"{alone}{command} --no-progress-bar{limited}"


def on_its_own(seconds: int) -> str:
    """The command of a run, on GPUs that no other job uses and with a share of the cores."""
    return papermill(seconds, "python scripts/job.py {resources.gpu} {resources.cpus_per_task} ")


def write_if_changed(path: Path, values: dict, check: Callable[[], None] = lambda: None) -> None:
    """Writes YAML, but leaves an equal file and its time alone: Snakemake looks at both.

    What is new is checked before it is written; `check` raises where it cannot be.
    """
    text = plain_yaml.dump(values)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        check()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def refuse_unfit(job: sizes.Asked, size: Size) -> None:
    """Raises ParameterError where a job's values do not go together, before any job starts."""
    from granularity.planning import asked  # takes seconds to load: torch, and all of the library

    values = notebook.declared(NOTEBOOKS / f"{job.run}.ipynb") | job.values
    asked.checked(job.run, values, f"{size.place}, {job.run}, {job.folder.name}")


def prepare_runs(size: Size) -> dict[str, list[str]]:
    """Writes the parameters of all jobs, checked; returns run notebook → its records.

    Of a book as it is (`AS_IS`) those are left out that have no record. The list of all jobs'
    folders goes beside them: what lies there of settings that the size file
    had once is not read any more.
    """
    prepared: dict[str, list[str]] = {}
    asked, lacking = [], []
    for job in sizes.jobs(size):
        fits = partial(refuse_unfit, job, size)
        write_if_changed(job.folder / "parameters.yaml", job.values, fits)
        name = job.folder.relative_to(size.folder).as_posix()
        asked.append(name)
        if AS_IS in os.environ and not sizes.is_made(job.folder):
            lacking.append(name)
        else:
            prepared.setdefault(job.run, []).append((job.folder / "record.json").as_posix())
    files.write(size.folder / ASKED, json.dumps(asked) + "\n")
    os.environ[WITHOUT] = json.dumps(lacking)  # for the pages, which say so
    return prepared


def prepare_chapters(size: str) -> list[str]:
    """Writes each chapter's parameters for a size; returns the chapters' records."""
    records = []
    for chapter in sizes.chapters():
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


def choosing(size: str, run: str) -> Callable[..., list[str]]:
    """The input function of a run that takes the best of other runs' recipes: their records."""

    def inputs(wildcards) -> list[str]:
        given = plain_yaml.load(Path("runs", size, run, wildcards.setting, "parameters.yaml"))
        there = [Path(folder, "record.json") for folder in open_recipes.folders_of(given)]
        return [path.as_posix() for path in there if AS_IS not in os.environ or path.exists()]

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
    What is proven of equal code names the stages that are kept, so it counts with the code: a run
    whose pretraining has another name now would not find it.
    """
    if size != SMOKE or name not in records:
        return []
    proven = equivalence.FILE.relative_to(source.LIBRARY.parent.parent)
    return [*code_of(name), *([proven.as_posix()] if proven.exists() else [])]


def chapter_code(wildcards) -> list[str]:
    """The library's files behind a chapter, at every size: running one again costs seconds."""
    return code_of(wildcards.chapter)


def pages() -> list[str]:
    """What the book is built from, beside the chapters."""
    own = [f"{entry}.md" for entry in sizes.contents() if not Path(entry).is_relative_to(PUBLISHED)]
    folders = [Path("book", name) for name in ("_static", "_templates", "images")]
    files = [*Path("book").glob("*.*"), *(path for folder in folders for path in folder.glob("*"))]
    static = sorted(str(path) for path in files if path.is_file())
    pages = [existing(page, "_toc.yml") for page in own]
    library = sorted(path.as_posix() for path in Path("lib/granularity").rglob("*.py"))
    made_by = ["_config.yml", "_toc.yml", "scripts/book.py", "scripts/pages.py", "scripts/hover.py"]
    return [*made_by, *pages, *static, *library]  # its docstrings are a page
