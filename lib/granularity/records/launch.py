"""Runs started from a shell: in this process, or in several that accelerate starts.

From a shell, in one process or in several:

    granularity train job.yaml
    accelerate launch --multi_gpu --num_processes 8 -m granularity.train job.yaml

("multi_gpu" is the name of torch's launcher, for processes on a CPU too.) A job is a YAML file with
`entry` (a function of the library), `settings` (a list of its arguments), `places` (arguments that
say where things lie on this machine) and `folder`.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from accelerate.commands.config import config_args

from granularity import files, surroundings
from granularity.inputs import plain_yaml
from granularity.inputs.nearest import nearest
from granularity.inputs.strict import Misfit, checked
from granularity.records import entries, runner
from granularity.records.entries import kind_of_function


@dataclass(frozen=True)
class Job:
    """The fields of a job file."""

    entry: str
    settings: list[dict[str, Any]]
    places: dict[str, Any]
    folder: str
    data: dict[str, Any] | list[dict[str, Any] | None] | None = None
    chosen: dict[str, Any] | None = None


FIELDS = [field.name for field in fields(Job) if field.name not in ("data", "chosen")]
# Set where standard input is a pipe that `launch` holds: it ends when that process does.
LAUNCHED = "GRANULARITY_LAUNCHED"
# Where a launcher's user, or torchrun itself, says how many processes there are to be.
ASKED = ("ACCELERATE_NUM_PROCESSES", "WORLD_SIZE")
# Instead of the user's own file of defaults, which could choose another precision or optimiser.
ACCELERATE = {
    "compute_environment": "LOCAL_MACHINE",
    "distributed_type": "MULTI_GPU",
    "debug": False,
    "mixed_precision": "no",
    "use_cpu": False,
}


class JobError(ValueError):
    """A job file that is none: the message names the field, and the nearest one."""


def end_with_launcher() -> None:
    """Waits until the process that called `launch` is gone, killed even, and ends this one."""
    while os.read(0, 4096):
        continue
    print("error: the process that started this run is gone; ended", file=sys.stderr, flush=True)
    os._exit(1)


def asked_for(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """How many processes a launcher's command line, environment or file asks for; 1 for none.

    The first of them that says it. torchrun says it in its workers' `WORLD_SIZE`, a user of
    accelerate may in a variable, and in the file of settings that `accelerate config` writes.
    """
    said = option_of("num_processes", command)
    said += [environment[name] for name in ASKED if environment.get(name)]
    if any(Path(word).name.startswith("accelerate") for word in command):
        said += [str(in_settings(option_of("config_file", command)))]
    return next((int(word) for word in said if word.isdigit()), 1)


def option_of(name: str, command: Sequence[str]) -> list[str]:
    """The last value of an option on a command line, `--a-b 1` or `--a_b=1`; empty without one."""
    words = itertools.chain(*(word.split("=", 1) for word in command))
    pairs = itertools.pairwise(words)
    return [given for word, given in pairs if word.replace("-", "_") == f"__{name}"][-1:]


def in_settings(file: Sequence[str]) -> int | None:
    """How many processes the settings of accelerate name: `file`, or else the user's own."""
    try:
        return config_args.load_config_from_file(*file or [None]).num_processes
    except (OSError, ValueError, TypeError):  # no file, or none that accelerate reads
        return None


def check_processes(asked: int, found: int) -> None:
    """Raises JobError where a launcher was asked for several processes and started one."""
    if asked > 1 and found == 1:
        raise JobError(
            f"{asked} processes were asked for and this is one alone: accelerate starts several by"
            f" itself only where it sees as many GPUs; write --multi_gpu --num_processes {asked}"
        )


def read(path: Path) -> dict[str, Any]:
    """A job file, checked. Raises JobError, naming the file, for one that is none."""
    try:
        job = plain_yaml.load(path)
    except plain_yaml.YamlError as error:
        raise JobError(str(error)) from error
    try:
        check(job)
    except JobError as error:
        raise JobError(f"{path}: {error}") from None
    return job


