"""A size: its file's form, its name, its jobs, and where its sets lie."""

import pytest
import yaml
from conftest import ROOT

from granularity import notebook
from granularity.planning import sizes

PARAMETERS = sorted((ROOT / "notebooks/params").glob("*.yaml"))


def test_a_setting_is_one_job():
    assert sizes.jobs_of("grid", {"seed": [0, 1]}) == {"grid": {"seed": [0, 1]}}


def test_each_makes_a_job_for_every_combination():
    given = {"each": {"level": [0, 4], "seed": [0, 1]}, "dataset": "imagenet"}
    jobs = sizes.jobs_of("levels", given)
    assert list(jobs) == [f"levels-level{level}-seed{seed}" for level in (0, 4) for seed in (0, 1)]
    assert jobs["levels-level4-seed1"] == {"dataset": "imagenet", "level": 4, "seed": 1}


@pytest.mark.fault("`each` over whole recipes, too long for a folder's name", "named by a digest")
def test_a_combination_that_is_too_long_is_called_by_its_digest(tmp_path):
    recipes = [
        {"preset": "resnet_small", "model": f"m{'x' * 200}", "learning_rate": rate}
        for rate in (0.1, 0.2)
    ]
    given = {"each": {"pretraining": recipes, "seed": [0]}, "dataset": "toy"}
    jobs = sizes.jobs_of("pair", given)
    assert [values["pretraining"] for values in jobs.values()] == recipes
    for name in jobs:
        (tmp_path / name).mkdir()  # the file system's own word
    one = [name.partition("-")[2] for name in jobs]
    assert one == [name.partition("-")[2] for name in sizes.jobs_of("other", given)]


@pytest.mark.fault("a setting with a name of {length} letters", "refused, or a folder's name")
@pytest.mark.parametrize("length", [100, 300])
def test_a_setting_s_name_is_a_folder_s_name(tmp_path, length):
    config = {"size": "smoke", "runs": {"theory/simulate": {"s" * length: {}}}}
    if length > 200:
        with pytest.raises(ValueError, match="a setting cannot be called 'sss"):
            sizes.of(config, "smoke.yaml")
    else:
        found = sizes.of(config, "smoke.yaml")
        (tmp_path / next(iter(found.runs["theory/simulate"]))).mkdir()


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
        ({"device": "gpu"}, "'device' is 'gpu', one of cpu, cuda wanted; did you mean 'cuda'"),
    ],
)
def test_a_parameter_out_of_range_is_refused(monkeypatch, values, told):
    monkeypatch.chdir(ROOT)
    config = {"size": "smoke", "runs": {"imagenet/pretrain": {"arms": values}}}
    with pytest.raises(ValueError, match=f"imagenet/pretrain, arms.*: parameter {told}"):
        list(sizes.jobs(sizes.of(config, "smoke.yaml")))


def test_folders_of_smoke_runs_become_those_of_another_size():
    assert sizes.of_size("runs/smoke/theory/simulate", "tiny") == "runs/tiny/theory/simulate"
    assert sizes.of_size("runs/smoke", "paper") == "runs/paper"
    for other in ("runs/smoked", "book/results", 3, ["runs/smoke"]):
        assert sizes.of_size(other, "tiny") == other


@pytest.mark.fault("a size file that holds {config}", "refused before any work")
@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "size is None"),
        ({"size": "huge"}, "smoke.yaml: size is 'huge', its file's own name 'smoke' wanted"),
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
        sizes.of(config, "params/smoke.yaml")


@pytest.mark.fault("a size file names a notebook that is not there", "refused, naming both")
def test_a_run_notebook_that_is_not_there_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = {"size": "smoke", "runs": {"theory/simulte": {"grid": {}}}}
    with pytest.raises(FileNotFoundError, match=r"smoke\.yaml names .*simulte\.ipynb"):
        list(sizes.jobs(sizes.of(config, "notebooks/params/smoke.yaml")))


# ---------------------------------------------------------------------------------- its name


def test_a_size_of_any_name_has_a_folder_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "my-own.2.yaml"
    path.write_text("size: my-own.2\nruns: {theory/simulate: {grid: {seed: 1}}}\n")
    monkeypatch.chdir(ROOT)
    (job,) = sizes.jobs(sizes.read(path))
    assert job.folder.as_posix() == "runs/my-own.2/theory/simulate/grid"


@pytest.mark.fault("a size is called {name}", "refused, with its file")
@pytest.mark.parametrize("name", ["hand", "toy", "published", "..", "a/b", "", "-n", "x" * 200])
def test_a_size_cannot_be_called_otherwise_than_a_folder(name):
    with pytest.raises(ValueError, match=r"^my/file\.yaml: a size cannot be called"):
        sizes.of({"size": name}, "my/file.yaml")


