"""The graph's own rules: what jobs take up, and what chapters are given."""

import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_notebook

from granularity import notebook
from granularity.inputs import plain_yaml
from granularity.planning import sizes

sys.path.insert(0, str(ROOT / "scripts"))
import graph


@pytest.mark.parametrize(
    ("setting", "waits_for"),
    [
        ("arms", ["arms"]),
        ("arm", []),
        ("levels-level0-seed0", ["levels-level0-seed0"]),
        ("rates-level0-seed0", ["levels-level0-seed0"]),
        ("baseline-seed0", []),
        ("baseline", []),
    ],
)
def test_a_run_that_takes_up_another_waits_for_it(setting, waits_for):
    made = ["arms", "levels-level0-seed0", "levels-level4-seed0"]
    records = {"a/pretrain": [f"runs/smoke/a/pretrain/{name}/record.json" for name in made]}
    wildcards = type("Wildcards", (), {"setting": setting})
    found = graph.made_before(records, "a/pretrain")(wildcards)
    assert found == [f"runs/smoke/a/pretrain/{name}/record.json" for name in waits_for]


def test_what_is_proven_of_equal_code_makes_smoke_runs_anew(monkeypatch):
    """It names the stages that are kept: a run that stays would miss its pretraining."""
    monkeypatch.chdir(ROOT)
    records = {"imagenet/pretrain": [], "imagenet/finetune": []}
    for run in records:
        assert "book/results/equivalences.jsonl" in graph.run_code("smoke", records, run)
        assert graph.run_code("tiny", records, run) == []


def test_a_notebook_and_its_line_in_the_contents_are_a_chapter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notebooks").mkdir()
    cell = new_code_cell("runs = 'runs/smoke/a'\nfolder = ''", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[cell]), "notebooks/added.ipynb")
    Path("_toc.yml").write_text("root: book/index\nchapters: [{file: book/chapters/added}]\n")
    assert sizes.chapters() == ["added"]
    assert graph.prepare_chapters("mine") == ["runs/mine/chapters/added/record.json"]
    given = plain_yaml.load(Path("runs/mine/chapters/added/parameters.yaml"))
    assert given == {"runs": "runs/mine/a", "folder": "runs/mine/chapters/added"}


FITTING = {"labels": "merged", "k": 8, "classes": 8}


@pytest.mark.fault(
    "values of a size file that do not go together", "refused by name before any job is written"
)
@pytest.mark.parametrize(
    ("run", "given", "told"),
    [
        ("theory/simulate", FITTING | {"k": [2, 8]}, "classes of merged labels must be between"),
        (
            "imagenet/pretrain",
            {"pretraining": {"preset": "resnet_toy", "steps": 5}},
            "one of epochs",
        ),
        ("imagenet/pretrain", {"pretraining": {"preset": "resnet_toi"}}, "'resnet_toy'"),
        ("imagenet/finetune", {"dataset": "imagnet"}, "'imagnet'.* nearest: imagenet"),
        ("inaturalist/transfer", {"labels": ["random:x"]}, "random:x"),
    ],
)
def test_values_that_do_not_go_together_are_refused_before_any_job(
    tmp_path, monkeypatch, run, given, told
):
    monkeypatch.chdir(tmp_path)
    Path("notebooks").symlink_to(ROOT / "notebooks")
    size = sizes.Size("mine", "mine.yaml", {run: {"some": given}})
    for _ in range(2):  # the second call finds nothing that the first has left
        with pytest.raises(notebook.ParameterError, match=told) as refused:
            graph.prepare_runs(size)
        assert str(refused.value).startswith(f"mine.yaml, {run}, some: ")
    assert not Path("runs").exists()


def test_values_that_go_together_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notebooks").symlink_to(ROOT / "notebooks")
    size = sizes.Size("mine", "mine.yaml", {"theory/simulate": {"some": FITTING}})
    assert graph.prepare_runs(size) == {
        "theory/simulate": ["runs/mine/theory/simulate/some/record.json"]
    }
    given = plain_yaml.load(Path("runs/mine/theory/simulate/some/parameters.yaml"))
    assert given["k"] == 8
