"""One stage of training, in a folder that its fingerprint names; and runs started from a shell.

    python -m granularity.train job.yaml
    accelerate launch --num_processes 8 -m granularity.train job.yaml

A job is a YAML file with `entry` (a function of the library), `settings` (a list of its
arguments), `places` (arguments that say where things lie on this machine) and `folder`.
"""

import argparse
import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from torch import Tensor, nn

from granularity import checkpoint, engine, files, network, records, source
from granularity.recipe import Recipe

# What makes a stage's numbers: training, and how an image is decoded and augmented.
CODE = ("granularity.train", "granularity.loading", "granularity.images")


@dataclass(frozen=True)
class Trained:
    """A network after its stage, with what made it and what it cost."""

    model: nn.Module
    accelerator: Accelerator
    key: str
    folder: Path
    curves: dict[str, list[float]]
    seconds: float  # of this call: next to nothing where the stage was done before


def key_of(*parts: object) -> str:
    """The fingerprint of a stage: what it is made of, and the code that trains and shows images."""
    return records.digest([*parts, *(source.fingerprint(module) for module in CODE)])


def stage(
    recipe: Recipe,
    images: engine.Images,
    labels: Tensor,
    num_classes: int,
    *,
    key: str,
    seed: int,
    folder: Path,
    start: Path | None = None,
    device: str = "cpu",
    at_once: int = 0,
    save_every: int = 0,
) -> Trained:
    """Trains one stage in `folder/<key>`, or takes up where it was stopped, or finds it done.

    `labels` (leaves, q) are class indices, padded with -1. `start` is the folder of the stage
    whose network is finetuned; its head is replaced. Raises FileNotFoundError where that stage is
    not done, ValueError for a device that is not there, BlockingIOError where another run trains
    this stage and several processes cannot wait for it.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', and torch sees no GPU here; use 'cpu'")
    begun = time.monotonic()
    accelerator = Accelerator(
        mixed_precision="bf16" if recipe.precision == "bf16" else "no", cpu=device == "cpu"
    )
    model = network.build(recipe, num_classes, seed)
    if start is not None:
        network.transfer(model, checkpoint.weights(checkpoint.load(finished(start))[0]))
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimiser = engine.optimiser_of(model, recipe)
    if recipe.compile:
        model = torch.compile(model)
    model, optimiser = accelerator.prepare(model, optimiser)
    run = engine.Run(folder / key, key, model, optimiser, accelerator)
    with alone(run):
        curves = engine.fit(
            run,
            recipe,
            images,
            labels.to(accelerator.device),
            seed=seed,
            at_once=at_once,
            save_every=save_every,
        )
        if accelerator.is_main_process:
            files.write(run.folder / "done", key)
    accelerator.wait_for_everyone()  # the next stage may look for that mark
    return Trained(model, accelerator, key, run.folder, curves, time.monotonic() - begun)


def alone(run: engine.Run) -> contextlib.AbstractContextManager:
    """Keeps a stage's folder to this run; a second one waits, for it will find the stage done.

    One of several processes does so for all; it does not wait, for the others would not know.
    """
    if not run.accelerator.is_main_process:
        return contextlib.nullcontext()
    return files.alone(run.folder, wait=run.accelerator.num_processes == 1)


def finished(folder: Path) -> Path:
    """The last checkpoint of a stage. Raises FileNotFoundError where the stage is not done."""
    found = sorted(
        folder.glob("checkpoint-*.safetensors"), key=lambda path: int(path.stem.split("-")[1])
    )
    if not found or not (folder / "done").exists():
        raise FileNotFoundError(f"the stage in {folder} is not done: run its pretraining first")
    return found[-1]


def measured(found: Mapping[str, np.ndarray], classes: np.ndarray) -> dict[str, float]:
    """Errors over all images: plain, balanced over `classes` (N,), and top-5; and the mean loss."""
    wrong = found["rank"] > 0
    of_class = [wrong[classes == label].mean() for label in np.unique(classes)]
    return {
        "error": float(wrong.mean()),
        "balanced_error": float(np.mean(of_class)),
        "top5_error": float((found["rank"] > 4).mean()),
        "loss": float(found["loss"].mean()),
    }


def keep(found: Mapping[str, np.ndarray], path: Path, classes: Sequence[str]) -> None:
    """Per-image losses, predictions, ranks and labels, and the classes that these number."""
    kinds = {"loss": np.float16, "prediction": np.int32, "rank": np.uint16, "label": np.int32}
    small = {name: found[name].clip(max=60_000).astype(kind) for name, kind in kinds.items()}
    with files.whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **small, classes=np.array(classes))


def main() -> None:
    """Runs a job file; with several processes every one works, and the first writes records."""
    parser = argparse.ArgumentParser(prog="python -m granularity.train", description=__doc__)
    parser.add_argument("job", type=Path, help="a YAML file: entry, settings, places, folder")
    job = yaml.safe_load(parser.parse_args().job.read_text(encoding="utf-8"))
    run_job(job, writes=os.environ.get("RANK", "0") == "0")  # accelerate numbers its processes so


def run_job(job: Mapping[str, Any], writes: bool = True) -> None:
    """Completes the runs of a job. Raises ValueError for a field too many or too few."""
    wanted = {"entry", "settings", "places", "folder"}
    if set(job) - {"data"} != wanted:
        raise ValueError(f"a job has {sorted(wanted)} and maybe data, not {sorted(job)}")
    module, _, function = job["entry"].partition(":")
    entry = getattr(importlib.import_module(module), function)
    records.complete(
        job["folder"],
        entry,
        job["settings"],
        data=job.get("data"),
        places=job["places"],
        writes=writes,
    )


def launch(
    folder: Path | str,
    entry: Callable,
    settings: Sequence[Mapping[str, Any]],
    *,
    places: Mapping[str, Any],
    processes: int,
) -> None:
    """Makes the runs in `processes` processes that accelerate starts, and shows their log.

    The job is `folder/job.yaml`, the log `folder/job.log`. With one process nothing is done: the
    caller completes the runs itself, as it does afterwards with several, to find them all there.
    Raises RuntimeError, with the end of the log, where the processes fail.
    """
    if processes == 1:
        return
    folder = Path(folder)
    job = {
        "entry": records.name_of(entry),
        "settings": [dict(setting) for setting in settings],
        "places": dict(places),
        "folder": str(folder),
    }
    files.write(folder / "job.yaml", yaml.safe_dump(job, allow_unicode=True))
    call = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    # "multi_gpu" only chooses torch's launcher; each run says itself whether it wants a GPU.
    call += ["--multi_gpu", "--num_machines", "1", "--main_process_port", "0"]
    call += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    call += ["-m", "granularity.train", str(folder / "job.yaml")]
    log = folder / "job.log"
    with log.open("w", encoding="utf-8") as told:
        child = subprocess.Popen(call, stdout=told, stderr=told, start_new_session=True)
        try:
            follow(child, log)
        finally:
            if child.poll() is None:  # this process was interrupted: so are those
                os.killpg(child.pid, signal.SIGTERM)
                child.wait()
    if child.returncode:
        end = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise RuntimeError(f"{processes} processes ended with {child.returncode}; {log}: …{end}")


def follow(child: subprocess.Popen, log: Path, every: float = 0.5) -> None:
    """Prints what a process writes to its log, until it ends."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        while child.poll() is None:
            time.sleep(every)
            print(lines.read(), end="", flush=True)
        print(lines.read(), end="", flush=True)


if __name__ == "__main__":
    main()
