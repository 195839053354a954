"""A look at a set of images before a week of training: `granularity check ROOT`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from granularity.hierarchies import synset_lists
from granularity.images import sources
from granularity.images.check import look
from granularity.images.image_set import open_set


def main(words: Sequence[str]) -> None:
    """`check ROOT`; the status says whether the set is sound."""
    check = argparse.ArgumentParser(prog="granularity check", description=look.__doc__)
    check.add_argument("root", help="a folder, tar files (in quotes: 'DIR/*.tar'), or hfds/NAME")
    check.add_argument("--part", help="as train or val: the folder, tar files or split inside")
    check.add_argument("--classes", help=f"{', '.join(synset_lists.NAMES)}, or a file of synsets")
    check.add_argument("--sample", type=int, default=1000, help="images to open (default: 1000)")
    check.add_argument("--cache", help="folder of index files (default: ~/.cache/granularity)")
    for kind in ("broken", "extra", "missing"):
        check.add_argument(f"--skip-{kind}", action="store_true", help=f"leave the {kind} out")
    given = check.parse_args(words[1:])
    try:
        images = open_set(
            given.root,
            given.part,
            classes=synset_lists.read(given.classes) if given.classes else None,
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
        check.exit(1, f"not ok: {error}\n")
    if line != "ok":
        check.exit(1)
