"""A training run of seconds, for the tests of the engine: here, and in processes to be killed."""

import multiprocessing
import os
import socket
import time
from pathlib import Path

import numpy as np
import torch

from granularity.training import (
    checkpoints,
    engine,
    evaluation,
    loading,
    networks,
    optimisation,
    sampling,
)
from granularity.training.final_weights import FinalWeights
from granularity.training.processes import accelerator_of
from granularity.training.recipe import Recipe

CLASSES = 6
TINY_VIT = {
    "model": "vit_tiny_patch16_224",
    "model_options": {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2},
}
RESNET = {  # with batch norm
    "model": "resnet10t",
    "model_options": {"channels": [8, 8, 8, 8], "stem_type": "", "stem_width": 8},
}
DROPOUT = {"model_options": TINY_VIT["model_options"] | {"proj_drop_rate": 0.1}}
LABELS = torch.arange(CLASSES, dtype=torch.int32)[:, None]

torch.set_num_threads(1)  # so small a network is slower on more, and on a busy machine much slower

# A server that has loaded torch once and forks: a process of its own starts in milliseconds.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["granularity.training.loading", "granularity.training.networks"])


def recipe(**changes) -> Recipe:
    """Eight-pixel images, a ViT of two blocks; 12 images a step."""
    values = {
        "image_size": 8,
        "batch_size": 12,
        "steps": 20,
        "warmup": 3,
        "learning_rate": 0.05,
        **TINY_VIT,
    }
    return Recipe(**(values | changes))


def memory(wanted: Recipe, images: int = 61, seed: int = 0) -> loading.Memory:
    """Random images that are a little brighter where their leaf is higher."""
    rng = np.random.default_rng(seed)
    leaf = rng.integers(0, CLASSES, images)
    pixels = rng.integers(0, 100, (images, 3, wanted.image_size, wanted.image_size))
    pixels = torch.from_numpy((pixels + 25 * leaf[:, None, None, None]).astype(np.uint8))
    return loading.Memory(pixels, torch.from_numpy(leaf), wanted)


def start(folder: Path, wanted: Recipe, seed: int = 0, fingerprint: str = "one") -> engine.Run:
    """A network and its optimiser, ready for `fit`."""
    accelerator = accelerator_of("cpu")
    model = networks.build(wanted, CLASSES, seed)
    final = FinalWeights(wanted, model)
    model, optimiser = accelerator.prepare(model, optimisation.optimiser_of(model, wanted))
    return engine.Run(Path(folder), fingerprint, model, optimiser, accelerator, final)


def train(folder: Path, wanted: Recipe, images=None, seed: int = 0, **options) -> engine.Run:
    """A whole run in this process."""
    run = start(folder, wanted, seed)
    engine.fit(run, wanted, images or memory(wanted), LABELS, seed=seed, **options)
    return run


def child(folder: Path, values: dict, options: dict, place: dict) -> None:
    """What a process of its own does: its share of a run, and of its evaluation."""
    os.environ.update(place | {"OMP_NUM_THREADS": "1"})  # accelerate would ask for more
    wanted = recipe(**values)
    run = train(folder, wanted, **options)
    held_out = memory(wanted, 31, seed=1)
    found = evaluation.evaluate(run.model, held_out, LABELS, run.accelerator, wanted)
    if run.accelerator.is_main_process:
        np.savez(folder / "evaluation.npz", **found)


def begin(folder: Path, values: dict, world_size: int = 1, task=None, **options) -> list:
    """Starts the processes of a run, or of another task: a function of folder and environment."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in range(world_size):
        place = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if world_size > 1 else {}
        given = (folder, place) if task else (folder, values, options, place)
        process = processes.Process(target=task or child, args=given, daemon=True)
        process.start()
        started.append(process)
    return started


def ended(started: list, seconds: float = 60) -> list[int]:
    """The exit codes of processes, waited for; one that hangs is killed and fails the test."""
    for process in started:
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"still running after {seconds} s")
    return [process.exitcode for process in started]


def newest(folder: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    return max((int(p.stem.split("-")[1]) for p in folder.glob("*.safetensors")), default=0)


def kill_half_way(folder: Path, values: dict, world_size: int, **options) -> int:
    """Begins a run of 60 steps, and kills all its processes after 20; the newest step that is kept.

    Fails where a process ended in any other way, or where the run had come to its end.
    """
    started = begin(folder, values, world_size=world_size, **options)
    while newest(folder) < 20:
        assert started[0].exitcode is None
        time.sleep(0.001)
    for process in started:
        process.kill()
    assert set(ended(started)) == {-9}
    assert newest(folder) < 60
    return newest(folder)


def result(folder: Path, steps: int) -> tuple[dict, list[dict]]:
    """All tensors at the end of a run, and its log but for the speed."""
    tensors, facts = checkpoints.load(folder / f"checkpoint-{steps}.safetensors")
    assert facts["step"] == steps
    lines = engine.Log.lines_of(folder / "metrics.jsonl")
    for line in lines:
        del line["images_per_second"]
    return tensors, lines


class Unread:
    """A set of images that nobody may read."""

    def __len__(self):
        """As many as `memory` gives."""
        return 61

    def batches(self, plan, train, device):
        """Fails where a piece is asked for."""
        for piece in plan:
            raise AssertionError(f"step {piece.step} made again")
        return iter(())


def micro_batches_of(images, batch, seed, steps, *, micro_batch, world_size):
    """All micro-batches of all processes, by step."""
    found = {step: [] for step in steps}
    for rank in range(world_size):
        for piece in sampling.plan(
            images, batch, seed, steps, micro_batch=micro_batch, rank=rank, world_size=world_size
        ):
            assert 0 < len(piece.samples) <= micro_batch
            found[piece.step].append(piece)
    return found


def batch_of(pieces):
    """A step's images in the order of their places, each place once."""
    places = np.concatenate([piece.places for piece in pieces])
    samples = np.concatenate([piece.samples for piece in pieces])
    assert sorted(places) == list(range(len(places)))
    return samples[np.argsort(places)].tolist()


def close(ours, theirs, **tolerance):
    """Fails, naming the tensor, where two networks differ."""
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], msg=name, **tolerance)
