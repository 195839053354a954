"""The plan: hours by hand, work that is shared, what is missing."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT

from granularity import notebook, theory
from granularity.claims import rules
from granularity.experiments import datasets, starts
from granularity.experiments.choices import LargerSource
from granularity.fingerprints.digest import canonical
from granularity.images import sources
from granularity.inputs import renamed
from granularity.planning import asked, missing, outlook, plan, sizes, speeds
from granularity.records import tables
from granularity.training.presets import preset

VIT = preset("vit_b16_i21k")
RATE = speeds.Speed(
    "A100", "cuda", 1000.0, speeds.operations(VIT, 21_843), "for the test", VIT.model
)
PAPER = yaml.safe_load((ROOT / "notebooks/params/paper.yaml").read_text())


def job(run: str, setting: str = "only", done: bool = False, **given) -> plan.Job:
    """A job with the notebook's defaults, but for what is given."""
    values = notebook.declared(ROOT / "notebooks" / f"{run}.ipynb") | given
    return plan.Job(run, setting, values, done)


def pretraining(**given) -> plan.Job:
    asked = {"dataset": "imagenet", "level": [0], "placebo": [], "seed": [0], "device": "cuda"}
    asked |= {"pretraining": {"preset": "vit_b16_i21k"}, "processes": 8}
    return job("imagenet/pretrain", **asked | given)


def only(jobs, rates=(RATE,), **known) -> dict:
    """The plan's only row."""
    (row,) = plan.plan(jobs, plan.Known(rates, **known)).to_dict("records")
    return row


