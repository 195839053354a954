"""Image sets of the Hugging Face hub, and exports of such, through timm's reader.

The package `datasets` is needed. What it finds it keeps in a cache of its own.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from granularity.images.layouts import DataError

PREFIX = "hfds/"  # timm's name for this reader
SPLITS = {"val": "validation"}  # what a part is called there, where not by its own name
COLUMNS = (("image", "label"), ("jpg", "cls"))  # of ordinary sets, and of WebDataset's on the hub


def source_of(root: str | Path, part: str | None) -> str | None:
    """What timm's reader opens for a root: a name on the hub, or a folder of parquet files.

    None where the root is neither.
    """
    on_hub = str(root).startswith(PREFIX)
    return str(root).removeprefix(PREFIX) if on_hub else exported_in(root, part)


def exported_in(root: str | Path, part: str | None) -> str | None:
    """The folder of parquet files, as timm's reader wants it; None where there are none."""
    folder = Path(root).expanduser()
    splits = [part, SPLITS.get(part, part)] if part else []
    inside = ["", "data", *splits, *(f"default/{split}" for split in splits)]
    exported = any(any((folder / place).glob("*.parquet")) for place in inside)
    return str(folder.resolve()) if exported else None


def place_of(folder: Path, root: str) -> str:
    """Where a set lies whose root is told from `folder`; a name on the hub lies nowhere here."""
    return root if root.startswith(PREFIX) else str(folder / root)


@cache
def hub_reader(source: str, part: str) -> Any:
    """timm's reader of one split. Raises DataError for what is lacking: package, split, columns."""
    try:
        from timm.data.readers.reader_hfds import ReaderHfds
    except ImportError as error:
        raise DataError(f"{source} needs the package datasets: pip install datasets") from error
    problems = []
    for split in (part, *([SPLITS[part]] if part in SPLITS else [])):
        for image, label in COLUMNS:
            try:
                reader = ReaderHfds(source, split=split, input_key=image, target_key=label)
            except ValueError as error:  # no such split, or no such column
                problems.append(str(error))
                continue
            if {image, label} <= {*reader.dataset.column_names}:
                return reader
            problems.append(f"its columns are {', '.join(reader.dataset.column_names)}")
    raise DataError(f"{source}: no {part} of images with labels ({problems[0]})")


def hub_content(source: str, part: str, row: np.ndarray, i: int) -> bytes:
    """The encoded bytes of image `i` of a set that is sorted by class: its `row[i]`."""
    with hub_reader(source, part)[int(row[i])][0] as file:
        return file.read()


def hub_columns(
    root: str | Path,
    part: str | None,
    classes: Sequence[str] | None,
    numbered: Sequence[str] | None = None,
    called: tuple[str, Callable[[str], bool]] | None = None,
) -> dict[str, Any]:
    """What an ImageSet needs of a set on the hub or an export; nothing where it is neither."""
    source = source_of(root, part)
    return labelled_rows(source, part or "train", classes, numbered, called) if source else {}


def labelled_rows(
    source: str,
    part: str,
    classes: Sequence[str] | None,
    numbered: Sequence[str] | None,
    called: tuple[str, Callable[[str], bool]] | None,
) -> dict[str, Any]:
    """What an ImageSet needs of `source` (see `source_of`), sorted by class.

    An image's name is its class and its row there. Class number i is `classes[i]`, or the source's
    own name for it, or `numbered[i]` where that name is none that classes are `called` by. Sizes of
    images are not known without a download of each, so the fingerprint is of the version, the
    total size and the names. Raises DataError for class numbers that do not fit the classes, for
    names that are none, and for a class without images.
    """
    reader, name = hub_reader(source, part), hub_name(source)
    numbers = np.asarray(reader.dataset[reader.label_key][:])
    known = list(classes or hub_classes(name, [*reader.class_to_idx], numbered, called))
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
        "content": partial(hub_content, source, part, row),
    }


def hub_name(source: str) -> str:
    """What a set is called in records: no folder of this machine."""
    return Path(source).name if Path(source).is_absolute() else f"{PREFIX}{source}"


def hub_classes(
    name: str,
    own: Sequence[str],
    numbered: Sequence[str] | None,
    called: tuple[str, Callable[[str], bool]] | None,
) -> Sequence[str]:
    """The source's own names for its classes where they are such; else those that numbers mean."""
    what, fits = called or ("", lambda label: True)
    strange = next((label for label in own if not fits(label)), None)
    if own and strange is None:
        return own
    if numbered is None:
        told = f"a class is called {strange!r}, not {what}" if own else "its classes have no names"
        raise DataError(f"{name}: {told}, and no list says what their numbers mean")
    return numbered
