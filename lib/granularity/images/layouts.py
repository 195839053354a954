"""How image sets are read from a disk: a folder for each class, one flat folder, or tar files.

A sample's name is `class/file` in every layout.
"""

import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from granularity.images import known_layouts, webdataset
from granularity.images.decoding import EXTENSIONS

ANNOTATIONS = "val_annotations.txt"  # of Tiny-ImageNet's validation folder, with images/ beside it
IN_MEMORY = 2 * 2**30  # bytes of compressed tar files: they cannot be read from the middle
# What systems leave beside files, and what sets are made of: no such folder is a class.
LITTER = {"__MACOSX", "@eaDir", "lost+found", "#recycle", "#snapshot", "$RECYCLE.BIN"}
LITTER |= {"System Volume Information"}
PARTS = {"images", "train", "training", "val", "valid", "validation", "test"}
END = bytes(2 * tarfile.BLOCKSIZE)  # of a tar file, by POSIX
AFTER = 32 * 1024  # bytes after it in which another archive would show; a record has 10 KB
WHOLE = -1  # the start of an image that is a file of its own


class DataError(ValueError):
    """A set of images that is not what it should be: the message names the file or the class."""


@dataclass(frozen=True)
class Place:
    """What one folder or one tar file holds.

    The arrays have an entry for each image: `names` (bytes, `class/file`), `leaf` (index into
    `classes`, of this place only), `sizes` in bytes, and `start`, where it begins in a tar file.
    `stamp` is the time of the place's last change and `entries` a number of the names in it;
    `others` counts files not named as images, `extra` holds (name, reason) of what is no class and
    no image though it stands where one should.
    """

    path: str
    stamp: int
    classes: tuple[str, ...]
    names: np.ndarray
    leaf: np.ndarray
    sizes: np.ndarray
    start: np.ndarray
    others: int = 0
    entries: int = 0
    extra: tuple[tuple[str, str], ...] = ()


def entries(path: Path) -> int:
    """A number of what a place holds: of a folder's names, of a file its size.

    Beside the time of its last change, which copies of folders, or clocks that stand, may not move.
    """
    if not path.is_dir():
        return path.stat().st_size
    with os.scandir(path) as found:
        return _number([entry.name for entry in found])


def _number(names: Sequence[str]) -> int:
    return zlib.crc32(b"\0".join(sorted(map(os.fsencode, names))))


def _place(
    path: str,
    stamp: int,
    images: Sequence[tuple[str, str, int, int]],
    others: int,
    *known: str,
    entries: int,
    extra: Sequence[tuple[str, str]] = (),
) -> Place:
    """A place with images (class, file, size, start); classes that are `known` may have none."""
    classes = tuple(sorted({label for label, *_ in images}.union(known)))
    index = {label: i for i, label in enumerate(classes)}
    names = [os.fsencode(f"{label}/{file}") for label, file, *_ in images]
    return Place(
        path,
        stamp,
        classes,
        names=np.array(names, "S" if names else "S1"),
        leaf=np.array([index[label] for label, *_ in images], "<i4"),
        sizes=np.array([size for *_, size, _ in images], "<i8"),
        start=np.array([start for *_, start in images], "<i8"),
        others=others,
        entries=entries,
        extra=tuple(extra),
    )


def find(root: Path, shards: Sequence[str], numbered: Sequence[str] | None) -> list[Place]:
    """Every place of a set: the tar files `shards` below `root`, or folders where there are none.

    Raises DataError, naming file or folder, for what is in no known layout.
    """
    if shards:
        return tar_files(root, shards, numbered)
    flat = (root / ANNOTATIONS).exists() and (root / "images").is_dir()
    return flat_folder(root) if flat else class_folders(root)


def content(place: Path, file: str, start: int, size: int) -> bytes:
    """The bytes of one image."""
    if start == WHOLE:
        return (place / file).read_bytes()
    if compressed(place):
        return decompressed(place)[start : start + size]
    with place.open("rb") as archive:
        archive.seek(start)
        return archive.read(size)


# --------------------------------------------------------------------------------------- folders


@dataclass(frozen=True)
class Scan:
    """What lies in a folder: images with their sizes, folders, and the rest (see `Place`)."""

    stamp: int
    entries: int
    images: list[tuple[str, int]]
    folders: list[str]
    others: int
    extra: list[tuple[str, str]]

    def place(self, path: str, *known: str, label: str | None = None) -> Place:
        """The place of this folder, with all images of one class, or with none."""
        images = [] if label is None else [(label, f, size, WHOLE) for f, size in self.images]
        extra = [(f"{path}/{name}".removeprefix("./"), reason) for name, reason in self.extra]
        return _place(
            path, self.stamp, images, self.others, *known, entries=self.entries, extra=extra
        )


