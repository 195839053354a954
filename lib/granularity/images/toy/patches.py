"""What toy images are made of: a noisy background in cells, and mirrored patterns put into them."""

import json

import numpy as np

CELLS = 5  # cells on a side of an image
CELL = 8  # pixels on a side of a cell
SIDE = CELLS * CELL


def random_of(*words: str | int) -> np.random.Generator:
    """A generator of its own for whatever the words name: the order of drawing changes nothing."""
    return np.random.default_rng([ord(letter) for letter in json.dumps(words)])


def pattern(random: np.random.Generator) -> np.ndarray:
    """A mirrored pattern in one colour: float (CELL, CELL, 3), 0 where it is clear.

    It is to be added to a grey background.
    """
    colour = random.permutation([random.uniform(70, 120), random.uniform(-60, 60), -110.0])
    half = random.permutation(CELL) < CELL // 2  # of the 4 × 2 blocks of a half, as many as not
    blocks = np.kron(half.reshape(4, 2), np.ones((2, 2)))
    return np.hstack([blocks, blocks[:, ::-1]])[:, :, None] * colour


def background(random: np.random.Generator, noise: float) -> np.ndarray:
    """Grey with noise of that standard deviation, of 255: float (SIDE, SIDE, 3)."""
    return random.normal(128.0, noise, (SIDE, SIDE, 3))


def put(pixels: np.ndarray, cell: int, patch: np.ndarray) -> None:
    """Adds a patch (CELL, CELL, 3) to a cell of an image, in place."""
    top, left = (CELL * place for place in divmod(cell, CELLS))
    pixels[top : top + CELL, left : left + CELL] += patch


def finished(pixels: np.ndarray) -> np.ndarray:
    """An image's pixels as uint8."""
    return pixels.clip(0, 255).astype(np.uint8)
