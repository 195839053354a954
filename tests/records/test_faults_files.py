"""Files under faults: killed between writing and naming, disk full, two at once, forged records."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_run as runs
import torch
import yaml
from conftest import clean, registered
from faults_seen import saw, saw_end

from granularity import files, labels
from granularity.claims import scoreboard
from granularity.images import layouts, listing
from granularity.records import launch, publish, record, runner, tables, verify
from granularity.records.record import RecordError
from granularity.training import checkpoints, embeddings, evaluation, networks

# ------------------------------------------------------------------- what is written, and read back


def write_record(folder, number):
    record.write(folder / "record.json", kind="x.y", metrics={"number": number})


def read_record(folder):
    return record.read(folder / "record.json")["metrics"]["number"]


def write_checkpoint(folder, number):
    tensors = {"model.a": torch.full((2000,), float(number))}
    checkpoints.save(folder / "checkpoint-1.safetensors", tensors, {"fingerprint": "x", "step": 1})


def read_checkpoint(folder):
    return int(checkpoints.load(folder / "checkpoint-1.safetensors")[0]["model.a"][0])


def write_arrays(folder, number):
    rng = np.random.default_rng(number).random(3000)  # nothing that could be packed
    found = {"loss": rng, "prediction": rng, "rank": rng, "label": rng + number}
    evaluation.keep(found, folder / "evaluation.npz", ["a", "b"])


def read_arrays(folder):
    return int(tables.opened(folder / "evaluation.npz")["label"][0])


def write_labels(folder, number):
    items = [f"{number}-{item}" for item in range(500)]
    labels.save(labels.from_sets("x", items, [{item} for item in items]), folder / "labels.npz")


def read_labels(folder):
    return int(labels.load(folder / "labels.npz").items[0].partition("-")[0])


def write_index(folder, number):
    place = layouts.Place(
        "n1", 0, ("n1",), np.array([b"n1/x.png"] * 200), np.zeros(200, "<i4"),
        np.full(200, number), np.zeros(200, "<i8"),
    )  # fmt: skip
    columns = {name: getattr(place, name) for name in ("names", "leaf", "sizes", "start")}
    made = listing.Listing(
        "r", ("n1",), ("n1",), place=np.zeros(200, "<i4"), stamps={}, others=0, **columns
    )
    listing.write(folder / "x.index", made)


def read_index(folder):
    return int(listing.read(folder / "x.index").sizes[0])


def write_text(folder, number):
    files.write(folder / "done", str(number) * 5000)


def read_text(folder):
    return int((folder / "done").read_text()[0])


WRITERS = {
    "a record": (write_record, read_record),
    "a checkpoint": (write_checkpoint, read_checkpoint),
    "arrays of single images": (write_arrays, read_arrays),
    "a file of labels": (write_labels, read_labels),
    "an index file": (write_index, read_index),
    "a mark of a finished stage": (write_text, read_text),
}


def cut_off(work) -> None:
    """Does `work` in a process that is killed where a file would get its final name."""
    child = os.fork()
    if not child:
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.fault(
    "power cut after {what} was written and before it got its name", "the earlier one is whole"
)
@pytest.mark.parametrize("what", WRITERS)
def test_a_kill_between_writing_and_naming_leaves_the_earlier_file(tmp_path, what):
    write, read = WRITERS[what]
    write(tmp_path, 1)
    cut_off(lambda: write(tmp_path, 2))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2, "the half-made one is still there, under another name"
    assert read(tmp_path) == 1
    write(tmp_path, 3)
    assert read(tmp_path) == 3
    saw(f"{' and '.join(left)} after the kill; the first is read as it was, then replaced")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of half a megabyte; skips, visibly, where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, spare: int = 0) -> Path:
    """Fills a disk up to some spare bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, filler.stat().st_size - spare))
    return filler


@pytest.mark.fault("a disk that is full as {what} is written", "an error; the earlier one is whole")
@pytest.mark.parametrize("what", WRITERS)
def test_a_disk_that_is_full_leaves_the_earlier_file(small_disk, what):
    write, read = WRITERS[what]
    write(small_disk, 1)
    before = sorted(path.name for path in small_disk.iterdir())
    filler = fill(small_disk)
    with pytest.raises(OSError, match=r"[Nn]o space"):
        write(small_disk, 2)
    assert read(small_disk) == 1
    filler.unlink()
    assert sorted(path.name for path in small_disk.iterdir()) == before
    write(small_disk, 3)
    assert read(small_disk) == 3


