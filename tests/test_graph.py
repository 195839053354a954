"""The graph's own rules: which jobs a setting makes, and what they read."""

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import graph


def test_a_setting_is_one_job():
    assert graph.jobs_of("grid", {"seed": [0, 1]}) == {"grid": {"seed": [0, 1]}}


def test_each_makes_a_job_for_every_combination():
    given = {"each": {"level": [0, 4], "seed": [0, 1]}, "world": "imagenet"}
    jobs = graph.jobs_of("levels", given)
    assert list(jobs) == [f"levels-level{level}-seed{seed}" for level in (0, 4) for seed in (0, 1)]
    assert jobs["levels-level4-seed1"] == {"world": "imagenet", "level": 4, "seed": 1}


def test_folders_of_smoke_runs_become_those_of_another_size():
    assert graph.of_size("runs/smoke/theory/simulate", "tiny") == "runs/tiny/theory/simulate"
    assert graph.of_size("runs/smoke", "paper") == "runs/paper"
    for other in ("runs/smoked", "book/results", 3, ["runs/smoke"]):
        assert graph.of_size(other, "tiny") == other


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


@pytest.mark.fault("a size file that holds {config}", "refused before any work")
@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "size is None"),
        ({"size": "huge"}, "'huge'"),
        ({"size": "smoke", "run": {}}, "unknown \\['run'\\]"),
    ],
)
def test_a_size_file_that_is_none_is_refused(config, told):
    with pytest.raises(ValueError, match=told):
        graph.size(config)


@pytest.mark.fault("a size file names a notebook that is not there", "refused, naming both")
def test_a_run_notebook_that_is_not_there_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(FileNotFoundError, match=r"smoke\.yaml names .*simulte\.ipynb"):
        graph.prepare_runs({"size": "smoke", "runs": {"theory/simulte": {"grid": {}}}})
