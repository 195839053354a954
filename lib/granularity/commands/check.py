"""A look at a set of images before a week of training: `granularity check ROOT`.

The set is opened by the very function that opens it for a run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from granularity.experiments import sets
from granularity.hierarchies import synset_lists
from granularity.images import known_layouts, sources
from granularity.images.check import look


def main(words: Sequence[str]) -> None:
    """`check ROOT`; the status says whether the set is sound."""
    check = argparse.ArgumentParser(
        prog="granularity check",
        description=look.__doc__,
        epilog=f"what can be read, below ROOT:\n\n{known_layouts.told()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("root", help="a folder, tar files (in quotes: 'DIR/*.tar'), or hfds/NAME")
    check.add_argument("--part", help="as train or val: the folder, tar files or split inside")
    check.add_argument("--classes", help=f"{', '.join(synset_lists.NAMES)}, or a file of synsets")
    check.add_argument("--sample", type=int, default=1000, help="images to open (default: 1000)")
    check.add_argument("--cache", help="folder of index files (default: ~/.cache/granularity)")
    for kind in ("broken", "extra", "missing"):
        check.add_argument(f"--skip-{kind}", action="store_true", help=f"leave the {kind} out")
    given = check.parse_args(words[1:])
    try:
        part = given.part or Path(given.root).name
        names = ("".join(Path(given.root).parts[-2:]), given.classes or "")
        images = sets.opened(
            given.root,
            given.part,
            sources.known_as(*names),
            tuple(kind for kind in sets.SKIP if getattr(given, f"skip_{kind}")),
            tuple(synset_lists.read(given.classes)) if given.classes else None,
            given.cache,
        )
        differs = sources.short_of(len(images), len(images.classes), part, *names)
        for line in look(images, given.sample, differs=differs):
            print(line)
    except (OSError, ValueError) as error:
        check.exit(1, f"not ok: {error}\n")
    if line != "ok":
        check.exit(1)
