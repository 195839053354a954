"""Small sets of images in every layout that can be read, and with all that may be odd in one."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from granularity.images import image_set
from granularity.images.packing import shrinking


def lay_out(folder: Path) -> None:
    """A set of two classes in each layout that can be read, and one with all that may be odd."""
    rng = np.random.default_rng(1)
    names = [f"{label}/{label}_{number}.JPEG" for label in "ab" for number in range(3)]
    content = {name: encoded(rng.integers(0, 255, (9, 12, 3))) for name in names}
    beside = {"a/notes.txt": b"not an image"}
    folders = content | beside
    for name in ("broken", "empty", "litter"):
        write(folder / name, folders)
    write(folder / "broken", {"a/a_9.JPEG": b"no image", "b/b_9.JPEG": b""})
    (folder / "empty" / "c").mkdir()
    write(folder / "litter", {"__MACOSX/x.JPEG": b"x", "a/@eaDir/y.JPEG": b"y", ".DS_Store": b"z"})
    (folder / "litter" / "a" / "gone.JPEG").symlink_to("nowhere.JPEG")
    (folder / "litter" / "lost").symlink_to("nowhere")
    (folder / "litter" / "a" / "folder.JPEG").mkdir()
    pack(folder / "litter packed" / "all.tar", content | {"__MACOSX/x.JPEG": b"x"})
    write(folder / "flat", {f"images/{name.split('/')[1]}": of for name, of in content.items()})
    lines = "".join(f"{name.split('/')[1]}\t{name.split('/')[0]}\t0\n" for name in names)
    (folder / "flat" / "val_annotations.txt").write_text(lines, encoding="utf-8")
    numbered = {}
    for place, (name, of) in enumerate(content.items()):
        numbered |= {f"{place}.jpg": of, f"{place}.cls": str(int(name[0] == "a")).encode()}
    pack(folder / "tar" / "all.tar", folders)
    pack(folder / "parted" / "train-0.tar", content)
    pack(folder / "packed" / "all.tar.gz", folders)
    pack(folder / "numbered" / "shard-0.tar", numbered)
    for label in "ab":
        some = {name.split("/")[1]: of for name, of in content.items() if name[0] == label}
        pack(folder / "tars" / f"{label}.tar", some)
    lay_out_downloads(folder, [*content.values()])


def lay_out_downloads(folder: Path, images: Sequence[bytes]) -> None:
    """The same images as large sets come: archives in archives, without folders, in shards."""
    for label, some in (("n00000000", images[:3]), ("n00000001", images[3:])):
        named = {f"{label}_{n}.JPEG": of for n, of in enumerate(some)}
        pack(folder / "class files" / f"{label}.tar", named)
    whole = {file.name: file.read_bytes() for file in (folder / "class files").iterdir()}
    pack(folder / "archives" / "ILSVRC2012_img_train.tar", whole)
    flat = {f"ILSVRC2012_val_0000000{n}.JPEG": of for n, of in enumerate(images[:3], 1)}
    write(folder / "without folders" / "ILSVRC2012_img_val", flat)
    pack(folder / "without folders, packed" / "ILSVRC2012_img_val.tar", flat)
    shard = {}
    for n, of in enumerate(images):
        told = {"label": "a"} if n < 3 else {"filename": f"b/{n}.JPEG"}
        shard |= {f"{n}.jpg": of, f"{n}.json": json.dumps(told).encode()}
    pack(folder / "told" / "ILSVRC2012_img_train.tar", shard)  # older code finds no part in it
    by_number = {f"{n}.jpg": of for n, of in enumerate(images)}
    by_number |= {f"{n}.cls": str(n % 2).encode() for n in range(len(images))}
    pack(folder / "listed" / "train-0.tar", by_number)
    write(folder / "listed", {"classes.txt": b"b\na\n"})
    faulty = dict(zip(("a/0.JPEG", "a/1.JPEG", "b/0.JPEG"), images[:3], strict=True))
    write(folder / "faulty", faulty | {"a/2.JPEG": b"no image"})
    found = image_set.open_set(folder / "faulty", cache=folder / "index")
    shrinking.pack(found, folder / "shrunk", size=8)


def encoded(pixels: np.ndarray) -> bytes:
    """An image as a JPEG file has it."""
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write(folder: Path, content: Mapping[str, bytes]) -> None:
    """Files below a folder."""
    for name, of in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(of)


def pack(file: Path, content: Mapping[str, bytes]) -> None:
    """A tar file; compressed where its name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as archive:
        for name, of in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(of)
            archive.addfile(member, io.BytesIO(of))
