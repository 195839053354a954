"""A backbone that was trained here, in timm: nothing missing, equal features, its record beside."""

import hashlib
import json
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from small_datasets import small_toy

from granularity.commands import export
from granularity.commands.main import main
from granularity.experiments import imagenet, inaturalist
from granularity.records import record, runner
from granularity.training import checkpoints, networks, one_stage
from granularity.training.presets import recipe_of

SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 2, "warmup": 1}
TUNED = {"loss": "softmax", "head_init": "zero"}
VIT = SHORT | {
    "model": "vit_tiny_patch16_224",
    "model_options": {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2},
    "head": "tanh",
}
RECIPES = {"resnet": SHORT, "vit": VIT}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of runs with their trained networks: pretrained and finetuned, by the network."""
    place = tmp_path_factory.mktemp("runs")
    places = {"roots": small_toy(place), "stages": place / "imagenet" / "stages"}
    common = {"dataset": "toy", "labels": "level", "level": 0, "seed": 0}
    for name, recipe in RECIPES.items():
        arguments = common | {"pretraining": recipe}
        finetuning = recipe | TUNED | {"head": "linear"}
        for entry, given in (
            (imagenet.pretrain, arguments),
            (imagenet.finetune, arguments | {"finetuning": finetuning}),
        ):
            folder = place / "imagenet" / entry.__name__ / name
            runner.complete(folder, entry, [given], places=places)
    return place / "imagenet"


def run_of(made: Path, entry: str, name: str) -> Path:
    return next((made / entry / name).glob("*/record.json"))


@pytest.mark.parametrize("entry", ["pretrain", "finetune"])
@pytest.mark.parametrize("name", RECIPES)
def test_timm_loads_a_backbone_whole_and_sees_the_same_features(
    made, tmp_path, name, entry, caplog
):
    path, out = run_of(made, entry, name), tmp_path / "backbone.safetensors"
    told = record.read(path)
    export.export(path, out)
    beside = json.loads(out.with_suffix(".json").read_text())
    assert beside["record"] == told
    assert beside["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    with caplog.at_level(logging.WARNING):
        loaded = timm.create_model(**beside["timm"], checkpoint_path=str(out)).eval()
    assert not caplog.records
    assert set(load_file(out)) == set(loaded.state_dict())

    recipe = recipe_of(beside["made_of"]["recipe"])
    kept = checkpoints.load(one_stage.finished(made / "stages" / told["stage"]))[0]
    ours = networks.build(recipe, beside["made_of"]["classes"], 7)
    ours.load_state_dict(checkpoints.weights(kept))
    images = torch.rand(2, 3, 16, 16, generator=torch.manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(ours.eval().forward_features(images), loaded.forward_features(images))
        features = ours.forward_head(ours.forward_features(images), pre_logits=True)
        assert torch.equal(features, loaded(images))


def test_a_finetuned_run_names_the_stage_that_it_began_with(made):
    before, after = (record.read(run_of(made, name, "vit")) for name in ("pretrain", "finetune"))
    assert after["pretraining_stage"] == before["stage"] != after["stage"]
    note = json.loads((made / "stages" / after["stage"] / "stage.json").read_text())
    assert note["start"] == before["stage"]


def test_a_baseline_and_a_run_of_one_stage_name_none(made, tmp_path):
    places = {"roots": {"toy": str(made.parent / "dataset")}, "stages": tmp_path / "stages"}
    alone = imagenet.finetune(labels="target", finetuning=SHORT | TUNED, dataset="toy", **places)
    assert alone["pretraining_stage"] is None
    one = inaturalist.transfer(dataset="toy", pretraining=SHORT | TUNED, **places)
    assert one["pretraining_stage"] is None and (tmp_path / "stages" / one["stage"]).is_dir()
    longer = SHORT | TUNED | {"steps": 3}
    two = inaturalist.transfer(
        dataset="toy", pretraining=SHORT | TUNED, finetuning=longer, **places
    )
    assert two["pretraining_stage"] == one["stage"] != two["stage"]


def test_the_command_prints_the_call_and_finds_a_run_by_its_first_letters(made, tmp_path, capsys):
    path, out = run_of(made, "finetune", "resnet"), tmp_path / "out.safetensors"
    main(["export", path.parent.name[:12], str(out), "--runs", str(made)])
    call = capsys.readouterr().out
    loaded = eval(call, {"timm": timm})
    assert isinstance(loaded, torch.nn.Module)
    main(["export", str(path.parent), str(tmp_path / "same.safetensors")])
    assert (tmp_path / "same.safetensors").read_bytes() == out.read_bytes()


def refused(capsys, *words) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, words)])
    assert ended.value.code == 1
    return capsys.readouterr().err


@pytest.mark.fault("an export of a run that there is not", "refused with the nearest run")
def test_a_wrong_run_is_told_the_nearest_one(made, tmp_path, capsys):
    name = run_of(made, "pretrain", "resnet").parent.name
    wrong = name[:8] + "zzzz" + name[12:]
    told = refused(capsys, wrong, tmp_path / "x.safetensors", "--runs", made)
    assert wrong in told and f"the nearest one is {made}/pretrain/resnet/{name}" in told
    told = refused(capsys, "x", tmp_path / "x.safetensors", "--runs", tmp_path)
    assert "no run of images" in told
    told = refused(capsys, "", tmp_path / "x.safetensors", "--runs", made)
    assert "4 runs begin with" in told
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.fault("an export of what is no trained network", "refused, naming the file")
def test_what_cannot_be_exported_is_named(made, tmp_path, capsys):
    path, out = run_of(made, "pretrain", "resnet"), tmp_path / "x.safetensors"
    assert "call it *.safetensors" in refused(capsys, path, tmp_path / "x.pth")
    assert "lists 1 runs" in refused(capsys, path.parent.parent, out)
    assert "--stages" in refused(capsys, path, out, "--stages", tmp_path)
    record.write(tmp_path / "record.json", kind="theory.simulate", metrics={})
    assert "left no network" in refused(capsys, tmp_path, out)
    with pytest.raises(checkpoints.CheckpointError, match=r"no conv1\.0\.weight"):
        export.backbone({}, export.arguments(recipe_of(SHORT)))
    save_file({"a": torch.zeros(1)}, out)  # left as it was
    before = out.read_bytes()
    refused(capsys, path, out, "--stages", tmp_path)
    assert out.read_bytes() == before
