"""All that the plan knows of a size: jobs, hours, disk, what is missing, as plain data.

A page and the command `granularity plan` show it.
"""

import contextlib
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from granularity import notebook
from granularity.claims import rules, scoreboard
from granularity.inputs.nearest import nearest
from granularity.planning import asked, designs, missing, plan, sizes, speeds
from granularity.records import tables

RESULTS = Path("book/results")
TRAINING = RESULTS / "bench/training.jsonl"
MEASURE = (
    "measure it there with `make bench BENCH=training` in a copy whose notebook says device cuda,"
    " or state images a second of a ViT-B/16 at 224 pixels by --images-per-second"
)


def jobs_of(size: sizes.Size) -> list[plan.Job]:
    """The jobs of a size, with all their parameters, checked as the graph checks them."""
    found, read_by = [], asked.reader()
    for run, setting, folder, given in sizes.jobs(size):
        values = notebook.declared(sizes.NOTEBOOKS / f"{run}.ipynb") | given
        _, settings = asked.checked(run, values, f"{size.place}, {run}, {setting}")
        read = read_by(run, settings, values)
        made = asked.made(folder, run, values, read)
        found.append(plan.Job(run, setting, asked.with_recipes(values), made, read))
    return found


def known(book: rules.Book, images_per_second: float = 0.0) -> plan.Known:
    """What hours are reckoned with: one's own figure, if any, then measured ones, then published.

    Raises ValueError for a figure that is no speed.
    """
    networks, own = book.tables["network_rates"], []
    if not 0 <= images_per_second < math.inf:
        raise ValueError(f"{images_per_second} images a second: a number above 0 wanted")
    if images_per_second:
        own = speeds.of_networks("GPU of yours", images_per_second, "as you say", networks)
    trained = tables.table(TRAINING) if TRAINING.exists() else pd.DataFrame()
    own += speeds.recorded(trained)
    theory: list[tuple[float, float]] = []
    for file in sorted(RESULTS.glob("*/*.jsonl")):
        runs = tables.table(file)
        own += speeds.of_runs(runs)
        if "kind" in runs:
            simulated = runs[runs["kind"] == "theory.simulate"].to_dict("records")
            theory += [(speeds.theory_operations(run), run["seconds"]) for run in simulated]
    published = speeds.published(book.tables["training_rates"], networks)
    return plan.Known(own + published, theory, speeds.decoded(trained))


def outlook(
    size_file: Path | str, root: Path, gpu: str = "", images_per_second: float = 0.0
) -> dict:
    """All that the plan knows of a size file, JSON-plain; hours that nobody can tell are None.

    `root` is the repository's; a relative `size_file` starts there. `images_per_second` is one's
    own figure of a ViT-B/16 at 224 pixels on one GPU. Raises what `sizes.read` and `sizes.jobs`
    refuse, and ValueError for a GPU of which no speed is known.
    """
    with contextlib.chdir(root):
        size = sizes.read(Path(size_file))
        book = rules.read(Path("book/claims.yml").read_text(encoding="utf-8"))
        by = known(book, images_per_second)
        refuse_unknown(gpu, by.speeds)
        jobs = jobs_of(size)
        table = plan.plan(jobs, by, gpu)
        machines = dict.fromkeys(speed.machine for speed in by.speeds if speed.device == "cuda")
        return {
            "size": size.name,
            "chapters": len(sizes.chapters()),
            "settings": table.astype(object).where(table.notna(), None).to_dict("records"),
            "reckoned": {d: reason(d, by.speeds, gpu) for d in sorted(set(table["device"]))},
            "decoded": None if math.isnan(by.decoded) else by.decoded,
            "gpu_hours": {
                machine: total(plan.plan(jobs, by, machine), "cuda") for machine in machines
            },
            "datasets": {
                name: missing.gigabytes_of(name)
                for name in sorted({name for job in jobs for name in missing.roots_of(job)})
            },
            "free": free(),
            "missing": missing.missing(jobs, Path(), here(table["gigabytes"].sum())),
            "seeds": designs.wanted(book, jobs),
            "designs": cheaper(book, jobs, by, gpu),
        }


def free() -> float:
    """Gigabytes that are free on this disk."""
    return shutil.disk_usage(".").free / 1e9


def here(gigabytes: float) -> missing.Here:
    """What this machine has, for runs that leave so many gigabytes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return missing.Here(torch.cuda.device_count(), cores or 1, free(), gigabytes)


def cheaper(book: rules.Book, jobs: list[plan.Job], by: plan.Known, gpu: str) -> list[dict]:
    """The designs of `designs`, where the size has Experiment A; what cannot be told is None."""
    small = RESULTS / "tiny"
    if not small.is_dir():
        return []
    spread = designs.spread_of(book, scoreboard.read([*sorted(small.glob("*.jsonl"))]))
    rows = designs.cheaper(jobs, by, gpu, spread)
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]


def refuse_unknown(gpu: str, known: Sequence[speeds.Speed]) -> None:
    """Raises ValueError, with those that are known, for a GPU whose speed nobody has stated."""
    if gpu and speeds.speed_for("cuda", known, gpu) is None:
        there = list(dict.fromkeys(s.machine for s in known if s.device == "cuda"))
        near = nearest(gpu, there, cutoff=0.3)
        hint = f"; did you mean '{near}'?" if near else ""
        known_ones = f"no speed of a GPU '{gpu}' is known, but of {', '.join(there)}{hint}"
        raise ValueError(f"{known_ones}. {MEASURE}")


def total(table: pd.DataFrame, device: str) -> float | None:
    """Hours of all settings on a device; None where one of them is unknown."""
    hours = table.loc[table["device"] == device, "hours"].astype(float).sum(skipna=False)
    return None if math.isnan(hours) else float(hours)


def reason(device: str, known: Sequence[speeds.Speed], gpu: str) -> str:
    """Whose speed the hours are reckoned with."""
    speed = speeds.speed_for(device, known, gpu if device == "cuda" else "")
    if speed is None:
        there = dict.fromkeys(s.machine for s in known if s.device == device)
        return f"No speed of such a machine is known; there are: {', '.join(there) or 'none'}."
    return (
        f"Reckoned for one {speed.machine} ({speed.source}); other networks by the most similar one"
        " whose speed is known, and their operations."
    )
