"""The graph's own rules: what jobs take up, and what chapters are given."""

import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_notebook

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
