"""How fast a training step is in each precision and memory layout, as ratios to plain fp32."""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from granularity.benchmarks import training
from granularity.training import networks
from granularity.training.presets import preset

PLAIN = "fp32"
SETTINGS = {
    "fp32": {"precision": "fp32", "channels_last": False},
    "fp32_last": {"precision": "fp32", "channels_last": True},
    "bf16": {"precision": "bf16", "channels_last": False},
    "bf16_last": {"precision": "bf16", "channels_last": True},
}

# The networks of the runs on small photographs: the residual one, and a ViT of 16 patches.
NETWORKS: dict[str, Mapping] = {
    "resnet": {},
    "vit": {
        "model": "vit_tiny_patch16_224",
        "model_options": {"patch_size": 8, "embed_dim": 128, "depth": 4, "num_heads": 4},
        "optimiser": "adamw",
    },
}


def precision(
    *,
    seed: int,
    network_name: str = "resnet",
    batch_size: int = 64,
    steps: int = 10,
    turns: int = 3,
    classes: int = 200,
    threads: int = 1,
    device: str = "cpu",
) -> dict:
    """Images a second of a training step with each of `SETTINGS`, and each over plain fp32.

    The medians over `turns`, in each of which every setting has its turn, in a process of its own.
    Raises ValueError for a network that is none of `NETWORKS`, and for a missing device.
    """
    if network_name not in NETWORKS:
        raise ValueError(f"network_name is {network_name!r}; there are {', '.join(NETWORKS)}")
    training.check_device(device)
    rest = (batch_size, steps, classes, threads, device, seed)
    rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(turns):
        for name, setting in SETTINGS.items():
            options = {**NETWORKS[network_name], **setting}
            rates[name].append(training.alone(step_rate, (options, *rest)))
    metrics = {f"{name}_rate": statistics.median(found) for name, found in rates.items()}
    for name in SETTINGS:
        pairs = zip(rates[name], rates[PLAIN], strict=True)
        metrics[f"{name}_ratio"] = statistics.median(rate / plain for rate, plain in pairs)
    return {"metrics": metrics}


def step_rate(
    options: Mapping,
    batch_size: int,
    steps: int,
    classes: int,
    threads: int,
    device: str,
    seed: int,
) -> float:
    """Images a second of training on one batch that is there already, once it is warm."""
    torch.set_num_threads(threads)
    recipe = preset(
        "resnet_small", **options, batch_size=batch_size, steps=steps, epochs=0, warmup=0
    )
    model = networks.build(recipe, classes, seed).to(device)
    images = torch.randn(batch_size, 3, recipe.image_size, recipe.image_size, device=device)
    held = training.Held((images, torch.arange(batch_size, device=device) % classes), batch_size)
    labels = torch.arange(classes, dtype=torch.int32, device=device)[:, None]
    with tempfile.TemporaryDirectory() as place:
        for turn in ("warm", "measured"):
            seconds = training.step_seconds(Path(place) / turn, recipe, model, held, labels, seed)
    return batch_size * steps / seconds
