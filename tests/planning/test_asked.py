"""A job is done only where the runs that its parameters ask for have their records."""

import json
import re

import pytest
import yaml
from conftest import ROOT

from granularity import notebook, theory
from granularity.analysis import best_recipe
from granularity.experiments import imagenet
from granularity.images.toy import drawing
from granularity.inputs import open_recipes
from granularity.planning import asked, outlook, sizes
from granularity.records import launch, record, runner

TINY = {
    "labels": "coarse",
    "steps": 3,
    "batch_size": 8,
    "test_samples": 8,
    "logged": 2,
    "width": 2,
    "k": 1,
}
PARAMETERS = sorted((ROOT / "notebooks/params").glob("*.yaml"))
CONFIG = {"size": "smoke", "runs": {"theory/simulate": {"grid": {**TINY, "seed": [0, 1]}}}}


class Asked(Exception):
    """Ends a notebook where it would start its runs."""


@pytest.mark.parametrize("size", [path.stem for path in PARAMETERS])
def test_what_a_job_asks_for_is_what_its_notebook_asks_for(monkeypatch, size):
    """The notebook's own cells, up to the call that makes the runs."""
    seen = {}

    def complete(folder, entry, settings, **_):
        seen.update(entry=entry, settings=settings)
        raise Asked

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(runner, "complete", complete)
    monkeypatch.setattr(launch, "launch", lambda *_, **__: None)
    monkeypatch.setattr(drawing, "draw", lambda *_: None)
    chosen = lambda given, _: (asked.with_recipes(given), {})  # noqa: E731
    monkeypatch.setattr(best_recipe, "settled", chosen)
    for module in (imagenet, asked.inaturalist):
        monkeypatch.setattr(module, "looked_over", lambda *_: [])
        monkeypatch.setattr(module, "stated", lambda *_: [])
    config = yaml.safe_load((ROOT / f"notebooks/params/{size}.yaml").read_text(encoding="utf-8"))
    once = {run: list(settings)[-2:] for run, settings in config["runs"].items()}
    for run, setting, _, given in sizes.jobs(sizes.Size(size, size, config["runs"])):
        if setting not in once[run] and not open_recipes.folders_of(given):
            continue
        path = ROOT / "notebooks" / f"{run}.ipynb"
        values = notebook.declared(path) | given
        monkeypatch.setattr(notebook, "parameters", lambda _, values=values: values)
        names = {"In": [], **values}
        with pytest.raises(Asked):
            for cell in notebook.code_cells(path):
                if "parameters" not in cell["tags"]:
                    exec(cell["source"], names)
        assert asked.runs_of(run, values) == (seen["entry"], list(seen["settings"]))


