"""A toy image world in ImageNet's folder layout, drawn in seconds from real synsets.

Every WordNet node above a toy class owns a feature, a small coloured pattern. An image is noise
with the features of its class and of what lies above it, each in a cell of its own; a node that
fewer classes share shows its feature less often. So the features of coarse classes are common and
those of fine ones rare, as in the paper's data model (section 4.1), and granularity can matter.
What is seen on this world says something about the machinery and nothing about real images.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from granularity import files, source, wordnet

# Sixty classes of ImageNet-1k, chosen (by us) so that the levels 0, 1, 2, 4, 6 and 9 have
# different numbers of classes, and so that some have several parents.
LEAVES = """
    n02099601 n02099712 n02099267  golden, Labrador and flat-coated retriever
    n02100735 n02100877            English and Irish setter
    n02102318 n02102480            cocker and Sussex spaniel
    n02096051 n02096177 n02094433  Airedale, cairn, Yorkshire terrier
    n02097047 n02097130            miniature and giant schnauzer
    n02088364 n02088466            beagle, bloodhound
    n02106030 n02106166            collie, Border collie
    n02119022 n02119789            red and kit fox
    n02114367 n02114855            timber wolf, coyote
    n02123045 n02123394 n02123597  tabby, Persian and Siamese cat
    n02129165 n02129604            lion, tiger
    n02132136 n02134084            brown and ice bear
    n02480495 n02480855            orangutan, gorilla
    n02486410 n02487347            baboon, macaque
    n01530575 n01531178            brambling, goldfinch
    n02006656 n02007558            spoonbill, flamingo
    n01734418 n01735189            king and garter snake
    n01774384 n01774750            black widow, tarantula
    n02165456 n02177972            ladybug, weevil
    n02277742 n02281406            ringlet, sulphur butterfly
    n02930766 n03100240 n03770679  cab, convertible, minivan
    n03345487 n03417042            fire engine, garbage truck
    n03478589 n04389033            half track, tank
    n03110669 n04487394            cornet, trombone
    n03017168 n03447721            chime, gong
    n03376595 n04099969            folding and rocking chair
    n02804414 n03131574            bassinet, crib
    n02799071 n02802426            baseball, basketball
"""
SYNSETS = tuple(sorted(word for word in LEAVES.split() if word.startswith("n0")))
TARGET = SYNSETS[18:38]  # the toy ImageNet-1k: neighbours, which only fine labels tell apart

CELLS = 5  # cells on a side of an image
CELL = 8  # pixels on a side of a cell
SIDE = CELLS * CELL
RARITY = 0.12  # a feature shows in share ** RARITY of the images, share being of the classes below
NOISE = 32.0  # standard deviation of the background, of 255

# Part, its classes, the number of its first image, images of each class. The target's training
# images are among the source's, as ImageNet-1k's are in ImageNet-21k.
PARTS = (
    ("imagenet21k/train", SYNSETS, 0, 40),
    ("imagenet1k/train", TARGET, 0, 16),
    ("imagenet1k/val", TARGET, 40, 20),
)
MARK = "toy.json"  # says what drew the world


@cache
def nodes(synset: str) -> tuple[str, ...]:
    """A class and everything above it in WordNet, on every path, sorted."""
    return tuple(sorted(wordnet.closure([synset], wordnet.nouns().hypernyms)))


@cache
def presence(node: str) -> float:
    """How often a node's feature shows in an image of a class below it."""
    below = sum(node in nodes(synset) for synset in SYNSETS)
    return (below / len(SYNSETS)) ** RARITY


@cache
def feature(node: str, seed: int) -> np.ndarray:
    """A node's patch, a mirrored pattern in one colour: float (CELL, CELL, 3), 0 where it is clear.

    It is to be added to a grey background.
    """
    random = _random(seed, node)
    colour = random.permutation([random.uniform(70, 120), random.uniform(-60, 60), -110.0])
    half = random.permutation(CELL) < CELL // 2  # of the 4 × 2 blocks of a half, as many as not
    pattern = np.kron(half.reshape(4, 2), np.ones((2, 2)))
    return np.hstack([pattern, pattern[:, ::-1]])[:, :, None] * colour


def _random(*words: str | int) -> np.random.Generator:
    """A generator of its own for whatever the words name: the order of drawing changes nothing."""
    return np.random.default_rng([ord(letter) for letter in json.dumps(words)])


def shown(synset: str, number: int, seed: int) -> dict[str, int]:
    """Which features image `number` of a class shows, and in which cell: node → cell."""
    random = _random(seed, synset, number)
    present = [node for node in nodes(synset) if random.random() < presence(node)]
    cells = random.permutation(CELLS**2)[: len(present)]
    return dict(zip(present, map(int, cells), strict=True))


def image(synset: str, number: int, seed: int) -> np.ndarray:
    """The pixels of an image: uint8 of shape (SIDE, SIDE, 3)."""
    pixels = _random(seed, synset, number, "noise").normal(128.0, NOISE, (SIDE, SIDE, 3))
    for node, cell in shown(synset, number, seed).items():
        top, left = (CELL * place for place in divmod(cell, CELLS))
        pixels[top : top + CELL, left : left + CELL] += feature(node, seed)
    return pixels.clip(0, 255).astype(np.uint8)


def draw(out: str | Path, seed: int = 0) -> Path:
    """Draws the world into the folder `out`, or finds it there; returns `out`.

    The files are `imagenet21k/train/<synset>/*.JPEG` and the same for `imagenet1k/train` and
    `imagenet1k/val`: the same bytes for a seed (and a version of Pillow). A world of another seed
    or of older code is drawn anew. Raises FileExistsError where `out` holds anything else.
    """
    out, mark = Path(out), {"seed": seed, "code": source.fingerprint("granularity.toy")}
    worlds = {part.partition("/")[0] for part, *_ in PARTS}
    if (out / MARK).exists() and json.loads((out / MARK).read_text("utf-8")) == mark:
        return out
    there = {entry.name for entry in out.iterdir()} if out.exists() else set()
    if there and there != {MARK, *worlds}:
        raise FileExistsError(f"{out} holds something else than a toy world: {min(there)}")
    drawn = out.with_name(f"{out.name}.part")
    shutil.rmtree(drawn, ignore_errors=True)
    for part, synsets, first, count in PARTS:
        for synset in synsets:
            _save(drawn / part / synset, synset, range(first, first + count), seed)
    files.write(drawn / MARK, json.dumps(mark) + "\n")
    if out.exists():
        shutil.rmtree(out)
    drawn.rename(out)
    return out


def _save(folder: Path, synset: str, numbers: Sequence[int], seed: int) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        path = folder / f"{synset}_{number:05d}.JPEG"
        Image.fromarray(image(synset, number, seed)).save(path, "JPEG", quality=90, subsampling=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: `python -m granularity.toy OUT`."""
    parser = argparse.ArgumentParser(prog="python -m granularity.toy", description=__doc__)
    parser.add_argument("out", help="the folder to draw into")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        print(draw(given.out, given.seed))
    except OSError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
