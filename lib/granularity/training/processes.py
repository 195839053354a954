"""What a run's processes share, and the precision in which one stage computes.

accelerate keeps what it was started with for the life of a process. So it is always started with
nothing but a device, and precision is each stage's own.
"""

import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list


def accelerator_of(device: str) -> Accelerator:
    """accelerate on "cpu" or "cuda", without what its environment variables would change.

    Raises ValueError where this process has begun on another device: accelerate keeps to that one.
    """
    made = Accelerator(
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
