"""Jobs: what is refused before any work."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT
from faults_seen import saw_end

from granularity.records import launch


@pytest.mark.fault("a job file with a field too many", "refused")
def test_a_job_with_a_field_too_many_is_refused():
    with pytest.raises(ValueError, match="a job has"):
        launch.run_job({"entry": "x:y", "settings": [], "places": {}, "folder": "x", "more": 1})


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("accelerate launch --num_processes 2 -m granularity.train job.yaml", 2),
        ("accelerate launch --num-processes=8 --multi_gpu -m granularity.train job.yaml", 8),
        ("accelerate launch --num_processes 4 --num-processes=3 -m granularity.train x", 3),
        ("accelerate launch -m granularity.train job.yaml", 1),
        ("bash -l", 1),
    ],
)
def test_how_many_processes_a_launcher_was_asked_for(words, asked):
    assert launch.asked_for(words.split()) == asked


@pytest.mark.parametrize("name", ["ACCELERATE_NUM_PROCESSES", "WORLD_SIZE"])
def test_a_launcher_may_say_it_in_the_environment(name):
    assert launch.asked_for(["torchrun", "job.yaml"], {name: "2"}) == 2
    assert launch.asked_for(["x", "--num_processes", "3"], {name: "2"}) == 3
    assert launch.asked_for(["torchrun"], {}) == 1


# What `accelerate config` writes of a machine without GPUs, with two processes.
SETTINGS = """compute_environment: LOCAL_MACHINE
distributed_type: 'NO'
mixed_precision: 'no'
num_machines: 1
num_processes: 2
use_cpu: true
"""


@pytest.mark.fault(
    "accelerate is asked for two processes and starts one ({by})", "refused, with the way"
)
@pytest.mark.parametrize(
    "by", ["--num_processes 2", "--config_file own-settings.yaml", "the user's settings"]
)
def test_one_process_in_the_place_of_two_is_refused(tmp_path, by):
    (tmp_path / "job.yaml").write_text("{entry: x.y, settings: [], places: {}, folder: x}\n")
    (tmp_path / "own-settings.yaml").write_text(SETTINGS)
    if by == "the user's settings":
        (tmp_path / "accelerate").mkdir()
        (tmp_path / "accelerate/default_config.yaml").write_text(SETTINGS)
    words = by.split() if by.startswith("--") else []
    command = [sys.executable, "-m", "accelerate.commands.launch", *words, "--cpu"]
    command += ["-m", "granularity.train", "job.yaml"]
    given = os.environ | {"PYTHONPATH": str(ROOT / "lib"), "CUDA_VISIBLE_DEVICES": ""}
    given["HF_HOME"] = str(tmp_path)  # no settings of the user's
    ended = subprocess.run(
        command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False
    )
    saw_end(ended.returncode, ended.stderr)
    assert ended.returncode
    assert "2 processes were asked for and this is one alone" in ended.stderr
    assert "--multi_gpu --num_processes 2" in ended.stderr
