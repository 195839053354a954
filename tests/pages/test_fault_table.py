"""The page of faults: every test stands under a heading, messages are shown as text."""

import re

import pytest
from conftest import ROOT
from faults_seen import plain

from granularity.pages import fault_table
from granularity.records import record
from granularity.records.record import RecordError

CASE = {"fault": "a <b>", "must": "stops", "outcome": "passed", "saw": [], "slow": False}


def case(test, **changes):
    return CASE | {"test": f"tests/{test}"} | changes


def test_every_file_with_a_fault_has_a_heading():
    files = (ROOT / "tests").rglob("test_*.py")
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in files}
    marked = [
        name for name, text in texts.items() if re.search(r"(?m)^@pytest\.mark\.fault\(", text)
    ]
    assert len(marked) > 20
    groups = {name: fault_table.group_of(f"{name.as_posix()}::x") for name in marked}
    assert fault_table.OTHER not in groups.values()
    assert fault_table.group_of("tests/nothing/test_nothing.py::test_x") == fault_table.OTHER


def test_cases_of_one_test_are_one_row():
    cases = [
        case("scripts/test_build.py::test_a_b[1]", saw=["E: <x>"]),
        case("scripts/test_build.py::test_a_b[2]", fault="c", saw=["F"], slow=True),
        case("scripts/test_build.py::test_a_b[3]", fault="c", saw=["F"], slow=True),
        case("machine/test_surroundings.py::test_c", outcome="skipped", saw=["no root"]),
    ]
    table = fault_table.rows({"cases": cases})
    assert [[one["times"] for one in row["cases"]] for row in table] == [[1, 2], [1]]
    assert [row["test"] for row in table] == [
        "tests/scripts/test_build.py::test_a_b",
        cases[3]["test"],
    ]
    assert fault_table.counts(table) == {
        "Runs, builds and the book": {"fast": 0, "slow": 1, "skipped": 0},
        "Machines and places": {"fast": 0, "slow": 0, "skipped": 1},
    }
    shown = fault_table.html(table, "Runs, builds and the book")
    assert "a &lt;b&gt;" in shown and "E: &lt;x&gt;" in shown and "1 more like it" in shown
    assert "(2 times)" in shown and shown.startswith("<details>")
    assert "<summary>1 fault, and what" in shown
    assert "<strong>skipped</strong>" in fault_table.html(table, "Machines and places")
    assert "None of these" in fault_table.html(table, "Anything at all")
    for tag in ("table", "tr", "td", "code", "strong", "small", "details", "li"):
        assert len(re.findall(f"<{tag}[ >]", shown)) == shown.count(f"</{tag}>")


def test_of_several_cases_one_that_failed_is_shown():
    cases = [
        case("test_x.py::test_a[1]"),
        case("test_x.py::test_a[2]", outcome="failed"),
    ]
    (row,) = fault_table.rows({"cases": cases})
    assert row["outcomes"] == ["failed"]
    assert "<details open>" in fault_table.html([row], row["group"]), "it is not folded away"


def test_a_record_of_something_else_is_refused(tmp_path):
    path = tmp_path / "record.json"
    record.write(path, kind="chapter", metrics={})
    with pytest.raises(RecordError, match="a record of chapter, not of faults"):
        fault_table.read(path)


def test_messages_name_no_place_of_this_machine(tmp_path):
    told = plain(f"no such file: '{tmp_path}/a/record.json'\nin {ROOT}/lib/x.py")
    assert told == "no such file: '…/record.json' in lib/x.py"
