"""Recipes by name, with the source of each value.

Marks: P the paper's text, L lineage (the ViT paper for ImageNet, the usual large-batch ImageNet
recipe for ResNets), O ours. A run is keyed by all fields of its recipe and not by a name, so a new
preset ages nothing; one that published records name must stay as it is.
"""

from collections.abc import Mapping
from dataclasses import replace

from granularity.inputs.nearest import nearest
from granularity.training.recipe import Recipe, changed

# ViT-B/16 on ImageNet-21k: Adam, 90 epochs, batch 4096, decay 0.03, dropout 0.1, no clipping
# stated (L). Its code decouples the decay, and starts the head's bias at -10 for 21,843 classes,
# which is -ln K (L).
VIT_B16_I21K = Recipe(
    model="vit_base_patch16_224",
    model_options={"pos_drop_rate": 0.1, "proj_drop_rate": 0.1},
    image_size=224,
    head="tanh",
    head_init="prior",
    loss="sigmoid",
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=0.03,
    batch_size=4096,
    ghost_batch=128,  # share a draw of dropout: what a GPU holds at once (O)
    epochs=90,
    warmup=10_000,
    schedule="linear",
    augmentation="crop",
    precision="bf16",
)

# The baseline, ImageNet-1k from scratch: 300 epochs, rate 3e-3, decay 0.3, cosine, clipping (L).
VIT_B16_I1K_SCRATCH = replace(
    VIT_B16_I21K,
    learning_rate=3e-3,
    weight_decay=0.3,
    epochs=300,
    schedule="cosine",
    clip_grad_norm=1.0,
)

# Finetuning at 384 pixels: SGD, batch 512, 20,000 steps, one new linear layer from zero (L). The
# rate is the best of 0.003, 0.01, 0.03 and 0.06 (L): one of them stands here.
VIT_B16_I1K_FINETUNE = Recipe(
    model="vit_base_patch16_224",
    image_size=384,
    head="linear",
    head_init="zero",
    loss="softmax",
    optimiser="sgd",
    learning_rate=0.03,
    batch_size=512,
    steps=20_000,
    warmup=500,
    schedule="cosine",
    clip_grad_norm=1.0,
    augmentation="crop",
    precision="bf16",
)

# ResNet-34 for 90 epochs: momentum 0.9, decay 1e-4, rate 0.1 for each 256 images with warm-up (L).
RESNET34 = Recipe(
    model="resnet34",
    loss="softmax",
    optimiser="sgd",
    learning_rate=0.4,
    weight_decay=1e-4,
    batch_size=1024,
    epochs=90,
    warmup=2_400,
    schedule="cosine",
    augmentation="crop",
    precision="bf16",
    channels_last=True,
)

# Its finetuning on the target: 90 epochs of the whole network, batch and rate "smaller" (P); how
# much smaller is ours, and the rate is to be chosen on held-out images.
RESNET34_FINETUNE = replace(RESNET34, learning_rate=0.01, batch_size=256, warmup=1_000)

# Small ones, all ours. Three blocks, width 32, for 32 pixels: 1,600 images/s on one core.
RESNET_SMALL = Recipe(
    model="resnet10t",
    model_options={"channels": [32, 64, 128, 128], "stem_type": "", "stem_width": 32},
    image_size=32,
    loss="sigmoid",
    head_init="prior",
    learning_rate=0.1,
    weight_decay=5e-4,
    batch_size=128,
    epochs=15,
    warmup=50,
    augmentation="pad",
)

# For the toy dataset: narrower still, 3,000 images/s on one core.
RESNET_TOY = replace(
    RESNET_SMALL,
    model_options={"channels": [16, 32, 64, 64], "stem_type": "deep", "stem_width": 8},
    batch_size=32,
    epochs=4,
    warmup=20,
    channels_last=True,
)
RESNET_TOY_FINETUNE = replace(
    RESNET_TOY,
    loss="softmax",
    head_init="zero",
    epochs=8,
    learning_rate=0.04,
    warmup=10,
)
RESNET_TOY_SCRATCH = replace(RESNET_TOY_FINETUNE, epochs=24, learning_rate=0.1, warmup=20)

PRESETS = {
    "vit_b16_i21k": VIT_B16_I21K,
    "vit_b16_i1k_scratch": VIT_B16_I1K_SCRATCH,
    "vit_b16_i1k_finetune": VIT_B16_I1K_FINETUNE,
    "resnet34": RESNET34,
    "resnet34_finetune": RESNET34_FINETUNE,
    "resnet_small": RESNET_SMALL,
    "resnet_toy": RESNET_TOY,
    "resnet_toy_finetune": RESNET_TOY_FINETUNE,
    "resnet_toy_scratch": RESNET_TOY_SCRATCH,
}


def preset(name: str, **overrides: object) -> Recipe:
    """A recipe by its name in `PRESETS`, with some values changed. KeyError names the nearest."""
    if name not in PRESETS:
        near = nearest(name, PRESETS, cutoff=0)
        raise KeyError(f"no recipe is called {name!r}; the nearest one is {near!r}")
    return changed(PRESETS[name], **overrides)


def recipe_of(given: Mapping) -> Recipe:
    """A recipe as runs are given one: a preset's name under "preset", and what differs from it."""
    rest = {name: value for name, value in given.items() if name != "preset"}
    return preset(given.get("preset", "resnet_small"), **rest)
