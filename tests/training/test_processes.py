"""What processes of a run agree on: none waits for a run that another call has made meanwhile."""

import json
import os
import time
from pathlib import Path

import pytest
import tiny_run as runs
import torch
from faults_seen import saw

from granularity.records import entries, runner, tables
from granularity.training import one_stage, processes


def finds(folder, place):
    """Each process finds other runs missing: the first one's word holds."""
    os.environ.update(place | {"OMP_NUM_THREADS": "1"})
    rank = int(os.environ["RANK"])
    told = processes.agreed([rank == 0, rank == 1, True])
    (folder / f"{rank}.json").write_text(json.dumps(told))


def test_the_first_process_tells_the_others(tmp_path):
    assert runs.ended(runs.begin(tmp_path, {}, world_size=2, task=finds)) == [0, 0]
    assert {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()} == {
        "0.json": [True, False, True],
        "1.json": [True, False, True],
    }


def test_one_process_agrees_with_itself():
    assert processes.agreed({"a": 1}) == {"a": 1}


def shared(*, seed: int = 0) -> dict:
    """A run whose processes must all take part, as those of a training."""
    made = processes.accelerator_of("cpu")
    total = made.reduce(torch.ones(()) * (1 + seed), "sum")
    return {"metrics": {"total": float(total)}}


shared.__module__, shared.__qualname__ = (
    "granularity.experiments.two_stages",
    "shared",
)  # as one of the library's
SHARED = entries.Entry(
    "granularity.experiments.two_stages", "shared", ("granularity.stages:shared",)
)


def completes(folder, place):
    """Makes three runs; the second process sees the second one made by another call already."""
    os.environ.update(place | {"OMP_NUM_THREADS": "1"})
    entries.ENTRIES["stages.shared"] = SHARED
    rank, exists = int(os.environ["RANK"]), Path.exists
    settings = [{"seed": seed} for seed in range(3)]
    hidden = runner.fingerprint(shared, settings[1])
    if rank == 1:
        Path.exists = lambda path: path.parent.name == hidden or exists(path)
    runner.complete(folder / "runs", shared, settings, writes=rank == 0)
    Path.exists = exists


@pytest.mark.fault(
    "a run that one of two processes finds made, by another call, and the other does not",
    "the first one's word holds: both make it, and neither waits for ever",
)
def test_processes_that_find_other_runs_missing_do_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setitem(entries.ENTRIES, "stages.shared", SHARED)
    assert runs.ended(runs.begin(tmp_path, {}, world_size=2, task=completes)) == [0, 0]
    made = tables.table(tmp_path / "runs")
    assert made["total"].tolist() == [2.0, 4.0, 6.0]
    saw("both processes ended; three records")


def resumes(folder, place):
    """A stage that another call ends between the two processes' looks at its folder."""
    os.environ.update(place | {"OMP_NUM_THREADS": "1"})
    wanted = runs.recipe(steps=12)
    if os.environ["RANK"] == "0":  # the first one gets the folder only after the other has looked
        alone = one_stage.files.alone

        def late(*given, **options):
            time.sleep(2)
            source = folder / "ended"
            for path in source.glob("**/checkpoint-12.safetensors"):
                target = folder / "stages" / "k" / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
            return alone(*given, **options)

        one_stage.files.alone = late
    one_stage.stage(
        wanted,
        runs.memory(wanted),
        runs.LABELS,
        runs.CLASSES,
        key="k",
        seed=0,
        folder=folder / "stages",
    )


@pytest.mark.fault(
    "a stage that another call ends while two processes take it up",
    "both look at its folder once the first has it to itself: both find it done",
)
def test_processes_take_up_a_stage_from_the_same_checkpoint(tmp_path):
    wanted = runs.recipe(steps=12)
    given = (wanted, runs.memory(wanted), runs.LABELS, runs.CLASSES)
    one_stage.stage(*given, key="k", seed=0, folder=tmp_path / "ended")
    assert runs.ended(runs.begin(tmp_path, {}, world_size=2, task=resumes)) == [0, 0]
    assert (tmp_path / "stages" / "k" / "done").exists()
