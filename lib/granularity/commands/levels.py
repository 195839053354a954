"""Classes at each label level of a list of synsets: `granularity levels LIST`."""

import argparse
import json
from collections.abc import Sequence

from granularity.hierarchies.wordnet import LISTS, READINGS, levels, num_classes, read_list


def main(words: Sequence[str]) -> None:
    """Prints the number of classes at each level."""
    parser = argparse.ArgumentParser(
        prog="granularity levels",
        description="Counts the classes that a list of ImageNet synsets has at each label level.",
        epilog="readings: " + "; ".join(f"{key}: {text}" for key, text in READINGS.items()),
    )
    parser.add_argument("list", help=f"{', '.join(LISTS)}, or a text file with a synset a line")
    parser.add_argument("--last", type=int, default=12, help="last level (default: 12)")
    parser.add_argument("--reading", default="every", help=f"{', '.join(READINGS)}")
    parser.add_argument("--json", action="store_true", help='print {"0": classes, …}')
    given = parser.parse_args(words[1:])
    try:
        by_level = levels(read_list(given.list), given.last, given.reading)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    counts = [num_classes(sets) for sets in by_level]
    if given.json:
        print(json.dumps({str(level): count for level, count in enumerate(counts)}))
        return
    print("level  classes  synsets with several labels")
    for level, (count, sets) in enumerate(zip(counts, by_level, strict=True)):
        several = sum(len(labels) > 1 for labels in sets)
        print(f"{level:5}  {count:7,}  {several:27,}")
