"""Starts canaries by a checkout's code, and keeps what published runs gave.

A published run made again takes minutes, and gives the same as long as the code is the same. So its
numbers stay in `runs/equal`, by code, call and machine, and a proof that was stopped goes on.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import granularity
from granularity import files
from granularity.fingerprints import source
from granularity.fingerprints.digest import digest
from granularity.proofs.canaries import Canary
from granularity.records import machine

RUNNER = source.LIBRARY / "proofs" / "canary.py"
NEWEST = "now"  # the side of the present code
KEPT = source.LIBRARY.parent.parent / "runs" / "equal"


class NotEqual(ValueError):
    """Two codes that differ in a number, or a changed line that no canary ran."""


def start(library: Path, jobs: Sequence[Mapping], out: Path, **more: object) -> subprocess.Popen:
    """Starts one code on some jobs (see `canary`); each leaves `found.json` in its folder."""
    out.mkdir(parents=True)
    files.write(out / "job.json", json.dumps({"out": str(out), "canaries": list(jobs), **more}))
    environment = clean_environment() | {"PYTHONPATH": str(library.parent)}
    environment |= {"XDG_CACHE_HOME": str(out / "cache")}  # each version lists sets in its own way
    with (out / "log").open("w") as log:
        call = [sys.executable, "-P", str(RUNNER), str(out / "job.json")]
        return subprocess.Popen(call, env=environment, cwd=out, stdout=log, stderr=log)


def clean_environment() -> dict[str, str]:
    """What a canary's process sees: one thread, and nothing of a user's own settings."""
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    found |= granularity.SETTINGS  # which older code may not have
    return found | {"OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "TQDM_DISABLE": "1"}


def ended(process: subprocess.Popen, out: Path) -> None:
    """Waits for one code's jobs. Raises NotEqual, with the end of the log, where one fails."""
    if process.wait():
        raise NotEqual(f"{out.name}: {(out / 'log').read_text('utf-8')[-2000:]}")


def read(folder: Path) -> dict:
    """What one job gave."""
    return json.loads((folder / "found.json").read_text("utf-8"))


def short(sides: Mapping[str, Path], every: Sequence[Canary], out: Path) -> dict[str, list[dict]]:
    """What each side's code gives for all canaries, both at the same time, lines noted.

    Of those that are new an older code may give nothing.
    """
    started = {}
    for name, library in sides.items():
        jobs = [
            run.job()
            | {"measure": True, "folder": str(out / name / str(number))}
            | {"may_be_refused": run.new and name != NEWEST}
            for number, run in enumerate(every)
        ]
        started[name] = start(library, jobs, out / name)
    for name, process in started.items():
        ended(process, out / name)
    return {
        name: [read(out / name / str(number)) for number in range(len(every))] for name in sides
    }


def published(
    sides: Mapping[str, Path],
    codes: Mapping[str, Mapping[str, str]],
    every: Sequence[Canary],
    out: Path,
) -> dict[str, list[dict]]:
    """The same for published runs; `codes` are each side's, by entry. What is kept is not run."""
    places = {name: [KEPT / name_of(run, codes[name][run.kind]) for run in every] for name in sides}
    started = {}
    for name, library in sides.items():
        jobs = [
            run.job() | {"folder": str(place), "clean": True}
            for run, place in zip(every, places[name], strict=True)
            if not (place / "found.json").exists()
        ]
        if jobs:
            started[name] = start(library, jobs, out / f"{name}-published")
    for name, process in started.items():
        ended(process, out / f"{name}-published")
    return {name: [read(place) for place in places[name]] for name in sides}


def name_of(run: Canary, code: str) -> str:
    """What a run's numbers depend on, as the name of a folder."""
    told = [run.kind, dict(run.arguments), code, machine.versions(), machine.device()]
    return digest(told)