def _scan(folder: Path) -> Scan:
    """What lies in a folder; what is hidden does not count."""
    stamp = folder.stat().st_mtime_ns  # read before: a change during the scan is seen next time
    names, images, folders, others, extra = [], [], [], 0, []
    with os.scandir(folder) as found:
        for entry in found:
            names.append(entry.name)
            if entry.name.startswith("."):
                continue
            reason = _no_entry(entry)
            if reason:
                extra.append((entry.name, reason))
            elif entry.name.lower().endswith(EXTENSIONS):
                images.append((entry.name, entry.stat().st_size))
            elif entry.is_dir():
                folders.append(entry.name)
            else:
                others += 1
    return Scan(stamp, _number(names), images, folders, others, extra)


def _no_entry(entry: os.DirEntry) -> str | None:
    """Why an entry of a folder is neither an image nor a class nor another file, if so."""
    if entry.name in LITTER:
        return "a folder of the system's, no class"
    try:
        if entry.is_symlink():
            entry.stat()
        if entry.name.lower().endswith(EXTENSIONS) and not entry.is_file():
            return "named as an image, and no file"
    except OSError:
        return "a link to nothing"
    return None


def _class_folder(root: Path, label: str) -> list[Place]:
    """The places of a class: `root/label`, and `root/label/images` where there is one."""
    found = _scan(root / label)
    places, folders = [found.place(label, label, label=label)], found.folders
    if folders == ["images"]:
        inside = _scan(root / label / "images")
        places.append(inside.place(f"{label}/images", label, label=label))
        folders = inside.folders
    if folders:
        raise DataError(
            f"{root / label}: a class folder holds images, or a folder images/; this one holds"
            f" folders ({sorted(folders)[0]}, …). Is it the set itself?"
        )
    return places


def class_folders(root: Path) -> list[Place]:
    """`root/<class>/*` and `root/<class>/images/*`, as ImageNet and Tiny-ImageNet lie.

    Hidden files and folders do not count. Several folders are read at a time, since on a network
    every answer takes its time.
    """
    here = _scan(root)
    classes = here.folders
    if not classes and any(known_layouts.synset_of(file) for file, _ in here.images):
        return [validation_folder(root, here)]
    if here.images or not classes:
        what = f"images ({min(here.images)[0]}, …)" if here.images else "no folders"
        raise DataError(f"{root}: wanted a folder for each class, found {what}")
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(_class_folder, [root] * len(classes), classes)
        bar = tqdm(found, "listing", len(classes), unit=" folders", leave=False, delay=2)
        return [replace(here.place("."), others=0), *(place for folder in bar for place in folder)]


def validation_folder(root: Path, here: Scan) -> Place:
    """ILSVRC2012's validation images in one folder, by the synsets that are known of their names.

    Raises DataError, naming it, for an image that is none of them.
    """
    labelled = [(known_layouts.synset_of(file), file, size, WHOLE) for file, size in here.images]
    for label, file, *_ in labelled:
        if label is None:
            raise DataError(
                f"{root}: {file} lies among ILSVRC2012's validation images and is none of them"
            )
    return _place(".", here.stamp, labelled, here.others, entries=here.entries, extra=here.extra)


def flat_folder(root: Path) -> list[Place]:
    """`root/images/*` by `root/val_annotations.txt`, as Tiny-ImageNet's validation set comes.

    Raises DataError, naming the first, where images and annotations are not of the same files.
    """
    table = root / ANNOTATIONS
    beside = [
        _place(path, (root / path).stat().st_mtime_ns, [], 0, entries=entries(root / path))
        for path in (".", ANNOTATIONS)
    ]
    lines = [line.split("\t") for line in table.read_text("utf-8").splitlines() if line.strip()]
    labels = {file: label for file, label, *_ in lines}
    found = _scan(root / "images")
    odd = sorted(set(labels) ^ {file for file, _ in found.images})
    if odd or len(labels) != len(lines):
        raise DataError(f"{table}: images and annotations differ by {len(odd):,} files ({odd[:1]})")
    here = [(labels[file], file, size, WHOLE) for file, size in found.images]
    extra = [(f"images/{name}", reason) for name, reason in found.extra]
    more = {"entries": found.entries, "extra": extra}
    return [*beside, _place("images", found.stamp, here, found.others, **more)]


# ------------------------------------------------------------------------------------ tar files


def compressed(path: Path) -> bool:
    """Whether a tar file can be read only from its beginning, as its name says."""
    return path.suffix != ".tar"


@cache
def decompressed(path: Path) -> bytes:
    """All of a compressed tar file, kept in memory until `decompressed.cache_clear()`."""
    with tarfile.open(path, "r:*") as archive:
        archive.fileobj.seek(0)
        return archive.fileobj.read()


