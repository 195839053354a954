"""Starts one training on all nodes of a Slurm allocation, with a launcher on each.

    srun --ntasks-per-node 1 .venv/bin/python scripts/nodes.py JOB.yaml 8      8 processes a node

A job file is what a run in several processes leaves in its folder. The first node's launcher is the
one that the others meet. With `--dry-run` the call is printed and nothing starts.
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from granularity import surroundings
from granularity.records import launch

PORTS = range(20000, 30000)  # where the launchers meet: by the job's number, for two on a node


def host_of(nodes: str) -> str:
    """The first node of a list as Slurm writes it: `gpu[03-04]`. Raises OSError without Slurm."""
    if "[" not in nodes:
        return nodes.partition(",")[0]
    told = subprocess.run(
        ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True
    )
    return told.stdout.split()[0]


def machines(environment: Mapping[str, str]) -> list[str]:
    """What a launcher has to know of the nodes. Raises KeyError, naming it, for what is not set."""
    port = PORTS[int(environment["SLURM_JOB_ID"]) % len(PORTS)]
    return [
        *("--num_machines", environment["SLURM_NNODES"]),
        *("--machine_rank", environment["SLURM_NODEID"]),
        *("--main_process_ip", host_of(environment["SLURM_JOB_NODELIST"])),
        *("--main_process_port", str(port)),
    ]


def main() -> None:
    """Becomes the launcher of this node."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("job", type=Path, help="a job file, as job.yaml in the folder of a run")
    parser.add_argument("each", type=int, help="processes on each node, as many as it has GPUs")
    parser.add_argument("--dry-run", action="store_true", help="print the call, start nothing")
    given = parser.parse_args()
    try:
        launch.read(given.job)
        every = given.each * int(os.environ["SLURM_NNODES"])
        own = given.job.with_name(f"accelerate-{os.environ['SLURM_NODEID']}.yaml")
        call = launch.command(given.job, own, every, *machines(os.environ))
    except KeyError as error:
        parser.error(f"{error.args[0]} is not set: start this by srun, in an allocation of Slurm")
    except (launch.JobError, OSError) as error:
        parser.error(str(error))
    print(shlex.join(call), flush=True)
    if not given.dry_run:
        os.execve(sys.executable, call, surroundings.cleaned(os.environ))


if __name__ == "__main__":
    main()
