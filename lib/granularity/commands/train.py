"""Makes the runs of a job file: `granularity train JOB.yaml`."""

import argparse
import contextlib
import inspect
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from granularity import surroundings
from granularity.records import entries, launch
from granularity.records.record import RecordError


def main(words: Sequence[str]) -> None:
    """`train JOB.yaml`: with several processes every one works, and the first writes records."""
    parser = argparse.ArgumentParser(prog="granularity train", description=launch.__doc__)
    parser.add_argument("job", type=Path, help="a YAML file: entry, settings, places, folder")
    parser.add_argument(
        "--tracker",
        default="",
        metavar="NAME",
        help="tensorboard, wandb or another that accelerate knows: told what metrics.jsonl is",
    )
    asked = parser.parse_args(words[1:])
    processes, found = 1, int(os.environ.get("WORLD_SIZE", "1"))
    with contextlib.suppress(psutil.Error):  # another user's, or gone
        processes = launch.asked_for(psutil.Process(os.getppid()).cmdline())
    try:
        job = launch.read(asked.job)
        launch.check_processes(processes, found)
        entry = entries.entry_of(job["entry"])
    except (OSError, launch.JobError, RecordError) as error:
        parser.exit(1, f"granularity train: {error}\n")
    if asked.tracker:
        if "places" not in inspect.signature(entry).parameters:
            parser.error(f"--tracker: {job['entry']} has no log of steps to be told")
        job["places"] = job["places"] | {"tracker": asked.tracker}
    surroundings.forget()
    if os.environ.get(launch.LAUNCHED):
        threading.Thread(target=launch.end_with_launcher, daemon=True).start()
    first = os.environ.get("RANK", "0") == "0"  # accelerate numbers its processes so
    if first:
        print(f"{found} process{'es' * (found > 1)}, {processes} asked for", flush=True)
    launch.run_job(job, writes=first)
