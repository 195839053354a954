"""What this machine is, in words that name nobody: processor, cores, GPU, package versions."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "scikit-learn", "pandas")
PACKAGES += ("matplotlib", "nltk", "papermill", "snakemake", "jupyter-book", "granularity")


def versions() -> dict[str, str]:
    """Python's version and those of the packages at the project's heart that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device() -> dict:
    """Processor, cores, system; where torch is loaded its instructions, and the GPU that it sees.

    One name of a processor covers several with other instructions, and then other rounding: a run
    is bit-equal on machines that have the same.
    """
    described = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    torch = sys.modules.get("torch")  # a light notebook should not load it for this
    if torch is not None:
        described["instructions"] = torch.backends.cpu.get_cpu_capability()
        if torch.cpu._is_avx512_bf16_supported():
            described["instructions"] += " and bf16"
    if torch is not None and torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
        described["gpus"] = torch.cuda.device_count()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        described["processes"] = int(os.environ["WORLD_SIZE"])  # that made the run together
    return described


def in_words(device: Mapping[str, Any]) -> str:
    """A machine of a record: processor, cores and system, and the GPU where one was seen."""
    instructions = f" with {device['instructions']}" if "instructions" in device else ""
    cpu = f"{device['processor']}{instructions}, {device['cores']} cores, {device['system']}"
    gpus = device.get("gpus", 0)
    return f"{f'{gpus} × ' if gpus > 1 else ''}{device['gpu']}; {cpu}" if gpus else cpu


def processor() -> str:
    """The processor's model name, or what Python knows of it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
