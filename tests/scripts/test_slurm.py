"""A real Slurm of one node: the graph runs through it, and survives what happens to jobs."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, RUN

pytestmark = pytest.mark.faults

PROGRAMS = (
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "srun",
    "squeue",
    "scancel",
    "scontrol",
    "sinfo",
)
# A cluster without accounting, as small as can be; the node claims GPUs that are plain files. It is
# patient: on a machine with much else to do an answer may take longer than the usual two seconds.
CONFIGURATION = """\
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
KillWait=3
CompleteWait=0
MessageTimeout=60
TCPTimeout=30
BatchStartTimeout=180
ReturnToService=2
NodeName=small NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=300000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Processes of Slurm's own that write their title over their environment.
UNTOLD = ("slurmstepd", "slurmscriptd")


class Slurm:
    """A controller and a node of our own, with all their files and ports apart from any other's."""

    def __init__(self, folder: Path):
        """Writes the configuration into an empty folder."""
        self.folder, self.started = folder, []
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        # Inside a job the executor drops every SLURM_… but a few, and so where this cluster is.
        srun = folder / "bin" / "srun"
        place = self.environment["SLURM_CONF"]
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={place} exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        ports = free_ports(2)
        text = CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            user=pwd.getpwuid(os.getuid()).pw_name,
            controller=ports[0],
            daemon=ports[1],
        )
        (folder / "slurm.conf").write_text(text)
        for number in range(2):
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(f"NodeName=small Name=gpu File={folder}/gpu[0-1]\n")
        (folder / "cgroup.conf").write_text("")
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)

    def start(self) -> None:
        """Starts munge, the controller and the node, and waits until the node takes jobs."""
        names = {"key-file": "munge.key", "socket": "munge.socket", "seed-file": "seed"}
        names |= {"pid-file": "munged.pid", "log-file": "munged.log"}
        paths = [f"--{option}={self.folder / name}" for option, name in names.items()]
        self.daemon("munged", "--foreground", "--force", *paths)
        wait_until((self.folder / "munge.socket").exists, "socket of munge", self)
        self.daemon("slurmctld", "-D")
        self.daemon("slurmd", "-D")
        wait_until(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T"), "an idle node", self)

    def daemon(self, program: str, *words: str) -> None:
        """Starts a daemon in the foreground of a session of its own."""
        out = (self.folder / f"{program}.out").open("w")
        with out:
            process = subprocess.Popen(
                [program, *words],
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.started.append(process)

    def call(self, *words: str) -> str:
        """What a command of Slurm prints; nothing where it fails."""
        ended = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        return ended.stdout

    def told(self) -> str:
        """The ends of the daemons' logs."""
        logs = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        told = [f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs]
        for process in self.left():
            with contextlib.suppress(psutil.Error):
                line = (process.pid, process.ppid(), process.status(), process.cmdline())
                told.append(" ".join(map(str, line)))
        return "\n".join(told)

    def stop(self) -> None:
        """Ends the jobs, then the daemons and whatever they left running."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.call("scancel", "--signal=KILL", "--user", str(os.getuid()))
            self.call("scancel", "--user", str(os.getuid()))
        for process in self.started[::-1]:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        killed(self.left())

    def left(self) -> list[psutil.Process]:
        """Processes of this cluster that still run, jobs among them."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if not mine and process.name() in UNTOLD:
                    paths = [file.path for file in process.open_files()]
                    mine = any(path.startswith(f"{self.folder}/") for path in paths)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def killed(processes: list[psutil.Process]) -> None:
    """Kills processes and waits until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, 30)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def wait_until(there, what: str, slurm: Slurm, seconds: float = 180) -> None:
    """Waits for something to become true; fails with the daemons' logs."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"no {what} after {seconds} s\n{slurm.told()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def slurm():
    """One cluster for all tests; skips, visibly, where its programs are not installed."""
    patch = pytest.MonkeyPatch()  # where Debian has daemons, for plain users too
    patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"no Slurm here ({', '.join(missing)}): apt-get install slurm-wlm munge")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a socket's path must be short
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        patch.undo()
        cluster.stop()
        assert not cluster.left()
        shutil.rmtree(folder)


@pytest.fixture
def start(slurm, house):
    """Starts Snakemake with the profile in a small book; ends it at the end of the test."""
    running = []

    def begin(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", "--profile", str(ROOT / "profiles/slurm")]
        command += ["--configfile", "notebooks/params/smoke.yaml", "--slurm-no-account"]
        command += ["--slurm-status-command", "squeue", "--latency-wait", "5"]
        command += ["--slurm-init-seconds-before-status-checks", "1", *words]
        process = subprocess.Popen(
            command,
            cwd=house.folder,
            env=slurm.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Behind a shell that runs it in the background, it would ignore interruptions.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    slurm.call("scancel", "--user", str(os.getuid()))


def ended(process: subprocess.Popen, house) -> str:
    """All that a Snakemake printed, which must have ended well."""
    printed, _ = process.communicate(timeout=900)
    if process.returncode:
        logs = (house.folder / ".snakemake/slurm_logs").rglob("*.log")
        printed += "\n".join(log.read_text(errors="replace")[-3000:] for log in logs)
    assert process.returncode == 0, printed
    return printed


def record_of(house, name: str = "theory/simulate/only") -> Path:
    return house.folder / "runs" / "smoke" / name / "record.json"


GIVEN, WRITTEN = RUN.split("\npath = ")
WRITTEN = f"path = {WRITTEN}"
KEEPS = f"""import json, os, pathlib
names = ("SLURM_", "OMP_")
kept = {{name: value for name, value in os.environ.items() if name.startswith(names)}}
pathlib.Path("given.json").write_text(json.dumps(kept))
{WRITTEN}"""
SEED = "seed = 0\nfolder = 'x'"
# Waits, in its first attempt alone, for what a test does to it; a later attempt goes on.
WAITS = f"""import os, pathlib, time
job = os.environ["SLURM_JOB_ID"]
with pathlib.Path("attempts").open("a") as attempts:
    attempts.write(job + "\\n")
first = len(pathlib.Path("attempts").read_text().split()) == 1
while first:
    time.sleep(0.2)
{WRITTEN}"""


def first_attempt(slurm: Slurm, house, process: subprocess.Popen) -> str:
    """The number that Slurm gave to the job that now waits."""
    attempts = house.folder / "attempts"

    def waits() -> bool:
        assert process.poll() is None, process.stdout.read()
        return attempts.exists() and attempts.read_text().endswith("\n")

    wait_until(waits, "job that runs", slurm, 400)
    return attempts.read_text().split()[0]


def test_the_graph_runs_through_slurm_and_a_second_call_has_nothing_to_do(slurm, house, start):
    house.notebook("theory/simulate", SEED, GIVEN, KEEPS)
    printed = ended(start(), house)
    assert printed.count("has been submitted with SLURM jobid") == 3, printed
    assert json.loads(record_of(house).read_text())["kind"] == "contents of x"
    assert "a result" in house.page().read_text()
    given = json.loads((house.folder / "given.json").read_text())
    assert "SLURM_JOB_ID" in given
    assert given["SLURM_CPUS_PER_TASK"] == "1"
    assert "SLURM_GPUS_ON_NODE" not in given
    assert "Nothing to be done" in ended(start(), house)


ASKS = "device = 'cpu'\nprocesses = 1\nworkers = 0\nfolder = 'x'"


def test_gpus_and_cores_are_those_of_the_run_s_parameters(slurm, house, start):
    house.notebook("theory/simulate", ASKS, GIVEN, KEEPS)
    house.size("device: cuda, processes: 2, workers: 3")
    ended(start(str(record_of(house).relative_to(house.folder))), house)
    given = json.loads((house.folder / "given.json").read_text())
    assert given["SLURM_GPUS_ON_NODE"] == "2"
    assert given["SLURM_CPUS_PER_TASK"] == "8"
    assert given["OMP_NUM_THREADS"] == "1"


@pytest.mark.fault(
    "a Slurm job killed ({fault})", "tried again as a new job; nothing of the killed one goes on"
)
@pytest.mark.parametrize("fault", ["scancel", "kernel"])
def test_a_job_that_is_killed_is_tried_again(slurm, house, start, fault):
    house.notebook("theory/simulate", SEED, GIVEN, WAITS)
    process = start(str(record_of(house).relative_to(house.folder)))
    job = first_attempt(slurm, house, process)
    if fault == "scancel":
        slurm.call("scancel", job)
    else:
        kernel_of(slurm, job).kill()
    printed = ended(process, house)
    assert f"SLURM-job '{job}' failed" in printed
    attempts = (house.folder / "attempts").read_text().split()
    assert len(attempts) == 2
    assert attempts[0] != attempts[1], "a new job, from Snakemake"
    assert record_of(house).exists()
    wait_for_the_end(slurm, job)


@pytest.mark.fault("a job that Slurm requeues", "the same job goes on; Snakemake waits for it")
def test_a_job_that_slurm_starts_again_is_the_same_job(slurm, house, start):
    house.notebook("theory/simulate", SEED, GIVEN, WAITS)
    process = start(str(record_of(house).relative_to(house.folder)))
    job = first_attempt(slurm, house, process)
    slurm.call("scontrol", "requeue", job)
    # Slurm holds a requeued job back for two minutes, in which the first attempt ends. With less
    # delay its Snakemake would still be there, and clean up after it what the second attempt makes.
    wait_for_the_end(slurm, job)
    wait_until(
        lambda: "PENDING" in slurm.call("squeue", "-h", "-j", job, "-o", "%T"), "requeued", slurm
    )
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")
    printed = ended(process, house)
    assert "failed" not in printed, printed + slurm.told()
    assert (house.folder / "attempts").read_text().split() == [job, job]


@pytest.mark.fault(
    "a Slurm job that always fails", "status not zero, no record, no page; the notebook is kept"
)
def test_a_job_that_always_fails_ends_the_call_and_leaves_no_record(slurm, house, start):
    house.notebook("theory/simulate", SEED, GIVEN, "raise ValueError('broken')")
    process = start("--retries", "0")
    printed, _ = process.communicate(timeout=900)
    assert process.returncode != 0
    assert printed.count("has been submitted with SLURM jobid") == 1, "nothing goes on after it"
    assert not record_of(house).exists()
    assert not house.page().exists()
    assert record_of(house).with_name("notebook.ipynb").exists(), "the notebook is kept"


@pytest.mark.fault(
    "Snakemake interrupted while its Slurm job runs", "the job ends too; the next call makes it"
)
def test_snakemake_that_is_interrupted_takes_its_jobs_along(slurm, house, start):
    house.notebook("theory/simulate", SEED, GIVEN, WAITS)
    process = start(str(record_of(house).relative_to(house.folder)))
    job = first_attempt(slurm, house, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=400)
    assert process.returncode != 0
    wait_for_the_end(slurm, job)
    assert not record_of(house).exists()
    ended(start(str(record_of(house).relative_to(house.folder))), house)
    assert record_of(house).exists()


def jobs_of(slurm: Slurm, job: str) -> list[psutil.Process]:
    """Processes of a job that still run, those of Slurm that look after it among them."""
    found = []
    for process in slurm.left():
        with contextlib.suppress(psutil.Error):
            looks_after = f"slurmstepd: [{job}." in " ".join(process.cmdline())
            if looks_after or process.environ().get("SLURM_JOB_ID") == job:
                found.append(process)
    return found


def wait_for_the_end(slurm: Slurm, job: str) -> None:
    """Waits until nothing of a job goes on.

    The first signal ends the job's script, but not Snakemake and srun below it: they wait for the
    step's end, without a parent, and this way of tracking processes (linuxproc, by parents) loses
    them; a control group, as clusters have it, would not. Nearly always they end by themselves. But
    a second signal that meets Snakemake as it handles the step's end leaves it waiting for ever for
    a lock that it holds itself. Such a one is killed here, as a control group would kill it.
    """
    wait_until(lambda: all(map(watches, jobs_of(slurm, job))), "end of the job", slurm)
    psutil.wait_procs(jobs_of(slurm, job), 20)
    killed(jobs_of(slurm, job))
    assert not jobs_of(slurm, job), "nothing of it goes on"


def watches(process: psutil.Process) -> bool:
    """Whether a process only watches work of others: srun, and Snakemake in the job's script."""
    try:
        return process.name() == "srun" or "slurm-jobstep" in process.cmdline()
    except psutil.Error:
        return True  # it has just ended


def kernel_of(slurm: Slurm, job: str) -> psutil.Process:
    """The notebook's kernel in a job."""
    return next(p for p in jobs_of(slurm, job) if "ipykernel_launcher" in " ".join(p.cmdline()))
