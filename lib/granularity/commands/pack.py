"""Images shrunk once, before weeks of decoding them: `granularity pack ROOT OUT`."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from granularity.benchmarks import packing
from granularity.experiments import sets
from granularity.images import sources
from granularity.images.image_set import ImageSet
from granularity.images.packing import shrinking

SAMPLE = 64  # images whose decoding is timed


def main(words: Sequence[str]) -> None:
    """`pack ROOT OUT`: OUT is a root of its own then, to be named in the place of ROOT."""
    parser = argparse.ArgumentParser(prog="granularity pack", description=shrinking.pack.__doc__)
    parser.add_argument("root", help="as of `granularity check`")
    parser.add_argument("out", type=Path, help="the folder to write; in it a folder for each part")
    parser.add_argument("--part", nargs="+", default=[""], help="as train val: one or several")
    parser.add_argument("--size", type=int, default=shrinking.SIZE, help="pixels (default: 256)")
    parser.add_argument("--quality", type=int, default=shrinking.QUALITY, help="default: 90")
    for kind in sets.SKIP:
        parser.add_argument(f"--skip-{kind}", action="store_true", help=f"leave the {kind} out")
    given = parser.parse_args(words[1:])
    skip = tuple(kind for kind in sets.SKIP if getattr(given, f"skip_{kind}"))
    called = sources.known_as("".join(Path(given.root).parts[-2:]))
    try:
        for part in given.part:
            images = sets.opened(given.root, part or None, called, skip)
            begun = time.monotonic()
            packed = shrinking.pack(images, given.out / part, given.size, given.quality)
            print("\n".join(told(packed, time.monotonic() - begun)))
            print(quicker(images, sets.opened(str(packed.folder), None, called, ("broken",))))
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


def told(packed: shrinking.Packed, seconds: float) -> list[str]:
    """What became of the images, in lines."""
    kept = sum(shard.kept for shard in packed.shards)
    lines = [
        f"{packed.folder}: {packed.images:,} images in {len(packed.shards):,} tar files,"
        f" {packed.edition}, in {seconds:,.0f} s",
        f"  {kept:,} of them as they were: no larger",
        f"  {len(packed.broken):,} are broken" + ", listed in packed.json" * bool(packed.broken),
    ]
    return [*lines, *(f"  broken: {name}: {reason}" for name, reason in packed.broken[:10])]


def quicker(images: ImageSet, packed: ImageSet) -> str:
    """How much more a core decodes of the packed images, by a sample."""
    found = packing.decoding(images, packed, SAMPLE, turns=3)
    return (
        f"  a core decodes {found['decode_ratio']:.1f} times as many a second, and with the random"
        f" crop of a training {found['crop_ratio']:.1f} times as many"
    )
