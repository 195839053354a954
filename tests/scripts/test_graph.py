"""The graph's own rules: which jobs a setting makes, and what they read."""

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import graph


def test_a_setting_is_one_job():
    assert graph.jobs_of("grid", {"seed": [0, 1]}) == {"grid": {"seed": [0, 1]}}


def test_each_makes_a_job_for_every_combination():
    given = {"each": {"level": [0, 4], "seed": [0, 1]}, "dataset": "imagenet"}
    jobs = graph.jobs_of("levels", given)
    assert list(jobs) == [f"levels-level{level}-seed{seed}" for level in (0, 4) for seed in (0, 1)]
    assert jobs["levels-level4-seed1"] == {"dataset": "imagenet", "level": 4, "seed": 1}


@pytest.mark.fault("`each` over whole recipes, too long for a folder's name", "named by a digest")
def test_a_combination_that_is_too_long_is_called_by_its_digest(tmp_path):
    recipes = [
        {"preset": "resnet_small", "model": f"m{'x' * 200}", "learning_rate": rate}
        for rate in (0.1, 0.2)
    ]
    given = {"each": {"pretraining": recipes, "seed": [0]}, "dataset": "toy"}
    jobs = graph.jobs_of("pair", given)
    assert [values["pretraining"] for values in jobs.values()] == recipes
    for name in jobs:
        (tmp_path / name).mkdir()  # the file system's own word
    one = [name.partition("-")[2] for name in jobs]
    assert one == [name.partition("-")[2] for name in graph.jobs_of("other", given)]


@pytest.mark.fault("a setting with a name of {length} letters", "refused, or a folder's name")
@pytest.mark.parametrize("length", [100, 300])
def test_a_setting_s_name_is_a_folder_s_name(tmp_path, length):
    config = {"size": "smoke", "runs": {"theory/simulate": {"s" * length: {}}}}
    if length > 200:
        with pytest.raises(ValueError, match="a setting cannot be called 'sss"):
            graph.checked(config)
    else:
        (tmp_path / next(iter(graph.checked(config)["theory/simulate"]))).mkdir()


@pytest.mark.fault("a size file with {values}", "refused before any work, with the lowest value")
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"level": -1}, "'level' is -1, at least 0 wanted"),
        ({"level": [0, -4]}, "'level' is -4, at least 0 wanted"),
        ({"placebo": [-1]}, "'placebo' is -1"),
        ({"seed": -3}, "'seed' is -3, at least 0 wanted"),
        ({"each": {"seed": [0, -3]}}, "'seed' is -3"),
        ({"workers": -1}, "'workers' is -1, at least 0 wanted"),
        ({"processes": 0}, "'processes' is 0, at least 1 wanted"),
        ({"micro_batch": -1}, "'micro_batch' is -1"),
        ({"save_every": -1}, "'save_every' is -1"),
        ({"source_images": -1}, "'source_images' is -1"),
        ({"device": "gpu"}, "'device' is 'gpu', one of cpu, cuda wanted"),
    ],
)
def test_a_parameter_out_of_range_is_refused(monkeypatch, values, told):
    monkeypatch.chdir(ROOT)
    config = {"size": "smoke", "runs": {"imagenet/pretrain": {"arms": values}}}
    with pytest.raises(ValueError, match=f"imagenet/pretrain, arms.*: parameter {told}"):
        list(graph.checked_jobs(config))


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
        ({"size": "smoke", "run": {}}, "smoke.yaml: unknown field 'run'; did you mean 'runs'"),
        ({"size": "smoke", "limit": "1 h"}, "smoke.yaml, limit: '1 h', an int wanted"),
        ({"size": "smoke", "limit": -1}, "smoke.yaml, limit: -1, at least 0 wanted"),
        ({"size": "smoke", "limit": True}, "smoke.yaml, limit: True, an int wanted"),
        ({"size": "smoke", "runs": []}, "smoke.yaml, runs: .*, a mapping wanted; {notebook:"),
        ({"size": "smoke", "runs": {"a/b": [1]}}, "smoke.yaml, runs, a/b: .*, a mapping wanted"),
        ({"size": "smoke", "runs": {"a/b": {"c": 3}}}, "smoke.yaml, runs, a/b, c.*: 3, a mapping"),
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
