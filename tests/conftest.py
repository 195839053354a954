"""What the tests share: where real data lie, and a small book of our own to break."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import nbformat
import pytest
from faults_seen import (  # noqa: F401  pytest looks for its hooks here
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_logreport,
    pytest_runtest_setup,
    pytest_sessionfinish,
    saw_end,
)
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from granularity.fingerprints import source
from granularity.records import entries

ROOT = Path(__file__).resolve().parent.parent

# A busy machine is no fault: no property has a time to hold in, unless a test gives it one.
hypothesis.settings.register_profile("ours", deadline=None)
hypothesis.settings.load_profile("ours")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that GRANULARITY_DATA names; skips, visibly, where it is not set."""
    folder = os.environ.get("GRANULARITY_DATA")
    if not folder:
        pytest.skip("GRANULARITY_DATA names no folder of real data")
    return Path(folder)


def coded(name):
    """Stands in for `source.fingerprint`: all code is called `name`."""
    return functools.cache(lambda *modules: name)


def registered(monkeypatch, function):
    """`function`, passing for one of the library that makes runs, whose code has a fingerprint."""
    monkeypatch.setattr(function, "__module__", "granularity.study")
    known = entries.Entry("granularity.study", "study", ("granularity.study:study",))
    monkeypatch.setitem(entries.ENTRIES, "study.study", known)
    monkeypatch.setattr(source, "fingerprint", coded("the code"))
    return function


def clean(monkeypatch, **state):
    """The repository is as committed, but for `state`."""
    for module in ("record", "runner"):
        said = {"commit": "abc", "dirty": False} | state
        monkeypatch.setattr(f"granularity.records.{module}.git_state", lambda said=said: said)


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
RUN = """from granularity import notebook
from granularity.records import record
given = notebook.parameters(In)
path = notebook.root() / folder / "record.json"
record.write(path, kind="contents of x", metrics={}, runs=[])"""
CHAPTER = """from granularity import notebook
from granularity.records import record
given = notebook.parameters(In)
print("a result")"""
END = 'record.write(notebook.root() / folder / "record.json", kind="chapter", metrics={})'


class House:
    """A book of one run and one chapter, with the real engine, in a folder of its own."""

    def __init__(self, folder: Path):
        """Lays out the engine's files and the two notebooks in `folder`."""
        self.folder = folder
        for name in ("Snakefile", "Makefile", "_config.yml"):
            shutil.copy(ROOT / name, folder)
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        (folder / "lib").symlink_to(ROOT / "lib")
        (folder / "notebooks" / "params").mkdir(parents=True)
        (folder / "book").mkdir()
        (folder / "book" / "references.bib").touch()
        for name in ("_static", "_templates"):
            shutil.copytree(ROOT / "book" / name, folder / "book" / name)
        self.write("book/index.md", "# A small book\n\n$x^2$\n")
        self.write(
            "_toc.yml",
            "format: jb-book\nroot: book/index\nchapters:\n- file: book/chapters/theory/chapter\n",
        )
        self.size("seed: 1")
        self.notebook("theory/simulate", "seed = 0\nfolder = 'runs/hand/simulate'", RUN)
        self.notebook(
            "theory/chapter",
            "runs = 'runs/smoke/theory/simulate'\nfolder = 'runs/hand/chapter'",
            CHAPTER,
            END,
        )

    def write(self, path: str, text: str) -> None:
        """Writes a text file of the book."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def size(self, parameters: str) -> None:
        """The smoke size, with one setting of the run notebook: a YAML mapping in one line."""
        text = f"size: smoke\nruns:\n  theory/simulate:\n    only: {{{parameters}}}\n"
        self.write("notebooks/params/smoke.yaml", text)

    def notebook(self, name: str, parameters: str, *cells: str) -> None:
        """Writes a notebook: title, tagged parameters, further code cells."""
        tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
        kernel = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
        content = [new_markdown_cell(f"# {name}"), tagged, *map(new_code_cell, cells)]
        path = self.folder / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=content, metadata=kernel), path)

    def start(self, **options) -> subprocess.Popen:
        """Starts `make book`'s build, in a session of its own, with its output to be read."""
        command = [sys.executable, "scripts/build.py", "smoke"]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def build(self) -> tuple[int, str]:
        """Builds; returns the exit status and all that was printed."""
        process = self.start()
        printed, _ = process.communicate(timeout=900)
        if process.returncode:
            saw_end(process.returncode, printed)
        return process.returncode, printed

    def page(self, name: str = "book/chapters/theory/chapter") -> Path:
        """A page of the built book."""
        return self.folder / "_build" / "html" / f"{name}.html"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A small book to build and to break."""
    return House(tmp_path)
