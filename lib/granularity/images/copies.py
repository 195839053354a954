"""Which images of the real sets look like others: tables of pairs that `near_copies` found."""

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from granularity.images.subset import Subset

TABLE = Path(__file__).parent / "tables" / "near-copies.csv"
# Of the plankton's images one pair is the same, byte for byte, under two labels. Silhouettes of a
# kind are alike: 229 pairs correlate by 0.97 or more, and of the 12 most alike of them no other is
# a copy (by eye).
PLANKTON = TABLE.with_name("plankton-copies.csv")


class Pair(NamedTuple):
    """Two images that look the same, by names: `set/part/class/file`.

    `distance` is the number of bits in which their hashes differ, `correlation` that of their grey
    pixels.
    """

    first: str
    second: str
    distance: int
    correlation: float


def known(table: Path = TABLE) -> list[Pair]:
    """The near copies of Tiny-ImageNet-200 and mini-ImageNet's other 75 synsets, sorted by name.

    From the table inside this package, made with `WITHIN` and `ALIKE`; or those of another table.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Pair(row["first"], row["second"], int(row["distance"]), float(row["correlation"]))
        for row in rows
    ]


def without(part: Subset, pairs: Sequence[Pair]) -> Subset:
    """A part less every image that looks like another one, whichever set that lies in."""
    alike = {name for pair in pairs for name in (pair.first, pair.second)}
    named = [f"{part.images.name}/{os.fsdecode(name)}" for name in part.names]
    return replace(part, rows=part.rows[[name not in alike for name in named]])
