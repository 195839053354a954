"""Every list of synsets that has a name: timm's, and the winter 2021 release of ImageNet-21k.

That release is the only one that can be downloaded today. It is written here as what it lacks of
the paper's 21,843 synsets: 2,675 persons and `n03931044` (picture). Source: the list that
github.com/MrVladimirLiu/ImageNet21K_downloader keeps at 5d766a86.
"""

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from granularity.hierarchies import wordnet
from granularity.inputs.nearest import hint

WINTER_2021 = "imagenet21k-winter21"
NAMES = (*wordnet.LISTS, WINTER_2021)
# SHA-256 of its synsets, sorted, a line each.
SORTED = "6ef4d1b01c0f055e3c14d9a6d9f2d712d3f2c1e462f54527bf6eb8ad22c005b4"


def read(source: str | Path) -> list[str]:
    """The synsets of a list: one of `NAMES`, or a text file with one on each line.

    In the list's order; of winter 2021, whose source has none, sorted. Raises what
    `wordnet.read_list` raises, with the nearest of all names, and what `winter_2021` does.
    """
    if source not in NAMES and not Path(source).is_file():
        near = hint(source, NAMES, shown=len(NAMES))
        raise FileNotFoundError(f"{source}: neither a file nor a list's name{near}")
    return winter_2021() if source == WINTER_2021 else wordnet.read_list(source)


def winter_2021(table: Traversable | None = None) -> list[str]:
    """The 19,167 synsets of ImageNet-21k's winter 2021 release, sorted.

    `table` names those that are gone, where it is not the one inside this package. Raises
    ValueError, naming it, unless what is left are the synsets of the release.
    """
    table = table or (
        resources.files("granularity.hierarchies") / "tables" / "imagenet21k-not-in-winter-2021.txt"
    )
    lines = table.read_text(encoding="utf-8").splitlines()
    gone = {line for line in lines if not line.startswith("#")}
    left = sorted(set(wordnet.read_list("imagenet21k")) - gone)
    if hashlib.sha256("".join(f"{synset}\n" for synset in left).encode()).hexdigest() != SORTED:
        raise ValueError(
            f"{table}: leaves {len(left):,} synsets that are not the 19,167 of winter 2021; get"
            " the file again"
        )
    return left
