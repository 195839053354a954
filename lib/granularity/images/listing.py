"""Which images a set holds: listed once, kept in an index file, checked against the disk.

Images are sorted by class and file name and named `class/file`, whatever the layout, so the same
images make the same list, with the same fingerprint, from folders and from tar files.
"""

import contextlib
import hashlib
import json
import mmap
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from granularity.images import layouts
from granularity.images.layouts import DataError, Place

FORMAT = "granularity image index 2"
COLUMNS = {"names": None, "leaf": "<i4", "sizes": "<i8", "place": "<i4", "start": "<i8"}
FRESH = 2_000_000_000  # ns; a second change in one tick of a file system's clock leaves no trace


@dataclass(frozen=True, eq=False, repr=False)
class Listing:
    """The images of a set, sorted by class and file name, and where each one lies.

    The arrays have an entry for each image: `names` (bytes, `class/file`), `leaf` (index into
    `classes`), `sizes` in bytes, `place` (index into `places`, folders or tar files relative to
    `root`) and `start` (where it begins in a tar file). `stamps` are the times of the places' last
    changes (None where not trusted) and numbers of what they held. `others` counts files that are
    not named as images. `extra` holds (name, reason) of what is no class and no image; `broken` of
    images that cannot be decoded, and is None where nobody has tried them all.
    """

    root: str
    classes: tuple[str, ...]
    places: tuple[str, ...]
    names: np.ndarray
    leaf: np.ndarray
    sizes: np.ndarray
    place: np.ndarray
    start: np.ndarray
    stamps: dict[str, tuple[int | None, int]]
    others: int
    extra: tuple[tuple[str, str], ...] = ()
    broken: tuple[tuple[str, str], ...] | None = None

    def name(self, i: int) -> str:
        """The name of image `i`, as text."""
        return os.fsdecode(self.names[i])

    def content(self, i: int) -> bytes:
        """The encoded bytes of image `i`.

        Raises DataError, naming it, where it no longer has the size that it had when listed.
        """
        place = Path(self.root, self.places[self.place[i]])
        start, size = int(self.start[i]), int(self.sizes[i])
        content = layouts.content(place, self.name(i).rpartition("/")[2], start, size)
        if len(content) != size:
            raise DataError(f"{self.name(i)}: {len(content):,} bytes, {size:,} when it was listed")
        return content

    def take(self, rows: np.ndarray) -> "Listing":
        """Some of the images only; classes that are left without any are dropped."""
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        present, leaf = np.unique(columns["leaf"], return_inverse=True)
        columns |= {"leaf": leaf.astype("<i4"), "names": narrow(columns["names"])}
        return replace(self, classes=tuple(self.classes[i] for i in present), **columns)

    def fingerprint(self) -> str:
        """SHA-256 of names and sizes: equal on every machine and in every layout."""
        return hashlib.sha256(self.names.tobytes() + self.sizes.tobytes()).hexdigest()


def narrow(names: np.ndarray) -> np.ndarray:
    """Byte strings at the width of the longest one: equal names are then equal bytes."""
    return names.astype(f"S{np.strings.str_len(names).max(initial=1)}")


# ------------------------------------------------------------------------------------ assembling


def assembled(root: Path, places: Sequence[Place]) -> Listing:
    """One sorted listing of all places. Raises DataError, naming it, for an image found twice."""
    classes = tuple(sorted({label for place in places for label in place.classes}))
    if layouts.PARTS & set(classes):
        label = min(layouts.PARTS & set(classes))
        raise DataError(
            f"{root}: {label!r} is what a part of a set is called, no class. Is the set's root the"
            f" folder above or below, or has it lost {layouts.ANNOTATIONS}?"
        )
    index = {label: i for i, label in enumerate(classes)}
    leaf = [np.array([index[c] for c in p.classes], "<i4")[p.leaf] for p in places if len(p.leaf)]
    columns = {
        "names": _joined([place.names for place in places], "S1"),
        "leaf": _joined(leaf, "<i4"),
        "sizes": _joined([place.sizes for place in places], "<i8"),
        "place": np.repeat(np.arange(len(places), dtype="<i4"), [len(p.names) for p in places]),
        "start": _joined([place.start for place in places], "<i8"),
    }
    order = np.lexsort((columns["names"], columns["leaf"]))
    columns = {name: column[order] for name, column in columns.items()}
    names = columns["names"]
    twice = np.flatnonzero(names[1:] == names[:-1])
    if len(twice):
        raise DataError(f"{root}: {os.fsdecode(names[twice[0]])} is there twice")
    return Listing(
        root=str(root),
        classes=classes,
        places=tuple(place.path for place in places),
        stamps={place.path: (place.stamp, place.entries) for place in places},
        others=sum(place.others for place in places),
        extra=tuple(sorted(item for place in places for item in place.extra)),
        **columns,
    )


