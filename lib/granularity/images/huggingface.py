"""Image sets of the Hugging Face hub, through timm's reader; the package `datasets` is needed."""

import hashlib
import os
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from granularity.images.layouts import DataError

PREFIX = "hfds/"  # timm's name for this reader


@cache
def _reader(name: str, part: str) -> Any:
    try:
        from timm.data.readers.reader_hfds import ReaderHfds
    except ImportError as error:
        raise DataError(f"{name} needs the package datasets: pip install datasets") from error
    return ReaderHfds(name.removeprefix(PREFIX), split=part)


def _content(name: str, part: str, row: np.ndarray, i: int) -> bytes:
    with _reader(name, part)[int(row[i])][0] as file:
        return file.read()


def columns(name: str, part: str, classes: Sequence[str] | None) -> dict[str, Any]:
    """What an ImageSet needs of the hub's `hfds/<owner>/<name>`, sorted by class.

    An image's name is its class and its row there. Class number i is `classes[i]`, or the hub's
    own name for it. Sizes of images are not known without a download of each, so the fingerprint
    is of the version, the total size and the names. Raises DataError for class numbers that do not
    fit the classes, and for a class without images.
    """
    reader = _reader(name, part)
    numbers = np.asarray(reader.dataset[reader.label_key][:])
    known = list(classes or reader.class_to_idx)
    if len(numbers) and numbers.min() < 0:
        raise DataError(
            f"{name}: its split {part!r} is not labelled: {np.count_nonzero(numbers < 0):,} of"
            f" {len(numbers):,} class numbers are {numbers.min()}, which stands for none, as test"
            f" splits have it; name a split with labels"
        )
    counts = np.bincount(numbers, minlength=len(known))
    if len(counts) != len(known) or not counts.all():
        raise DataError(
            f"{name}: its class numbers lie in {numbers.min()} … {numbers.max()}, and"
            f" {np.count_nonzero(counts):,} of them have images; given {len(known):,} classes"
        )
    order = np.argsort(known)
    leaf = np.argsort(order)[numbers].astype("<i4")
    row = np.argsort(leaf, kind="stable")
    names = np.array([os.fsencode(f"{known[numbers[i]]}/{i:08d}") for i in row])
    version, size = reader.dataset.info.version, reader.dataset.info.dataset_size
    edition = f"{version} {size}"
    digest = hashlib.sha256(f"{edition} ".encode() + names.tobytes())
    return {
        "name": f"{name}/{part}",
        "classes": tuple(known[i] for i in order),
        "leaf": leaf[row],
        "names": names,
        "sizes": np.zeros(len(names), "<i8"),
        "edition": edition,
        "fingerprint": digest.hexdigest(),
        "content": partial(_content, name, part, row),
    }
