"""Records: whole or absent, refused by name when broken, never stale."""

import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import clean, coded, registered
from faults_seen import saw, saw_end
from hypothesis import given
from hypothesis import strategies as st

from granularity import files
from granularity.fingerprints import equivalence, source
from granularity.records import publish, record, runner, tables
from granularity.records.record import ASKED, RecordError

CALLS = []


def study(seed: int, k: int = 2) -> dict:
    """Stands in for an entry point of the library; remembers its calls."""
    CALLS.append((seed, k))
    return {"metrics": {"error": seed / 10 + k}, "curves": {"step": [0, 1], "loss": [1.0, 0.5]}}


@pytest.fixture
def entry(monkeypatch):
    """`study`, passing for a function of the library whose code has a fingerprint."""
    CALLS.clear()
    return registered(monkeypatch, study)


SETTINGS = [{"seed": 0}, {"seed": 1}, {"seed": 1, "k": 4}]


def test_a_table_of_what_was_run(tmp_path, entry):
    runner.complete(tmp_path, entry, SETTINGS)
    table = tables.table(tmp_path)
    assert table["error"].tolist() == [2.0, 2.1, 4.1]
    assert table["kind"].unique().tolist() == ["study.study"]
    assert table["curves"][0]["loss"] == [1.0, 0.5]
    assert table["seed"].tolist() == [0, 1, 1]


def test_what_is_there_is_not_run_again(tmp_path, entry):
    runner.complete(tmp_path, entry, SETTINGS[:2])
    runner.complete(tmp_path, entry, SETTINGS)
    assert CALLS == [(0, 2), (1, 2), (1, 4)]
    assert len(tables.table(tmp_path)) == 3


@pytest.mark.fault(
    "a finished run under changed code or data", "a fresh run; the old record is not read"
)
def test_changed_code_or_data_is_run_afresh_and_the_old_is_not_read(tmp_path, entry, monkeypatch):
    runner.complete(tmp_path, entry, SETTINGS[:1])
    monkeypatch.setattr(source, "fingerprint", coded("other code"))
    runner.complete(tmp_path, entry, SETTINGS[:1])
    runner.complete(tmp_path, entry, SETTINGS[:1], data=[{"fingerprint": "1"}])
    assert CALLS == [(0, 2)] * 3
    assert len(tables.table(tmp_path)) == 1


@pytest.mark.fault(
    "one run of a list fails",
    "no table of contents; the runs made before it stay, and are not made again",
)
def test_a_run_that_fails_leaves_what_was_made_before(tmp_path, entry):
    with pytest.raises(TypeError):
        runner.complete(tmp_path, entry, [{"seed": 0}, {"seed": "not a number"}])
    assert not (tmp_path / "record.json").exists()
    runner.complete(tmp_path, entry, [{"seed": 0}])
    assert CALLS.count((0, 2)) == 1


@pytest.mark.fault("the same run asked for twice", "refused before any work")
def test_the_same_run_twice_is_refused(tmp_path, entry):
    with pytest.raises(RecordError, match="twice"):
        runner.complete(tmp_path, entry, [{"seed": 0}, {"seed": 0}])
    assert not CALLS


@pytest.mark.fault(
    "a run by a function that nobody else has", "refused: a record must be repeatable"
)
def test_only_functions_of_the_library_make_records(tmp_path):
    with pytest.raises(RecordError, match="repeatable"):
        runner.complete(tmp_path, lambda seed: {}, [{"seed": 0}])


def one(path, **changes):
    return record.write(path, **({"kind": "test", "metrics": {"error": 0.25}} | changes))


def test_a_record_says_what_made_it_and_no_path(tmp_path):
    made = one(tmp_path / "record.json")
    assert record.read(tmp_path / "record.json") == made
    assert made["made_by"]["packages"]["numpy"]
    assert made["made_by"]["device"]["cores"] == os.cpu_count()
    assert str(tmp_path) not in json.dumps(made)
    assert os.uname().nodename not in json.dumps(made)


@pytest.mark.fault("a record of which [:{length}] is left", "refused by name")
@pytest.mark.parametrize("length", [0, 1, 40, -2])
def test_a_truncated_record_is_refused_by_name(tmp_path, length):
    path = tmp_path / "record.json"
    one(path)
    path.write_text(path.read_text()[:length])
    with pytest.raises(RecordError, match=r"record\.json"):
        record.read(path)


