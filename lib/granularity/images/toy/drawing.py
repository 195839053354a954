"""Two toy image datasets, an ImageNet and an iNaturalist, drawn in seconds in their folder layouts.

ImageNet's is from real synsets. Every WordNet node above a toy class owns a feature, a small
coloured pattern. An image is noise with the features of its class and of what lies above it, each
in a cell of its own; a node that fewer classes share shows its feature less often. So the features
of coarse classes are common and those of fine ones rare, as in the paper's data model (section
4.1), and granularity can matter. The iNaturalist is described in `species_drawing`.
What is seen on these datasets says something about the machinery and nothing about real images.
"""

import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from granularity import files
from granularity.fingerprints import source
from granularity.hierarchies import wordnet
from granularity.images.toy import patches, species_drawing
from granularity.images.toy.patches import CELL, CELLS, SIDE
from granularity.images.toy.species_drawing import hard

__all__ = ["CELL", "CELLS", "SIDE", "draw", "feature", "hard", "image", "nodes", "shown"]

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

RARITY = 0.12  # a feature shows in share ** RARITY of the images, share being of the classes below
NOISE = 32.0  # standard deviation of the background, of 255

# Part, its classes, the number of its first image, images of each class. The target's training
# images are among the source's, as ImageNet-1k's are in ImageNet-21k.
PARTS = (
    ("imagenet21k/train", SYNSETS, 0, 40),
    ("imagenet1k/train", TARGET, 0, 16),
    ("imagenet1k/val", TARGET, 40, 20),
    *species_drawing.PARTS,
)
MARK = "toy.json"  # says what drew the dataset


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
    """A node's pattern: float (CELL, CELL, 3), to be added to a grey background."""
    return patches.pattern(patches.random_of(seed, node))


def shown(synset: str, number: int, seed: int) -> dict[str, int]:
    """Which features image `number` of a class shows, and in which cell: node → cell."""
    random = patches.random_of(seed, synset, number)
    present = [node for node in nodes(synset) if random.random() < presence(node)]
    cells = random.permutation(CELLS**2)[: len(present)]
    return dict(zip(present, map(int, cells), strict=True))


def image(synset: str, number: int, seed: int) -> np.ndarray:
    """The pixels of an image: uint8 of shape (SIDE, SIDE, 3)."""
    random = patches.random_of(seed, synset, number, "noise")
    pixels = patches.background(random, NOISE)
    for node, cell in shown(synset, number, seed).items():
        patches.put(pixels, cell, feature(node, seed))
    return patches.finished(pixels)


def draw(out: str | Path, seed: int = 0) -> Path:
    """Draws both datasets into the folder `out`, or finds them there; returns `out`.

    The files are `imagenet21k/train/<synset>/*.JPEG` and the same for `imagenet1k/train` and
    `imagenet1k/val`, and `<species>/*.jpg` in `inaturalist/2021_train`, `2021_train_mini` and
    `2021_valid`: the same bytes for a seed (and a version of Pillow). What was drawn with another
    seed or by other code is drawn anew, by one process at a time; another one waits, and finds it.
    Raises FileExistsError where `out` holds anything else.
    """
    out, mark = (
        Path(out),
        {"seed": seed, "code": source.fingerprint("granularity.images.toy.drawing")},
    )
    if not drawn_before(out, mark):  # asked before the lock, for a folder that cannot be written
        with files.alone(out.with_name(f".{out.name}.drawing")):  # not in `out`, which is replaced
            if not drawn_before(out, mark):
                draw_anew(out, mark)
    return out


def drawn_before(out: Path, mark: dict) -> bool:
    """Whether a folder holds the datasets that a mark stands for, in whole."""
    return (out / MARK).exists() and json.loads((out / MARK).read_text("utf-8")) == mark


def draw_anew(out: Path, mark: dict) -> None:
    """Draws both datasets beside `out`, and puts them there when they are whole."""
    ours = {MARK, *(part.partition("/")[0] for part, *_ in PARTS)}
    there = {entry.name for entry in out.iterdir()} if out.exists() else set()
    if there and (MARK not in there or there - ours):
        raise FileExistsError(
            f"{out} holds something else than a toy dataset: {min(there - ours or there)}"
        )
    drawn = out.with_name(f"{out.name}.part")
    shutil.rmtree(drawn, ignore_errors=True)
    for part, classes, first, count in PARTS:
        for label in classes:
            _save(drawn / part / label, label, range(first, first + count), mark["seed"])
    files.write(drawn / MARK, json.dumps(mark) + "\n")
    if out.exists():
        shutil.rmtree(out)
    drawn.rename(out)


def _save(folder: Path, label: str, numbers: Sequence[int], seed: int) -> None:
    """The images of a class: a synset's or a species's."""
    folder.mkdir(parents=True)
    species = label in species_drawing.PATHS
    drawn = species_drawing.image if species else image
    for number in numbers:
        name = species_drawing.file_name(number) if species else f"{label}_{number:05d}.JPEG"
        picture = Image.fromarray(drawn(label, number, seed))
        picture.save(folder / name, "JPEG", quality=90, subsampling=0)
