"""Image sets: opened from folders, tar files or a hub; split by name; decoded; an item at a time.

An image knows its leaf (its class in the dataset) and its number in the set, and no label: labels
are looked up later, so one copy of the images serves every label function. From the shell,
`granularity check ROOT` looks a set over before a week of training.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from tqdm import tqdm

from granularity.images import huggingface, known_layouts, layouts, listing, sources
from granularity.images.decoding import ImageError, padded, rgb, square
from granularity.images.layouts import DataError
from granularity.images.listing import Listing
from granularity.images.packing import index as index_of_packed
from granularity.images.splits import drop_twins, split, twins
from granularity.inputs.nearest import nearest

__all__ = [
    "DataError",
    "ImageError",
    "ImageSet",
    "decode",
    "drop_twins",
    "open_set",
    "split",
    "twins",
]


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """A set of images, sorted by class and file name; light enough for worker processes.

    `leaf[i]` is image i's index into `classes`, `names[i]` its name as bytes, `class/file`.
    `fingerprint` is of all names and sizes: the same on every machine and for folders and tar
    files of the same images. `skipped` holds (name, reason) of classes and images left out, and
    `left_out` how many there are of each kind that was asked for. `content(i)` gives the encoded
    bytes of an image, `sizes` are their lengths: 0 where only `edition` tells sets apart (a hub's;
    of packed images it says at which size). With `pad` an image is read on a square, whole; else
    what reads it cuts its middle square out.
    """

    name: str
    classes: tuple[str, ...]
    leaf: np.ndarray
    names: np.ndarray
    sizes: np.ndarray
    fingerprint: str
    content: Callable[[int], bytes]
    skipped: tuple[tuple[str, str], ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    edition: str = ""
    others: int = 0  # files beside the images that are not named as such
    pad: bool = False

    def __len__(self) -> int:
        """The number of images."""
        return len(self.leaf)

    def __repr__(self) -> str:
        """One line, without the place on this machine."""
        return (
            f"ImageSet({self.name!r}: {len(self):,} images of {len(self.classes):,} classes,"
            f" {len(self.skipped):,} left out, {self.fingerprint[:16]})"
        )

    def read(self, i: int) -> Image.Image:
        """Image `i` in RGB. Raises ImageError, naming it, where it cannot be decoded."""
        image = rgb(self.content(i), os.fsdecode(self.names[i]))
        return padded(image) if self.pad else image

    @property
    def counts(self) -> np.ndarray:
        """The number of images of each class."""
        return np.bincount(self.leaf, minlength=len(self.classes))


# ------------------------------------------------------------------------------------- opening


def open_set(
    root: str | Path,
    part: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    called: tuple[str, Callable[[str], bool]] | None = None,
    numbered: Sequence[str] | None = None,
    cache: str | Path | None = None,
    skip_broken: bool = False,
    skip_extra: bool = False,
    skip_missing: bool = False,
) -> ImageSet:
    """The images of a folder of class folders, of tar files, or of a dataset on a hub.

    `root` is a folder in one of the layouts of `known_layouts.LAYOUTS`; or a tar file or a pattern
    of such (`…/train-*.tar`); or `hfds/<owner>/<name>` on the Hugging Face hub. `part` (`"train"`)
    names the folder, the tar files or the hub's split inside, or what the layout calls them.

    `classes` are the classes that there should be. Where a source has numbers instead of names
    (WebDataset, hub), number i is `classes[i]`, or without that `numbered[i]`. A class beyond the
    list, one without images, and an image that cannot be decoded are errors that name them, or are
    left out and noted in `skipped` where asked. To find such images `skip_broken` decodes them all,
    once; otherwise they raise ImageError when they are met.

    `called` says what a class is called: in words, and whether a name is such a one. Any other is
    an error or left out, as one beyond the list is.

    Files are listed once, into an index file in `cache` (default: `granularity` in
    `$XDG_CACHE_HOME` or `~/.cache`), which is made anew when a file was added or removed.

    Raises FileNotFoundError, with the place to download from, where there is no such root, and
    DataError for what is wrong with it.
    """
    allowed = {"broken": skip_broken, "extra": skip_extra, "missing": skip_missing}
    hub = huggingface.hub_columns(root, part, classes, numbered, called)
    words = (classes, called, numbered, Path(cache) if cache else None, allowed)
    return ImageSet(**hub) if hub else _of_files(*_located(root, part), *words)


def _of_files(
    folder: Path,
    shards: Sequence[str],
    name: str,
    classes: Sequence[str] | None,
    called: tuple[str, Callable[[str], bool]] | None,
    numbered: Sequence[str] | None,
    cache: Path | None,
    allowed: Mapping[str, bool],
) -> ImageSet:
    """The set of `open_set` in folders or tar files, less the kinds that are `allowed` to go."""
    packed = index_of_packed.ended(folder)
    found, index = listing.kept(folder, shards, classes or numbered, cache or _cache())
    if not len(found.names) and not found.classes:
        raise DataError(
            f"{name}: no image in {', '.join(shards[:3])}; `granularity check --help` shows what"
            f" can be read"
        )
    if packed:  # all were looked at then
        packed.check(len(found.names))
        found = replace(found, broken=packed.broken)
    if allowed["broken"] and found.broken is None:
        found = replace(found, broken=tuple(_broken(found)))
        listing.write(index, found)
    problems, sound = _looked_over(found, classes, called)
    refused = {kind: names for kind, names in problems.items() if names and not allowed[kind]}
    if refused:
        near = {"extra": classes or (), "missing": found.classes, "broken": ()}
        told = [_told(kind, names, near[kind]) for kind, names in refused.items()]
        raise DataError(f"{name}: " + "; ".join(told))
    if not sound.any():
        raise DataError(f"{name}: no image is left of {len(sound):,} ({folder})")
    if not sound.all() or len(np.unique(found.leaf)) < len(found.classes):
        found = found.take(np.flatnonzero(sound))
    skipped = tuple(item for names in problems.values() for item in names)
    return ImageSet(
        name,
        found.classes,
        found.leaf,
        found.names,
        found.sizes,
        found.fingerprint(),
        found.content,
        skipped,
        {kind: len(names) for kind, names in problems.items() if names},
        edition=packed.edition if packed else "",
        others=found.others,
    )


def _cache() -> Path:
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:  # Python's answer where a user has no home
        raise OSError(f"no place for an index of images ({error}): set XDG_CACHE_HOME") from error
    return Path(home, "granularity")


def _located(root: str | Path, part: str | None) -> tuple[Path, list[str], str]:
    """The folder, the tar files in it (none for class folders), and the set's name."""
    path = Path(root).expanduser()
    pattern = path.name if "*" in path.name or path.is_file() else None
    folder = (path.parent if pattern else path).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(sources.missing(folder))
    name = folder.name if pattern is None else f"{folder.name}/{pattern}"
    if part:
        name, place = f"{name}/{part}", known_layouts.part_of(folder, part)
        folder, pattern = place or (folder, f"{part}*.tar*")
    if pattern is None and not _has_classes(folder):
        pattern = "*.tar*"
    shards = sorted(file.name for file in folder.glob(pattern)) if pattern else []
    if pattern and not shards:
        there = ", ".join(sorted(entry.name for entry in islice(folder.iterdir(), 6)))
        meant = sources.meant(folder, part or "train")
        raise FileNotFoundError(
            f"{folder} holds no {part or 'class folders'} and no {pattern};"
            f" it holds {there or 'nothing'}; {f'{meant} ' if meant else ''}`granularity check"
            " --help` shows what can be read"
        )
    return folder, shards, name


