"""What a size would do, before anything starts: jobs, hours, disk, and what is missing here.

python scripts/plan.py --configfile notebooks/params/paper.yaml
python scripts/plan.py --configfile notebooks/params/paper.yaml --gpu V100 --price 2.50
"""

import argparse
import json
import math
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import torch

import graph
from granularity.claims import rules
from granularity.inputs import plain_yaml
from granularity.inputs.nearest import nearest
from granularity.pages import notebook
from granularity.planning import asked, missing, plan, speeds
from granularity.records import tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path("book/results")
TRAINING, THEORY = RESULTS / "bench/training.jsonl", RESULTS / "theory/simulate.jsonl"


def jobs_of(config: dict) -> list[plan.Job]:
    """The jobs of a size, with all their parameters, checked as the graph checks them."""
    found = []
    for run, setting, folder, given in graph.checked_jobs(config):
        values = notebook.declared(graph.NOTEBOOKS / f"{run}.ipynb") | given
        found.append(plan.Job(run, setting, values, asked.made(folder, run, values)))
    return found


def known_speeds() -> list[speeds.Speed]:
    """Measured ones first, then published ones."""
    book = rules.read(Path("book/claims.yml").read_text(encoding="utf-8"))
    measured = speeds.recorded(tables.table(TRAINING)) if TRAINING.exists() else []
    for file in sorted(RESULTS.glob("*/*.jsonl")):
        measured += speeds.of_runs(tables.table(file))
    return measured + speeds.published(book.tables["training_rates"])


def outlook(config: dict, gpu: str) -> dict:
    """All that the plan knows, JSON-plain; hours that nobody can tell are None."""
    size, known = graph.size(config), known_speeds()
    refuse_unknown(gpu, known)
    jobs = jobs_of(config)
    seconds = tables.table(THEORY)["seconds"].median() if THEORY.exists() else math.nan
    table = plan.plan(jobs, known, seconds, gpu)
    machines = dict.fromkeys(speed.machine for speed in known if speed.device == "cuda")
    return {
        "size": size,
        "chapters": len(graph.chapters()),
        "settings": table.astype(object).where(table.notna(), None).to_dict("records"),
        "reckoned": {device: reason(device, known, gpu) for device in sorted(set(table["device"]))},
        "gpu_hours": {
            machine: total(plan.plan(jobs, known, seconds, machine), "cuda") for machine in machines
        },
        "datasets": {
            name: missing.gigabytes_of(name)
            for name in sorted({name for job in jobs for name in missing.roots_of(job)})
        },
        "free": shutil.disk_usage(ROOT).free / 1e9,
        "missing": missing.missing(jobs, ROOT, torch.cuda.device_count()),
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


def said(hours: float | None) -> str:
    """Hours for a reader."""
    if hours is None:
        return "unknown"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def show(found: dict, price: float) -> None:
    """Prints the plan."""
    table = pd.DataFrame(found["settings"])
    left = table["jobs"].sum() - table["done"].sum()
    print(
        f"{found['size']}: {left} of {table['jobs'].sum()} jobs are left that run something, then"
        f" {found['chapters']} chapters and the book.\n"
    )
    kinds = [{"cuda": "GPU"}.get(device, "CPU") for device in table["device"]]
    shown = table[["run", "setting", "jobs", "done"]].assign(
        machine=[f"{n} × {kind}" for n, kind in zip(table["processes"], kinds, strict=True)],
        hours=[said(hours) for hours in table["hours"]],
        **{"longest job": [f"{said(hours)} h" for hours in table["longest"]]},
        **{"disk, GB": [f"{gigabytes:,.1f}" for gigabytes in table["gigabytes"]]},
    )
    print(shown.to_string(index=False), end="\n\n")
    for device, unit in (("cuda", "GPU"), ("cpu", "CPU")):
        if device in found["reckoned"]:
            hours = total(table, device)
            print(f"{unit}-hours left: {said(hours)}. {found['reckoned'][device]}")
            if unit == "GPU" and price and hours:
                print(f"At {price:.2f} for a GPU-hour: {hours * price:,.0f}.")
    sets = [f"{name} {gigabytes:,.1f} GB" for name, gigabytes in found["datasets"].items()]
    print(
        f"Disk: {table['gigabytes'].sum():,.0f} GB for checkpoints and embeddings;"
        f" {found['free']:,.0f} GB are free here. Datasets, to download:"
        f" {', '.join(sets) or 'none'}."
    )
    print("\nMissing here:", "" if found["missing"] else "nothing.")
    for line in found["missing"]:
        print(f"- {line}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--configfile", type=Path, required=True, help="a size file")
    parser.add_argument(
        "--gpu", default="", help="part of a GPU's name; the fastest known one else"
    )
    parser.add_argument("--price", type=float, default=0.0, help="of a GPU-hour, to multiply with")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    given = parser.parse_args()
    path = given.configfile.resolve()
    os.chdir(ROOT)
    try:
        found = outlook(plain_yaml.load(path), given.gpu)
    except (OSError, KeyError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    if given.json:
        print(json.dumps(found))
    else:
        show(found, given.price)


if __name__ == "__main__":
    main()