def _joined(arrays: Sequence[np.ndarray], dtype: str) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *arrays])


# ----------------------------------------------------------------------------------- index file


def kept(
    root: Path, shards: Sequence[str], numbered: Sequence[str] | None, folder: Path
) -> tuple[Listing, Path]:
    """The listing of `root` from its index file in `folder`, and that file's path.

    Where the file is missing or not whole, or anything was added or removed since, the listing is
    made anew. A file whose bytes change in place is met when it is read. With `shards` it lists
    these tar files, otherwise folders.
    """
    key = json.dumps([str(root), list(shards), list(numbered or ()) if shards else ()])
    path = folder / f"{root.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.index"
    listing = read(path)
    if listing is not None and listing.root == str(root) and _unchanged(listing):
        return listing, path
    now = time.time_ns()
    listing = assembled(root, layouts.find(root, shards, numbered))
    settled = {
        path: (stamp if stamp < now - FRESH else None, entries)
        for path, (stamp, entries) in listing.stamps.items()
    }
    listing = replace(listing, stamps=settled)
    write(path, listing)
    return listing, path


def _unchanged(listing: Listing) -> bool:
    """Whether every place has the time and the entries that it had: neither alone is trusted."""

    def same(place: str) -> bool:
        stamp, entries = listing.stamps[place]
        path = Path(listing.root, place)
        return path.stat().st_mtime_ns == stamp and layouts.entries(path) == entries

    try:
        with ThreadPoolExecutor(8) as pool:  # on a network every answer takes its time
            return all(pool.map(same, listing.stamps))
    except OSError:
        return False


def write(path: Path, listing: Listing) -> None:
    """Writes an index file, whole or not at all: a line of JSON, then the columns."""
    columns = [getattr(listing, name) for name in COLUMNS]
    body = hashlib.sha256()
    for column in columns:
        body.update(column.tobytes())
    header = {
        "format": FORMAT,
        "images": len(listing.names),
        "width": listing.names.dtype.itemsize,
        "body": body.hexdigest(),
        **{name: value for name, value in vars(listing).items() if name not in COLUMNS},
    }
    # Several processes may do this at once, so each writes a file of its own.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            for column in columns:
                file.write(column.tobytes())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OSError(
            f"{path.parent}: the index of an image set cannot be written there ({error});"
            f" XDG_CACHE_HOME names another folder for it"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def read(path: Path) -> Listing | None:
    """The listing in an index file, mapped and not copied; None where the file is not whole."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            offset = file.tell()
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if header.pop("format") != FORMAT:
            return None
        images, width, digest = (header.pop(name) for name in ("images", "width", "body"))
        if hashlib.sha256(memoryview(content)[offset:]).hexdigest() != digest:
            return None
        columns = {}
        for name, kind in COLUMNS.items():
            dtype = np.dtype(kind or f"S{width}")
            columns[name] = np.frombuffer(content, dtype, images, offset)
            offset += columns[name].nbytes
        for name in ("classes", "places"):
            header[name] = tuple(header[name])
        for name in ("broken", "extra"):
            if header[name] is not None:
                header[name] = tuple(map(tuple, header[name]))
        header["stamps"] = {place: tuple(told) for place, told in header["stamps"].items()}
        return Listing(**header, **columns)
    except (OSError, ValueError, KeyError, TypeError):
        return None