@pytest.fixture
def done(tmp_path, monkeypatch):
    """A folder in which the plan's one job was made."""
    for name in ("notebooks", "book", "_toc.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    ((_, _, folder, given),) = sizes.jobs(sizes.of(CONFIG, "smoke.yaml"))
    values = notebook.declared("notebooks/theory/simulate.ipynb") | given
    entry, settings = asked.runs_of("theory/simulate", values)
    runner.complete(folder, entry, settings)
    return folder


def planned(**changes) -> bool:
    """Whether the plan calls the job done, with some parameters changed."""
    grid = CONFIG["runs"]["theory/simulate"]["grid"] | changes
    size = sizes.Size("smoke", "smoke.yaml", {"theory/simulate": {"grid": grid}})
    (job,) = outlook.jobs_of(size)
    return job.done


def test_a_job_whose_runs_are_there_is_done(done):
    assert planned()
    assert planned(seed=[1]), "a part of them"


@pytest.mark.fault("the plan finds records of runs with other {changes}", "the job is left to do")
@pytest.mark.parametrize("changes", [{"seed": [0, 1, 2]}, {"learning_rate": 0.3}, {"steps": 4}])
def test_records_of_other_runs_are_not_counted(done, changes):
    assert not planned(**changes)


@pytest.mark.fault("the plan finds a table of contents, and {broken}", "the job is left to do")
@pytest.mark.parametrize("broken", ["no records", "a record cut off", "records of older code"])
def test_a_table_of_contents_alone_is_not_counted(done, broken):
    one, two = sorted(done.glob("*/record.json"))
    if broken == "no records":
        for path in (one, two):
            path.unlink()
    elif broken == "a record cut off":
        one.write_text(one.read_text()[:-40])
    else:
        old = json.loads(one.read_text()) | {"code": "0" * 16}
        del old["checksum"]
        old["checksum"] = runner.digest(old)
        one.write_text(json.dumps(old))
    assert not planned()


def test_a_record_is_of_its_entry_its_arguments_and_its_code(done):
    made = record.read(next(done.glob("*/record.json")))
    assert asked.is_of(made, theory.simulate, made["arguments"])
    assert not asked.is_of(made, imagenet.pretrain, made["arguments"])
    assert not asked.is_of(made, theory.simulate, made["arguments"] | {"learning_rate": 0.3})
    assert not asked.is_of(made | {"code": "0" * 16}, theory.simulate, made["arguments"])


def test_sets_are_opened_once_for_jobs_that_differ_in_seed_and_recipe(monkeypatch):
    opened = []
    monkeypatch.setattr(asked, "read_by", lambda *given: opened.append(given) or [len(opened)])
    read = asked.reader()
    setting = {"dataset": "toy", "level": 0, "seed": 1, "pretraining": {"epochs": 1}}
    values = {"roots": {"toy": "here"}}
    assert read("imagenet/pretrain", [setting], values) == [1]
    assert read("imagenet/pretrain", [setting | {"seed": 2, "pretraining": {}}], values) == [1]
    for run, changed, where in (
        ("imagenet/finetune", setting, values),
        ("imagenet/pretrain", setting | {"level": 1}, values),
        ("imagenet/pretrain", setting, {"roots": {"toy": "there"}}),
        ("imagenet/pretrain", setting, values | {"start": "some.pth"}),
        ("imagenet/pretrain", setting, values | {"weights": "some.npz"}),
    ):
        before = len(opened)
        assert read(run, [changed], where) == [before + 1]


OVERLAPS = ["contained", "disjoint"]
JOB = {"dataset": "imagenet", "level": [0], "pretraining": {"preset": "vit_b16_i21k"}}
JOB |= {"finetuning": {"preset": "vit_b16_i1k_finetune"}}


@pytest.mark.fault("a size file's job has {changed}", "refused before the graph starts, by name")
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"finetuning": {"preset": "vit_b16_i1k_finetune", "model": "vit_smal_patch16_224"}},
         "no network 'vit_smal_patch16_224'; the nearest one is 'vit_small_patch16_224'"),
        ({"finetuning": {"preset": "vit_b16_i1k_finetune", "model": "resnet50"}},
         "another network"),
        ({"finetuning": {"preset": "vit_b16_i1k_finetune", "model_options": {"depth": 2}}},
         "another network"),
        ({"overlap": ["contained", "disjunct"]}, "did you mean 'disjoint'"),
        ({"pretraining": {"preset": "resnet_small", "epochs": 1}, "processes": 8,
          "finetuning": {"preset": "resnet_small", "epochs": 1}}, "batch norm"),
        ({"tracker": "tensorbord"}, "did you mean 'tensorboard'"),
        ({"overlap": "contain"}, "did you mean 'contained'"),
        ({"roots": {"imagnet1k": "/data"}}, "did you mean 'imagenet1k'"),
        ({"classes": "pilot.txt"}, "pilot.txt: neither a file nor"),
        ({"skip": [1]}, "it takes a text, or a list of such"),
        ({"start": "timm:resnet50.a1_in1"}, "the nearest ones are 'resnet50.a1_in1k'"),
        ({"level": [-1]}, "at least 0 wanted"),
        ({"level": [], "placebo": [17], "dataset": "tiny-imagenet-200"}, "more than one is 16"),
        ({"level": [17], "dataset": "mini-imagenet-75"}, "more than one is 16"),
        ({"level": [40], "dataset": "toy"}, "more than one is"),
        ({"dataset": "plankton"}, "dataset has 'plankton', one of imagenet, "),
        ({"skip": "brokn"}, "did you mean 'broken'"),
        ({"classes": ["n02084072", "n02084071"]}, "'n02084072', no synset .* nearest: n0"),
    ],
)  # fmt: skip
def test_what_would_stop_a_job_later_is_refused_now(monkeypatch, changed, told):
    monkeypatch.chdir(ROOT)
    text = {"size": "mine", "runs": {"imagenet/finetune": {"some": JOB | changed}}}
    with pytest.raises((notebook.ParameterError, ValueError), match=told):
        outlook.jobs_of(sizes.of(text, "mine.yaml"))


