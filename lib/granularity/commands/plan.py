"""What a size would take, before anything starts: `granularity plan SIZE`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from granularity import notebook
from granularity.inputs.nearest import nearest
from granularity.planning import sizes
from granularity.planning.outlook import outlook, total

EPILOG = """\
A size is a file of notebooks/params/, by its name or its path. Nothing is started, trained or
downloaded. The plan says for each setting how many jobs there are and how many have their records,
the hours of one GPU or CPU, and what stays on the disk; then what this machine lacks.

  granularity plan pilot                              the first thing to run with data of your own
  granularity plan paper --gpu V100 --price 2.50      the experiment as published, on other GPUs
"""


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
        decoding=[said(hours) for hours in table["decoding"]],
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
    if found["decoded"]:
        print(
            "decoding: the hours in which a job's own workers decode its photographs, at"
            f" {found['decoded']:,.0f} a second and core (measured here); where they are more than"
            " the GPU's, it waits."
        )
    sets = [f"{name} {gigabytes:,.1f} GB" for name, gigabytes in found["datasets"].items()]
    print(
        f"Disk: {table['gigabytes'].sum():,.0f} GB for checkpoints and embeddings;"
        f" {found['free']:,.0f} GB are free here. Datasets, to download:"
        f" {', '.join(sets) or 'none'}."
    )
    show_evidence(found)
    print("\nMissing here:", "" if found["missing"] else "nothing.")
    for line in found["missing"]:
        print(f"- {line}")


def show_evidence(found: dict) -> None:
    """Prints which claims the size could decide, and designs that cost less."""
    if found["seeds"]:
        print("\nSeeds that the rules of the whole experiment want, and that these jobs have:")
        shown = pd.DataFrame(found["seeds"]).drop(columns="title")
        print(shown.to_string(index=False))
    if found["designs"]:
        print("\nExperiment A in other designs, and half the width of a 95% interval, in points")
        print("of error, if seeds differ as much as on Tiny-ImageNet:")
        for row in found["designs"]:
            points = "unknown" if row["points"] is None else f"{row['points']:.1f}"
            print(f"- {row['design']}: {said(row['gpu_hours'])} GPU-hours, ± {points}")


def main(words: Sequence[str]) -> None:
    """`plan SIZE`; prints the plan."""
    parser = argparse.ArgumentParser(
        prog="granularity plan",
        description="Says what a size would take, before anything starts: jobs, hours, disk, and"
        " what is missing here.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("size", help="smoke, tiny, paper, or a size file of your own")
    parser.add_argument("--gpu", default="", help="part of a GPU's name (default: the fastest)")
    parser.add_argument(
        "--images-per-second",
        type=float,
        default=0.0,
        metavar="N",
        help="your own figure: how many a ViT-B/16 trains on at 224 pixels on one GPU",
    )
    parser.add_argument("--price", type=float, default=0.0, help="of a GPU-hour, to multiply with")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    given = parser.parse_args(words[1:])
    try:
        root = notebook.root()
        found = outlook(file_of(given.size, root), root, given.gpu, given.images_per_second)
    except (OSError, KeyError, TypeError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    if given.json:
        print(json.dumps(found))
    else:
        show(found, given.price)


def file_of(size: str, root: Path) -> Path:
    """A size's file, by its name or its path. Raises FileNotFoundError, with those there are."""
    if Path(size).is_file():
        return Path(size).resolve()
    known = sizes.PARAMETERS / f"{size}.yaml"
    if (root / known).is_file():
        return known
    there = sorted(path.stem for path in (root / sizes.PARAMETERS).glob("*.yaml"))
    near = nearest(size, there, cutoff=0)
    told = f"there are {', '.join(there)}, or name a file; did you mean {near!r}?"
    raise FileNotFoundError(f"no size {size!r}; {told}")