class Unread:
    """Images of which only the first few may be looked at: they tell the width of the array."""

    def __len__(self):
        return 2000

    def batches(self, plan, train, device):
        for piece in plan:
            assert piece.samples[0] == 0, "more images were looked at"
            yield torch.zeros(len(piece.samples), 3, 8, 8), torch.zeros(len(piece.samples))


@pytest.mark.fault(
    "a disk with room for the first rows of an embedding array only",
    "an error after the first few images; the earlier array is whole",
)
def test_a_disk_too_small_for_an_embedding_array_is_told_first(small_disk):
    recipe = runs.recipe()
    model = networks.build(recipe, runs.CLASSES, 0).eval()
    few = runs.memory(recipe, 8)
    first = np.array(embeddings.features(model, few, key="few", folder=small_disk))
    fill(small_disk, spare=3 * 4096)
    with pytest.raises(OSError, match=r"[Nn]o space"):
        embeddings.features(model, Unread(), key="many", folder=small_disk)
    (small_disk / "filler").unlink()
    again = embeddings.features(model, few, key="few", folder=small_disk)
    assert np.array_equal(first, again)


@pytest.mark.fault(
    "a disk that is full as published records are replaced", "an error; the earlier ones are whole"
)
def test_a_full_disk_leaves_what_was_published(small_disk, tmp_path, entry, monkeypatch):
    clean(monkeypatch)
    runs_, published = tmp_path / "runs", small_disk / "published.jsonl"
    (made,) = runner.complete(runs_, entry, [{"seed": 0}])
    array = np.random.default_rng(0).random(2000)
    np.savez(runs_ / made["fingerprint"] / "evaluation.npz", loss=array)
    publish.publish([runs_], published)
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    filler = fill(small_disk)
    with pytest.raises(OSError, match=r"[Nn]o space"):
        publish.publish([runs_], published)
    filler.unlink()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before


# ------------------------------------------------------------------------------- runs in a folder


def study(seed: int, calls: str = "", slow: float = 0.0, deadly: int = -1) -> dict:
    """Stands in for an entry point of the library; notes its calls in a file, and may kill."""
    if calls:
        with Path(calls).open("a", encoding="utf-8") as file:
            file.write(f"{seed}\n")
    if seed == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(slow)
    return {"metrics": {"error": seed / 10}}


@pytest.fixture
def entry(monkeypatch):
    """`study`, passing for a function of the library whose code has a fingerprint."""
    return registered(monkeypatch, study)


