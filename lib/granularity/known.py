"""How many classes and images the published sets have, to tell a part of one from the whole."""

# Set, as its root or its list of classes is called: part → (classes, images) of each release.
RELEASES = {
    "imagenet1k": {"train": [(1_000, 1_281_167)], "val": [(1_000, 50_000)]},
    # Winter 2021, and fall 2011.
    "imagenet21k": {"train": [(19_167, 13_153_500), (21_841, 14_197_122)]},
    "tiny-imagenet-200": {"train": [(200, 100_000)], "val": [(200, 10_000)]},
    "inaturalist": {
        "2021_train_mini": [(10_000, 500_000)],
        "2021_train": [(10_000, 2_686_843)],
        "2021_valid": [(10_000, 100_000)],
    },
}
NAMES = {name: (name,) for name in RELEASES} | {"imagenet21k": ("imagenet21k", "imagenet22k")}


def plain(name: str) -> str:
    """A name's letters and digits."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def short_of(images: int, classes: int, part: str, *names: str) -> str:
    """How a part with so many images and classes differs from that of the set of these names.

    Empty where all is there, or where no set is known by any of the names.
    """
    for known, parts in RELEASES.items():
        called = any(plain(own) in plain(name) for own in NAMES[known] for name in names)
        if called and part in parts and (classes, images) not in parts[part]:
            there = " or ".join(f"{n:,} images of {k:,} classes" for k, n in parts[part])
            return f"{images:,} images of {classes:,} classes; {known}/{part} has {there}"
    return ""
