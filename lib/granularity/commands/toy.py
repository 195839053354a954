"""Draws the toy image datasets: `granularity toy OUT`."""

import argparse
from collections.abc import Sequence

from granularity.images.toy import drawing


def main(words: Sequence[str]) -> None:
    """`toy OUT`; prints the folder."""
    parser = argparse.ArgumentParser(prog="granularity toy", description=drawing.__doc__)
    parser.add_argument("out", help="the folder to draw into")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words[1:])
    try:
        print(drawing.draw(given.out, given.seed))
    except OSError as error:
        parser.exit(1, f"error: {error}\n")
