"""Image embeddings: what a network says of each image before its last layer, computed once.

They are kept as a memory-mapped array beside a note of what made it, so that label functions can
cluster them again and again. The paper's are CLIP ViT-L/14's, from timm; any network will do.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn
from tqdm import tqdm

from granularity import files
from granularity.fingerprints import source
from granularity.fingerprints.digest import digest
from granularity.inputs.nearest import nearest
from granularity.training.sampling import Images, MicroBatch

CODE = (
    "granularity.training.embeddings",
    "granularity.training.loading",
    "granularity.images.decoding",
)  # and how one is shown
ARRAY, NOTE = "features.npy", "features.json"
LARGEST = float(np.finfo(np.float16).max)
SAVED_EVERY = 5.0  # seconds of work that a kill may cost


class WeightsError(RuntimeError):
    """Weights that cannot be had, or are of another network: says where they come from."""


# ---------------------------------------------------------------------------------- networks


class Pretrained(nn.Module):
    """One of timm's networks, without its last layer, that takes images from -1 to 1.

    So `granularity.training.loading` shows them, and here they are brought to the mean and the
    spread that the weights were trained with.
    """

    def __init__(self, model: nn.Module):
        """Raises KeyError for a network without timm's `pretrained_cfg`."""
        super().__init__()
        self.model, self.pretrained_cfg = model, model.pretrained_cfg
        mean, std = (torch.tensor(self.pretrained_cfg[name]) for name in ("mean", "std"))
        self.register_buffer("scale", (0.5 / std)[:, None, None])
        self.register_buffer("shift", ((0.5 - mean) / std)[:, None, None])

    def forward_features(self, images: Tensor) -> Tensor:
        """The network's own, of images (n, 3, h, w) from -1 to 1."""
        return self.model.forward_features(images * self.scale + self.shift)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The network's own."""
        return self.model.forward_head(features, pre_logits=pre_logits)


def pretrained(name: str, weights: str | Path | None = None) -> Pretrained:
    """A network of timm's with pretrained weights, from the Hugging Face hub or a local file.

    `weights` is a safetensors file as the hub has it, for machines without a network. The paper's
    network is CLIP ViT-L/14: `vit_large_patch14_clip_quickgelu_224.openai` computes as OpenAI's
    does; `vit_large_patch14_clip_224.openai` has the same weights, but GELU where they were trained
    with QuickGELU. Either gives 1,024 features, before CLIP's projection to 768.

    Raises KeyError, with the nearest name, for a network that timm has no weights of;
    FileNotFoundError and ValueError for a file that is missing or of another kind; WeightsError,
    which says where the weights come from, where they cannot be had or do not fit.
    """
    tagged = timm.list_models(pretrained=True)
    known = {*tagged, *(full.partition(".")[0] for full in tagged)}
    if weights is not None:
        known.update(timm.list_models())
        if not Path(weights).is_file():
            raise FileNotFoundError(f"{weights}, the weights of {name}: no such file")
        if Path(weights).suffix != ".safetensors":
            raise ValueError(f"{weights}: weights are read from .safetensors files only")
    if name not in known:
        alike = sorted(other for other in known if ("." in other) == ("." in name))
        near = nearest(name, alike, cutoff=0)
        raise KeyError(f"timm has no weights of a network {name!r}; the nearest one is {near!r}")
    file = {} if weights is None else {"pretrained_cfg_overlay": {"file": str(weights)}}
    try:  # with the last layer, since without it timm lets tensors be missing
        model = timm.create_model(name, pretrained=True, **file)
    except Exception as error:  # of the network, the hub or the file: a dozen kinds
        if weights is not None:
            raise WeightsError(f"{weights} holds no weights of {name}: {error}") from error
        hub = timm.get_pretrained_cfg(name).hf_hub_id
        raise WeightsError(
            f"the weights of {name} cannot be fetched ({type(error).__name__}: {error}). timm gets"
            f" them from huggingface.co/{hub}; for a machine without a network fetch its"
            " model.safetensors elsewhere, and give its path as `weights`"
        ) from error
    model.reset_classifier(0)
    return Pretrained(model)


def weights_fingerprint(weights: str | Path | None) -> str:
    """The SHA-256 of a file of weights, which names them in keys and records; "" for the hub's own.

    Raises FileNotFoundError for a file that is missing.
    """
    if not weights:
        return ""
    if not Path(weights).is_file():
        raise FileNotFoundError(f"{weights}, a file of weights: no such file")
    with Path(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(model: nn.Module) -> int:
    """The side, in pixels, of the images that a network's weights were trained with."""
    return int(model.pretrained_cfg["input_size"][-1])


def fingerprint_of(model: nn.Module) -> str:
    """Sixteen hexadecimal digits for a network: its layers, and each tensor of its state."""
    found = hashlib.sha256(str(model).encode())
    for name, value in model.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:16]