def test_the_paper_s_pretraining_is_90_epochs_of_all_images():
    row = only([pretraining()])
    steps = 90 * (14_197_122 // 4096)
    assert row["hours"] == pytest.approx(steps * 4096 / 1000 / 3600)
    assert row["longest"] == pytest.approx(row["hours"] / 8)
    # weights and Adam's two moments, four bytes each, two checkpoints
    assert row["gigabytes"] == pytest.approx(2 * 3 * 4 * 103_186_515 / 1e9, rel=1e-6)


def test_the_release_of_winter_2021_is_a_dataset_of_its_own_with_its_classes_at_every_level():
    """By hand: 13,153,500 images; 19,167 classes at level 0, 464 at level 4, 38 at level 9."""
    winter = datasets.named("imagenet-winter21")
    whole = winter.size_of(LargerSource("imagenet-winter21"))
    assert (whole.source, whole.leaves) == (13_153_500, 19_167)
    for level, classes in {0: 19_167, 4: 464, 9: 38}.items():
        assert plan.classes_at("imagenet-winter21", level, whole) == classes
    row = only([pretraining(dataset="imagenet-winter21")])
    assert row["hours"] == pytest.approx(90 * (13_153_500 // 4096) * 4096 / 1000 / 3600, rel=0.02)
    paper = (ROOT / "notebooks/params/paper.yaml").read_text(encoding="utf-8")
    assert len(re.findall(r"dataset: imagenet$", paper, re.MULTILINE)) == 1  # how.md's `sed`


def test_a_network_of_twice_the_operations_takes_twice_the_hours():
    half = replace(RATE, operations=RATE.operations / 2)
    assert only([pretraining()], [half])["hours"] == 2 * only([pretraining()])["hours"]


def test_the_most_similar_network_of_the_machine_is_the_one_that_counts():
    small = replace(RATE, operations=RATE.operations / 100, images_per_second=5000.0)
    assert only([pretraining()], [small, RATE])["hours"] == only([pretraining()])["hours"]
    other = replace(small, machine="V100")
    assert only([pretraining()], [RATE, other])["hours"] == only([pretraining()])["hours"]


def test_what_two_jobs_need_counts_once_and_what_is_done_not_at_all():
    finetuning = {"preset": "vit_b16_i1k_finetune"}
    given = {name: v for name, v in pretraining().values.items() if name in FINETUNED}
    alone = job("imagenet/finetune", **given, baseline=False, finetuning=finetuning)
    both = plan.plan([pretraining(), alone], plan.Known([RATE]))
    apart = [only([pretraining()])["hours"], only([alone])["hours"]]
    assert both["hours"].sum() == pytest.approx(apart[1])  # it would pretrain itself
    done = plan.plan([replace(pretraining(), done=True), alone], plan.Known([RATE]))
    assert done["hours"].sum() == pytest.approx(apart[1] - apart[0])
    assert done["done"].sum() == 1


FINETUNED = {"dataset", "level", "placebo", "seed", "device", "pretraining", "processes"}


def test_finetuning_at_384_pixels_and_its_evaluation_are_counted():
    tuned = preset("vit_b16_i1k_finetune")
    given = {"level": [], "placebo": [], "seed": [0], "dataset": "imagenet", "device": "cuda"}
    found = only([job("imagenet/finetune", **given, scratch={"preset": "vit_b16_i1k_finetune"})])[
        "hours"
    ]
    seen = (1_281_167 + 50_000) / 3
    ratio = speeds.operations(tuned, 1000) / RATE.operations
    assert found == pytest.approx((20_000 * 512 + seen) * ratio / 1000 / 3600)


def test_stages_of_the_second_arm_share_embeddings_and_the_target():
    given = {"dataset": "inaturalist", "seed": [0], "device": "cuda"}
    given |= {"pretraining": {"preset": "resnet34"}, "finetuning": {"preset": "resnet34_finetune"}}
    clip = "vit_large_patch14_clip_quickgelu_224.openai"
    asked = given | {"embedding": clip, "one_pass": True}
    two = job("inaturalist/transfer", **asked, labels=["cluster:51", "cluster:273", "target"])
    found = plan.works(two.run, two.values)
    assert len(found) == 1 + 3 + 3  # the embedding, and two stages of each label function
    stored = min(work.kept for work in found.values() if not work.classes)
    assert stored == 500_000 * 1024 * 2
    classes = sorted({work.classes for work in found.values()})
    assert classes == [0, 11, 51, 273]
    ranks = job("inaturalist/transfer", **given, one_pass=False, labels=["rank:genus", "instance"])
    classes = {work.classes for work in plan.works(ranks.run, ranks.values).values()}
    assert classes == {4900, 500_000, 11}


def test_hours_are_unknown_where_no_speed_of_the_machine_is():
    assert math.isnan(only([pretraining()], [])["hours"])
    table = plan.plan([pretraining()], plan.Known([RATE]), name="H100")
    assert math.isnan(table["hours"][0])


def test_runs_of_the_theory_are_counted():
    grid = job("theory/simulate", labels=["coarse", "fine"], k=[2, 4], seed=[0, 1, 2])
    runs = theory.grid(**{n: v for n, v in grid.values.items() if n != "folder"})
    known = [(speeds.theory_operations(run), 60.0) for run in runs]
    assert only([grid], theory=known)["hours"] == pytest.approx(12 / 60)
    long = {"labels": "coarse", "k": 2, "steps": 1000 * grid.values["steps"], "seed": 0}
    slow = [pair for pair in known if pair[0] == max(known)[0]]
    (run,) = theory.grid(**long)
    hours = speeds.theory_operations(run) / slow[0][0] / 60
    assert only([job("theory/simulate", **long)], theory=slow)["hours"] == pytest.approx(hours)
    assert math.isnan(only([grid])["hours"])


def test_a_setting_of_the_theory_takes_what_published_runs_like_it_took():
    """Each setting by the others; a factor of 24 was once between them."""
    runs = tables.table(ROOT / "book/results/theory/dimension.jsonl")
    runs = runs.assign(work=[speeds.theory_operations(run) for run in runs.to_dict("records")])
    for cost, group in runs.groupby("work"):
        others = runs[runs["work"] != cost]
        known = list(zip(others["work"], others["seconds"], strict=True))
        found = speeds.theory_seconds(group.to_dict("records")[0], known)
        assert 1 / 6 < found / group["seconds"].median() < 6


def test_decoding_is_of_all_images_that_are_read_by_the_job_s_workers():
    row = only([pretraining(workers=5)], decoded=300.0)
    images = 90 * (14_197_122 // 4096) * 4096
    assert row["decoding"] == pytest.approx(images / 300 / (8 * 5) / 3600)
    small = job("imagenet/pretrain", level=[0], placebo=[], seed=[0])
    assert only([small], decoded=300.0)["decoding"] == 0, "images of 32 pixels are in memory"


def test_sets_that_are_here_count_by_their_own_images():
    told = {part: {"images": number} for part, number in COUNTED.items()}
    asked = pretraining(pretraining={"preset": "vit_b16_i21k", "batch_size": 16})
    (work,) = plan.works(asked.run, asked.values, [{"source": told["source"]}]).values()
    assert work.images == 90 * 4800
    given = {name: v for name, v in asked.values.items() if name in FINETUNED}
    given |= {"baseline": False, "finetuning": {"preset": "vit_b16_i1k_finetune"}}
    tuned = job("imagenet/finetune", **given)
    found = plan.works(tuned.run, tuned.values, [told]).values()
    assert [work.images for work in found][-1] == 20_000 * 512 + 600 + 20
    short = {part: {"images": 30} for part in told}
    with pytest.raises(ValueError, match="imagenet/finetune, only: a batch of 512 is more than"):
        plan.plan([replace(tuned, read=[short])], plan.Known([RATE]))


COUNTED = {"source": 4800, "target": 600, "evaluation": 20}


def test_an_unknown_run_notebook_is_an_error():
    with pytest.raises(KeyError, match="knows no run notebook"):
        plan.works("bench/full", {})


def test_every_run_notebook_of_the_sizes_is_known(monkeypatch):
    monkeypatch.chdir(ROOT)
    for path in (ROOT / "notebooks/params").glob("*.yaml"):
        config = yaml.safe_load(path.read_text())
        for run, _, _, given in sizes.jobs(sizes.Size(path.stem, path.name, config["runs"])):
            plan.works(run, asked.with_recipes(job(run, **given).values))


# --------------------------------------------------------------------------------------- missing

HERE = missing.Here(gpus=8, cores=200, free=500.0, gigabytes=400.0)


def test_cores_and_disk_are_told_of_where_they_do_not_reach(tmp_path):
    here = HERE._replace(cores=100, free=300.0)
    told = missing.missing([pretraining(workers=14)], tmp_path, here)
    assert (
        "cores: 120 wanted by imagenet/pretrain (14 workers beside each of 8 processes), 100 here"
        in told
    )
    assert "disk: the runs leave 400 GB, 300 GB are free" in told


def test_missing_roots_name_the_place_to_get_them_from_and_tar_files_count(tmp_path):
    roots = {"imagenet21k": "data/imagenet21k", "imagenet1k": "data/imagenet1k"}
    asked = [pretraining(**roots)]
    told = missing.missing(asked, tmp_path, HERE)
    assert told == [
        f"data/imagenet21k: no train there. {sources.SOURCES['imagenet21k']}",
        f"data/imagenet1k: no train and no val there. {sources.SOURCES['imagenet1k']}",
    ]
    (tmp_path / "data/imagenet21k").mkdir(parents=True)
    (tmp_path / "data/imagenet21k/train-000.tar").touch()
    for part in ("train", "val"):
        (tmp_path / "data/imagenet1k" / part).mkdir(parents=True)
    assert missing.missing(asked, tmp_path, HERE) == []
    assert missing.missing([replace(asked[0], done=True)], tmp_path / "x", HERE) == []


def test_missing_gpus_and_unnamed_roots_are_told(tmp_path):
    told = missing.missing(
        [pretraining(imagenet21k="", imagenet1k="")], tmp_path, HERE._replace(gpus=1)
    )
    assert any("no root is named" in line for line in told)
    assert "GPUs: 8 wanted by imagenet/pretrain, 1 here" in told


def test_weights_of_the_embedding_are_told_of(tmp_path):
    asked = {
        "dataset": "toy",
        "labels": ["cluster:34"],
        "embedding": "vit_base_patch16_224.augreg_in21k",
    }
    (told,) = missing.missing([job("inaturalist/transfer", **asked)], tmp_path, HERE)
    assert "huggingface.co/timm/" in told
    (told,) = missing.missing(
        [job("inaturalist/transfer", **asked, weights="w.st")], tmp_path, HERE
    )
    assert told.startswith("w.st, the weights of")
    (tmp_path / "w.st").touch()
    assert not missing.missing(
        [job("inaturalist/transfer", **asked, weights="w.st")], tmp_path, HERE
    )


def test_weights_to_start_from_are_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(starts, "try_to_load_from_cache", lambda *of: None)
    tagged = [job("inaturalist/transfer", dataset="toy", start="timm:resnet50.a1_in1k")]
    (told,) = missing.missing(tagged, tmp_path, HERE)
    assert told.startswith("the weights resnet50.a1_in1k are not in the cache")
    own = [job("inaturalist/transfer", dataset="toy", start="w.safetensors")]
    assert missing.missing(own, tmp_path, HERE) == ["w.safetensors, to start from: not there"]
    (tmp_path / "w.safetensors").touch()
    assert not missing.missing(own, tmp_path, HERE)


def test_a_set_of_the_hub_wants_its_package(tmp_path, monkeypatch):
    roots = {"imagenet21k": "hfds/timm/imagenet-22k-wds", "imagenet1k": "hfds/ILSVRC/imagenet-1k"}
    asked = [pretraining(roots=roots, imagenet21k="", imagenet1k="")]
    assert missing.missing(asked, tmp_path, HERE) == []
    monkeypatch.setattr(missing.importlib.util, "find_spec", lambda name: None)
    told = missing.missing(asked, tmp_path, HERE)
    assert len(told) == 2 and all("pip install datasets" in line for line in told)


@pytest.mark.parametrize(
    ("dataset", "gigabytes"), [("imagenet21k", 1100), ("imagenet1k", 144.3), ("inat", 50.4)]
)
def test_sizes_to_download_are_those_that_the_sources_state(dataset, gigabytes):
    assert missing.gigabytes_of(dataset) == pytest.approx(gigabytes)


# ---------------------------------------------------------------------------------------- speeds


BOOK = rules.read((ROOT / "book/claims.yml").read_text(encoding="utf-8"))
NETWORKS = BOOK.tables["network_rates"]


def test_published_speeds_are_the_claims_file_s_fastest_first():
    found = speeds.published(BOOK.tables["training_rates"], NETWORKS)
    of_vit = [s.images_per_second for s in found if s.model == VIT.model]
    stated = sorted((row[2] for row in BOOK.tables["training_rates"].rows), reverse=True)
    assert of_vit == pytest.approx(stated)
    assert speeds.speed_for("cuda", found, "v100").machine.startswith("V100")
    assert speeds.speed_for("cpu", found) is None


@pytest.mark.parametrize(
    ("recipe", "times"),
    [
        (preset("resnet34", model="resnet50"), 1218.01 / 392.99),
        (preset("resnet34"), 2036.51 / 392.99),
        (preset("vit_b16_i1k_finetune"), 97.1 / 392.99),
    ],
)
def test_other_networks_train_as_fast_as_was_published_of_them(recipe, times):
    """Beside a ViT-B/16 at 224 pixels: by operations a ResNet-50 would train 4.3 times as fast."""
    rates = speeds.of_networks("a GPU", 1000.0, "for the test", NETWORKS)
    near = speeds.nearest(rates[0], rates, recipe, 1000)
    assert near.of(recipe, 1000) == pytest.approx(1000 * times, rel=0.02)


def test_a_network_that_nobody_measured_is_like_one_of_its_kind():
    rates = speeds.of_networks("a GPU", 1000.0, "for the test", NETWORKS)
    tiny = preset("vit_b16_i21k", model="vit_tiny_patch16_224")
    assert speeds.nearest(rates[0], rates, tiny, 1000).attends
    wide = preset("resnet34", model="wide_resnet50_2")
    assert not speeds.nearest(rates[0], rates, wide, 1000).attends


@pytest.mark.fault("one's own figure of images a second is {figure}", "refused; never nan hours")
@pytest.mark.parametrize("figure", [math.nan, -1.0, math.inf])
def test_a_figure_that_is_no_speed_is_refused(monkeypatch, figure):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match="images a second: a number above 0 wanted"):
        outlook.known(BOOK, figure)


def test_photographs_are_decoded_as_fast_as_their_pixels():
    runs = pd.DataFrame({"ours_loader": [800.0, 900.0, 1000.0], "pixels": [250] * 3})
    assert speeds.decoded(runs) == pytest.approx(900 * 250**2 / (500 * 375))
    assert math.isnan(speeds.decoded(pd.DataFrame()))


def test_a_measured_gpu_comes_before_published_ones():
    machine = {"processor": "a CPU", "gpu": "H100"}
    rows = [{"preset_name": "resnet34", "device": "cuda", "classes": 1000, "machine": machine}]
    runs = pd.DataFrame([row | {"ours_step": 2500.0} for row in rows])
    (found,) = speeds.recorded(runs)
    assert (found.machine, found.images_per_second) == ("H100", 2500.0)
    assert found.of(preset("resnet34"), 1000) == pytest.approx(2500.0)
    assert speeds.speed_for("cuda", [found, RATE]) is found


def test_machines_with_other_instructions_are_two():
    plain = {"processor": "a CPU", "cores": 2}
    finetuning = {"preset": "resnet_toy"}
    rows = [
        {"machine": plain | more, "images_per_second": rate, "target_classes": 7}
        for more, rate in (
            ({}, 10.0),
            ({"instructions": "AVX2"}, 20.0),
            ({"instructions": "AVX512 and bf16"}, 300.0),
            ({"instructions": "AVX512 and bf16"}, 500.0),
            ({"instructions": "AVX512 and bf16", "gpu": "H100"}, 9000.0),
        )
    ]
    found = speeds.of_runs(pd.DataFrame([row | {"finetuning": finetuning} for row in rows]))
    assert {speed.machine: speed.images_per_second for speed in found} == {
        "a CPU": 10.0,
        "a CPU with AVX2": 20.0,
        "a CPU with AVX512 and bf16": 400.0,
    }


def test_the_operations_are_those_of_the_network():
    made = speeds.networks.build(preset("resnet_toy"), 7, 0)
    counted = speeds.training.flops(made, 32, "cpu")
    assert speeds.operations(preset("resnet_toy"), 7) == counted
    assert speeds.parameters(preset("resnet_toy"), 7) == sum(p.numel() for p in made.parameters())


# --------------------------------------------------------------------------------------- command


def called(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "granularity", "plan", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_says_what_the_paper_s_runs_take_and_lack():
    ended = called("paper", "--gpu", "V100", "--price", "2")
    assert ended.returncode == 0, ended.stderr
    said = " ".join(ended.stdout.split())
    jobs = sum(len(sizes.jobs_of(s, g or {})) for r in PAPER["runs"].values() for s, g in r.items())
    assert f"of {jobs} jobs are left" in said
    assert "8 × GPU" in said
    assert "Reckoned for one V100" in said
    assert "At 2.00 for a GPU-hour" in said
    assert "imagenet21k 1,100.0 GB" in said
    assert "C1 imagenet.finetune 8 1" in said, "seeds that the rule wants, and those planned"
    assert "nan" not in said


def test_the_command_s_numbers_are_to_be_had_as_json():
    ended = called("smoke", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["size"] == "smoke"
    assert {row["run"] for row in found["settings"]} >= {"imagenet/finetune", "theory/simulate"}
    assert found["missing"] == []
    assert found["datasets"] == {}
    assert all(hours == 0 for hours in found["gpu_hours"].values())
    again = outlook.outlook("notebooks/params/smoke.yaml", ROOT)
    assert again | {"free": 0} == found | {"free": 0}  # the disk's free space moves


SHIPPED = sorted((ROOT / "notebooks/params").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_plan_of_every_size_that_ships_has_hours_for_every_setting(path):
    found = outlook.outlook(path, ROOT)
    runs = yaml.safe_load(path.read_text(encoding="utf-8"))["runs"]
    wanted = {(run, setting) for run, settings in runs.items() for setting in settings}
    assert {(row["run"], row["setting"]) for row in found["settings"]} == wanted
    assert all(row["hours"] >= 0 for row in found["settings"])
    assert bool(found["designs"]) == (path.stem == "paper"), "30 epochs save nothing of two"


def test_the_tiny_size_asks_for_every_published_run_of_the_theory(monkeypatch):
    monkeypatch.chdir(ROOT)
    size = sizes.read(Path("notebooks/params/tiny.yaml"))
    jobs = [job for job in outlook.jobs_of(size) if job.run == "theory/simulate"]
    asked_for = [asked.runs_of(job.run, job.values)[1] for job in jobs]
    found = {canonical(run) for runs in asked_for for run in runs}
    for file in sorted(Path("book/results/theory").glob("*.jsonl")):
        lines = file.read_text(encoding="utf-8").splitlines()
        made = {canonical(renamed.current(json.loads(line)["arguments"])) for line in lines}
        assert made and made <= found, file


MERGED = "size: smoke\nruns: {theory/simulate: {some: {labels: merged, k: [2, 8], classes: 8}}}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("size: smok", "'smok'"),
        ("size: smoke\nruns: {theory/simulate: {grid: {sead: 1}}}", "did you mean 'seed'"),
        (MERGED, "smoke.yaml, theory/simulate, some: classes of merged labels"),
    ],
)
def test_a_wrong_size_file_is_refused(tmp_path, text, told):
    path = Path(tmp_path, "smoke.yaml")
    path.write_text(text)
    ended = called(str(path))
    assert ended.returncode == 1
    assert told in ended.stderr
    assert not ended.stdout
    with pytest.raises(ValueError, match=told):
        outlook.outlook(path, ROOT)


def test_each_job_has_its_setting_and_all_its_parameters(monkeypatch):
    monkeypatch.chdir(ROOT)
    runs = {"imagenet/pretrain": PAPER["runs"]["imagenet/pretrain"]}
    jobs = outlook.jobs_of(sizes.Size("paper", "paper.yaml", runs))
    assert {found.setting for found in jobs} == {"levels", "rates"}
    assert [found.values["level"] for found in jobs] == [0, 1, 2, 4, 6, 9, 0, 4]
    assert all(found.values["target_images"] == 0 for found in jobs)


@pytest.mark.fault("the plan is asked for a GPU that nobody knows", "refused, with the known ones")
def test_an_unknown_gpu_is_said():
    ended = called("paper", "--gpu", "H100")
    assert ended.returncode == 1
    assert (
        "state images a second of a ViT-B/16 at 224 pixels by --images-per-second" in ended.stderr
    )
    ended = called("paper", "--gpu", "A1000")
    assert "no speed of a GPU 'A1000' is known, but of " in ended.stderr
    assert "did you mean 'A100 SXM4 80 GB'?" in ended.stderr
    assert "nan" not in ended.stdout
