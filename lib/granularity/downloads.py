"""Where the real sets of images come from, in words for a person: no number depends on them."""

from pathlib import Path

# Where the real sets come from, and how large they are; a key is looked for in a missing path.
SOURCES = {
    "imagenet21k": "ImageNet-21k: image-net.org (a free account; non-commercial research), release"
    " winter 2021, winter21_whole.tar.gz, about 1.1 TB; 19,167 of the paper's 21,843 classes",
    "imagenet1k": "ImageNet-1k: image-net.org (a free account; non-commercial research),"
    " ILSVRC2012_img_train.tar, 138 GB, and ILSVRC2012_img_val.tar, 6.3 GB",
    "tinyimagenet": "Tiny-ImageNet: cs231n.stanford.edu/tiny-imagenet-200.zip, 248 MB",
    "inat": "iNaturalist 2021: github.com/visipedia/inat_comp/tree/master/2021, train_mini.tar.gz,"
    " 42 GB, and val.tar.gz, 8.4 GB; also torchvision.datasets.INaturalist(…, download=True)",
}


def missing(folder: Path) -> str:
    """What a person has to know who does not have the images yet."""
    plain = "".join(letter for letter in "".join(folder.parts[-2:]).lower() if letter.isalnum())
    near = [text for key, text in SOURCES.items() if key in plain] or list(SOURCES.values())
    return f"{folder}: no such folder. It can be downloaded here. " + ". ".join(near)