def check(job: Any) -> None:
    """Raises JobError for a field too many, too few, or of another type."""
    if not isinstance(job, Mapping):
        raise JobError(f"a job has the fields {', '.join(FIELDS)}, this is {job!r:.60}")
    try:
        checked(Job, {str(name): value for name, value in job.items()})
    except Misfit as fault:
        if fault.kind == "unknown":
            near = nearest(fault.field, fault.wanted, cutoff=0.3)
            hint = f"; did you mean '{near}'?" if near else ""
            told = f"a job has {', '.join(FIELDS)}, maybe data, chosen, not {fault.field!r}{hint}"
        elif fault.kind == "missing":
            told = f"field '{fault.field}' is missing"
        else:
            verb = "has" if fault.inside else "is"
            told = f"field '{fault.field}' {verb} {fault.value!r:.60}, {fault.wanted[0]} is wanted"
        raise JobError(told) from None


def run_job(job: Mapping[str, Any], writes: bool = True) -> None:
    """Completes the runs of a job. Raises JobError, and RecordError for an unknown entry."""
    check(job)
    entry = entries.entry_of(job["entry"])
    runner.complete(
        job["folder"],
        entry,
        job["settings"],
        data=job.get("data"),
        chosen=job.get("chosen"),
        places=job["places"],
        writes=writes,
    )


def launch(
    folder: Path | str,
    entry: Callable,
    settings: Sequence[Mapping[str, Any]],
    *,
    places: Mapping[str, Any],
    processes: int,
    data: Sequence[Mapping] | None = None,
    chosen: Mapping[str, Any] | None = None,
) -> None:
    """Makes the runs in `processes` processes that accelerate starts, and shows their log.

    The job is `folder/job.yaml`, the log `folder/job.log`. With one process nothing is done: the
    caller completes the runs itself, as it does afterwards with several, to find them all there.
    They end when this process does, however it ends. Raises RuntimeError, with the end of the log,
    where the processes fail.
    """
    if processes == 1:
        return
    folder = Path(folder)
    job = {
        "entry": kind_of_function(entry),
        "settings": [dict(setting) for setting in settings],
        "places": dict(places),
        "folder": str(folder),
    }
    job |= {} if data is None else {"data": [dict(told) for told in data]}
    job |= {"chosen": dict(chosen)} if chosen else {}
    files.write(folder / "job.yaml", plain_yaml.dump(job))
    alone = ("--num_machines", "1", "--main_process_port", "0")
    call = command(folder / "job.yaml", folder / "accelerate.yaml", processes, *alone)
    log = folder / "job.log"
    with log.open("w", encoding="utf-8") as told:
        child = subprocess.Popen(
            call,
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=told,
            start_new_session=True,
            env=surroundings.cleaned(os.environ) | {LAUNCHED: "1"},
        )
        try:
            follow(child, log)
        finally:
            if child.poll() is None:  # this process was interrupted: so are those
                os.killpg(child.pid, signal.SIGTERM)
                child.wait()
            child.stdin.close()
    if child.returncode:
        told = log.read_text(encoding="utf-8", errors="replace")
        end = told.partition("torch/distributed/elastic/")[0][-3000:]  # what the launcher adds
        raise RuntimeError(f"{processes} processes ended with {child.returncode}; {log}: …{end}")


def command(job: Path, defaults: Path, processes: int, *machines: str) -> list[str]:
    """The launcher's call for a job in so many processes in all; `machines` are its words on them.

    Its defaults are written into a file of its own, since other nodes may write theirs meanwhile.
    """
    files.write(defaults, plain_yaml.dump(ACCELERATE))
    call = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    # "multi_gpu" only chooses torch's launcher; each run says itself whether it wants a GPU.
    call += ["--config_file", str(defaults), "--multi_gpu", *machines]
    call += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [*call, "-m", "granularity.train", str(job)]


def follow(child: subprocess.Popen, log: Path, every: float = 0.5) -> None:
    """Prints what a process writes to its log, until it ends."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        while child.poll() is None:
            time.sleep(every)
            print(lines.read(), end="", flush=True)
        print(lines.read(), end="", flush=True)