def tar_files(root: Path, shards: Sequence[str], numbered: Sequence[str] | None) -> list[Place]:
    """Tar files below `root`: members in class folders, one class a file, or WebDataset.

    The class of a member is its folder (over `images/`), or the name of the tar file that it lies
    in; a tar file may hold one for each class. In WebDataset's form it stands in files beside it
    (see `webdataset.told`), a number being a line of `classes.txt` or an index into `numbered`.
    Raises DataError for a member that is a link or leads out of the archive.
    """
    packed = [shard for shard in shards if compressed(root / shard)]
    size = sum((root / shard).stat().st_size for shard in packed)
    if size > IN_MEMORY:
        raise DataError(
            f"{root}: {size / 1e9:.1f} GB of compressed tar files, which can only be read from"
            f" their beginning; unpack them: tar -xf {packed[0]}"
        )
    beside = []
    if (root / webdataset.CLASSES).is_file():
        place = root / webdataset.CLASSES
        numbered = place.read_text("utf-8").split()
        stamp = place.stat().st_mtime_ns
        beside = [_place(webdataset.CLASSES, stamp, [], 0, entries=entries(place))]
    bar = tqdm(shards, "listing", unit=" tar files", leave=False, delay=2)
    return [*beside, *(_shard(root, shard, numbered) for shard in bar)]


def _shard(root: Path, shard: str, numbered: Sequence[str] | None) -> Place:
    path = root / shard
    size, stamp = path.stat().st_size, path.stat().st_mtime_ns
    images, beside, others, extra = [], {}, 0, []
    try:
        source = io.BytesIO(decompressed(path)) if compressed(path) else path.open("rb")
        with source:
            for archive, member, inside in _members(source, path):
                if LITTER & set(inside.parts):
                    extra.append((str(inside), "in a folder of the system's, no class"))
                elif inside.suffix in (".cls", ".json"):
                    said = beside.setdefault(str(inside.with_suffix("")), {})
                    said[inside.suffix] = archive.extractfile(member).read()
                    others += inside.suffix == ".json"
                elif member.isfile() and inside.name.lower().endswith(EXTENSIONS):
                    images.append((inside, member.size, member.offset_data))
                elif member.isfile():
                    others += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path}: no whole tar file ({error})") from error
    numbers = any(".cls" in said for said in beside.values())
    labelled = [
        (*_class_of(inside, beside, numbers, numbered, path), size, start)
        for inside, size, start in images
        if not any(part.startswith(".") for part in inside.parts)
    ]
    return _place(shard, stamp, labelled, others, entries=size, extra=extra)


def _members(
    source: BinaryIO, path: Path, start: int = 0, size: int = 0, folder: str = ""
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, PurePosixPath]]:
    """All members of an archive with their places in it; an archive in it is a folder.

    Such a one begins at `start` and has `size` bytes. Raises DataError for one that is not whole.
    """
    source.seek(start)
    with tarfile.open(fileobj=source, mode="r:") as archive:
        for member in archive:
            inside = PurePosixPath(folder, _confined(member, path))
            if member.isfile() and inside.suffix == ".tar":
                own = str(inside.with_suffix(""))
                yield from _members(source, path, member.offset_data, member.size, own)
            else:
                yield archive, member, inside
    length = archive.offset - start
    source.seek(archive.offset)
    end = source.read(min(AFTER, max(0, size - length)) if size else AFTER)
    if not end.startswith(END) or any(end):
        what = (
            "more after its end" if end.startswith(END) else "no end: it was cut, or broken there"
        )
        whole = f"{path}: {folder}.tar in it is" if folder else f"{path}:"
        raise DataError(f"{whole} no whole tar file (after {length:,} bytes it has {what})")


def _confined(member: tarfile.TarInfo, path: Path) -> PurePosixPath:
    """A member's place in its archive; DataError for a link, a device, or a way out of it."""
    inside = PurePosixPath(member.name)
    if inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"{path}: member {member.name!r} leads out of the archive")
    if not (member.isfile() or member.isdir()):
        raise DataError(f"{path}: member {member.name!r} is a link or a device")
    return inside


def _class_of(
    inside: PurePosixPath,
    beside: Mapping[str, Mapping[str, bytes]],
    numbers: bool,
    numbered: Sequence[str] | None,
    path: Path,
) -> tuple[str, str]:
    """Class and file name of an image; in a set with class `numbers` every image has one."""
    said = beside.get(str(inside.with_suffix("")), {})
    try:
        told = webdataset.told(said, inside.name, numbered)
    except ValueError as error:
        raise DataError(f"{path}: {inside} has {error}") from error
    if told or numbers:
        if told is None:
            raise DataError(f"{path}: {inside} has no class number beside it")
        return told
    folders = [part for part in inside.parts[:-1] if part not in (".", "images")]
    label = folders[-1] if folders else path.name.partition(".")[0]
    if not known_layouts.SYNSET.fullmatch(label):  # the folder is no class: a name may say one
        label = known_layouts.synset_of(inside.name) or label
    return label, inside.name
