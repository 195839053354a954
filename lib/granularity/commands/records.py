"""The command line of records: publish runs, make some again, prove that two codes are equal."""

import argparse
import sys
from collections.abc import Sequence

from granularity.fingerprints import equivalence
from granularity.proofs import equal
from granularity.records import verify
from granularity.records.entries import kind_of
from granularity.records.publish import publish
from granularity.records.record import RecordError
from granularity.records.tables import collect

RESULTS = equivalence.FILE.parent


def main(words: Sequence[str]) -> None:
    """The command line: publish runs, make some again, prove that codes are equal."""
    given = command_line().parse_args(words)
    try:
        COMMANDS[given.command](given)
    except (OSError, KeyError, ValueError, RecordError) as error:
        sys.exit(f"error: {error}")


def command_line() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        prog="granularity", description=(__doc__ or "").partition("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    copy = commands.add_parser("publish", help="add the runs of folders to one published file")
    copy.add_argument("folders", nargs="+", metavar="FOLDER", help="holds a table of contents")
    copy.add_argument("file", metavar="FILE.jsonl", help="as book/results/theory/simulate.jsonl")
    copy.add_argument("--replace", action="store_true", help="leave out what no folder has")
    again = commands.add_parser("verify", help="make runs again, and compare the metrics")
    again.add_argument("records", help="a published file, a folder of runs, or one record.json")
    again.add_argument("--run", default="", help="the beginning of one run's fingerprint")
    again.add_argument("--random", type=int, default=0, metavar="N", help="so many at random")
    again.add_argument("--seed", type=int, default=0, help="of that choice")
    again.add_argument("--device", help="cpu or cuda; the record's own else")
    again.add_argument(
        "--tolerance", type=float, help="largest difference allowed, of a metric's size or of 1"
    )
    same = commands.add_parser("equal", help="prove that an older code makes the same numbers")
    same.add_argument("commit", metavar="OLD_COMMIT", help="the older code")
    same.add_argument("--entry", action="append", default=[], help="as imagenet.finetune")
    same.add_argument("--trial", action="store_true", help="compare, and keep no row of it")
    for command in (again, same):
        command.add_argument(
            "--root", action="append", default=[], metavar="NAME=PATH", help="where a dataset lies"
        )
    return parser


def roots_of(given: argparse.Namespace) -> dict[str, str]:
    """Roots of datasets by name. Raises ValueError for one without a name."""
    for root in given.root:
        if "=" not in root:
            raise ValueError(f"--root {root}: should be NAME=PATH, as tiny-imagenet-200={root}")
    return dict(root.split("=", 1) for root in given.root)


def run_publish(given: argparse.Namespace) -> None:
    """`publish FOLDER … FILE.jsonl`."""
    print(f"{publish(given.folders, given.file, given.replace)} records in {given.file}")


def run_verify(given: argparse.Namespace) -> None:
    """`verify RECORDS`; the status says whether all metrics agree."""
    tolerance = verify.TOLERANCE if given.tolerance is None else given.tolerance
    chosen = verify.chosen(given.records, given.run, given.random, given.seed)
    if not verify.report(chosen, roots_of(given), tolerance, given.device):
        sys.exit("some metrics differ")


def run_equal(given: argparse.Namespace) -> None:
    """`equal OLD_COMMIT`: adds rows to the equivalences, or says what differs."""
    published = [r for file in sorted(RESULTS.glob("*/*.jsonl")) for r in collect(file)]
    kinds = [kind_of(name) for name in given.entry] or [*equal.PROVABLE]
    equal.main(given.commit, published, kinds, roots_of(given), given.trial)


COMMANDS = {"publish": run_publish, "verify": run_verify, "equal": run_equal}
