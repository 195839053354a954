"""Makes the table of near copies: `python scripts/make_near_copies.py TINY_IMAGENET MINI_IMAGENET`.

The arguments are the roots of Tiny-ImageNet-200 and of mini-ImageNet without the 25 synsets that
Tiny-ImageNet has too (500 + 100 images of each, 64 × 64), each with `train` and `val` inside. The
table holds names alone, and no image.
"""

import sys
from dataclasses import replace

from granularity.images import copies, near_copies
from granularity.images.image_set import open_set

SETS = ("tiny-imagenet-200", "mini-imagenet-75")  # as the table calls them, whatever the folders


def main(roots: list[str]) -> None:
    if len(roots) != len(SETS):
        sys.exit(__doc__)
    sets = [
        replace(open_set(root, part), name=f"{name}/{part}")
        for name, root in zip(SETS, roots, strict=True)
        for part in ("train", "val")
    ]
    pairs = near_copies.near_copies(sets)
    near_copies.write(pairs, copies.TABLE)
    print(f"{copies.TABLE}: {len(pairs)} pairs among {sum(map(len, sets)):,} images")


if __name__ == "__main__":
    main(sys.argv[1:])
