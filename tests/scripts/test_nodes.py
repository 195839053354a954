"""One training on two nodes, both of them this machine: the same numbers as on one."""

import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from two_processes import setting, small_roots

from granularity.experiments import imagenet
from granularity.inputs import plain_yaml
from granularity.records import launch, runner

sys.path.insert(0, str(ROOT / "scripts"))
import nodes

SETTING = setting(12, 4)
SLURM = {"SLURM_JOB_ID": "12345", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "127.0.0.1"}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    yield from small_roots(tmp_path_factory)


def job(folder: Path, roots) -> Path:
    """The job file of one run, as a notebook leaves it."""
    told = {"entry": "imagenet.finetune", "settings": [SETTING], "folder": str(folder)}
    told["places"] = {"roots": roots, "stages": str(folder / "stages"), "train_missing": True}
    folder.mkdir(exist_ok=True)
    (folder / "job.yaml").write_text(plain_yaml.dump(told))
    return folder / "job.yaml"


def started(node: int, *words: object) -> subprocess.Popen:
    """`nodes.py` as srun starts it on a node."""
    command = [sys.executable, str(ROOT / "scripts/nodes.py"), *map(str, words)]
    environment = os.environ | SLURM | {"SLURM_NODEID": str(node)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def test_a_dry_run_says_what_each_node_would_start(tmp_path, roots):
    path = job(tmp_path / "run", roots)
    calls = [shlex.split(started(node, path, 8, "--dry-run").communicate()[0]) for node in (0, 1)]
    for node, call in enumerate(calls):
        given = dict(itertools.pairwise(call))
        assert given["--num_processes"] == "16" and given["--num_machines"] == "2"
        assert given["--machine_rank"] == str(node)
        assert given["--main_process_ip"] == "127.0.0.1"
        assert int(given["--main_process_port"]) == 20000 + 12345 % 10000
        assert call[-2:] == ["granularity.train", str(path)]
    assert not (tmp_path / "run/record.json").exists()


def test_two_nodes_make_the_record_that_one_process_makes(tmp_path, roots):
    """Gradients are summed in another order, so the last digits may differ."""
    path = job(tmp_path / "two", roots)
    both = [started(node, path, 1) for node in (0, 1)]
    try:
        said = [process.communicate(timeout=300)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], "".join(said)
    assert "2 processes, 2 asked for" in "".join(said)
    places = {"roots": roots, "stages": str(tmp_path / "one/stages"), "train_missing": True}
    two = runner.complete(tmp_path / "two", imagenet.finetune, [SETTING], places=places)
    assert not (tmp_path / "one").exists(), "it was made by the two nodes"
    one = runner.complete(tmp_path / "one", imagenet.finetune, [SETTING], places=places)
    assert two[0]["fingerprint"] == one[0]["fingerprint"]
    assert two[0]["metrics"] == pytest.approx(one[0]["metrics"], rel=1e-4)


def test_a_training_goes_on_in_another_number_of_processes(tmp_path, roots):
    """Begun by two, stopped in the middle, ended by one: as if one had made it all."""
    places = {"roots": roots, "train_missing": True, "save_every": 4}
    first, whole = tmp_path / "first", tmp_path / "whole"
    there = places | {"stages": str(first / "stages")}
    launch.launch(first, imagenet.finetune, [SETTING], places=there, processes=2)
    for made in first.glob("*/record.json"):
        made.unlink()
    for stage in (first / "stages").iterdir():
        kept = sorted(stage.glob("checkpoint-*.safetensors"))
        kept[-1].unlink()  # the last one: the one before is of the middle
        (stage / "done").unlink()
    resumed = runner.complete(first, imagenet.finetune, [SETTING], places=there)
    there = places | {"stages": str(whole / "stages")}
    made = runner.complete(whole, imagenet.finetune, [SETTING], places=there)
    assert resumed[0]["metrics"] == pytest.approx(made[0]["metrics"], rel=1e-4)


@pytest.mark.fault("a training on several nodes is started outside Slurm", "refused, by what lacks")
def test_outside_slurm_it_says_what_is_missing(tmp_path, roots):
    path = job(tmp_path / "run", roots)
    environment = {name: v for name, v in os.environ.items() if not name.startswith("SLURM")}
    command = [sys.executable, str(ROOT / "scripts/nodes.py"), str(path), "8"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "SLURM_NNODES is not set: start this by srun" in ended.stderr


def test_the_first_node_of_a_list():
    assert nodes.host_of("gpu03,gpu07") == "gpu03"
