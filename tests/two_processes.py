"""A run of two stages that several processes can make, and its images, a few of each class."""

from collections.abc import Iterator

import pytest

from granularity.images.toy import drawing

SMALL = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}
# Batch norm would be another network in two processes, and is refused there.
NETWORK = {"model": "vit_tiny_patch16_224", "model_options": SMALL, "channels_last": False}


def setting(steps: int, tuned: int) -> dict:
    """The arguments of `imagenet.finetune` with so many steps of either stage."""
    recipe = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": steps, "warmup": 1}
    recipe |= NETWORK
    finetuning = {**recipe, "loss": "softmax", "head_init": "zero", "steps": tuned}
    stages = {"pretraining": recipe, "finetuning": finetuning}
    return {"dataset": "toy", "level": 4, "seed": 0, **stages}


def small_roots(tmp_path_factory) -> Iterator[dict[str, str]]:
    """A drawn dataset, smaller than the toy's own, for as long as a fixture lasts."""
    folder = tmp_path_factory.mktemp("toy")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.setattr(drawing, "PARTS", tuple((*part[:3], min(part[3], 12)) for part in drawing.PARTS))
    yield {"toy": str(drawing.draw(folder / "dataset"))}
    patch.undo()