# ---------------------------------------------------------------------------------- features


def features(
    model: nn.Module,
    images: Images,
    *,
    key: str,
    folder: str | Path,
    device: str = "cpu",
    batch_size: int = 256,
) -> np.ndarray:
    """The features of all images, in their order: float16 (N, D), memory-mapped, read-only.

    `key` is a fingerprint of the images and of the size at which they are shown; the network's and
    the code's are added. The array lies in `folder/features.npy`. Where it is of the same make it
    is found, or gone on with where a kill left it; any other is replaced. Only one process may work
    in the folder (`files.alone`). On a GPU the network runs in bfloat16. It is put into evaluation
    mode, and on `device`.

    Raises ValueError where there are no images; FloatingPointError, naming the image, for a feature
    that float16 cannot hold; OSError where the array has no room, before any image is looked at.
    """
    folder, place = Path(folder), torch.device(device)
    made_of = {
        "images": key,
        "model": fingerprint_of(model),
        "code": digest([source.fingerprint(module) for module in CODE]),
        "rows": len(images),
    }
    if not len(images):
        raise ValueError(f"no images to compute features of (for {folder})")
    done = _finished(folder, made_of)
    if done < len(images):
        _go_on(model.to(place).eval(), images, folder, made_of, done, place, batch_size)
    return np.load(folder / ARRAY, mmap_mode="r")


def _finished(folder: Path, made_of: dict) -> int:
    """How many rows of the array in a folder are done, 0 where it is of another make."""
    if not ((folder / NOTE).exists() and (folder / ARRAY).exists()):
        return 0
    note = json.loads((folder / NOTE).read_text("utf-8"))
    return note.pop("finished") if note == made_of | {"finished": note["finished"]} else 0


def _go_on(
    model: nn.Module,
    images: Images,
    folder: Path,
    made_of: dict,
    done: int,
    device: torch.device,
    batch_size: int,
) -> None:
    """Computes the rows from `done` on. They are counted when they are on the disk, not before."""
    saved, path = time.monotonic(), folder / ARRAY
    with tqdm(total=len(images), initial=done, desc="features", unit=" images") as bar:
        for rows, found in _computed(model, images, done, device, batch_size):
            if not rows[0]:
                _create(folder, (len(images), found.shape[1]))
            with path.open("r+b") as file:
                file.seek(np.load(path, mmap_mode="r").offset + int(rows[0]) * found[0].nbytes)
                file.write(found)
                done, now = int(rows[-1]) + 1, time.monotonic()
                if done == len(images) or now - saved >= SAVED_EVERY:
                    file.flush()
                    os.fsync(file.fileno())
                    note = json.dumps(made_of | {"finished": done}, indent=1)
                    files.write(folder / NOTE, f"{note}\n")
                    saved = now
            bar.update(len(rows))


@torch.inference_mode()
def _computed(
    model: nn.Module, images: Images, first: int, device: torch.device, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers of images (n,) from `first` on, and their features (n, D), a batch at a time."""
    every = np.arange(len(images))
    samples = [every[start : start + batch_size] for start in range(first, len(images), batch_size)]
    batches = (MicroBatch(0, rows, rows, (0, 0, 0)) for rows in samples)
    shown = images.batches(batches, train=False, device=device)
    for rows, (x, _) in zip(samples, shown, strict=True):
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = model.forward_head(model.forward_features(x), pre_logits=True)
        found = found.flatten(1).float().cpu().numpy()
        bad = np.flatnonzero(~(np.abs(found) <= LARGEST).all(1))
        if len(bad):
            raise FloatingPointError(
                f"image {rows[bad[0]]} has features that are not finite, or beyond ±{LARGEST:,.0f}"
            )
        yield rows, found.astype("<f2")


def _create(folder: Path, shape: tuple[int, int]) -> None:
    """An array of zeros on the disk, in whole, so that no row can find the disk full later.

    The note of an earlier array goes before its rows do: it must never vouch for others.
    """
    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
    block = bytes(2**20)
    with files.whole(folder / ARRAY) as part:
        with part.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            left = shape[0] * shape[1] * 2
            while left:
                left -= file.write(block[:left])
        (folder / NOTE).unlink(missing_ok=True)
