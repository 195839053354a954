"""A run of several processes that loses one of them: an error, no record, and then it goes on."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from faults_seen import saw
from two_processes import setting, small_roots

from granularity.experiments import imagenet
from granularity.records import launch, runner

pytestmark = pytest.mark.faults

STEPS, SAVED = 120, 20
SETTING = setting(STEPS, 5)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    yield from small_roots(tmp_path_factory)


def places_of(folder: Path, roots) -> dict:
    return {
        "roots": roots,
        "stages": str(folder / "stages"),
        "train_missing": True,
        "save_every": SAVED,
    }


def launched(folder: Path, roots) -> None:
    """The run in two processes, as a notebook starts it."""
    settings, places = [SETTING], places_of(folder, roots)
    launch.launch(folder, imagenet.finetune, settings, places=places, processes=2)


def outcome(folder: Path, roots) -> tuple[dict, dict]:
    """Metrics of the run, which must be there already, and its losses of single images."""
    assert len(list(folder.glob("*/record.json"))) == 1
    made = runner.complete(folder, imagenet.finetune, [SETTING], places=places_of(folder, roots))
    (path,) = folder.glob("*/evaluation.npz")
    with np.load(path) as arrays:
        return made[0]["metrics"], dict(arrays)


@pytest.fixture(scope="module")
def undisturbed(roots, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    launched(folder, roots)
    return outcome(folder, roots)


def workers_of(folder: Path) -> list[psutil.Process]:
    """The launcher and the processes of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder / "job.yaml") in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_one(folder: Path, rank: int, killed: list[int]) -> None:
    """Kills a process of the run once two checkpoints are there."""
    deadline = time.monotonic() + 120
    while len(list((folder / "stages").glob("*/checkpoint-*.safetensors"))) < 2:
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
    for process in workers_of(folder):
        if process.environ().get("RANK") == str(rank):
            process.kill()
            killed.append(process.pid)


@pytest.mark.fault(
    "process {rank} of a run of two killed, under accelerate",
    "the run ends with an error and no record; the next call ends as an undisturbed run",
)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_run_and_the_next_call_goes_on(
    roots, tmp_path, undisturbed, rank
):
    killed = []
    killer = threading.Thread(target=kill_one, args=(tmp_path, rank, killed))
    killer.start()
    with pytest.raises(RuntimeError, match="2 processes ended with 1"):
        launched(tmp_path, roots)
    killer.join()
    assert len(killed) == 1
    assert not workers_of(tmp_path), "the others do not go on without it"
    assert not list(tmp_path.glob("**/record.json"))
    assert not list(tmp_path.glob("stages/*/done"))
    kept = {int(p.stem.split("-")[1]) for p in tmp_path.glob("stages/*/checkpoint-*.safetensors")}
    assert 0 < max(kept) < STEPS

    launched(tmp_path, roots)
    said = (tmp_path / "job.log").read_text()
    assert f" {max(kept)}/{STEPS} " in said, "it went on from the last checkpoint"
    metrics, arrays = outcome(tmp_path, roots)
    assert metrics == undisturbed[0]
    saw(f"killed: process {rank}; gone on with at step {max(kept)}; the same metrics: {metrics}")
    for name, values in undisturbed[1].items():
        np.testing.assert_array_equal(arrays[name], values, name)


CALLER = """import json, sys
from granularity.experiments import imagenet
from granularity.records import launch
folder, setting, places = json.loads(sys.argv[1])
launch.launch(folder, imagenet.finetune, [setting], places=places, processes=2)"""


@pytest.mark.fault(
    "a notebook's kernel killed while accelerate's two processes work for it",
    "they end with it; no record; the next call ends as an undisturbed run",
)
def test_a_caller_that_is_killed_takes_its_processes_along(roots, tmp_path, undisturbed):
    told = json.dumps([str(tmp_path), SETTING, places_of(tmp_path, roots)])
    caller = subprocess.Popen([sys.executable, "-c", CALLER, told], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(list((tmp_path / "stages").glob("*/checkpoint-*.safetensors"))) < 1:
        assert caller.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    working = workers_of(tmp_path)
    assert len(working) >= 3, "the launcher and two processes"
    caller.kill()
    caller.wait()
    _, left = psutil.wait_procs(working, timeout=60)
    assert not left and not workers_of(tmp_path)
    assert "the process that started this run is gone" in (tmp_path / "job.log").read_text()
    assert not list(tmp_path.glob("**/record.json"))
    kept = {int(p.stem.split("-")[1]) for p in tmp_path.glob("stages/*/checkpoint-*.safetensors")}
    assert 0 < max(kept) < STEPS, "they did not work to the end before they ended"

    launched(tmp_path, roots)
    metrics, arrays = outcome(tmp_path, roots)
    assert metrics == undisturbed[0]
    for name, values in undisturbed[1].items():
        np.testing.assert_array_equal(arrays[name], values, name)
    saw(f"all {len(working)} ended with it, at step {max(kept)}; the next call: the same metrics")
