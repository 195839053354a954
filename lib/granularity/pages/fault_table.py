"""What the tests of faults saw, as the book tells it: the record of `make test test-faults`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from granularity.pages.rendering import render
from granularity.records import record
from granularity.records.record import RecordError

# Where a test belongs: the folders of tests that stand under each heading.
GROUPS = {
    "Runs, builds and the book": "scripts commands browser pages planning figures",
    "Parameters, size files, recipes": "inputs claims labels theory",
    "Records and other files": "records fingerprints proofs analysis",
    "Training, checkpoints, embeddings": "training benchmarks",
    "Images, classes, labels": "images hierarchies experiments",
    "Machines and places": "machine",
    "Anything at all": "anything",
}
OTHER = "Other"


def read(path: Path | str) -> dict:
    """The record of the faults. Raises RecordError for one that is broken or of something else."""
    made = record.read(path)
    if made["kind"] != "faults":
        raise RecordError(f"{path}: a record of {made['kind']}, not of faults")
    return made


def group_of(test: str) -> str:
    """The heading that a test, as `tests/scripts/test_build.py::test_x[y]`, stands under."""
    folder = Path(test.partition("::")[0]).parent.name
    return next((group for group, names in GROUPS.items() if folder in names.split()), OTHER)


def rows(record: Mapping[str, Any]) -> list[dict]:
    """One row for each test, in the tests' order: the fault that it injects, in all its cases.

    Keys: `group`, `test` (as pytest takes it), `must`, `cases` (those of the record, one for each
    wording of the fault, with `times` that it was injected), `outcomes`, `slow`.
    """
    found: dict[str, dict[str, dict]] = {}
    for case in record["cases"]:
        wordings = found.setdefault(case["test"].partition("[")[0], {})
        first = wordings.setdefault(case["fault"], case | {"times": 0})
        first["times"] += 1
        if case["outcome"] != "passed":
            wordings[case["fault"]] = case | {"times": first["times"]}
    return [
        {
            "group": group_of(test),
            "test": test,
            "must": next(iter(wordings.values()))["must"],
            "cases": list(wordings.values()),
            "outcomes": sorted({case["outcome"] for case in wordings.values()}),
            "slow": any(case["slow"] for case in wordings.values()),
        }
        for test, wordings in found.items()
    ]


KINDS = ("fast", "slow", "skipped")


def kind_of(row: Mapping[str, Any]) -> str:
    """Which part of the tests a row is of, or that it was skipped where the record was made."""
    if row["outcomes"] == ["skipped"]:
        return "skipped"
    return "slow" if row["slow"] else "fast"


def counts(table: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How many faults of each kind each group has: group → kind → number, in the groups' order."""
    groups = [group for group in (*GROUPS, OTHER) if any(row["group"] == group for row in table)]
    return {
        group: {
            kind: sum(row["group"] == group and kind_of(row) == kind for row in table)
            for kind in KINDS
        }
        for group in groups
    }


def html(table: Sequence[Mapping[str, Any]], group: str) -> str:
    """The rows of a group as a folded HTML table that fits a phone; open where a fault failed.

    Fault and demand stand on the left, messages and test on the right, more of the kind to be
    opened.
    """
    rows = [row for row in table if row["group"] == group]
    failed = any("failed" in row["outcomes"] for row in rows)
    return render("faults.html", rows=rows, failed=failed)