@pytest.mark.fault("a transfer's job has {changed}", "refused before the graph starts, by name")
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"dataset": "tiny-imagenet-200", "target": "balancd6"}, "no target named 'balancd6'"),
        ({"training": "2021_train_min"}, "did you mean '2021_train_mini'"),
        ({"embedding": "resnet50.a1_in1"}, "the nearest ones are 'resnet50.a1_in1k'"),
        ({"labels": "ranc:family"}, "no label function named 'ranc:family'; nearest: rank"),
        ({"labels": ["target", "rank:famly"]}, "'rank:famly': no rank named .* nearest: family"),
        ({"labels": "mixed:order,speces"}, "no rank named 'speces'; nearest: species"),
        ({"labels": "misaligned:ordr:0.5"}, "no rank named 'ordr'; nearest: order"),
        ({"labels": "rank:family", "dataset": "plankton", "target": "group"}, "valid: depth2"),
        (
            {"labels": "rank:depth99", "dataset": "tiny-imagenet-200", "target": "balanced"},
            "no rank named 'depth99'",
        ),
        ({"labels": "rank:famly", "dataset": "toy"}, "no rank named 'famly'; nearest: family"),
        ({"labels": "random:500001"}, "2 to 500,000 are possible"),
        ({"labels": "random-free:841", "dataset": "toy"}, "841 classes of 840 images"),
        ({"labels": "random:1"}, "1 classes of 500,000 images; 2 to"),
        ({"labels": "random:501", "images": 1, "dataset": "toy"}, "2 to 60 are possible"),
        ({"labels": "mixed:class,class"}, "different ones can be mixed"),
        ({"labels": "misaligned:species:0.5"}, "one leaf a class"),
        ({"target": "balanced"}, "did you mean 'supercategory'"),
        ({"target": "supercategory", "dataset": "plankton"}, "did you mean 'group'"),
        ({"dataset": "mini-imagenet-75"}, "one of inaturalist, plankton, tiny-imagenet-200, toy"),
        ({"labels": "cross:10001"}, "10,000 .one a leaf. are possible"),
        (
            {"labels": "cluster-free:30337", "dataset": "plankton", "target": "group"},
            "images; 2 to",
        ),
    ],
)
def test_what_would_stop_a_transfer_later_is_refused_now(monkeypatch, changed, told):
    monkeypatch.chdir(ROOT)
    job = {"dataset": "inaturalist", "labels": "rank:family"} | changed
    text = {"size": "mine", "runs": {"inaturalist/transfer": {"some": job}}}
    with pytest.raises((notebook.ParameterError, ValueError), match=told):
        outlook.jobs_of(sizes.of(text, "mine.yaml"))


@pytest.mark.parametrize(
    "given", [{"classes": ["n02084071"]}, {"skip": ["broken"]}, {"skip": "extra"}]
)
def test_lists_that_a_notebook_has_empty_are_taken(monkeypatch, given):
    monkeypatch.chdir(ROOT)
    text = {"size": "mine", "runs": {"imagenet/finetune": {"some": JOB | given}}}
    (job,) = outlook.jobs_of(sizes.of(text, "mine.yaml"))
    assert {name: job.values[name] for name in given} == given


@pytest.mark.parametrize("size", ["paper", "pilot"])
def test_the_winter_release_is_a_dataset_like_the_other(monkeypatch, size):
    monkeypatch.chdir(ROOT)
    text = (ROOT / f"notebooks/params/{size}.yaml").read_text(encoding="utf-8")
    winter = yaml.safe_load(re.sub(r"dataset: imagenet\b", "dataset: imagenet-winter21", text))
    jobs = outlook.jobs_of(sizes.of(winter | {"size": "winter"}, "winter.yaml"))
    assert any(job.values.get("dataset") == "imagenet-winter21" for job in jobs)


def test_a_list_of_overlaps_is_one_run_each(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = {"size": "mine", "runs": {"imagenet/finetune": {"some": JOB | {"overlap": OVERLAPS}}}}
    (job,) = outlook.jobs_of(sizes.of(text, "mine.yaml"))
    _, settings = asked.runs_of(job.run, job.values)
    assert {setting["overlap"] for setting in settings} == set(OVERLAPS)