@pytest.mark.fault("a metric changed by hand", "refused by name")
def test_a_metric_changed_by_hand_is_refused(tmp_path):
    path = tmp_path / "record.json"
    one(path)
    path.write_text(path.read_text().replace("0.25", "0.20"))
    with pytest.raises(RecordError, match="changed after it was written"):
        record.read(path)


@pytest.mark.fault("{text} in the place of a record", "refused by name")
@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": 1}', "null", "3"])
def test_foreign_json_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RecordError, match="no record of this project"):
        record.read(path)


@pytest.mark.fault("a record of another schema", "refused, with both schemas")
def test_another_schema_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("granularity.records.record.SCHEMA", 99)
    one(tmp_path / "record.json")
    monkeypatch.undo()
    with pytest.raises(RecordError, match="schema 99"):
        record.read(tmp_path / "record.json")


@pytest.mark.fault("any text in the place of a record (fuzz)", "refused by name")
@given(st.text())
def test_no_text_is_taken_for_a_record(text):
    with pytest.raises(RecordError, match="somewhere"):
        record.parse(text, "somewhere")


@pytest.mark.fault(
    "a metric that JSON cannot hold: {value}", "refused by field; nothing is written"
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_json_cannot_hold_is_refused_by_field(tmp_path, value):
    with pytest.raises(RecordError, match="'metrics'"):
        one(tmp_path / "record.json", metrics={"error": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.fault("a table of contents lists a run that is gone", "refused, naming the run")
def test_a_missing_run_of_a_table_of_contents_is_named(tmp_path, entry):
    made = runner.complete(tmp_path, entry, SETTINGS)
    (tmp_path / made[1]["fingerprint"] / "record.json").unlink()
    with pytest.raises(RecordError, match=made[1]["fingerprint"]):
        tables.table(tmp_path)


@pytest.mark.fault("no record yet", "an error, not an empty table")
def test_nothing_to_read_is_an_error_not_an_empty_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing ran yet"):
        tables.table(tmp_path)


def test_publishing_and_reading_back(tmp_path, entry, monkeypatch):
    clean(monkeypatch)
    runner.complete(tmp_path / "runs", entry, SETTINGS)
    twice = [tmp_path / "runs", tmp_path / "runs"]  # as where two studies share runs
    assert publish.publish(twice, tmp_path / "published.jsonl") == 3
    published, runs = tables.table(tmp_path / "published.jsonl"), tables.table(tmp_path / "runs")
    assert published.equals(runs)


def test_arrays_lie_beside_a_run_and_are_published_with_it(tmp_path, entry, monkeypatch):
    clean(monkeypatch)
    made = runner.complete(tmp_path / "runs", entry, SETTINGS)
    kept = {}
    for number, one in enumerate(made[:2]):  # the third run keeps none
        key = one["fingerprint"]
        kept[key] = {"loss": np.float16([number, 0.5]), "classes": np.array(["n01", "n02"])}
        np.savez(tmp_path / "runs" / key / "evaluation.npz", **kept[key])
    publish.publish([tmp_path / "runs"], tmp_path / "published.jsonl")
    for path in (tmp_path / "runs", tmp_path / "published.jsonl"):
        found = tables.arrays(path)
        assert set(found) == set(kept)
        for key, arrays in kept.items():
            assert found[key].keys() == arrays.keys()
            assert all(np.array_equal(found[key][name], arrays[name]) for name in arrays)
    assert tables.arrays(tmp_path / "runs", "other") == {}
    file = tmp_path / "published.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RecordError, match=r"published\.npz: no whole file"):
        tables.arrays(tmp_path / "published.jsonl")
    for run in kept:
        (tmp_path / "runs" / run / "evaluation.npz").unlink()
    with pytest.raises(RecordError, match=r"published\.npz: no whole file"):
        publish.publish([tmp_path / "runs"], tmp_path / "published.jsonl")  # nothing is lost
    publish.publish([tmp_path / "runs"], tmp_path / "published.jsonl", replace=True)
    assert not file.exists() and tables.arrays(tmp_path / "published.jsonl") == {}


@pytest.mark.fault(
    "publishing runs from a folder that has not all of the published ones",
    "added to them; what was published stays",
)
def test_publishing_adds_and_loses_nothing(tmp_path, entry, monkeypatch):
    clean(monkeypatch)
    file = tmp_path / "published.jsonl"
    first = runner.complete(tmp_path / "one", entry, SETTINGS[:2])
    (other,) = runner.complete(tmp_path / "two", entry, SETTINGS[2:])
    for made in (first[0], other):
        key = made["fingerprint"]
        folder = tmp_path / ("two" if made is other else "one") / key
        np.savez(folder / "evaluation.npz", loss=np.float16([made["metrics"]["error"]]))
    assert publish.publish([tmp_path / "one"], file) == 2
    assert publish.publish([tmp_path / "two"], file) == 3
    assert len(tables.table(file)) == 3
    assert set(tables.arrays(file)) == {first[0]["fingerprint"], other["fingerprint"]}
    assert publish.publish([tmp_path / "two"], file, replace=True) == 1
    assert set(tables.arrays(file)) == {other["fingerprint"]}


@pytest.mark.fault("a commit, made while a run goes on", "the run names the one that it began with")
def test_a_run_names_the_commit_that_it_began_with(tmp_path, entry, monkeypatch):
    commits = iter("abcdefgh")
    for module in ("record", "runner"):
        state = lambda: {"commit": next(commits), "dirty": False}  # noqa: E731
        monkeypatch.setattr(f"granularity.records.{module}.git_state", state)
    made = runner.complete(tmp_path, entry, SETTINGS)
    assert {one["made_by"]["git"]["commit"] for one in made} == {"a"}


@pytest.mark.fault("code that is changed while a run goes on", "its record is not published")
def test_code_that_changes_during_a_run_is_seen(tmp_path, entry, monkeypatch):
    clean(monkeypatch)
    codes = iter(["before"] * 3)
    monkeypatch.setattr(source, "fingerprint", functools.cache(lambda *m: next(codes, "after")))
    with_change = functools.partial(runner.complete, tmp_path, entry, [{"seed": 0}])
    codes = iter(["before"])  # asked for once, then asked again at the end
    (made,) = with_change()
    assert made["made_by"]["git"]["changed_while_it_ran"]
    with pytest.raises(RecordError, match="changed while it ran"):
        publish.publish([tmp_path], tmp_path / "published.jsonl")


REPOSITORY = """
git init -q . && git config user.email a@b && git config user.name n
mkdir -p lib/granularity/records notebooks && cp "$1" lib/granularity/records/record.py
git add . && git commit -qm one
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the file that asks git for its state."""
    call = ["bash", "-ec", REPOSITORY, "-", record.__file__]
    subprocess.run(call, cwd=tmp_path, check=True)
    monkeypatch.setattr(record, "__file__", str(tmp_path / "lib/granularity/records/record.py"))
    return tmp_path


@pytest.mark.fault("{file}, changed or never added", "counts as uncommitted: {dirty}")
@pytest.mark.parametrize(
    ("file", "dirty"),
    [
        ("lib/granularity/new.py", True),
        ("lib/granularity/records/record.py", True),
        ("notebooks/new.ipynb", True),
        ("notes.txt", False),
    ],
)
def test_files_that_were_never_added_count(repository, file, dirty):
    assert record.git_state()["dirty"] is False
    with (repository / file).open("a") as text:
        text.write("\n")
    assert record.git_state()["dirty"] is dirty


@pytest.mark.fault(
    "a checkout without git, or with one that refuses", "a run says why; no publishing"
)
def test_a_record_says_why_it_names_no_commit(repository, tmp_path, entry, monkeypatch):
    shutil.rmtree(repository / ".git")
    assert record.git_state() == {
        "commit": None,
        "dirty": None,
        "why": "this copy is no git repository",
    }
    said = "fatal: detected dubious ownership in repository at '/home/x'"
    assert "safe.directory" in record.reason(said) and "/home" not in record.reason(said)
    monkeypatch.setenv("PATH", "")
    assert record.git_state()["why"] == "git is not installed"
    runner.complete(tmp_path / "runs", entry, SETTINGS[:1])
    with pytest.raises(RecordError, match="names no commit: git is not installed"):
        publish.publish([tmp_path / "runs"], tmp_path / "published.jsonl")


@pytest.mark.fault("data that changed since a run", "a fresh run, which says what it read")
def test_runs_are_keyed_by_what_each_reads(tmp_path, entry):
    read = [{"source": {"fingerprint": str(n)}} for n in range(3)]
    made = runner.complete(tmp_path, entry, SETTINGS, data=read)
    assert [one["data"] for one in made] == read
    again = runner.complete(tmp_path, entry, SETTINGS, data=[*read[:2], {"source": {}}])
    assert [a["fingerprint"] == m["fingerprint"] for a, m in zip(again, made, strict=True)] == [
        True,
        True,
        False,
    ]
    assert len(CALLS) == 4
    with pytest.raises(RecordError, match="data of 2 runs are stated, and there are 3"):
        runner.complete(tmp_path, entry, SETTINGS, data=read[:2])


@pytest.mark.fault("records of settings that the size file has no more", "not read")
def test_only_what_the_size_file_asks_for_is_read(tmp_path, entry):
    for setting in ("kept", "gone"):
        runner.complete(tmp_path / "study" / setting, entry, SETTINGS[: 1 + (setting == "kept")])
    assert len(tables.table(tmp_path)) == 3
    files.write(tmp_path / ASKED, json.dumps(["study/kept"]))
    assert len(tables.table(tmp_path)) == 2
    assert len(tables.table(tmp_path / "study")) == 2


@pytest.mark.fault("an orphaned record of another schema", "not read; every page is built")
def test_an_orphan_of_another_schema_stops_nothing(tmp_path, entry):
    made = runner.complete(tmp_path, entry, SETTINGS)
    orphan = tmp_path / "0123456789abcdef" / "record.json"
    files.write(orphan, json.dumps(made[0] | {"schema": 0}))
    assert len(tables.table(tmp_path)) == 3


@pytest.mark.fault("code that is equal to older code, proven", "the old record is found")
def test_runs_of_equal_code_are_found(tmp_path, entry, monkeypatch):
    (made,) = runner.complete(tmp_path, entry, SETTINGS[:1])
    monkeypatch.setattr(source, "fingerprint", coded("moved code"))
    monkeypatch.setattr(equivalence, "equal", lambda *asked: ["the code", "moved code"])
    assert runner.complete(tmp_path, entry, SETTINGS[:1]) == [made]
    assert len(CALLS) == 1
    assert tables.standing(made) == equivalence.PROVEN
    monkeypatch.undo()


def test_of_several_processes_one_writes(tmp_path, entry):
    assert runner.complete(tmp_path, entry, SETTINGS, writes=False) == []
    assert len(CALLS) == 3 and not list(tmp_path.iterdir())


@pytest.mark.fault("runs of code that is not committed", "not published")
def test_runs_of_uncommitted_code_are_not_published(tmp_path, entry, monkeypatch):
    clean(monkeypatch, dirty=True)
    runner.complete(tmp_path / "runs", entry, SETTINGS)
    with pytest.raises(RecordError, match="not committed"):
        publish.publish([tmp_path / "runs"], tmp_path / "published.jsonl")
    assert not (tmp_path / "published.jsonl").exists()


@pytest.mark.fault(
    "publishing runs that are not there", "status not zero and one line that says why"
)
def test_the_command_line_names_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "granularity.records", "publish", str(tmp_path), "x.jsonl"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 1
    assert "nothing ran yet" in ended.stderr
    saw_end(ended.returncode, ended.stderr)
    assert "Traceback" not in ended.stderr


@pytest.mark.fault("disk full while a record is written", "an error; the earlier record is intact")
def test_a_full_disk_leaves_the_earlier_record(tmp_path):
    path = tmp_path / "record.json"
    before = one(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # no file grows beyond 100 bytes
    try:
        with pytest.raises(OSError, match="large"):
            one(path, metrics={"error": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert record.read(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


WRITER = """
import sys
from pathlib import Path
from granularity import files
for number in range(10**9):
    files.write(Path(sys.argv[1]), "x" * 100_000 + str(number % 10) * 100_000)
"""


@pytest.mark.fault("a process killed while it writes", "the file is whole")
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        path.unlink(missing_ok=True)
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.05)
        process.kill()
        process.wait()
        text = path.read_text()
        assert len(text) == 200_000
        assert len(set(text)) == 2
    saw(f"{len(text):,} letters after each of three kills, none of another version among them")
