"""Small sets of images in the layouts that real ones have."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("n01440764", "n02084071", "n04399382")


SEEN = 10 * 365 * 86_400  # s; a time of change that is long over


def encoded(kind="JPEG", mode="RGB", size=(8, 6), seed=0, **options) -> bytes:
    """An image file of a smooth ramp and a shade of its own."""
    ramp = np.linspace(seed % 100, 200, size[0] * size[1]).reshape(size[::-1])
    pixels = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def laid_out(root: Path, inside: str = "", per_class: int = 3, classes=CLASSES) -> Path:
    """A folder of class folders, with images in them or in a folder of theirs."""
    for c, label in enumerate(classes):
        (root / label / inside).mkdir(parents=True)
        for n in range(per_class):
            content = encoded(seed=10 * c + n, size=(8 + n, 6))
            (root / label / inside / f"{label}_{n}.JPEG").write_bytes(content)
    return settled(root)


def settled(root: Path) -> Path:
    """The folder, as if nothing had been changed in it for long: index files trust such only."""
    for path in (root, *root.rglob("*")):
        os.utime(path, (SEEN, SEEN))
    return root


def packed(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file of these members, compressed as its name says."""
    mode = {".xz": "w:xz", ".gz": "w:gz", ".tar": "w"}[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.JPEG")}
