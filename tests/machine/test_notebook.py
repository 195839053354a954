"""Parameters of notebooks: read from the tagged cell, refused by name when they do not fit."""

import subprocess
import sys

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from granularity import notebook

CELL = "labels = 'fine'  # or 'coarse'\nseed = 0\nlearning_rate = 0.2\nks = [2, 4]\nsave = True\n"


def test_root_is_found_from_below(tmp_path):
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert notebook.root(tmp_path / "a" / "b") == tmp_path


@pytest.mark.fault("a notebook outside the repository", "an error that says so")
def test_no_root_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="in no checkout"):
        notebook.root(tmp_path)


def test_defaults_and_injected_values_together():
    history = ["", CELL, "# Parameters\nseed = 3\nlearning_rate = 1\n", "the cell that asks"]
    values = notebook.parameters(history)
    assert values == {"labels": "fine", "seed": 3, "learning_rate": 1, "ks": [2, 4], "save": True}


RECIPES = "pretraining = {'preset': 'resnet_toy', 'epochs': 3}\nseed = 0\n"


@pytest.mark.parametrize(
    ("injected", "recipe"),
    [
        ("pretraining.epochs = 1", {"preset": "resnet_toy", "epochs": 1}),
        (
            "seed = 2\npretraining.model = 'a.b = c'",
            {"preset": "resnet_toy", "epochs": 3, "model": "a.b = c"},
        ),
        ("pretraining = {'preset': 'b'}\npretraining.epochs = 1", {"preset": "b", "epochs": 1}),
    ],
)
def test_a_field_of_a_recipe_is_changed_alone(injected, recipe):
    cell = "".join(notebook.with_fields(f"# Parameters\n{injected}\n".splitlines(keepends=True)))
    values = notebook.parameters(["take fields", RECIPES, cell, "ask"])
    assert values["pretraining"] == recipe
    space: dict = {}
    exec(RECIPES + cell, space)  # what the kernel itself runs
    assert space["pretraining"] == recipe


def test_a_kernel_runs_papermill_s_line_and_remembers_what_we_read():
    cells = [
        "from granularity import notebook\nnotebook.take_fields()\nnotebook.take_fields()",
        RECIPES,
        "# Parameters\npretraining.epochs = 1\n",
        "print(notebook.parameters(In)['pretraining'], pretraining)",
    ]
    program = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(history_length=0)\n"
        f"for cell in {cells!r}: shell.run_cell(cell, store_history=True).raise_error()"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert ended.stdout.split("\n")[0] == "{0} {0}".format({"preset": "resnet_toy", "epochs": 1})


def test_other_cells_keep_their_attributes():
    lines = ["# A cell\n", "figure.title = 'x'\n"]
    assert notebook.with_fields(lines) == lines
    assert notebook.with_fields([]) == []


@pytest.mark.fault("papermill changes a field of what is no recipe", "refused by its line")
@pytest.mark.parametrize("line", ['seed["epochs"] = 1', 'pretrainin["epochs"] = 1', "a[0][1] = 2"])
def test_a_field_of_no_recipe_is_refused(line):
    with pytest.raises(notebook.ParameterError, match=r"is no 'name = value'"):
        notebook.parameters([RECIPES, f"# Parameters\n{line}\n", "ask"])


def test_defaults_alone_as_in_jupyter():
    assert notebook.parameters(["", CELL, "ask"])["seed"] == 0


def test_after_other_cells_the_last_run_of_the_tagged_cell_counts():
    history = ["", CELL, "ask", "x = plot()", CELL.replace("seed = 0", "seed = 9"), "ask"]
    assert notebook.parameters(history)["seed"] == 9


@pytest.mark.fault(
    "papermill injects `{injected}`", "refused by name, with the nearest one or the type wanted"
)
@pytest.mark.parametrize(
    ("injected", "told"),
    [
        ("sead = 3", "no parameter 'sead'; did you mean 'seed'"),
        ("zzz = 3", "no parameter 'zzz'"),
        ("seed = 'three'", "'seed' is 'three', a str; it takes a int"),
        ("seed = 1.5", "'seed' is 1.5"),
        ("seed = True", "'seed' is True"),
        ("save = 1", "'save' is 1"),
        ("learning_rate = '1e-3'", "'learning_rate' is '1e-3'"),
        ("seed = [1, 'two']", "'seed'"),
        ("ks = ['a']", "'ks'"),
        ("seed = [[1]]", "'seed'"),
        ("seed = None", "'seed' is None"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(injected, told):
    with pytest.raises(notebook.ParameterError, match=told.replace("[", r"\[")):
        notebook.parameters(["", CELL, f"# Parameters\n{injected}\n", "ask"])


@pytest.mark.parametrize(
    "injected", ["seed = [1, 2]", "ks = 8", "learning_rate = 1", "learning_rate = [1, 0.5]"]
)
def test_lists_and_single_values_stand_for_each_other(injected):
    name = injected.split(" ")[0]
    values = notebook.parameters(["", CELL, f"# Parameters\n{injected}\n", "ask"])
    assert values[name] == eval(injected.split("= ")[1])


@pytest.mark.fault("the cell of parameters was not run", "an error that says so")
def test_asked_out_of_order_it_says_so():
    with pytest.raises(notebook.ParameterError):
        notebook.parameters(["", CELL, "x = plot()", "ask"])
    with pytest.raises(notebook.ParameterError, match="first"):
        notebook.parameters(["ask"])


literals = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans()
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}_", fullmatch=True), literals))
def test_every_literal_is_read_back(values):
    cell = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    assert notebook.assignments(cell) == values


@pytest.mark.fault("any text as a cell of parameters (fuzz)", "read, or refused")
@given(st.text(max_size=40))
def test_a_text_as_a_cell_is_read_or_refused(text):
    try:
        assert isinstance(notebook.assignments(text), dict)
    except notebook.ParameterError as error:
        assert "cell of parameters" in str(error)


@pytest.mark.fault("a notebook without a tagged cell", "refused by name")
def test_a_notebook_without_the_tag_is_named(tmp_path):
    path = tmp_path / "bare.ipynb"
    path.write_text('{"cells": []}')
    with pytest.raises(notebook.ParameterError, match=r"bare\.ipynb"):
        notebook.declared(path)


def test_a_kernel_without_widgets_is_not_told_of_them():
    """tqdm says it as it is loaded in a kernel, before the cell's first line of work."""
    kernel = "import ipykernel.zmqshell, IPython; "
    load = "import tqdm.autonotebook"
    said = []
    for first in ("", "from granularity import notebook; "):
        command = [sys.executable, "-c", kernel + first + load]
        said.append(subprocess.run(command, capture_output=True, text=True, check=True).stderr)
    assert "IProgress not found" in said[0]
    assert said[1] == ""
