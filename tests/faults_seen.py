"""What tests of faults saw, kept for the book: one record over all parts of the tests.

A test that injects a fault says so, and what must happen, in a marker (names of its parameters in
braces stand for their values):

    @pytest.mark.fault("a record cut off after {length} bytes", "refused by name")

Errors that it expects by `pytest.raises`, and what it hands to `saw`, are kept beside its outcome
in `runs/faults/record.json`. The record of one clean commit is published by

    make test test-faults test-browser && .venv/bin/python tests/faults_seen.py
"""

import enum
import itertools
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "runs" / "faults" / "record.json"
PUBLISHED = ROOT / "book" / "results" / "faults.json"
SHOWN, LONGEST = 3, 300  # messages of a test, letters of a message

SEEN: list[str] = []  # by the test that runs now
CASES: dict[str, dict] = {}  # by the tests that ran, on the controller where there are workers


def saw(text: object) -> None:
    """Keeps what a test of a fault saw: a message, or the state that it found, in a line."""
    line = plain(str(text))
    if line not in SEEN:
        SEEN.append(line)


def plain(text: str) -> str:
    """A message without this machine's places, in one line, and not too long."""
    for place, name in ((f"{sys.prefix}/", ".venv/"), (f"{ROOT}/", ""), (str(Path.home()), "~")):
        text = text.replace(place, name)
    folder = re.escape(tempfile.gettempdir())
    text = re.sub(rf"{folder}(/[^\s/:'\"]+)*/(?=[^\s/:'\"])", "…/", text)
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"


def saw_end(status: int, printed: str) -> None:
    """Keeps how a command ended: its status, and the errors that it printed."""
    error = r"(error:|not ok:|([\w.]+\.)?\w*(Error|Exception|Interrupt)\b.*|.*Kernel died)"
    lines = [line.strip() for line in printed.splitlines()] + [""]
    told = []
    for line, after in itertools.pairwise(lines):
        if after.startswith("-----") or (told and line.startswith("error: the ")):
            continue
        if re.match(error, line):
            told.append(f"{line} {after}" if line.endswith(":") else line)
    told = list(dict.fromkeys(told)) or [line for line in lines if line][-1:]
    saw(f"status {status}; " + "; ".join(told[:1] + told[1:][-1:]))


# ---------------------------------------------------------------------------------------- hooks


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", "fault(fault, must): injects a fault; what must happen")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notes the fault of a test; workers hand such notes to the controller."""
    marker = item.get_closest_marker("fault")
    if marker:
        call = getattr(item, "callspec", None)
        params = call.params.items() if call else ()
        given = {name: shown(value, call.id) for name, value in params}
        texts = [plain(text.format_map(given)) for text in marker.args]
        item.user_properties.append(("fault", texts))
        slow = item.get_closest_marker("faults") is not None
        item.user_properties.append(("slow", slow))


def shown(value: object, name: str) -> str:
    """A parameter as a reader sees it; the test's own name for it where it has no short text."""
    if isinstance(value, enum.Enum):
        return value.name
    text = str(value)
    return name if len(text) > 90 or " at 0x" in text or "\n" in text else text


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Remembers the errors that a test of a fault expects."""
    if not item.get_closest_marker("fault"):
        return (yield)
    SEEN.clear()
    expected = pytest.raises

    @contextmanager
    def raises(*kinds, **options):
        with expected(*kinds, **options) as caught:
            yield caught
        saw(f"{caught.type.__name__}: {caught.value}")

    pytest.raises = raises
    try:
        return (yield)
    finally:
        pytest.raises = expected
        item.user_properties.append(("saw", SEEN[:SHOWN]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keeps the outcome of a test of a fault."""
    told = dict(report.user_properties)
    if "fault" not in told or (report.passed and report.when != "call"):
        return
    seen = told.get("saw", [])
    if report.skipped:
        seen = [plain(str(report.longrepr[2]))]
    CASES[report.nodeid] = {
        "test": report.nodeid,
        "fault": told["fault"][0],
        "must": told["fault"][1],
        "outcome": report.outcome,
        "saw": seen,
        "slow": told["slow"],
        "seconds": round(report.duration, 2),
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Adds what ran to the record: what another call saw of the same code stays in it."""
    if CASES and not hasattr(session.config, "workerinput"):
        keep(CASES)


# ---------------------------------------------------------------------------- record, publishing


def keep(cases: dict[str, dict]) -> None:
    """Writes the record of these cases and of those that are there already, of the same code."""
    from granularity import files
    from granularity.records import record

    with files.alone(RECORD.parent):
        earlier = {}
        if RECORD.exists():
            try:
                before = record.read(RECORD)
                if before["made_by"]["git"] == record.git_state():
                    earlier = {case["test"]: case for case in before["cases"]}
            except record.RecordError:
                earlier = {}
        every = [case for _, case in sorted((earlier | cases).items())]
        counts = {
            outcome: sum(case["outcome"] == outcome for case in every)
            for outcome in ("passed", "failed", "skipped")
        }
        counts |= {"faults": len({(case["fault"], case["must"]) for case in every})}
        record.write(RECORD, kind="faults", metrics=counts, cases=every)


def publish() -> str:
    """Copies the record into the book. Raises SystemExit for one that is not fit for it."""
    from granularity import files
    from granularity.records import record

    made = record.read(RECORD)
    git = made["made_by"]["git"]
    if git["dirty"] is not False:
        sys.exit("error: the code that was tested is not committed")
    if {case["slow"] for case in made["cases"]} != {True, False}:
        sys.exit("error: a part is missing: make test test-faults test-browser")
    failed = [case["test"] for case in made["cases"] if case["outcome"] == "failed"]
    if failed:
        sys.exit(f"error: {len(failed)} tests failed, the first is {failed[0]}")
    text = RECORD.read_text(encoding="utf-8")
    for place in {str(ROOT.parent), str(Path.home()), tempfile.gettempdir()} - {"/"}:
        if f"{place}/" in text:
            sys.exit(f"error: the record names {place}, a place on this machine")
    files.write(PUBLISHED, text)
    return f"{len(made['cases'])} cases of {made['metrics']['faults']} faults in {PUBLISHED}"


if __name__ == "__main__":
    print(publish())
