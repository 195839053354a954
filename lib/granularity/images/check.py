"""A look at a set of images before a week of training: `python -m granularity.data check ROOT`."""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from granularity.hierarchies import wordnet
from granularity.images import sources
from granularity.images.image_set import DataError, ImageError, ImageSet, in_threads, open_set


def look(images: ImageSet, sample: int, seed: int = 0, differs: str = "") -> Iterator[str]:
    """What a set holds, in lines; then it opens `sample` images at random and tells of the broken.

    `differs` says how it differs from the set that it should be. The last line starts with `ok` or
    with `not ok`.
    """
    counts = images.counts
    yield f"set          {images.name}"
    yield f"fingerprint  {images.fingerprint}"
    yield f"images       {len(images):,} of {len(images.classes):,} classes"
    yield f"in a class   {counts.min():,} to {counts.max():,}, median {np.median(counts):,.0f}"
    yield f"other files  {images.others:,}"
    for reason, number in Counter(reason for _, reason in images.skipped).items():
        first = next(name for name, why in images.skipped if why == reason)
        yield f"left out     {number:,}: {reason} (the first is {first})"
    chosen = np.random.default_rng(seed).permutation(len(images))[:sample]

    def opened(k: int) -> str | tuple[int, int]:
        try:
            return images.read(int(chosen[k])).size
        except (ImageError, DataError, OSError) as error:
            return str(error)

    found = list(in_threads(opened, len(chosen), "opening images"))
    broken = [answer for answer in found if isinstance(answer, str)]
    sides = [min(answer) for answer in found if not isinstance(answer, str)]
    if sides:
        yield f"opened       {len(found):,}; shorter side {min(sides)} to {max(sides)} pixels"
    yield from (f"broken       {answer}" for answer in broken)
    told = [f"{len(broken):,} of {len(found):,} images are broken"] if broken else []
    told += [differs] if differs else []
    yield f"not ok: {'; '.join(told)}" if told else "ok"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: `python -m granularity.data check ROOT`."""
    parser = argparse.ArgumentParser(prog="python -m granularity.data", description=look.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="classes, counts, and a sample of images opened")
    check.add_argument("root", help="a folder, tar files (in quotes: 'DIR/*.tar'), or hfds/NAME")
    check.add_argument("--part", help="as train or val: the folder, tar files or split inside")
    check.add_argument("--classes", help="imagenet21k, imagenet1k, …, or a file of synsets")
    check.add_argument("--sample", type=int, default=1000, help="images to open (default: 1000)")
    check.add_argument("--cache", help="folder of index files (default: ~/.cache/granularity)")
    for kind in ("broken", "extra", "missing"):
        check.add_argument(f"--skip-{kind}", action="store_true", help=f"leave the {kind} out")
    given = parser.parse_args(arguments)
    try:
        images = open_set(
            given.root,
            given.part,
            classes=wordnet.read_list(given.classes) if given.classes else None,
            cache=given.cache,
            skip_broken=given.skip_broken,
            skip_extra=given.skip_extra,
            skip_missing=given.skip_missing,
        )
        part, names = given.part or Path(given.root).name, (given.root, given.classes or "")
        differs = sources.short_of(len(images), len(images.classes), part, *names)
        for line in look(images, given.sample, differs=differs):
            print(line)
    except (OSError, ValueError) as error:
        parser.exit(1, f"not ok: {error}\n")
    if line != "ok":
        parser.exit(1)
