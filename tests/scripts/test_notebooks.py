"""Every notebook keeps the conventions that the engine and the readers rely on."""

import ast
import importlib
import json
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from granularity import notebook
from granularity.fingerprints import source
from granularity.records import record
from granularity.training.presets import recipe_of

NOTEBOOKS = sorted(
    path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
DRAWS = re.compile(r"plt\.|figures\.(?!style|COLOURS)|\.plot\(")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.relative_to(ROOT / "notebooks").as_posix())
def path(request):
    return request.param


def cells(path):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def at_its_head(path):
    """The first three cells; where recipes are parameters, without the one that takes fields."""
    first, second, *others = cells(path)[:4]
    takes = "notebook.take_fields()" in second["source"]
    values = notebook.declared(path).values()
    assert takes == any(isinstance(value, dict) and "preset" in value for value in values)
    return [first, *others] if takes else [first, second, others[0]]


def test_it_opens_with_a_title_then_parameters_then_their_check(path):
    first, second, third = at_its_head(path)
    assert first["source"].startswith("# ")
    assert "parameters" in second["metadata"].get("tags", ())
    assert "notebook.parameters(In)" in third["source"]


def test_every_parameter_has_a_comment_and_a_literal(path):
    cell = at_its_head(path)[1]["source"]
    names = notebook.declared(path)
    assert "folder" in names
    commented = re.findall(r"^(\w+) = .+ {2}# \S", cell, re.MULTILINE)
    assert commented == list(names)


def test_it_carries_no_outputs(path):
    for cell in cells(path):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_it_ends_with_its_record(path):
    code = [cell["source"] for cell in cells(path) if cell["cell_type"] == "code"]
    assert re.search(r"(record\.write|runner\.complete)\(", code[-1])


def test_a_cell_that_draws_has_alt_text_and_a_caption(path):
    for cell in cells(path)[3:]:
        if cell["cell_type"] == "code" and DRAWS.search(cell["source"]):
            shown = cell["metadata"].get("mystnb", {})
            assert len(shown.get("image", {}).get("alt", "")) > 30, cell["source"][:80]
            assert len(shown.get("figure", {}).get("caption", "")) > 30, cell["source"][:80]


def test_it_holds_no_class_and_no_exit(path):
    for cell in cells(path):
        if cell["cell_type"] == "code":
            assert not re.search(r"^\s*class \w", cell["source"], re.MULTILINE)
            assert "sys.exit" not in cell["source"]


