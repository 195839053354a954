"""A set written as tar files of smaller images, to be read in the place of the first.

Images keep their names, so whatever is chosen by name stays chosen. They keep their aspect too: a
random crop draws a share of the area, an aspect and a place, and they mean the same region as
before, to a pixel of the smaller image.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from PIL import Image

from granularity import files
from granularity.images.decoding import ImageError, rgb
from granularity.images.image_set import ImageSet, in_threads
from granularity.images.layouts import DataError
from granularity.images.packing import index
from granularity.images.packing.index import Packed, Shard

SIZE, QUALITY = 256, 90
PER_SHARD = 10_000  # images: some 250 MB at 256 pixels


@dataclass(frozen=True)
class Shrunk:
    """One image: its name, its bytes and whether they are the first ones; or why there are none."""

    name: str
    content: bytes = b""
    kept: bool = False
    fault: str = ""


def pack(
    images: ImageSet,
    out: Path,
    size: int = SIZE,
    quality: int = QUALITY,
    per_shard: int = PER_SHARD,
) -> Packed:
    """Writes a set into a folder: tar files of images with a shorter side of `size`, and an index.

    An image that is no larger keeps its bytes; all others become JPEG of this quality, RGB. Every
    image is decoded: broken ones are listed in the index with the reason. A call that was stopped
    goes on after its last whole tar file, and ends with the same bytes. Raises DataError where
    the folder holds something else, ValueError for a size or a quality that is none.
    """
    if size < 1 or not 1 <= quality <= 100:
        raise ValueError(f"size {size}, quality {quality}: 1 or more and 1 to 100 wanted")
    packed = begun(images, out, size, quality)
    first = packed.done
    found = in_threads(
        lambda k: shrunk(images, first + k, size, quality), len(images) - first, "packing"
    )
    while packed.done < len(images):
        path = out / f"{len(packed.shards):05d}.tar"
        packed = index.with_shard(packed, shard(path, islice(found, per_shard)))
    return packed


def begun(images: ImageSet, out: Path, size: int, quality: int) -> Packed:
    """The index to go on from: what lies in `out`, or a new one where that is empty."""
    source = {"set": images.name, "fingerprint": images.fingerprint, "images": len(images)}
    broken = images.skipped[: images.left_out.get("broken", 0)]
    wanted, there = Packed(out, size, quality, source, left_out=broken), index.read(out)
    if there and replace(there, shards=()) != wanted:
        raise DataError(
            f"{out}: holds {there.source['set']} ({there.source['images']:,} images,"
            f" {there.source['fingerprint'][:16]}), {there.edition}; another folder is wanted for"
            f" {images.name} ({len(images):,} images, {images.fingerprint[:16]}), {wanted.edition}"
        )
    if not there and out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: holds {min(out.iterdir()).name}, and no {index.FILE}")
    return there or index.write(wanted)


def shrunk(images: ImageSet, i: int, size: int, quality: int) -> Shrunk:
    """Image `i` of a set as it is packed."""
    name, content = os.fsdecode(images.names[i]), images.content(i)
    try:
        image = rgb(content, name)
    except ImageError as error:
        return Shrunk(name, fault=str(error).removeprefix(f"{name}: "))
    shorter = min(image.size)
    if shorter <= size:
        return Shrunk(name, content, kept=True)
    sides = tuple(round(side * size / shorter) for side in image.size)
    stream = io.BytesIO()
    image.resize(sides, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
    return Shrunk(name, stream.getvalue())


def shard(path: Path, found: Iterator[Shrunk]) -> Shard:
    """Writes one tar file, whole or not at all, and tells what became of its images."""
    told = Shard(path.name, 0, 0)
    with files.whole(path) as part, tarfile.open(part, "w") as archive:
        for image in found:
            if image.fault:
                told = replace(told, broken=(*told.broken, (image.name, image.fault)))
                continue
            member = tarfile.TarInfo(image.name)
            member.size = len(image.content)
            archive.addfile(member, io.BytesIO(image.content))
            told = replace(told, images=told.images + 1, kept=told.kept + image.kept)
    return told