def _has_classes(folder: Path) -> bool:
    """Whether a folder is read as it lies, and not by the tar files in it."""
    with os.scandir(folder) as entries:
        return any(entry.is_dir() or known_layouts.synset_of(entry.name) for entry in entries)


def _looked_over(
    found: Listing,
    wanted: Sequence[str] | None,
    allowed: tuple[str, Callable[[str], bool]] | None,
) -> tuple[dict[str, list[tuple[str, str]]], np.ndarray]:
    """What is not as it should be, (name, reason) by the argument that allows it; sound images."""
    there = set(found.classes)
    what, fits = allowed or ("", lambda label: True)
    strange = {label for label in there if not fits(label)}
    known = (there if wanted is None else set(wanted)) - strange
    broken = {found.name(i): "an empty file" for i in np.flatnonzero(found.sizes == 0)}
    broken |= dict(found.broken or ())
    names = np.array([os.fsencode(name) for name in broken], "S")
    sound = np.array([label in known for label in found.classes])[found.leaf]
    sound &= ~np.isin(found.names, names)
    filled = {found.classes[i] for i in np.unique(found.leaf[sound])}
    return {
        "broken": sorted(broken.items()),
        "extra": [*found.extra]
        + [
            (label, f"not {what}" if label in strange else "not in the list of classes")
            for label in sorted(there - known)
        ],
        "missing": [(label, "a class without images") for label in sorted(known & there - filled)]
        + [(label, "a class that is not there") for label in sorted(known - there)],
    }, sound


