"""One stage: the options that change how fast it is and not what it keeps."""

import multiprocessing
import time

import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState, GradientState
from faults_seen import saw

from granularity import files
from granularity.training import checkpoints, evaluation, loading, one_stage, presets, recipe

LABELS = torch.arange(4)[:, None].int()


def short(**changes):
    return presets.preset(
        "resnet_toy", steps=4, epochs=0, batch_size=8, image_size=16, warmup=1, **changes
    )


def stage(folder, device="cpu", **changes):
    made = short(**changes)
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(32, 3, 16, 16, generator=generator) * 255).byte()
    images = loading.Memory(pixels, torch.arange(32) % 4, made)
    done = one_stage.stage(made, images, LABELS, 4, key="k", seed=0, folder=folder, device=device)
    return done, evaluation.evaluate(done.model, images, LABELS, done.accelerator, made)


def kept(folder):
    tensors, _ = checkpoints.load(one_stage.finished(folder / "k"))
    return checkpoints.weights(tensors)


def test_channels_last_keeps_the_same_network(tmp_path):
    plain, found = stage(tmp_path / "a", channels_last=False)
    other, same = stage(tmp_path / "b", channels_last=True)
    assert other.curves["loss"] == pytest.approx(plain.curves["loss"], rel=1e-4)
    assert same["loss"] == pytest.approx(found["loss"], rel=1e-3)
    weights, others = kept(tmp_path / "a"), kept(tmp_path / "b")
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in others.items()
    }


@pytest.mark.faults
def test_a_compiled_network_is_kept_under_its_own_names(tmp_path):
    plain, _ = stage(tmp_path / "a")
    compiled, found = stage(tmp_path / "b", compile=True)
    assert set(kept(tmp_path / "a")) == set(kept(tmp_path / "b"))
    assert compiled.curves["loss"] == pytest.approx(plain.curves["loss"], rel=1e-3)
    assert len(found["loss"]) == 32


@pytest.mark.fault(
    "finetuning of a stage that is not finished", "an error that says what to run first"
)
def test_a_stage_that_is_not_done_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="run its pretraining first"):
        one_stage.finished(tmp_path / "nothing")


def test_evaluation_is_the_same_in_micro_batches_of_any_size(tmp_path):
    done, whole = stage(tmp_path)
    pixels = torch.arange(32 * 768).reshape(32, 3, 16, 16).byte()
    images = loading.Memory(pixels, torch.arange(32) % 4, short())
    answers = [
        evaluation.evaluate(done.model, images, LABELS, done.accelerator, short(), micro_batch=size)
        for size in (0, 1, 5)
    ]
    for other in answers[1:]:
        assert (other["prediction"] == answers[0]["prediction"]).all()
        assert other["loss"] == pytest.approx(answers[0]["loss"], rel=1e-4)
    assert len(whole["loss"]) == 32


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_outputs_of_one_target_class_are_pooled_by_their_probabilities(loss):
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    pool = torch.tensor([0, 2, 1, 0, 2, 2])
    found = evaluation.pooled(logits, pool, 4, loss).exp()
    scores = F.softmax(logits, 1) if loss == "softmax" else torch.sigmoid(logits)
    for image in range(5):
        for label in range(3):
            wanted = sum(float(scores[image, k]) for k in range(6) if pool[k] == label)
            assert float(found[image, label]) == pytest.approx(wanted, rel=1e-5)
    assert (found[:, 3] < 1e-20).all()  # no output belongs to it


def stages_of_all(folder, order, found):
    """Log, weights and evaluation of a stage of each kind, one after another in this process."""
    torch.set_num_threads(1)
    for number, kind in enumerate(order):
        made = presets.preset(
            "resnet_toy",
            **{"steps": 60, "epochs": 0, "batch_size": 8, "image_size": 32} | PRECISE[kind],
        )
        pixels = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
        images = loading.Memory(pixels.byte(), torch.arange(32) % 4, made)
        place = folder / str(number)
        done = one_stage.stage(made, images, LABELS, 4, key="k", seed=0, folder=place)
        answers = evaluation.evaluate(done.model, images, LABELS, done.accelerator, made)
        weights = {name: value.numpy().tobytes() for name, value in kept(place).items()}
        curves = {name: done.curves[name] for name in ("step", "loss", "learning_rate")}
        found.put((kind, weights, curves, {name: v.tobytes() for name, v in answers.items()}))


TINY = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
VIT = {"model": "vit_tiny_patch16_224", "model_options": TINY, "channels_last": False}
PRECISE = {
    "ResNet, fp32": {"learning_rate": 0.01},
    "ResNet, bf16": {"learning_rate": 0.01, "precision": "bf16"},
    "ViT, fp32": VIT,
    "ViT, bf16": VIT | {"precision": "bf16"},
}


def alone(folder, order):
    """What stages give in a process of their own, which starts with nothing of this one."""
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=stages_of_all, args=(folder, order, found))
    process.start()
    made = [found.get(timeout=300) for _ in order]
    process.join(60)
    assert process.exitcode == 0
    return made


