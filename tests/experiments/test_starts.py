"""Runs that start from weights: whose digest they say, what is refused, what stays as it was."""

import hashlib
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from small_datasets import small_toy

from granularity import notebook
from granularity.experiments import datasets, imagenet, inaturalist, starts
from granularity.images.toy import drawing
from granularity.planning import asked, missing
from granularity.planning.plan import Job
from granularity.records import runner
from granularity.training import checkpoints, networks, one_stage
from granularity.training.checkpoints import CheckpointError
from granularity.training.embeddings import WeightsError
from granularity.training.presets import recipe_of

SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 1, "warmup": 1}
SHORT |= {"loss": "softmax", "head_init": "zero", "learning_rate": 0.0}  # so weights stay
PRETRAINED = {"dataset": "toy", "labels": "level", "level": 0, "pretraining": SHORT, "seed": 0}
BASELINE = {"dataset": "toy", "labels": "target", "pretraining": {}, "finetuning": SHORT}
TAGGED = "timm:resnet10t.c3_in1k"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The drawn datasets."""
    return small_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def weights(tmp_path):
    """A file of weights that fit the recipe, and the tensors."""
    tensors = networks.build(recipe_of(SHORT), 5, 42).state_dict()
    save_file(tensors, tmp_path / "other.safetensors")
    return tmp_path / "other.safetensors", tensors


def placed(drawn, tmp_path, file):
    roots = {"toy": drawn["toy"]} | ({"start": str(file)} if file else {})
    return {"roots": roots, "stages": tmp_path / "stages"}


def learnt(place: Path, stage: str) -> dict:
    return checkpoints.weights(checkpoints.load(one_stage.finished(place / stage))[0])


def body(tensors):
    kept = {name: value for name, value in tensors.items() if not name.startswith("fc.")}
    return {name: value for name, value in kept.items() if not is_statistic(name)}


def is_statistic(name):
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


@pytest.mark.parametrize("entry", ["pretrain", "baseline", "transfer"])
def test_a_first_stage_starts_from_the_weights_that_it_names(drawn, tmp_path, weights, entry):
    file, tensors = weights
    places = placed(drawn, tmp_path, file)
    function, arguments = {
        "pretrain": (imagenet.pretrain, PRETRAINED),
        "baseline": (imagenet.finetune, BASELINE),
        "transfer": (inaturalist.transfer, {"dataset": "toy", "pretraining": SHORT}),
    }[entry]
    found = function(**arguments, **places, start=file.name)
    for name, value in body(learnt(places["stages"], found["stage"])).items():
        assert torch.equal(value, tensors[name]), name
    plain = function(**arguments, **places)
    assert plain["stage"] != found["stage"]  # a stage of its own
    others = body(learnt(places["stages"], plain["stage"]))
    assert any(not torch.equal(value, tensors[name]) for name, value in others.items())


def test_a_finetuning_wants_the_pretraining_that_began_with_its_weights(drawn, tmp_path, weights):
    places, start = placed(drawn, tmp_path, weights[0]), weights[0].name
    imagenet.pretrain(**PRETRAINED, **places)
    with pytest.raises(FileNotFoundError, match=r"nearest that is there.*start \(None, wanted 'w"):
        imagenet.finetune(**PRETRAINED, finetuning=SHORT, **places, start=start)
    before = imagenet.pretrain(**PRETRAINED, **places, start=start)
    after = imagenet.finetune(**PRETRAINED, finetuning=SHORT, **places, start=start)
    assert after["pretraining_stage"] == before["stage"]


def test_the_digest_is_in_key_and_record_and_no_place_is(drawn, tmp_path, weights):
    file = weights[0]
    places = placed(drawn, tmp_path, file)
    settings = imagenet.arms(baseline=True, finetuning={}, scratch=SHORT, start=str(file), seed=0)
    assert [setting["start"] for setting in settings] == ["other.safetensors"]
    settings = [setting | {"dataset": "toy"} for setting in settings]
    (read,) = imagenet.stated(settings, places["roots"])
    assert read["start"] == hashlib.sha256(file.read_bytes()).hexdigest()
    keys = {runner.fingerprint(imagenet.finetune, settings[0], read)}
    tensors = networks.build(recipe_of(SHORT), 5, 43).state_dict()
    save_file(tensors, file)
    (other,) = imagenet.stated(settings, places["roots"])
    keys |= {runner.fingerprint(imagenet.finetune, settings[0], other)}
    assert len(keys) == 2
    (record,) = runner.complete(
        tmp_path / "runs", imagenet.finetune, settings, data=[other], places=places
    )
    assert record["data"]["start"] == other["start"]
    assert (
        str(tmp_path) not in (tmp_path / "runs" / record["fingerprint"] / "record.json").read_text()
    )


def test_weights_are_finetuned_without_the_source_of_imagenet(drawn, tmp_path, weights):
    """Whoever trusts published weights needs no ImageNet-21k; the numbers are the same."""
    both = {name: f"{drawn['toy']}/{name}" for name in ("imagenet21k", "imagenet1k")}
    alone = {"imagenet1k": both["imagenet1k"], "start": str(weights[0])}
    setting = BASELINE | {"dataset": "imagenet", "start": weights[0].name, "seed": 0}
    (row,) = imagenet.looked_over([setting], alone)
    assert row["images of the target"] == row["classes of the target"] * 8
    assert not [name for name in row if "source" in name]
    (read,) = imagenet.stated([setting], alone)
    assert read == imagenet.stated([setting], both | alone)[0]
    found, other = (
        imagenet.finetune(**setting, roots=roots, stages=tmp_path / name)
        for name, roots in (("one", alone), ("two", both | alone))
    )
    assert found["metrics"] == other["metrics"] and found["stage"] == other["stage"]
    with pytest.raises(KeyError, match="no root is given for imagenet21k"):
        imagenet.looked_over([setting, setting | {"labels": "level", "level": 0}], alone)


def test_classes_of_a_source_that_is_not_opened_may_be_listed(drawn):
    roots = {"imagenet1k": f"{drawn['toy']}/imagenet1k"}
    choice = datasets.LargerSource("imagenet", classes=(*drawing.TARGET[:3], "n01440764"))
    assert datasets.open_sets(choice, roots, source=False).classes == drawing.TARGET[:3]
    wrong = replace(choice, classes=(*choice.classes, "n0144076x"))
    with pytest.raises(ValueError, match=r"classes has 'n0144076x'.*nearest: n\d{8}"):
        datasets.open_sets(wrong, roots, source=False)


def test_the_plan_asks_for_the_roots_that_are_read(drawn):
    values = notebook.declared("notebooks/imagenet/finetune.ipynb")
    values |= {"dataset": "imagenet", "level": [], "placebo": [], "baseline": True}
    assert set(missing.roots_of(Job("imagenet/finetune", "x", values))) == {"imagenet1k"}
    values |= {"level": [0]}
    both = {"imagenet1k", "imagenet21k"}
    assert set(missing.roots_of(Job("imagenet/finetune", "x", values))) == both


def test_runs_without_a_start_say_nothing_of_it(drawn):
    common = {"dataset": "toy", "pretraining": SHORT, "seed": 0}
    for settings in (
        imagenet.arms(level=0, finetuning=SHORT, scratch=SHORT, baseline=True, start="", **common),
        inaturalist.arms(labels="target", finetuning=SHORT, start="", **common),
    ):
        assert all("start" not in setting for setting in settings)
    (read,) = imagenet.stated([PRETRAINED], drawn)
    assert set(read) == {"source"}


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.fault("weights of another network to start from", "refused, naming the tensor")
def test_weights_that_lack_a_tensor_or_have_another_shape_are_refused(drawn, tmp_path, weights):
    file, tensors = weights
    settings = [BASELINE | {"start": file.name}]
    roots = placed(drawn, tmp_path, file)["roots"]
    imagenet.looked_over(settings, roots)
    first = next(iter(tensors))
    save_file({name: value for name, value in tensors.items() if name != first}, file)
    for work in (
        lambda: imagenet.looked_over(settings, roots),
        lambda: imagenet.finetune(**settings[0], roots=roots, stages=tmp_path / "stages"),
    ):
        with pytest.raises(CheckpointError, match=rf"{first} in one only, the network"):
            work()
    save_file(tensors | {"extra": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="extra in one only, the weights"):
        imagenet.looked_over(settings, roots)
    save_file(tensors | {first: torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=rf"{first} is \(1,\), not"):
        imagenet.looked_over(settings, roots)


@pytest.mark.fault("weights to start from that are not there", "refused, with what to do")
def test_weights_that_are_not_here_or_are_none_are_refused(drawn, tmp_path):
    setting = BASELINE | {"start": "gone.safetensors"}
    with pytest.raises(FileNotFoundError, match="--root start=FILE"):
        imagenet.finetune(**setting, roots=drawn, stages=tmp_path)
    roots = drawn | {"start": str(tmp_path / "gone.safetensors")}
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors.*no such file"):
        imagenet.stated([setting], roots)
    for name in ("gone.safetensors", "gone.pth"):
        (tmp_path / name).write_bytes(b"no tensors")
        with pytest.raises(WeightsError, match=rf"{name} holds no weights"):
            imagenet.looked_over([setting], drawn | {"start": str(tmp_path / name)})


def test_published_weights_come_from_the_cache_of_this_machine_alone(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(FileNotFoundError, match=r"resnet10t\.c3_in1k are not in the cache.*python"):
        starts.file_of(TAGGED)
    with pytest.raises(KeyError, match=r"'resnet10t'; the nearest ones are 'resnet10t\.c3_in1k'"):
        starts.file_of("timm:resnet10t")
    # As the hub lays a file down.
    place = tmp_path / "hub" / "models--timm--resnet10t.c3_in1k"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    file = place / "snapshots" / "abc" / "model.safetensors"
    file.parent.mkdir(parents=True)
    whole = SHORT | {"model": "resnet10t", "model_options": {}, "image_size": 32}
    save_file(timm.create_model("resnet10t").state_dict(), file)
    assert starts.file_of(TAGGED) == str(file)
    (setting,) = imagenet.arms(
        baseline=True, finetuning={}, scratch=whole, start=TAGGED, dataset="toy", seed=0
    )
    assert setting["start"] == TAGGED
    assert imagenet.looked_over([setting], drawn | {"start": str(file)})


def test_the_plan_knows_a_job_s_weights(drawn, weights):
    values = {"toy_root": drawn["toy"], "start": str(weights[0])}
    settings = [BASELINE | {"start": weights[0].name}]
    (read,) = asked.read_by("imagenet/finetune", settings, values)
    assert read == imagenet.stated(settings, drawn | {"start": str(weights[0])})[0]
    (read,) = asked.read_by("imagenet/finetune", settings, values | {"start": "timm:none"})
    assert read is None