def in_child(work) -> int:
    """Starts `work` in a process of its own."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return child


SEEDS = [{"seed": seed} for seed in range(3)]


@pytest.mark.fault("power cut in the middle of a list of runs", "the next call makes the rest only")
def test_a_call_that_is_killed_goes_on_where_it_was(tmp_path, entry):
    folder, calls = tmp_path / "runs", tmp_path / "calls"
    places = {"calls": str(calls), "deadly": 1}
    child = in_child(lambda: runner.complete(folder, entry, SEEDS, places=places))
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (folder / "record.json").exists()
    with pytest.raises(FileNotFoundError, match="nothing ran yet"):
        tables.table(folder)
    made = runner.complete(folder, entry, SEEDS, places=places | {"deadly": -1})
    assert [record["metrics"]["error"] for record in made] == [0, 0.1, 0.2]
    assert calls.read_text().split() == ["0", "1", "1", "2"]
    saw(f"runs made: {', '.join(calls.read_text().split())}; seed 1 was killed the first time")


@pytest.mark.fault("the same runs started twice in one folder", "the second waits, and finds them")
def test_two_calls_at_once_make_each_run_once(tmp_path, entry, capfd):
    folder, calls = tmp_path / "runs", tmp_path / "calls"
    places = {"calls": str(calls), "slow": 0.2}
    child = in_child(lambda: runner.complete(folder, entry, SEEDS, places=places))
    while not calls.exists():
        time.sleep(0.01)
    made = runner.complete(folder, entry, SEEDS, places=places)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(calls.read_text().split()) == ["0", "1", "2"]
    assert len(made) == 3
    told = capfd.readouterr().out
    assert "another process works in" in told
    saw(told)


@pytest.mark.fault("the lock of a call that was killed", "free: nobody waits for the dead")
def test_the_lock_of_a_killed_call_is_free(tmp_path, entry, capfd):
    places = {"deadly": 0}
    child = in_child(lambda: runner.complete(tmp_path, entry, SEEDS, places=places))
    os.waitpid(child, 0)
    assert (tmp_path / "lock").exists()
    assert len(runner.complete(tmp_path, entry, SEEDS)) == 3
    assert "another process" not in capfd.readouterr().out
    saw("the lock file is there, nobody holds it, and the call went on at once")


@pytest.mark.fault("the record of another run in a run's folder", "refused by name")
def test_a_record_of_another_run_is_not_taken_for_this_one(tmp_path, entry):
    first, second, _ = runner.complete(tmp_path, entry, SEEDS)
    shutil.copy(
        tmp_path / first["fingerprint"] / "record.json",
        tmp_path / second["fingerprint"] / "record.json",
    )
    for read in (
        lambda: runner.complete(tmp_path, entry, SEEDS),
        lambda: tables.table(tmp_path),
    ):
        with pytest.raises(RecordError, match="the record of another run"):
            read()


# --------------------------------------------------------------------------- forged, for the board


def changed(path: Path, **values) -> None:
    record = json.loads(path.read_text()) | values
    path.write_text(json.dumps(record) + "\n")


SPOILT = {
    "cut short": lambda path: path.write_text(path.read_text()[:-40]),
    "of another schema": lambda path: changed(path, schema=2),
    "with a metric changed by hand": lambda path: changed(path, metrics={"error": 0.0}),
    "with a metric that is not a number": lambda path: changed(path, metrics={"error": np.nan}),
    "without metrics": lambda path: changed(path, metrics=None),
    "that is no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "of another run": lambda path: write_record(path.parent, 3),
}


@pytest.mark.fault("a record {how}, {where} the scoreboard reads", "refused by name; not used")
@pytest.mark.parametrize(
    ("how", "where"),
    [(how, "in the folders of runs that") for how in SPOILT]
    + [(how, "in the published files that") for how in SPOILT if how != "of another run"],
)
def test_the_scoreboard_uses_no_spoilt_record(tmp_path, entry, how, where):
    folder, published = tmp_path / "runs" / "smoke", tmp_path / "results"
    made = runner.complete(folder / "x", entry, SEEDS)
    if "folders" in where:
        SPOILT[how](folder / "x" / made[1]["fingerprint"] / "record.json")
        named = r"record\.json"
    else:
        published.mkdir()
        spoilt = published / "x.jsonl"
        spoilt.write_text(json.dumps(made[1]) + "\n")
        SPOILT[how](spoilt)
        named = r"x\.jsonl"
    with pytest.raises(RecordError, match=named):
        scoreboard.load(folder, published)


# ------------------------------------------------------------------------------ forged, to be run


@pytest.mark.fault("a record whose function is {name}", "refused; nothing of it is loaded or run")
@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "granularity.x.py/../../evil:f",
        "granularity:os",
        "",
        "granularity.",
        "granularity.records:publish",
        "granularity.toy:main",
        "theory.Setting",
    ],
)
def test_a_forged_record_calls_nothing(tmp_path, name):
    record = {"entry": name, "arguments": {"command": f"touch {tmp_path / 'exploded'}"}}
    with pytest.raises(RecordError, match="no runs are made by"):
        verify.again(record, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.fault("a job file that names {name}", "refused, with the nearest name")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("os:system", "no runs are made by 'os:system'"),
        ("granularity.records:publish", "no runs are made by 'granularity.records:publish'"),
        ("granularity.theory:simulat", "the nearest one is granularity.theory:simulate"),
        ("theory.simulat", "the nearest one is theory.simulate"),
    ],
)
def test_a_job_calls_functions_of_the_library_only(tmp_path, name, told):
    job = {"entry": name, "settings": [], "places": {}, "folder": str(tmp_path)}
    with pytest.raises(RecordError, match=told):
        launch.run_job(job)


GOOD = {"entry": "granularity.theory:simulate", "settings": [], "places": {}, "folder": "x"}


@pytest.mark.fault("a job file with {change}", "refused by name, before any work")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seting": []}, "did you mean 'settings'"),
        ({"settings": 3}, "field 'settings' is 3"),
        ({"settings": [3]}, "field 'settings' has 3"),
        ({"places": None}, "field 'places' is None"),
        ({"folder": 1.5}, "field 'folder' is 1.5"),
    ],
)
def test_a_job_file_that_is_none_is_refused(tmp_path, change, told):
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(launch.JobError, match=rf"job\.yaml: .*{told}"):
        launch.read(path)


@pytest.mark.fault("a job file that is cut short", "status not zero, and a message that names it")
def test_a_job_file_that_is_cut_short_stops_the_process(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("entry: 'granularity.theo")
    command = [
        sys.executable,
        "-c",
        "from granularity.commands.main import main; main()",
        "train",
        str(path),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "job.yaml: no YAML" in ended.stderr and "Traceback" not in ended.stderr
    saw_end(ended.returncode, ended.stderr)
