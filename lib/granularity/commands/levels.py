"""Classes at each label level of a list of synsets: `granularity levels LIST`."""

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from granularity import files
from granularity.hierarchies import synset_lists
from granularity.hierarchies.wordnet import READINGS, levels, num_classes
from granularity.labels import wordnet_levels
from granularity.labels.function import LabelFunction

PAPER = {0: 21_843, 1: 5_995, 2: 2_281, 4: 519, 6: 160, 9: 38}  # its Table 1, of ImageNet-21k


def main(words: Sequence[str]) -> None:
    """Prints the number of classes at each level, and writes the classes where a file is named."""
    parser = argparse.ArgumentParser(
        prog="granularity levels",
        description="Counts the classes that a list of ImageNet synsets has at each label level.",
        epilog="readings: " + "; ".join(f"{key}: {text}" for key, text in READINGS.items()),
    )
    parser.add_argument(
        "list", help=f"{', '.join(synset_lists.NAMES)}, or a text file with a synset a line"
    )
    parser.add_argument("--last", type=int, default=12, help="last level (default: 12)")
    parser.add_argument("--reading", default="every", help=f"{', '.join(READINGS)}")
    parser.add_argument("--json", action="store_true", help='print {"0": classes, …}')
    parser.add_argument("--out", type=Path, help="write each synset's class indices to a CSV file")
    parser.add_argument(
        "--levels",
        type=int,
        nargs="+",
        default=[*PAPER],
        help="in that file (default: the paper's)",
    )
    given = parser.parse_args(words[1:])
    try:
        synsets = synset_lists.read(given.list)
        by_level = levels(synsets, given.last, given.reading)
        if given.out:
            chosen = wordnet_levels.levels(synsets, given.levels, given.reading)
            files.write(given.out, table(synsets, chosen))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    counts = [num_classes(sets) for sets in by_level]
    if given.json:
        print(json.dumps({str(level): count for level, count in enumerate(counts)}))
        return
    releases = ("imagenet21k", "imagenet22k", synset_lists.WINTER_2021)
    paper = PAPER if given.list in releases else None
    print("level  classes  synsets with several labels" + "  the paper's classes" * bool(paper))
    for level, (count, sets) in enumerate(zip(counts, by_level, strict=True)):
        several = sum(len(labels) > 1 for labels in sets)
        beside = f"  {paper[level]:19,}" if paper and level in paper else ""
        print(f"{level:5}  {count:7,}  {several:27,}{beside}")


def table(synsets: Sequence[str], chosen: Mapping[int, LabelFunction]) -> str:
    """A row for each synset, its class indices in a column for each level, as CSV.

    Classes of a level are numbered from 0 in the order of their synsets; a synset with several
    parents may have several, with spaces between them.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["synset", *(f"level {level}" for level in chosen)])
    for row, synset in enumerate(synsets):
        indices = (function.indices[row] for function in chosen.values())
        rows.writerow([synset, *(" ".join(map(str, found[found >= 0])) for found in indices)])
    return text.getvalue()
