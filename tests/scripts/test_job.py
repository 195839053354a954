"""GPUs and cores of the graph's jobs; in the place of papermill a stub that says what it saw."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from faults_seen import saw_end

sys.path.insert(0, str(ROOT / "scripts"))
import job

# Says what it sees, at once, and works until its standard input ends.
STUB = """import json, os, sys
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
told = [os.environ.get("CUDA_VISIBLE_DEVICES"), cores, sys.argv[1:]]
print(json.dumps(told), flush=True)
sys.stdin.read()"""


class Started:
    """A job with the stub, in a folder of its own."""

    def __init__(self, folder, gpus, devices, cores=15):
        """Starts it where `devices` are visible."""
        (folder / "stub.py").write_text(STUB)
        command = [sys.executable, str(ROOT / "scripts/job.py"), str(gpus), str(cores), "stub.py"]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": devices, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def saw(self):
        """What it says that it sees."""
        return json.loads(self.process.stdout.readline())

    def end(self, kill=False):
        """Ends it, and waits."""
        if kill:
            self.process.kill()
        self.process.communicate()


@pytest.mark.fault("as many one-GPU jobs as GPUs start at once", "each has a GPU of its own")
def test_jobs_of_one_machine_share_no_gpu(tmp_path):
    jobs = [Started(tmp_path, gpus, "0,1,2,3") for gpus in (1, 1, 2)]
    seen = [one.saw()[0].split(",") for one in jobs]
    assert [len(found) for found in seen] == [1, 1, 2]
    assert sorted(name for found in seen for name in found) == ["0", "1", "2", "3"]
    for one in jobs:
        one.end()


@pytest.mark.fault("a job is killed that held a GPU", "the next job has it")
def test_a_job_waits_for_a_gpu_and_gets_that_of_a_killed_one(tmp_path):
    first, second = Started(tmp_path, 1, "a,b"), Started(tmp_path, 1, "a,b")
    held = {first.saw()[0], second.saw()[0]}
    third = Started(tmp_path, 1, "a,b")
    time.sleep(0.3)
    assert third.process.poll() is None
    first.end(kill=True)
    assert held == {"a", "b"} and third.saw()[0] in held
    for one in (second, third):
        one.end()


@pytest.mark.fault("a job wants more GPUs than there are", "refused, with those that are")
def test_too_many_gpus_are_refused(tmp_path):
    started = Started(tmp_path, 2, "7")
    _, told = started.process.communicate()
    saw_end(started.process.returncode, told)
    assert started.process.returncode == 1
    assert told == "error: 2 GPUs are wanted and 1 may be seen here (CUDA_VISIBLE_DEVICES=7)\n"
    _, told = Started(tmp_path, 1, "").process.communicate()
    assert "1 GPU is wanted and 0 may be seen" in told and "`device: cpu` in the size file" in told


def test_what_a_cluster_gives_a_job_is_left_as_it_is(tmp_path):
    one, other = Started(tmp_path, 1, "0"), Started(tmp_path, 1, "0")  # on two nodes, say
    for started in (one, other):
        devices, _, words = started.saw()
        assert (devices, words) == ("0", [])
        started.end()
    assert not (tmp_path / job.LOCKS).exists()


def test_a_job_without_a_gpu_sees_all_that_there_is(tmp_path):
    started = Started(tmp_path, 0, "0,1")
    devices, cores, words = started.saw()
    assert (devices, words) == ("0,1", [])
    assert cores in (0, len(getattr(os, "sched_getaffinity", lambda _: [])(0)))
    started.end()


def test_workers_that_do_not_fit_into_the_share_are_left_out(tmp_path):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not say which cores a process may use")
    started = Started(tmp_path, 1, ",".join(map(str, range(64))))
    _, cores, words = started.saw()
    assert cores == max(1, len(os.sched_getaffinity(0)) // 64)
    assert words == ["-p", "workers", str(max(1, cores - 1))]
    started.end()


@pytest.mark.parametrize(
    ("own", "found"),
    [(["0"], [0, 1]), (["3", "1"], [2, 3, 6, 7]), (["0", "1", "2", "3"], list(range(8)))],
)
def test_the_share_of_the_cores_is_that_of_the_gpus(own, found):
    assert job.share(own, ["0", "1", "2", "3"], range(8)) == found


def test_with_fewer_cores_than_gpus_each_job_has_one():
    shares = [job.share([name], ["a", "b", "c"], [4, 5]) for name in "abc"]
    assert all(len(part) == 1 for part in shares)


def test_gpus_are_counted_where_nothing_says_which_may_be_seen(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    assert job.visible({}, tmp_path) == ["0", "1"]
    assert job.visible({"CUDA_VISIBLE_DEVICES": "GPU-4, 7"}, tmp_path) == ["GPU-4", "7"]
    assert job.visible({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []


# Where a kernel listens, as the system sees it; its debugger has a port that the system chose.
ASKED = """import psutil
names = [str(c.laddr) for c in psutil.Process().net_connections(kind="unix")]
print(*sorted({name for name in names if "/kernel-" in name}))"""


def executed(folder, code):
    """The graph's call on a notebook of one cell, ended."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "a.ipynb")
    words = ["-P", str(ROOT / "scripts/execute.py"), "a.ipynb", "b.ipynb", "--no-progress-bar"]
    return subprocess.run(
        [sys.executable, *words], cwd=folder, check=False, capture_output=True, text=True
    )


@pytest.mark.fault("two kernels start at once", "neither has a port that the other could take")
def test_kernels_of_the_graph_share_no_port(tmp_path):
    assert executed(tmp_path, ASKED).returncode == 0
    (made,) = nbformat.read(tmp_path / "b.ipynb", as_version=4).cells[-1].outputs
    files = [Path(name) for name in made.text.split()]
    assert [file.name for file in files] == [f"socket-{number}" for number in range(1, 6)]
    assert not any(file.parent.exists() for file in files), "they go with their kernel"


def test_a_cell_that_fails_fails_the_graph_s_call(tmp_path):
    ended = executed(tmp_path, "raise ValueError('seen')")
    assert ended.returncode == 1
    assert "ValueError: seen" in ended.stderr
