"""The label function: which classes a leaf, or a sample, belongs to; its file."""

import hashlib
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from granularity import files

FORMAT = "granularity label function 1"
DOMAINS = ("leaf", "sample")


@dataclass(frozen=True, eq=False, repr=False)
class LabelFunction:
    """Classes of leaves or of samples, as indices.

    `indices` has shape (items, q) and type int32: row i holds the classes of `items[i]`, rising,
    padded with -1; q is the largest number of classes that an item has. Rows stand in the order
    of `items`; classes are numbered in the order of their sorted names, whatever the order of the
    items. Compare two functions by `fingerprint`.

    Raises ValueError where this does not hold, an item has no class, or a class no item.
    """

    name: str
    items: tuple[str, ...]  # leaves, or samples where the domain is "sample"
    classes: tuple[str, ...]
    indices: np.ndarray
    domain: str = "leaf"

    def __post_init__(self) -> None:
        """Checks everything once, so that nothing else has to."""
        for fault in _faults(self):
            raise ValueError(f"label function {self.name!r}: {fault}")
        indices = self.indices.copy()
        indices.setflags(write=False)
        object.__setattr__(self, "indices", indices)

    @property
    def num_classes(self) -> int:
        """The number of classes, K in the paper."""
        return len(self.classes)

    @property
    def num_labels(self) -> np.ndarray:
        """How many classes each item has, shape (items,)."""
        return (self.indices >= 0).sum(axis=1)

    def sizes(self, images: Sequence[int] | None = None) -> np.ndarray:
        """The size of each class in items, or in images where `images` holds each item's number.

        An item with several classes counts in all of them. Raises ValueError where `images` does
        not have one number for each item.
        """
        if images is not None and len(images) != len(self.items):
            raise ValueError(f"{len(images):,} image counts for {len(self.items):,} {self._items}")
        labelled = self.indices >= 0
        weights = None if images is None else np.repeat(images, labelled.sum(axis=1))
        sizes = np.bincount(self.indices[labelled], weights, minlength=self.num_classes)
        return sizes.astype(np.int64)

    def classes_of(self, item: str) -> tuple[str, ...]:
        """The names of an item's classes; KeyError, naming it, for an unknown item."""
        if item not in self._rows:
            raise KeyError(f"label function {self.name!r} has no {self.domain} {item!r}")
        return tuple(self.classes[index] for index in self.indices[self._rows[item]] if index >= 0)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.items)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything the function is, its name included: equal for equal functions."""
        names = json.dumps([FORMAT, self.name, self.domain, self.items, self.classes])
        content = self.indices.astype("<i4").tobytes()
        return hashlib.sha256(f"{names}{self.indices.shape}".encode() + content).hexdigest()

    @property
    def _items(self) -> str:
        return {"leaf": "leaves", "sample": "samples"}[self.domain]

    def __repr__(self) -> str:
        """One line, for example: 21,843 leaves → 519 classes, several for 3,999, at most 5."""
        several = int((self.num_labels > 1).sum())
        more = f", several for {several:,}, at most {self.indices.shape[1]}" if several else ""
        return (
            f"LabelFunction({self.name!r}: {len(self.items):,} {self._items}"
            f" → {self.num_classes:,} classes{more})"
        )


def _faults(function: LabelFunction) -> Iterator[str]:
    """What is wrong with a label function, worst first."""
    items, classes, indices = function.items, function.classes, function.indices
    if function.domain not in DOMAINS:
        yield f"domain {function.domain!r}, wanted one of {DOMAINS}"
    if not items:
        yield "it has no items"
    if len(set(items)) < len(items):
        yield "an item stands in it twice"
    if any(left >= right for left, right in pairwise(classes)):
        yield "class names are not sorted, or one stands there twice"
    if indices.dtype != np.int32 or indices.ndim != 2 or len(indices) != len(items):
        yield (
            f"indices of type {indices.dtype} and shape {indices.shape},"
            f" wanted int32 and ({len(items)}, q)"
        )
    if indices.size and (indices.min() < -1 or indices.max() >= len(classes)):
        yield f"an index lies outside -1 … {len(classes) - 1}"
    without = np.flatnonzero(~(indices >= 0).any(axis=1))
    if len(without):
        yield f"items without class: {len(without):,}, the first is {items[without[0]]!r}"
    left, right = indices[:, :-1], indices[:, 1:]
    if ((right >= 0) & (right <= left)).any() or ((left < 0) & (right >= 0)).any():
        yield "a row is not rising, or its padding is not at its end"
    if indices.shape[1] and (indices[:, -1] < 0).all():
        yield "the last column is nothing but padding"
    unused = np.flatnonzero(np.bincount(indices[indices >= 0], minlength=len(classes)) == 0)
    if len(unused):
        yield f"classes without item: {len(unused):,}, the first is {classes[unused[0]]!r}"


# --- Making one -----------------------------------------------------------------------------------


def from_sets(
    name: str, items: Sequence[str], sets: Sequence[Collection[str]], domain: str = "leaf"
) -> LabelFunction:
    """The label function that gives `items[i]` the classes named in `sets[i]`.

    Rows keep the order of `items`; classes are numbered by sorted name. Raises ValueError for an
    item without class, a repeated item, or sequences of different lengths.
    """
    if len(items) != len(sets):
        raise ValueError(f"label function {name!r}: {len(items):,} items, {len(sets):,} sets")
    classes = sorted(set().union(*sets))
    index = {label: i for i, label in enumerate(classes)}
    rows = [sorted(index[label] for label in set(labels)) for labels in sets]
    indices = np.full((len(items), max(map(len, rows), default=0)), -1, dtype=np.int32)
    for row, found in zip(indices, rows, strict=True):
        row[: len(found)] = found
    return LabelFunction(name, tuple(items), tuple(classes), indices, domain)


# --- Files ----------------------------------------------------------------------------------------


def save(function: LabelFunction, path: str | Path) -> None:
    """Writes a label function to one file, whole or not at all: NumPy's npz, without pickles."""
    path = Path(path)
    header = {
        "format": FORMAT,
        "name": function.name,
        "domain": function.domain,
        "fingerprint": function.fingerprint,
    }
    arrays = {
        "header": _as_bytes(header),
        "items": _as_bytes(function.items),
        "classes": _as_bytes(function.classes),
        "indices": function.indices,
    }
    with files.whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: str | Path) -> LabelFunction:
    """Reads a label function that `save` wrote.

    Raises FileNotFoundError where there is no file, and ValueError, naming the file, where it is
    truncated, changed, or something else. Nothing in the file is executed.
    """
    content = io.BytesIO(Path(path).read_bytes())
    try:
        with np.load(content, allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']!r}, wanted {FORMAT!r}")
            items, classes = (
                tuple(json.loads(arrays[part].tobytes())) for part in ("items", "classes")
            )
            function = LabelFunction(
                header["name"], items, classes, arrays["indices"], header["domain"]
            )
            if function.fingerprint != header["fingerprint"]:
                raise ValueError("the content differs from the fingerprint in its header")
    except Exception as error:  # NumPy, zipfile and json have a dozen ways to refuse bytes
        raise ValueError(f"{path}: no whole label function ({error})") from error
    return function


def _as_bytes(value: object) -> np.ndarray:
    """JSON as an array of bytes: NumPy's own strings are padded to the longest one."""
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