@pytest.mark.faults
@pytest.mark.fault(
    "stages in fp32, bf16 and fp32 again, of a {network}, in one process",
    "each has the weights, losses and answers, to the bit, that it has in a process of its own",
)
@pytest.mark.parametrize("network", ["ResNet", "ViT"])
def test_each_stage_has_a_precision_of_its_own(tmp_path, network):
    single, half = f"{network}, fp32", f"{network}, bf16"
    one, two, three = alone(tmp_path / "together", [single, half, single])
    assert one == three
    assert one[1:] != two[1:]
    assert [one] == alone(tmp_path / "single", [single])
    assert [two] == alone(tmp_path / "half", [half])
    saw("weights, curves and answers are the same bytes; those of fp32 and bf16 differ")


@pytest.mark.fault(
    "accelerate's environment asks for bf16, 4 steps to be added up, or a compiled network",
    "the numbers are those of the recipe",
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"),
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_DYNAMO_BACKEND", "EAGER"),
    ],
)
def test_accelerates_environment_changes_no_number(tmp_path, monkeypatch, name, value):
    plain, found = stage(tmp_path / "a")
    monkeypatch.setenv(name, value)
    AcceleratorState._reset_state(reset_partial_state=True)  # as in a process of its own
    GradientState._reset_state()
    other, same = stage(tmp_path / "b")
    assert other.curves["loss"] == plain.curves["loss"]
    assert all((same[name] == found[name]).all() for name in found)
    assert all(torch.equal(v, kept(tmp_path / "b")[k]) for k, v in kept(tmp_path / "a").items())


NOTHING = {
    "no step at all": ({"steps": 0, "epochs": 0.1}, {}, "0.1 epochs of 32 images in batches of 8"),
    "micro-batches under batch norm": (
        {},
        {"micro_batch": 4},
        "batch norm .* 4 of 8 images at once",
    ),
    "a network that cannot be built": ({"model": "mixer_s32_224"}, {}, "mixer_s32_224 does not"),
    "a network with weights": ({"model": "resnet18.a1_in1k"}, {}, "names pretrained weights"),
}


@pytest.mark.fault("a stage of {what}", "refused; there is no folder, and no mark that it is done")
@pytest.mark.parametrize("what", NOTHING)
def test_a_stage_that_cannot_be_trained_leaves_nothing(tmp_path, what):
    changes, options, told = NOTHING[what]
    made = recipe.changed(short(), **changes)
    images = loading.Memory(torch.zeros(32, 3, 16, 16).byte(), torch.arange(32) % 4, made)
    with pytest.raises(ValueError, match=told):
        one_stage.stage(made, images, LABELS, 4, key="k", seed=0, folder=tmp_path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(
    "an evaluation of batches that no memory holds",
    "as many at once as fit; the same answers",
)
def test_evaluation_takes_no_more_pixels_at_once_than_fit(tmp_path, monkeypatch):
    done, found = stage(tmp_path)
    seen = []

    class Seen(loading.Memory):
        def batches(self, plan, train, device):
            pieces = list(plan)
            seen.extend(len(piece.samples) for piece in pieces)
            return super().batches(iter(pieces), train, device)

    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(32, 3, 16, 16, generator=generator) * 255).byte()
    large = recipe.changed(short(), batch_size=32)
    images = Seen(pixels, torch.arange(32) % 4, large)
    monkeypatch.setattr(evaluation, "PIXELS", 3 * 16**2)
    again = evaluation.evaluate(done.model, images, LABELS, done.accelerator, large)
    assert max(seen) == 3 and sum(seen) == 32
    assert (again["prediction"] == found["prediction"]).all()
    assert again["loss"] == pytest.approx(found["loss"], rel=1e-4)


def test_published_batches_are_evaluated_whole():
    """At 32 and 64 pixels, and at 224 up to 1,504 images: so their numbers stay what they were."""
    assert evaluation.PIXELS // 64**2 >= 4096
    assert evaluation.PIXELS // 224**2 >= 1024
    assert evaluation.PIXELS // 384**2 == 512


def hold(folder, begun):
    with files.alone(folder):
        begun.set()
        time.sleep(60)


@pytest.mark.fault(
    "a stage that another process trains, which is then killed",
    "not trained beside it; after the kill the lock is free",
)
def test_a_stage_that_another_process_trains_is_not_trained_beside_it(tmp_path, capsys):
    """The lock goes with its process, even where that is killed."""
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    other = context.Process(target=hold, args=(tmp_path / "k", begun))
    other.start()
    assert begun.wait(20)
    with (
        pytest.raises(BlockingIOError, match="another process works in"),
        files.alone(tmp_path / "k", wait=False),
    ):
        pass
    other.kill()
    other.join()
    done, _ = stage(tmp_path)
    assert (done.folder / "done").exists()


@pytest.mark.fault("a GPU asked for that is not there", "an error that says so")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="torch sees no GPU"):
        stage(tmp_path, device="cuda")