def _told(kind: str, names: Sequence[tuple[str, str]], valid: Collection[str]) -> str:
    """A kind of problem in a sentence: how many, the first, and what it may be meant for."""
    name, reason = names[0]
    near = nearest(name, [other for other in valid if other != name], cutoff=0.6)
    meant = f" (nearest: {near})" if near else ""
    more = f", and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{name!r}: {reason}{meant}{more}; skip_{kind}=True leaves such out"


def _broken(found: Listing) -> Iterator[tuple[str, str]]:
    """Decodes every image; those that fail, with the reason."""

    def fault(i: int) -> str | None:
        try:
            rgb(found.content(i), found.name(i))
        except (ImageError, DataError, OSError) as error:
            return str(error).removeprefix(f"{found.name(i)}: ")
        return None

    for i, reason in enumerate(in_threads(fault, len(found.names), "looking at every image")):
        if reason:
            yield found.name(i), reason


def in_threads(work: Callable, count: int, what: str | None) -> Iterator:
    """`work(0), work(1), …` in order, on all cores: Pillow decodes outside Python's lock."""
    block, cores = 64, os.cpu_count() or 1  # single images are too little for a task of their own
    starts = range(0, count, block)
    with (
        ThreadPoolExecutor(cores) as pool,
        tqdm(total=count, desc=what, unit=" images", leave=False, disable=what is None) as bar,
    ):
        for first in range(0, len(starts), 8 * cores):  # so that millions of results do not queue
            waiting = starts[first : first + 8 * cores]
            tasks = pool.map(lambda i: [work(k) for k in range(i, min(i + block, count))], waiting)
            for results in tasks:
                yield from results
                bar.update(len(results))


# ------------------------------------------------------------------------------ pixels, batches


def decode(
    images: ImageSet, size: int, rows: Sequence[int] | None = None, *, progress: bool = True
) -> torch.Tensor:
    """All images (or those in `rows`), decoded once: uint8 of shape (N, 3, size, size).

    The shorter side is scaled to `size` and the middle square cut out; an image that has this size
    is taken as it is. Raises ImageError, naming it, for one that cannot be decoded, and
    MemoryError where they would not fit.
    """
    rows = range(len(images)) if rows is None else rows
    needed, free = len(rows) * 3 * size**2, psutil.virtual_memory().available
    if needed > free:
        raise MemoryError(
            f"{images.name}: {len(rows):,} images of {size}×{size} take {needed / 1e9:.1f} GB,"
            f" {free / 1e9:.1f} GB are free"
        )
    pixels = np.empty((len(rows), 3, size, size), np.uint8)

    def work(i: int) -> None:
        pixels[i] = np.asarray(square(images.read(int(rows[i])), size)).transpose(2, 0, 1)

    for _ in in_threads(work, len(rows), f"decoding {images.name}" if progress else None):
        pass
    layouts.decompressed.cache_clear()  # the pixels are here now
    return torch.from_numpy(pixels)
