"""Starts a job of the graph with GPUs of its own and its share of the cores.

    python scripts/job.py GPUS CORES scripts/execute.py notebook.ipynb …     a script of ours

Snakemake counts GPUs and hands none out. Here a job holds a lock on each that it takes until it
ends, however it ends, and sees no other. Of the machine's cores it gets as large a share as of its
GPUs, and no more workers than fit in there: how many decode images changes no number. Where a job
may see no more GPUs than it wants, or where Slurm gave it just so many, all of them are its own,
and nothing is chosen.
"""

import fcntl
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LOCKS = Path(".snakemake/gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"
GRANTED = "SLURM_GPUS_ON_NODE"  # how many Slurm gave to a job


def visible(environment: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """The GPUs that a program started here may see, as CUDA names them."""
    if VISIBLE in environment:
        return [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
    return [str(number) for number in range(len([*devices.glob("nvidia[0-9]*")]))]


def taken(wanted: int, there: Sequence[str], locks: Path = LOCKS, every: float = 1.0) -> list[str]:
    """So many of the GPUs that are there, locked for as long as this process lives.

    Waits until so many are free at once. Raises ValueError where there are not so many.
    """
    if wanted > len(there):
        here = f"{len(there)} may be seen here ({VISIBLE}={','.join(there)})"
        asked = f"{wanted} GPU{'s are' if wanted > 1 else ' is'} wanted and {here}"
        raise ValueError(asked + "; on a CPU: `device: cpu` in the size file" * (not there))
    if wanted == len(there):
        return list(there)
    folder = locks / os.uname().nodename
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        held: dict[str, int] = {}
        for name in there:
            handle = os.open(folder / name.replace("/", "_"), os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held[name] = handle
            except BlockingIOError:
                os.close(handle)
            if len(held) == wanted:
                for kept in held.values():
                    os.set_inheritable(kept, True)  # the job itself holds them
                return [*held]
        for handle in held.values():
            os.close(handle)
        time.sleep(every)


def share(own: Sequence[str], there: Sequence[str], cores: Sequence[int]) -> list[int]:
    """The cores beside some of the GPUs that are there: as large a part, at least one a GPU."""
    each, found = len(cores) / len(there), []
    for place in (there.index(name) for name in own):
        found += cores[int(place * each) : int((place + 1) * each)] or [cores[place % len(cores)]]
    return sorted(set(found))


def main(gpus: int, cores: int, command: list[str]) -> None:
    """Becomes the command, a script and its words, on the GPUs and cores of the job."""
    if gpus and os.environ.get(GRANTED) != str(gpus):
        there = visible(os.environ)
        own = taken(gpus, there)
        os.environ[VISIBLE] = ",".join(own)
        if hasattr(os, "sched_setaffinity") and len(own) < len(there):
            part = share(own, there, sorted(os.sched_getaffinity(0)))
            os.sched_setaffinity(0, part)
            workers, fit = cores // gpus - 1, max(1, len(part) // gpus - 1)
            if fit < workers:
                command += ["-p", "workers", str(fit)]
    os.execve(sys.executable, [sys.executable, "-P", *command], os.environ)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
