"""What a run's processes share, and the precision in which one stage computes.

accelerate keeps what it was started with for the life of a process. So it is always started with
nothing but a device, and precision is each stage's own.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list

from granularity.inputs.nearest import nearest

PROJECT = "granularity"  # what trackers call the runs of this library


def accelerator_of(device: str, tracker: str = "", folder: Path | str | None = None) -> Accelerator:
    """accelerate on "cpu" or "cuda", without what its environment variables would change.

    `tracker` is the name of one of its trackers, "" for none, and `folder` where one that writes
    files does so. Raises ValueError for a tracker that is not here (see `check_tracker`), and where
    this process has begun on another device: accelerate keeps to that one.
    """
    check_tracker(tracker)
    made = Accelerator(
        log_with=tracker or None,
        project_dir=folder,
        cpu=device == "cpu",
        mixed_precision="no",
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    if made.device.type != torch.device(device).type:
        raise ValueError(
            f"device is {device!r}, and this process has begun on {made.device.type!r}, which"
            " accelerate keeps for as long as it lives: start another process"
        )
    return made


def check_tracker(name: str) -> None:
    """Raises ValueError for a tracker that accelerate lacks, or whose package is not installed."""
    known = [str(one) for one in LOGGER_TYPE_TO_CLASS]
    if name and name not in known:
        near = nearest(name, known, cutoff=0)
        raise ValueError(f"accelerate has no tracker {name!r}; the nearest one is {near!r}")
    if name and name not in map(str, get_available_trackers()):
        raise ValueError(f"the tracker {name!r} is not installed here: pip install {name}")


@contextlib.contextmanager
def tracked(accelerator: Accelerator, told: Mapping[str, Any]) -> Iterator[None]:
    """A run of the accelerator's tracker, if it has one, that begins with what `told` says.

    At its end the processes go on, as they would not after accelerate's `end_training`.
    """
    plain = {n: v if isinstance(v, (bool, int, float, str)) else str(v) for n, v in told.items()}
    accelerator.init_trackers(PROJECT, config=plain)
    try:
        yield
    finally:
        _ = [tracker.finish() for tracker in accelerator.trackers]


def precise(precision: str, device: torch.device) -> torch.autocast:
    """Where a network computes: in "fp32", or in "bf16" what may be.

    The network's answers are to be made float32 inside of it, before anything is taken of them.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def agreed(value: Any, device: str = "cpu") -> Any:
    """What the first of a run's processes found, told to all, so that none waits for another.

    `value` is what this process found; it is returned where there is only one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return value
    accelerator_of(device)
    told = [value]
    broadcast_object_list(told)
    return told[0]
