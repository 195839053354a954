"""All that the plan knows of a size: jobs, hours, disk, what is missing, as plain data.

A page and the command `granularity plan` show it.
"""

import contextlib
import math
import shutil
from pathlib import Path

import pandas as pd
import torch

from granularity import notebook
from granularity.claims import rules
from granularity.inputs.nearest import nearest
from granularity.planning import asked, missing, plan, sizes, speeds
from granularity.records import tables

RESULTS = Path("book/results")
TRAINING, THEORY = RESULTS / "bench/training.jsonl", RESULTS / "theory/simulate.jsonl"


def jobs_of(size: sizes.Size) -> list[plan.Job]:
    """The jobs of a size, with all their parameters, checked as the graph checks them."""
    found = []
    for run, setting, folder, given in sizes.jobs(size):
        values = notebook.declared(sizes.NOTEBOOKS / f"{run}.ipynb") | given
        found.append(plan.Job(run, setting, values, asked.made(folder, run, values)))
    return found


def known_speeds() -> list[speeds.Speed]:
    """Measured ones first, then published ones."""
    book = rules.read(Path("book/claims.yml").read_text(encoding="utf-8"))
    measured = speeds.recorded(tables.table(TRAINING)) if TRAINING.exists() else []
    for file in sorted(RESULTS.glob("*/*.jsonl")):
        measured += speeds.of_runs(tables.table(file))
    return measured + speeds.published(book.tables["training_rates"])


def outlook(size_file: Path | str, root: Path, gpu: str = "") -> dict:
    """All that the plan knows of a size file, JSON-plain; hours that nobody can tell are None.

    `root` is the repository's; a relative `size_file` starts there. Raises what `sizes.read` and
    `sizes.jobs` refuse, and ValueError for a GPU of which no speed is known.
    """
    with contextlib.chdir(root):
        size, known = sizes.read(Path(size_file)), known_speeds()
        refuse_unknown(gpu, known)
        jobs = jobs_of(size)
        seconds = tables.table(THEORY)["seconds"].median() if THEORY.exists() else math.nan
        table = plan.plan(jobs, known, seconds, gpu)
        machines = dict.fromkeys(speed.machine for speed in known if speed.device == "cuda")
        return {
            "size": size.name,
            "chapters": len(sizes.chapters()),
            "settings": table.astype(object).where(table.notna(), None).to_dict("records"),
            "reckoned": {d: reason(d, known, gpu) for d in sorted(set(table["device"]))},
            "gpu_hours": {
                machine: total(plan.plan(jobs, known, seconds, machine), "cuda")
                for machine in machines
            },
            "datasets": {
                name: missing.gigabytes_of(name)
                for name in sorted({name for job in jobs for name in missing.roots_of(job)})
            },
            "free": shutil.disk_usage(".").free / 1e9,
            "missing": missing.missing(jobs, Path(), torch.cuda.device_count()),
        }


def refuse_unknown(gpu: str, known: list[speeds.Speed]) -> None:
    """Raises ValueError, with those that are known, for a GPU whose speed nobody has stated."""
    if gpu and speeds.speed_for("cuda", known, gpu) is None:
        there = list(dict.fromkeys(s.machine for s in known if s.device == "cuda"))
        near = nearest(gpu, there, cutoff=0.3)
        hint = f"; did you mean '{near}'?" if near else ""
        raise ValueError(f"no speed of a GPU '{gpu}' is known, but of {', '.join(there)}{hint}")


def total(table: pd.DataFrame, device: str) -> float | None:
    """Hours of all settings on a device; None where one of them is unknown."""
    hours = table.loc[table["device"] == device, "hours"].astype(float).sum(skipna=False)
    return None if math.isnan(hours) else float(hours)


def reason(device: str, known: list[speeds.Speed], gpu: str) -> str:
    """Whose speed the hours are reckoned with."""
    speed = speeds.speed_for(device, known, gpu if device == "cuda" else "")
    if speed is None:
        there = dict.fromkeys(s.machine for s in known if s.device == device)
        return f"No speed of such a machine is known; there are: {', '.join(there) or 'none'}."
    return f"Reckoned for one {speed.machine} ({speed.source}); other networks by their operations."
