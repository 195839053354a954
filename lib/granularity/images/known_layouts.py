"""The layouts that sets of images come in: one table, for the reader, the help and the book."""

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

TABLE = Path(__file__).parent / "tables" / "ilsvrc2012-val.txt.gz"
VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+")  # what its images are called
SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Layout:
    """What people have of a set: how it lies below its root, and what is to be done with it.

    `parts` says which files or folders hold a part that has none of its own name; "." is the root.
    """

    what: str
    lies: str
    then: str = "works"
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")  # of the download, and inside it
RELEASES = ("winter21_whole", "fall11_whole")  # of ImageNet-21k, as its archives are called
LAYOUTS = (
    Layout(
        "ImageNet, a folder a class",
        "train/n01440764/*.JPEG and val/n01440764/*.JPEG (or validation/, valid/); a set that is"
        " all training images may lie without train/",
        parts={"train": (".",), "val": ("validation", "valid")},
    ),
    Layout(
        "ImageNet-21k, a tar file a class",
        "winter21_whole/n00004475.tar, fall11_whole/n00004475.tar, train/n00004475.tar, or"
        " n00004475.tar",
        parts={"train": (*RELEASES, ".")},
    ),
    Layout(
        "ImageNet-21k, a tar file of tar files",
        "fall11_whole.tar or winter21_whole.tar",
        parts={"train": tuple(f"{name}.tar" for name in RELEASES)},
    ),
    Layout(
        "ImageNet-21k, the archive of winter 2021",
        "winter21_whole.tar.gz",
        then="tar -xzf winter21_whole.tar.gz",
        parts={"train": ("winter21_whole.tar.gz",)},
    ),
    Layout(
        "ImageNet-21k-P, unpacked",
        "imagenet21k_train/n00005787/*.JPEG, and imagenet21k_val/",
        parts={"train": ("imagenet21k_train",), "val": ("imagenet21k_val",)},
    ),
    Layout(
        "ImageNet-1k, a tar file of tar files",
        "ILSVRC2012_img_train.tar, or the class' tar files in ILSVRC2012_img_train/",
        parts={"train": ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_train")},
    ),
    Layout(
        "ImageNet-1k, validation images without folders",
        "ILSVRC2012_img_val.tar, ILSVRC2012_img_val/*.JPEG or val/*.JPEG",
        then="works; the synsets of the 50,000 names are built in, no ground truth is read",
        parts={"val": ("ILSVRC2012_img_val.tar", "ILSVRC2012_img_val")},
    ),
    Layout(
        "ImageNet-1k, as Kaggle has it",
        "ILSVRC/Data/CLS-LOC/train/n01440764/*.JPEG and ILSVRC/Data/CLS-LOC/val/*.JPEG; the root"
        " may be ILSVRC or Data, too",
        parts={part: tuple(f"{root}/{part}" for root in KAGGLE) for part in ("train", "val")},
    ),
    Layout(
        "Tiny-ImageNet",
        "train/n01443537/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt",
    ),
    Layout(
        "iNaturalist 2021, unpacked",
        "train_mini/, train/ and val/, or with torchvision's 2021_ before their names"
        " (and 2021_valid), each with a folder a species",
        parts={
            "2021_train_mini": ("train_mini", "train_mini.tar"),
            "2021_train": ("train", "train.tar"),
            "2021_valid": ("val", "val.tar"),
        },
    ),
    Layout(
        "iNaturalist 2021, the archives",
        "train_mini.tar.gz and val.tar.gz",
        then="tar -xzf train_mini.tar.gz",
        parts={
            "2021_train_mini": ("train_mini.tar.gz",),
            "2021_train": ("train.tar.gz",),
            "2021_valid": ("val.tar.gz",),
        },
    ),
    Layout(
        "WebDataset shards",
        "train-0000.tar or imagenet1k-train-0000.tar …, with a .cls (a number or a synset) or a"
        " .json beside each image",
        then="works; numbers are lines of a classes.txt beside the shards, or ImageNet-1k's",
    ),
    Layout(
        "Hugging Face hub",
        "hfds/OWNER/NAME as the root",
        then="pip install datasets",
    ),
    Layout(
        "Parquet export",
        "data/train-00000-of-00294.parquet, or default/train/0000.parquet …",
        then="pip install datasets",
    ),
    Layout(
        "An archive that can be read only from its beginning",
        "tiny-imagenet-200.zip, train.tgz …",
        then="unzip tiny-imagenet-200.zip, tar -xf train.tgz",
    ),
    Layout("Packed images", "what `granularity pack` wrote"),
)


def told() -> str:
    """The table in lines, for a terminal."""
    return "\n".join(f"{row.what}\n    {row.lies}\n    {row.then}" for row in LAYOUTS)


def part_of(root: Path, part: str) -> tuple[Path, str | None] | None:
    """The folder of a part and the pattern of its tar files there, None for folders; or None.

    A part has a name of its own, or one that its layout gives it (see `LAYOUTS`).
    """
    if (root / part).is_dir():
        return root / part, None
    for pattern in (f"{part}*.tar*", f"*-{part}*.tar*"):  # the second as timm's shards are called
        if any(root.glob(pattern)):
            return root, pattern
    places = (root / name for row in LAYOUTS for name in row.parts.get(part, ()))
    return next((told for place in places if (told := told_of(place, root))), None)


def told_of(place: Path, root: Path) -> tuple[Path, str | None] | None:
    """What `part_of` says of a place where a part may lie; None where it does not."""
    if place.is_file():
        return place.parent, place.name
    return (place, None) if place.is_dir() and (place != root or holds_synsets(root)) else None


def holds_synsets(root: Path) -> bool:
    """Whether folders or tar files of a folder are called as synsets, and none as anything else."""
    names = [
        p.name.removesuffix(".tar") for p in root.iterdir() if p.suffix == ".tar" or p.is_dir()
    ]
    return bool(names) and all(SYNSET.fullmatch(name) for name in names)


@cache
def validation_synsets() -> tuple[str, ...]:
    """The synset of each image of ILSVRC2012's validation set, by its number less one."""
    return tuple(gzip.decompress(TABLE.read_bytes()).decode("ascii").split())


def synset_of(file: str) -> str | None:
    """The synset of `ILSVRC2012_val_00000001.JPEG`; None for a file that is not called so."""
    found = VALIDATION.fullmatch(file)
    known = validation_synsets() if found else ()
    number = int(found[1]) if found else 0
    return known[number - 1] if 1 <= number <= len(known) else None
