"""A trained backbone for timm, with its record beside it: `granularity export RUN OUT`."""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor

from granularity import files
from granularity.experiments.two_stages import NOTE, note
from granularity.inputs.nearest import nearest
from granularity.records import record
from granularity.training import checkpoints, one_stage
from granularity.training.recipe import Recipe

SUFFIX = ".safetensors"  # by which timm knows how to read a file
SHOWN = {"mean": [0.5] * 3, "std": [0.5] * 3}  # as the trainer shows images: from -1 to 1


def main(words: Sequence[str]) -> None:
    """`export RUN OUT`; prints the call of timm that loads it."""
    parser = argparse.ArgumentParser(
        prog="granularity export",
        description="Writes the network that a run ended with, without its last layer, as one file"
        " that timm.create_model loads, and beside it the run's record as JSON.",
    )
    parser.add_argument(
        "run", help="a run's folder, its record.json, or how its fingerprint begins"
    )
    parser.add_argument("out", type=Path, help=f"the file of weights, as backbone{SUFFIX}")
    parser.add_argument("--runs", default="runs", help="where runs are looked for (default: runs)")
    parser.add_argument("--stages", help="the folder of trained networks, where not above the run")
    given = parser.parse_args(words[1:])
    try:
        options = export(found(given.run, Path(given.runs)), given.out, given.stages)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    print(
        f"timm.create_model({options.pop('model_name')!r}, checkpoint_path={str(given.out)!r},"
        f" **{options})"
    )


def found(run: str, runs: Path) -> Path:
    """The record of a run that is named by its folder, its file, or how its fingerprint begins.

    Raises FileNotFoundError, with the nearest run below `runs`, and ValueError for several.
    """
    for path in (Path(run), Path(run) / "record.json"):
        if path.is_file():
            return path
    there = {path.parent.name: path for path in sorted(runs.rglob("record.json")) if is_run(path)}
    named = [path for name, path in there.items() if name.startswith(run)]
    if len(named) == 1:
        return named[0]
    if named:
        told = ", ".join(path.parent.name for path in named[:4])
        raise ValueError(f"{len(named)} runs begin with {run!r}: {told}; take more of its letters")
    near = nearest(Path(run).name, there, cutoff=0)
    hint = f"the nearest one is {there[near].parent}" if near else f"no run of images in {runs}"
    raise FileNotFoundError(f"{run}: no such run; {hint}")


def is_run(path: Path) -> bool:
    """Whether a file is the record of a run that left a network."""
    try:
        return "stage" in record.read(path)
    except record.RecordError:
        return False


def export(path: Path, out: Path, stages: Path | str | None = None) -> dict:
    """Writes a run's backbone to `out` and what made it beside it; returns timm's arguments.

    `path` is the run's record. The file holds the tensors that timm's network of the recipe has
    without a last layer, under timm's names, and nothing else. Raises ValueError for a record
    without a network and a file that timm would read otherwise, FileNotFoundError where the network
    is not there any more, CheckpointError where it is broken.
    """
    if out.suffix != SUFFIX:
        raise ValueError(f"{out}: timm tells by the ending how to read a file: call it *{SUFFIX}")
    made = record.read(path)
    if "runs" in made:
        raise ValueError(f"{path} lists {len(made['runs'])} runs; name one, as {made['runs'][:1]}")
    if "stage" not in made:
        raise ValueError(f"{path}: this run left no network, or is of code that did not say which")
    folder = folder_of(made["stage"], path, stages)
    noted = note(folder / NOTE)
    if noted is None:
        raise FileNotFoundError(f"{folder / NOTE}: nothing says what this network was made of")
    options = arguments(Recipe(**noted["recipe"]))
    tensors, facts = checkpoints.load(one_stage.finished(folder))
    checkpoints.save(out, backbone(tensors, options), facts)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    told = {"timm": options, **SHOWN, "sha256": digest, "made_of": noted, "record": made}
    files.write(out.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    return options


def folder_of(stage: str, path: Path, stages: Path | str | None) -> Path:
    """The folder of a trained network: in `stages`, or in the nearest one above its record.

    Raises FileNotFoundError.
    """
    above = [folder / "stages" for folder in path.resolve().parents]
    places = [Path(stages)] if stages else above
    for place in places:
        if (place / stage).is_dir():
            return place / stage
    where = stages or f"a folder 'stages' above {path}"
    raise FileNotFoundError(
        f"{stage}, the network of {path.parent.name}, is not in {where}:"
        " name the folder of trained networks with --stages"
    )


def arguments(recipe: Recipe) -> dict:
    """What timm makes the network of a recipe by, without a last layer and without numbers."""
    options = {"num_classes": 0, **recipe.model_options}
    with torch.device("meta"):
        for sized in ({"img_size": recipe.image_size}, {}):  # not all networks take a size
            try:
                timm.create_model(recipe.model, **options, **sized)
            except TypeError as error:
                if "img_size" not in str(error):
                    raise
            else:
                break
    return {"model_name": recipe.model, **options, **sized}


def backbone(tensors: Mapping[str, Tensor], options: Mapping) -> dict[str, Tensor]:
    """A checkpoint's tensors of the network that timm makes by `options`, under timm's names.

    Raises CheckpointError, naming the tensor, where one is missing.
    """
    with torch.device("meta"):
        wanted = timm.create_model(**options).state_dict()
    given = checkpoints.weights(tensors)
    for name in wanted:
        if name not in given:
            raise checkpoints.CheckpointError(f"the network has no {name}, which timm's has")
    return {name: given[name] for name in wanted}
