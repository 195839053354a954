"""What is known of the published sets of images: where they come from, how many images they have.

In words for a person, and to tell a part of a set from the whole: no number depends on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from granularity.images import known_layouts
from granularity.inputs.nearest import nearest

MB, GB, TB = 10**6, 10**9, 10**12


@dataclass(frozen=True)
class Source:
    """Where a set is to be had: what it is called, from whom, and its files with their bytes."""

    title: str
    where: str
    files: Mapping[str, int]
    note: str = ""  # what its files lack, or another way to them

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(self.files.values())

    def __str__(self) -> str:
        """All of it for a reader."""
        files = ", and ".join(f"{name}, {in_words(size)}" for name, size in self.files.items())
        return f"{self.title}: {self.where}{files}{self.note}"


def in_words(size: int) -> str:
    """Bytes as a reader says them: 248 MB, 8.4 GB."""
    unit, name = next((u, n) for u, n in ((TB, "TB"), (GB, "GB"), (MB, "MB")) if size >= u)
    return f"{size / unit:.3g} {name}"


# Where the real sets come from, and how large they are; a key is looked for in a missing path.
ACCOUNT = "image-net.org (a free account; non-commercial research), "
SOURCES = {
    "imagenet21k": Source(
        "ImageNet-21k",
        f"{ACCOUNT}release winter 2021, ",
        {"winter21_whole.tar.gz": 11 * TB // 10},
        "; 19,167 of the paper's 21,843 classes",
    ),
    "imagenet1k": Source(
        "ImageNet-1k",
        ACCOUNT,
        {"ILSVRC2012_img_train.tar": 138 * GB, "ILSVRC2012_img_val.tar": 6_300 * MB},
    ),
    "tinyimagenet": Source(
        "Tiny-ImageNet", "cs231n.stanford.edu/", {"tiny-imagenet-200.zip": 248 * MB}
    ),
    "inat": Source(
        "iNaturalist 2021",
        "github.com/visipedia/inat_comp/tree/master/2021, ",
        {"train_mini.tar.gz": 42 * GB, "val.tar.gz": 8_400 * MB},
        "; also torchvision.datasets.INaturalist(…, download=True)",
    ),
    "miniimagenet": Source(
        "mini-ImageNet's 75 classes that Tiny-ImageNet lacks",
        "the few-shot benchmark's images (for one github.com/Deo0330/split_minidataset), 500 and"
        " 100 of a class, shrunk to 64 pixels, ",
        {"train/ and val/": 65 * MB},
    ),
    "plankton": Source(
        "Plankton",
        "the training images of the National Data Science Bowl of 2015 (for one"
        " github.com/Jaime-Rangel/Alexnet_Matlab), ",
        {"train/<class>/": 21 * MB},
    ),
}


def missing(folder: Path) -> str:
    """What a person has to know who does not have the images yet."""
    named = plain("".join(folder.parts[-2:]))
    near = [source for key, source in SOURCES.items() if key in named] or SOURCES.values()
    told = ". ".join(map(str, near))
    return f"{folder}: no such folder. It can be downloaded here. {told}"


UNPACKED_BY = {".zip": "unzip", ".tgz": "tar -xf", ".tbz2": "tar -xf", ".7z": "7z x"}


def meant(root: Path, part: str) -> str:
    """What to do where a folder has no such part, if that can be seen: unpack, or another name."""
    known = {name for parts in RELEASES.values() for name in parts}
    if part not in known and (near := nearest(part, known)):
        return f"did you mean {near!r}?"
    entries = sorted(root.iterdir())
    for name in [entry.name for entry in entries if entry.is_file()]:
        for ending, command in UNPACKED_BY.items():
            if name.endswith(ending):
                return f"unpack it first: {command} {name}"
    below = [entry for entry in entries if entry.is_dir() and known_layouts.part_of(entry, part)]
    return f"is {below[0]} the root?" if below else ""


# Set, as its root or its list of classes is called: part → (classes, images) of each release.
RELEASES = {
    "imagenet1k": {"train": [(1_000, 1_281_167)], "val": [(1_000, 50_000)]},
    # Winter 2021, and fall 2011.
    "imagenet21k": {"train": [(19_167, 13_153_500), (21_841, 14_197_122)]},
    "tiny-imagenet-200": {"train": [(200, 100_000)], "val": [(200, 10_000)]},
    "mini-imagenet-75": {"train": [(75, 37_500)], "val": [(75, 7_500)]},
    "plankton": {"train": [(121, 30_336)]},
    "inaturalist": {
        "2021_train_mini": [(10_000, 500_000)],
        "2021_train": [(10_000, 2_686_843)],
        "2021_valid": [(10_000, 100_000)],
    },
}
NAMES = {name: (name,) for name in RELEASES} | {
    "imagenet21k": ("imagenet21k", "imagenet22k", "winter21_whole"),
    "imagenet1k": ("imagenet1k", "ilsvrc2012"),
}


def plain(name: str) -> str:
    """A name's letters and digits."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def short_of(images: int, classes: int, part: str, *names: str) -> str:
    """How a part with so many images and classes differs from that of the set of these names.

    Empty where all is there, or where no set is known by any of the names.
    """
    known = known_as(*names)
    parts = RELEASES.get(known, {})
    if part in parts and (classes, images) not in parts[part]:
        there = " or ".join(f"{n:,} images of {k:,} classes" for k, n in parts[part])
        return f"{images:,} images of {classes:,} classes; {known}/{part} has {there}"
    return ""


def known_as(*names: str) -> str:
    """The published set that one of these names, as a root's, speaks of; empty where none does."""
    own = [(set_, plain(name)) for set_, called in NAMES.items() for name in called]
    return next((set_ for set_, name in own if any(name in plain(x) for x in names)), "")


# Datasets that runs name, as a page calls them; another one goes by its own name.
TITLES = {
    "toy": "Toy images",
    "tiny-imagenet-200": "Tiny-ImageNet",
    "mini-imagenet-75": "Tiny-ImageNet → mini-ImageNet",
    "plankton": "Plankton",
    "imagenet": "ImageNet-21k → 1k",
    "imagenet-winter21": "ImageNet-21k of winter 2021 → 1k",
    "inaturalist": "iNaturalist 2021",
}


def title_of(dataset: str) -> str:
    """What a page calls a dataset."""
    return TITLES.get(dataset, dataset)