@pytest.mark.parametrize("size", ["smoke", "tiny", "rehearsal", "pilot", "paper"])
def test_every_size_is_accepted(size):
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--nolock"]
    command += ["--configfile", f"notebooks/params/{size}.yaml"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_readme_s_call_of_one_notebook_writes_its_record(tmp_path):
    command = [sys.executable, "-m", "papermill", "notebooks/theory/simulate.ipynb"]
    command += [str(tmp_path / "out.ipynb"), "-p", "labels", "coarse", "-p", "seed", "3"]
    command += ["-p", "steps", "2", "-p", "k", "2", "-p", "folder", str(tmp_path / "runs")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 1


def test_a_size_without_any_run_has_its_page_on_this_build_all_the_same(tmp_path):
    command = [sys.executable, "-P", "scripts/execute.py", "notebooks/agreement.ipynb"]
    command += [tmp_path / "out.ipynb", "--no-progress-bar", "-p", "folder", str(tmp_path)]
    for name in ("simulations", "pretraining", "finetuning", "transfer"):
        command += ["-p", name, str(tmp_path / "none")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    made = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert made["metrics"]["runs_compared"] == made["metrics"]["checks"] == 0


# Runs of one kind alone, of the published ones: what a build may have, whose other jobs failed.
ALONE = {
    "one level": lambda run: run.get("level") == 0 and run["labels"] == "level",
    "one rank": lambda run: run["labels"] == "rank:leaf",
    "the baseline": lambda run: run["labels"] == "target" and run["seed"] == 0,
    "one placebo": lambda run: str(run["labels"]).startswith("random"),
}
PLACES = {
    "imagenet/granularity": {"runs": "imagenet"},
    "inaturalist/hierarchy": {"runs": "inaturalist"},
    "inaturalist/alignment": {"runs": "inaturalist"},
    "agreement": {"finetuning": "imagenet", "transfer": "inaturalist"},
}


@pytest.mark.faults
@pytest.mark.fault("a build that has runs of {alone} alone", "its pages, with what there is")
@pytest.mark.parametrize("alone", ALONE)
@pytest.mark.parametrize("chapter", PLACES)
def test_whatever_ran_becomes_a_page(tmp_path, chapter, alone):
    given = {}
    for name, file in PLACES[chapter].items():
        lines = (ROOT / f"book/results/tiny/{file}.jsonl").read_text(encoding="utf-8").splitlines()
        runs = [run for run in map(json.loads, lines) if ALONE[alone](run["arguments"])]
        for run in runs[:1]:
            place = tmp_path / file / "some" / run["fingerprint"] / "record.json"
            place.parent.mkdir(parents=True)
            place.write_text(json.dumps(run), encoding="utf-8")
            listed = {"kind": "contents", "metrics": {}, "runs": [run["fingerprint"]]}
            record.write(place.parent.parent / "record.json", **listed)
        given[name] = str(tmp_path / file)
    words = [word for name, value in given.items() for word in ("-p", name, value)]
    done = tmp_path / "done.ipynb"
    call = [sys.executable, "-P", "scripts/execute.py", "--cwd", str(ROOT), "--no-progress-bar"]
    call += [str(ROOT / f"notebooks/{chapter}.ipynb"), str(done)]
    ended = subprocess.run(
        [*call, *words, "-p", "folder", str(tmp_path / "page")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    outputs = [output for cell in cells(done) for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    told = json.dumps([output.get("data", {}).get("text/markdown") for output in outputs])
    assert not re.search(r"\bnan\b", told)


def test_the_guide_s_recipe_by_hand_is_one():
    text = (ROOT / "book/how.md").read_text(encoding="utf-8")
    ((name, given),) = re.findall(r"papermill .*(notebooks/\S+) out\.ipynb -y '(.*)'", text)
    values = yaml.safe_load(given)
    notebook.check(values, notebook.declared(ROOT / name), "the guide")
    assert recipe_of(values["pretraining"]).epochs == values["pretraining"]["epochs"]


TOLD = [*(ROOT / "notebooks").rglob("*.ipynb"), *(ROOT / "book").glob("*.md")]
TOLD += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", TOLD, ids=lambda path: path.stem)
def test_every_parameter_that_a_page_tells_a_reader_to_give_is_one(page):
    """In a command the notebook's that it calls; by itself, as `-p k 4`, some notebook's."""
    every = {name for path in NOTEBOOKS for name in notebook.declared(path)}
    text = page.read_text(encoding="utf-8")
    for line in re.split(r"\\n|\n", text):
        called = re.search(r"papermill [^`]*?(notebooks/[\w/]+\.ipynb)", line)
        known = notebook.declared(ROOT / called[1]) if called else every
        for name in re.findall(r"-p (\w+)(?:\.\w+)? \S", line):
            assert name in known, f"{page.name}: {line.strip()[:120]}"


def uses(code: str) -> set[tuple[str, str]]:
    """What code takes of the library's modules: (module, name)."""
    tree = ast.parse(code)
    modules, found = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("granularity"):
            for alias in node.names:
                found.add((node.module, alias.name))
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if named and node.value.id in modules:
            found.add((modules[node.value.id], node.attr))
    return found


def test_what_a_notebook_takes_of_the_library_is_there(path):
    """Seen here, and not after minutes of a build, in a cell that the build may never run."""
    code = "\n".join(cell["source"] for cell in notebook.code_cells(path))
    for module, name in uses(code):
        if source.exists(module, source.LIBRARY) or module == "granularity":
            submodule = source.exists(f"{module}.{name}", source.LIBRARY)
            assert submodule or hasattr(importlib.import_module(module), name), f"{module}.{name}"
