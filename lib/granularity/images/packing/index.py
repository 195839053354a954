"""What lies beside packed images: how they were made, of what, and what became of every image."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from granularity import files
from granularity.images.layouts import DataError

FILE = "packed.json"
Broken = tuple[tuple[str, str], ...]  # (name, reason) of images that cannot be decoded


@dataclass(frozen=True)
class Shard:
    """One tar file: how many `images` it holds, and how many of them are `kept` as they were.

    `broken` are images of its stretch of the set that could not be decoded: no file holds them.
    """

    file: str
    images: int
    kept: int
    broken: Broken = ()


@dataclass(frozen=True)
class Packed:
    """The index of a packed set.

    `size` is the shorter side in pixels, `quality` JPEG's. `source` is the set that was packed: its
    name, its fingerprint and its number of images. The shards hold the images in the set's order.
    `left_out` are images that the set was opened without, for they are broken.
    """

    folder: Path
    size: int
    quality: int
    source: Mapping[str, Any]
    shards: tuple[Shard, ...] = ()
    left_out: Broken = ()

    @property
    def edition(self) -> str:
        """How a record calls these images."""
        return f"packed at {self.size} (shorter side; JPEG, quality {self.quality})"

    @property
    def broken(self) -> Broken:
        """All images that could not be decoded, with the reasons."""
        return self.left_out + tuple(item for shard in self.shards for item in shard.broken)

    @property
    def images(self) -> int:
        """How many images the shards hold."""
        return sum(shard.images for shard in self.shards)

    @property
    def done(self) -> int:
        """How many images of the source are accounted for, packed or broken."""
        return self.images + sum(len(shard.broken) for shard in self.shards)

    def check(self, there: int) -> None:
        """Raises DataError where images are gone since."""
        if there != self.images:
            raise DataError(
                f"{self.folder}: {there:,} images, {self.images:,} by {FILE}: is a tar file gone?"
            )


def read(folder: Path) -> Packed | None:
    """The index in a folder; None where there is none. Raises DataError for one that is none."""
    path = folder / FILE
    return _parsed(path) if path.is_file() else None


def ended(folder: Path) -> Packed | None:
    """The index in a folder; None where there is none. Raises DataError for half a packing."""
    found = read(folder)
    if found and found.done < found.source["images"]:
        raise DataError(
            f"{folder}: packing stopped after {found.done:,} of {found.source['images']:,} images;"
            f" the same `granularity pack` goes on"
        )
    return found


def _parsed(path: Path) -> Packed:
    try:
        held = json.loads(path.read_text("utf-8"))
        shards = [Shard(**shard | {"broken": _pairs(shard["broken"])}) for shard in held["shards"]]
        more = {"shards": tuple(shards), "left_out": _pairs(held["left_out"])}
        return Packed(**held | more | {"folder": path.parent})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: no index of packed images ({error})") from error


def _pairs(lists: list[list[str]]) -> Broken:
    return tuple((name, reason) for name, reason in lists)


def write(packed: Packed) -> Packed:
    """Writes the index into its folder, whole or not at all, and gives it back."""
    held = {name: value for name, value in asdict(packed).items() if name != "folder"}
    files.write(packed.folder / FILE, json.dumps(held, indent=1) + "\n")
    return packed


def with_shard(packed: Packed, shard: Shard) -> Packed:
    """The index with one shard more, and its file written."""
    return write(replace(packed, shards=(*packed.shards, shard)))
