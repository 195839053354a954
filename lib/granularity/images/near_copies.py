"""Near copies: images that look the same though their bytes differ, by a perceptual hash.

The hash has 64 bits, made of the lowest frequencies of the grey image (after Zauner,
"Implementation and benchmarking of perceptual image hash functions", 2010). Coded again, shrunk or
made brighter an image keeps nearly all of them; of two unlike images about half differ, but of the
12 thousand million pairs of 155,000 images some thousands have nearly equal bits by chance. So a
pair's grey pixels must be alike too.

`known` reads the near copies within and among Tiny-ImageNet-200 and the 75 synsets of mini-ImageNet
that it lacks, training and validation, as `scripts/make_near_copies.py` finds them with the
thresholds below: 51 pairs, among them the 27 of Tiny-ImageNet whose bytes are equal. The thresholds
were chosen by eye, on contact sheets. At most 2 bits apart all 45 pairs are copies. At 3 and 4 bits
6 of 12 are; these 6 correlate by 0.95 or more, the others by 0.84 or less. At 5 to 8 bits there are
372 pairs; of the 120 most correlated three are copies (a lamp, a glass table, a boat), and others,
which are none, correlate as much. Beyond 8 bits none is among the 40 most correlated pairs of all
(at 16 × 16 pixels). Other cuts of a picture, and other pictures of one scene, are not found.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn
from tqdm import tqdm

from granularity.images.copies import Pair
from granularity.images.image_set import ImageSet, in_threads

SIDE = 32  # pixels of the grey image that is hashed, each way
WITHIN = 4  # bits of 64 that may differ
ALIKE = 0.9  # correlation of the grey pixels that is wanted
BLOCK = 1 << 20  # pairs that are compared at once: 8 MB of differing bits


def near_copies(sets: Sequence[ImageSet], within: int = WITHIN, alike: float = ALIKE) -> list[Pair]:
    """The near copies among all images of some sets, sorted by name.

    They are at most `within` bits apart, and their pixels correlate by `alike` or more. An image of
    one brightness is a copy of none. All pairs are compared: a minute and a half for 155,000 images
    on two cores, half of it to decode them; memory is 1 kB an image.

    Raises ValueError for two sets of one name, ImageError for an image that cannot be decoded.
    """
    called = [images.name for images in sets]
    for name in called:
        if called.count(name) > 1:
            raise ValueError(f"two sets are called {name}: their images cannot be told apart")
    names = [f"{images.name}/{os.fsdecode(name)}" for images in sets for name in images.names]
    pixels = np.concatenate([greys(images) for images in sets])
    first, second, distance = close(hashes(pixels), within)
    found = correlations(pixels, first, second)
    return sorted(
        Pair(*sorted((names[i], names[j])), int(apart), round(float(correlation), 3))
        for i, j, apart, correlation in zip(first, second, distance, found, strict=True)
        if correlation >= alike
    )


def greys(images: ImageSet) -> np.ndarray:
    """All images of a set as they are hashed, uint8 of shape (N, SIDE, SIDE).

    Raises ImageError, naming it, for one that cannot be decoded.
    """
    pixels = np.empty((len(images), SIDE, SIDE), np.uint8)

    def work(i: int) -> None:
        pixels[i] = grey(images.read(i))

    for _ in in_threads(work, len(images), f"decoding {images.name}"):
        pass
    return pixels


def grey(image: Image.Image) -> np.ndarray:
    """An image's brightness, uint8 of shape (SIDE, SIDE), whatever shape the image has."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def hashes(pixels: np.ndarray) -> np.ndarray:
    """The hashes, uint64 of shape (N,), of grey images (N, SIDE, SIDE).

    A bit for each of the 64 lowest frequencies of the cosine transform, without the mean: whether
    its coefficient is above the image's median one. So brightness and contrast do not matter.
    """
    down, across = np.divmod(np.arange(SIDE**2), SIDE)
    lowest = np.argsort(down**2 + across**2, kind="stable")[1:65]
    found = np.empty(len(pixels), np.uint64)
    for start in range(0, len(pixels), 4096):
        waves = dctn(pixels[start : start + 4096].astype(np.float64), axes=(1, 2))
        low = waves.reshape(-1, SIDE**2)[:, lowest]
        bits = np.ascontiguousarray(low > np.median(low, axis=1, keepdims=True))
        found[start : start + 4096] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return found


def close(hashed: np.ndarray, within: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs i < j of hashes, uint64 of shape (N,), that differ in at most `within` bits.

    Returns i, j and the number of bits, each of shape (pairs,). Every pair is compared, a block of
    them at a time, so it misses none, whatever `within` is.
    """
    rows = max(1, BLOCK // max(1, len(hashed)))
    found = [np.empty((3, 0), np.int64)]
    starts = range(0, len(hashed), rows)
    for start in tqdm(starts, "comparing", unit=" blocks", leave=False, delay=3):
        apart = np.bitwise_count(hashed[start : start + rows, None] ^ hashed[start:])
        i, j = np.nonzero(apart <= within)
        later = j > i
        i, j = i[later], j[later]
        found.append(np.stack([i + start, j + start, apart[i, j]]))
    return tuple(np.concatenate(found, axis=1))


def correlations(pixels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The correlation of the pixels of each pair of images, float of shape (pairs,).

    `first` and `second` are indices into `pixels`, (N, SIDE, SIDE). 0 where one of a pair's images
    is of one brightness.
    """
    return np.array(
        [_correlation(pixels[i], pixels[j]) for i, j in zip(first, second, strict=True)]
    )


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    left, right = left - left.mean(), right - right.mean()
    scale = np.sqrt((left**2).sum() * (right**2).sum())
    return (left * right).sum() / scale if scale else 0.0


def write(pairs: Sequence[Pair], path: Path) -> None:
    """Writes pairs as a table that `known` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Pair._fields)
        writer.writerows(pairs)
