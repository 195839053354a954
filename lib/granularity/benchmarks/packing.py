"""How much faster packed images are decoded, on one core and with the crop of a training."""

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from granularity.images.image_set import ImageSet, open_set
from granularity.images.packing import shrinking
from granularity.training import loading, presets

SIDES = (500, 375)  # pixels of an ordinary image of ImageNet


def packing(*, images: int = 64, turns: int = 5, seed: int = 0) -> dict:
    """Images a second on one core before and after packing, of drawn files of ordinary size."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        draw(place / "files" / "n00000001", images, seed)
        plain = open_set(place / "files", cache=place / "cache")
        shrinking.pack(plain, place / "packed")
        packed = open_set(place / "packed", cache=place / "cache")
        return {"metrics": decoding(plain, packed, images, turns)}


def draw(folder: Path, images: int, seed: int) -> None:
    """JPEG files of smooth noise under fine grain, about as many bytes as a photograph has."""
    rng, (width, height) = np.random.default_rng(seed), SIDES
    folder.mkdir(parents=True)
    for number in range(images):
        small = rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8)
        smooth = Image.fromarray(small).resize(SIDES, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 8, (height, width, 1))
        pixels = (np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.JPEG", quality=92)


def decoding(plain: ImageSet, packed: ImageSet, images: int, turns: int) -> dict[str, float]:
    """How many images a core decodes in a second, and how much that is more of packed ones.

    `decode_ratio` is of decoding alone, `crop_ratio` with a training's random crop after it. By the
    processor's time of this process; both sets take turns, on the same images, and numbers are
    medians over the turns.
    """
    there = np.flatnonzero(np.isin(plain.names, packed.names))  # the others are broken
    taken: dict[str, list[list[float]]] = {"decode": [], "crop": []}
    for turn in range(turns):
        rows = np.random.default_rng(turn).integers(0, len(packed), images)
        for name, work in (("decode", decoded), ("crop", cropped)):
            taken[name].append([work(plain, there[rows]), work(packed, rows)])
    metrics = {}
    for name, pairs in taken.items():
        before, after = (median(pair[k] for pair in pairs) for k in range(2))
        metrics[f"{name}_per_second"], metrics[f"{name}_packed"] = images / before, images / after
        metrics[f"{name}_ratio"] = median(first / second for first, second in pairs)
    return metrics


def decoded(found: ImageSet, rows: np.ndarray) -> float:
    """Seconds in which these images are read and decoded."""
    begun = time.process_time()
    for row in rows:
        found.read(int(row))
    return time.process_time() - begun


def cropped(found: ImageSet, rows: np.ndarray) -> float:
    """Seconds in which they are cropped as well, at random and to 224 pixels."""
    files = loading.Files(found, presets.preset("resnet34"))
    items = loading.Seeded(found, found.leaf, files.transform(train=True))
    begun = time.process_time()
    for row in rows:
        items[int(row), 0, 0]
    return time.process_time() - begun
