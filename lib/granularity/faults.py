"""What the tests of faults saw, as the book tells it: the record of `make test test-faults`."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from granularity import records

# Where a test belongs, by the file that it stands in.
GROUPS = {
    "Runs, builds and the book": "build faults_build book slurm lost_process browser",
    "Parameters, size files, recipes": "notebook graph recipe claims theory jobs labels_kinds",
    "Records and other files": "records faults_files scoreboard verify source analysis hardness",
    "Training, checkpoints, embeddings": "engine checkpoint faults_training train losses loading"
    " network embed theory_runs",
    "Images, classes, labels": "data taxonomy wordnet labels labels_trees toy imagenet inaturalist",
    "Machines and places": "faults_places setup bench",
    "Anything at all": "fuzz",
}
OTHER = "Other"


def read(path: Path | str) -> dict:
    """The record of the faults. Raises RecordError for one that is broken or of something else."""
    record = records.read(path)
    if record["kind"] != "faults":
        raise records.RecordError(f"{path}: a record of {record['kind']}, not of faults")
    return record


def group_of(test: str) -> str:
    """The heading that a test, as `tests/test_build.py::test_x[y]`, stands under."""
    found = re.match(r"(?:.*/)?test_(\w+)\.py", test)
    name = found[1] if found else ""
    return next((group for group, files in GROUPS.items() if name in files.split()), OTHER)


def rows(record: Mapping[str, Any]) -> list[dict]:
    """One row for each fault and what must happen, with all tests of it, in the tests' order.

    Keys: `group`, `fault`, `must`, `tests` (their names, without parameters), `cases` (how many
    ran), `outcomes`, `saw` (the messages of the first test that has any), `slow`.
    """
    found: dict[tuple[str, str, str], list[dict]] = {}
    for case in record["cases"]:
        key = (group_of(case["test"]), case["fault"], case["must"])
        found.setdefault(key, []).append(case)
    return [
        {
            "group": group,
            "fault": fault,
            "must": must,
            "tests": sorted({name_of(case["test"]) for case in cases}),
            "cases": len(cases),
            "outcomes": sorted({case["outcome"] for case in cases}),
            "saw": next((case["saw"] for case in cases if case["saw"]), []),
            "slow": any(case["slow"] for case in cases),
        }
        for (group, fault, must), cases in found.items()
    ]


def name_of(test: str) -> str:
    """A test's name without its parameters, as pytest takes it."""
    return test.partition("[")[0]


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
    """The rows of a group as an HTML table that fits a phone."""
    lines = [line(row) for row in table if row["group"] == group]
    if not lines:
        return "<p>None of these tests is in this record.</p>"
    head = "<tr><th>Fault, and what must happen</th><th>What the test saw</th></tr>"
    style = "width: 100%; table-layout: fixed; overflow-wrap: anywhere; text-align: left"
    return (
        f'<table class="table" style="{style}"><thead>{head}</thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def line(row: Mapping[str, Any]) -> str:
    """One row: fault and demand on the left, messages and the test's name on the right."""
    cases = f" ({row['cases']} cases)" if row["cases"] > 1 else ""
    seen = "<br>".join(f"<code>{escape(text)}</code>" for text in row["saw"])
    if row["outcomes"] == ["passed"]:
        word = "" if seen else "what must happen, by its assertions"
    else:
        word = f"<strong>{', '.join(row['outcomes'])}</strong> "
    tests = "<br>".join(f"<code>{escape(test)}</code>" for test in row["tests"])
    return (
        f"<tr><td><strong>{escape(row['fault'])}</strong>{cases}<br>{escape(row['must'])}</td>"
        f"<td>{word}{seen}<br><small>{tests}</small></td></tr>"
    )