@pytest.mark.fault("a size file that is no mapping", "refused, with its name")
def test_a_file_that_is_no_mapping_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"mine\.yaml: \[1, 2\], a mapping"):
        sizes.read(path)


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.stem)
def test_the_sizes_that_ship_have_no_roots_of_a_machine(path):
    """Sets lie in `data/` of the checkout, or are linked there; drawn ones in `runs/toy/`."""
    roots = yaml.safe_load(path.read_text(encoding="utf-8")).get("roots", {})
    assert all(root.startswith(("data/", "runs/toy/")) for root in roots.values())


# ----------------------------------------------------------------------------------- its roots

CONFIG = {
    "size": "mine",
    "runs": {"imagenet/pretrain": {"arms": {}}, "theory/simulate": {"grid": {}}},
}


def test_roots_are_of_the_machine_and_go_to_the_jobs_that_read_images(monkeypatch):
    monkeypatch.chdir(ROOT)
    named = CONFIG | {"roots": {"imagenet1k": "/a", "imagenet21k": "/b"}}
    here = {sizes.ROOTS: "imagenet1k=/c=d:inaturalist=hfds/e"}
    size = sizes.of(named, "mine.yaml", here)
    images, theory = sizes.jobs(size)
    wanted = {"imagenet1k": "/c=d", "imagenet21k": "/b", "inaturalist": "hfds/e"}
    assert images.values["roots"] == wanted
    assert "roots" not in theory.values
    for job in sizes.jobs(sizes.of(CONFIG, "mine.yaml", {})):
        assert "roots" not in job.values, "parameters of runs without any stay as they are"


@pytest.mark.fault("GRANULARITY_ROOTS without a set's name", "refused, with the form")
@pytest.mark.parametrize("given", ["/data/imagenet", "=/data", "imagenet1k="])
def test_a_root_without_a_name_is_refused(given):
    with pytest.raises(ValueError, match=r"GRANULARITY_ROOTS: .*NAME=FOLDER wanted"):
        sizes.of(CONFIG, "mine.yaml", {sizes.ROOTS: given})


RATES = {"held_out": True, "finetuning": [{"learning_rate": rate} for rate in (0.1, 0.2, 0.4)]}


def open_size(levels: dict, rates: dict = RATES) -> sizes.Size:
    runs = {"imagenet/finetune": {"levels": levels, "rates": {"each": {"seed": [1, 2]}} | rates}}
    return sizes.Size("mine", "mine.yaml", runs)


def test_the_best_of_a_setting_names_its_jobs_folders_and_its_recipes(monkeypatch):
    monkeypatch.chdir(ROOT)
    first, *_ = sizes.jobs(open_size({"finetuning": {"best_of": "rates"}}))
    folder = "runs/mine/imagenet/finetune/rates-seed"
    wanted = {"best_of": [f"{folder}1", f"{folder}2"], "recipes": RATES["finetuning"]}
    assert first.values["finetuning"] == wanted


@pytest.mark.fault("a recipe is the best of {setting}", "refused, with the setting's name")
@pytest.mark.parametrize(
    ("setting", "rates", "told"),
    [
        ("a setting that is not there", None, "no setting of imagenet/finetune; did you .*'rates'"),
        ("one recipe", {"finetuning": {}}, "tries no list of recipes 'finetuning'"),
        ("runs that hold nothing out", {"held_out": False}, "on images that it holds out"),
        (
            "two rates, both an edge",
            {"finetuning": [RATES["finetuning"][0], RATES["finetuning"][-1]]},
            "finetuning of the setting rates: every learning rate is an edge of its grid",
        ),
    ],
)
def test_the_best_of_nothing_is_refused(monkeypatch, setting, rates, told):
    monkeypatch.chdir(ROOT)
    name = "rates" if rates else "ratse"
    size = open_size({"finetuning": {"best_of": name}}, RATES | (rates or {}))
    with pytest.raises(notebook.ParameterError, match=told) as refused:
        list(sizes.jobs(size))
    assert str(refused.value).startswith("mine.yaml, imagenet/finetune, levels: ")


@pytest.mark.fault("a recipe is the best of two settings", "refused: one setting is compared")
def test_the_best_of_two_settings_is_refused(monkeypatch):
    monkeypatch.chdir(ROOT)
    size = open_size({"finetuning": {"best_of": ["rates", "levels"]}}, RATES)
    with pytest.raises(notebook.ParameterError, match="which is no setting of imagenet/finetune"):
        list(sizes.jobs(size))
