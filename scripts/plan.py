"""What a size would do, before anything starts: jobs, hours, disk, and what is missing here.

python scripts/plan.py --configfile notebooks/params/paper.yaml
python scripts/plan.py --configfile notebooks/params/paper.yaml --gpu V100 --price 2.50
"""

import argparse
import math
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import torch
import yaml

import graph
from granularity import claims, notebook, planning, records, speeds

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path("book/results")
TRAINING, THEORY = RESULTS / "bench/training.jsonl", RESULTS / "theory/simulate.jsonl"


def jobs_of(config: dict) -> list[planning.Job]:
    """The jobs of a size file, with all their parameters; it is checked as the graph checks it."""
    found = []
    for run, made in graph.prepare_runs(config).items():
        defaults = notebook.declared(graph.NOTEBOOKS / f"{run}.ipynb")
        for record in map(Path, made):
            given = yaml.safe_load((record.parent / "parameters.yaml").read_text(encoding="utf-8"))
            setting = next(
                name
                for name, values in config["runs"][run].items()
                if record.parent.name in graph.jobs_of(name, values or {})
            )
            found.append(planning.Job(run, setting, defaults | given, record.exists()))
    return found


def known_speeds() -> list[speeds.Speed]:
    """Measured ones first, then published ones."""
    book = claims.read(Path("book/claims.yml").read_text(encoding="utf-8"))
    measured = speeds.recorded(records.table(TRAINING)) if TRAINING.exists() else []
    for file in sorted(RESULTS.glob("*/*.jsonl")):
        measured += speeds.of_runs(records.table(file))
    return measured + speeds.published(book.tables["training_rates"])


def theory_seconds() -> float:
    """The median time of a published run of the theory; NaN where there is none."""
    return records.table(THEORY)["seconds"].median() if THEORY.exists() else math.nan


def said(hours: float) -> str:
    """Hours for a reader."""
    if math.isnan(hours):
        return "unknown"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def show(config: dict, gpu: str, price: float) -> None:
    """Prints the plan."""
    size, jobs, known = graph.size(config), jobs_of(config), known_speeds()
    table = planning.plan(jobs, known, theory_seconds(), gpu)
    chapters = graph.chapters()
    left = table["jobs"].sum() - table["done"].sum()
    print(
        f"{size}: {left} of {table['jobs'].sum()} jobs are left that run something, then"
        f" {len(chapters)} chapters and the book.\n"
    )
    columns = ["run", "setting", "jobs", "done", "machine", "hours", "longest job", "disk, GB"]
    machines = [
        f"{row.processes} × {'GPU' if row.device == 'cuda' else 'CPU'}"
        for row in table.itertuples()
    ]
    shown = table.assign(
        machine=machines,
        hours=[said(hours) for hours in table["hours"]],
        **{"longest job": [f"{said(hours)} h" for hours in table["longest"]]},
        **{"disk, GB": [f"{gigabytes:,.1f}" for gigabytes in table["gigabytes"]]},
    )
    print(shown[columns].to_string(index=False))
    print()
    for device, unit in (("cuda", "GPU"), ("cpu", "CPU")):
        hours = table.loc[table["device"] == device, "hours"]
        if not hours.empty:
            print(
                f"{unit}-hours left: {said(hours.sum(skipna=False))}. {reason(device, known, gpu)}"
            )
    hours = table.loc[table["device"] == "cuda", "hours"].sum(skipna=False)
    if price and hours:
        print(f"At {price:.2f} for a GPU-hour: {hours * price:,.0f}.")
    print(disk(table, jobs))
    lacking = planning.missing(jobs, ROOT, torch.cuda.device_count())
    print("\nMissing here: nothing." if not lacking else "\nMissing here:")
    for line in lacking:
        print(f"- {line}")


def reason(device: str, known: list[speeds.Speed], gpu: str) -> str:
    """Whose speed the hours are reckoned with."""
    speed = speeds.speed_for(device, known, gpu if device == "cuda" else "")
    if speed is None:
        there = sorted({s.machine for s in known if s.device == device})
        return f"No speed of such a machine is known; there are: {', '.join(there) or 'none'}."
    return f"Reckoned for one {speed.machine} ({speed.source}); other networks by their operations."


def disk(table: pd.DataFrame, jobs: list[planning.Job]) -> str:
    """What has to be there, and what will be."""
    sets = sorted({dataset for job in jobs for dataset in planning.roots_of(job)})
    told = [f"{name} {planning.gigabytes_of(name):,.1f} GB" for name in sets]
    free = shutil.disk_usage(ROOT).free / 1e9
    return (
        f"Disk: {table['gigabytes'].sum():,.0f} GB for checkpoints and embeddings;"
        f" {free:,.0f} GB are free here. Datasets, to download: {', '.join(told) or 'none'}."
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", type=Path, required=True, help="a size file")
    parser.add_argument(
        "--gpu", default="", help="part of a GPU's name; the fastest known one else"
    )
    parser.add_argument("--price", type=float, default=0.0, help="of a GPU-hour, to multiply with")
    given = parser.parse_args()
    path = given.configfile.resolve()
    os.chdir(ROOT)
    try:
        show(yaml.safe_load(path.read_text(encoding="utf-8")), given.gpu, given.price)
    except (OSError, KeyError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
