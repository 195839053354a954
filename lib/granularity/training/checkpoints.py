"""Checkpoints: tensors and plain facts in one safetensors file, whole or not at all, no pickles."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from granularity import files


class CheckpointError(ValueError):
    """A checkpoint that is truncated, of another run or network, or holds more than tensors."""


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Writes one file; a failure leaves the earlier one as it was.

    `facts` name the run (`fingerprint`) and its place (`step`).
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with files.whole(path) as part:
        part.touch()
        mode = part.stat().st_mode  # as any other file's; safetensors' own is for one user alone
        try:
            save_file(tensors, part, metadata={"facts": json.dumps(facts)})
        except SafetensorError as error:  # its name for a full disk
            raise OSError(f"{path}: {error}") from error
        part.chmod(mode)


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts. Raises CheckpointError, naming the file, for what `save` did not write."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads((file.metadata() or {}).get("facts", "null"))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: no whole checkpoint of this project ({error})") from error
    if not isinstance(facts, dict) or not {"fingerprint", "step"} <= set(facts):
        raise CheckpointError(f"{path}: tensors without a run's fingerprint and step")
    return tensors, facts


def flat(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as tensors: `optimiser.<parameter>.<name>`.

    What it counts for a group of parameters is `group.<number>.<name>`. Numbers become tensors of
    as many bits.
    """
    state = {
        f"optimiser.{index}.{name}": of_number(value)
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }
    return state | {
        f"group.{number}.{name}": of_number(group[name])
        for number, group in enumerate(optimiser.param_groups)
        for name in COUNTED & set(group)
    }


def of_number(value: float | Tensor) -> Tensor:
    """A tensor as it is, a number as one of 64 bits."""
    return (
        torch.tensor(value, dtype=torch.float64) if type(value) is float else torch.as_tensor(value)
    )


def number_of(value: Tensor) -> float | Tensor:
    """The number that became a tensor; torch's own optimisers keep theirs in 32 bits."""
    return value.item() if value.ndim == 0 and value.dtype in NUMBERS else value


NUMBERS = (torch.int64, torch.float64)
COUNTED = {"step"}  # what some of timm's optimisers count in a group, and not for each parameter


def restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser the state that `flat` took; its groups keep what the recipe said."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part(tensors, "optimiser").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = number_of(value)
    groups = optimiser.state_dict()["param_groups"]
    for key, value in part(tensors, "group").items():
        number, name = key.split(".", 1)
        groups[int(number)][name] = number_of(value)
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of a part of a checkpoint, `<name>.…`, without that word."""
    return {
        place.removeprefix(f"{name}."): value
        for place, value in tensors.items()
        if place.startswith(f"{name}.")
    }


def weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network of a checkpoint, with the weights that its run would end with there."""
    return part(tensors, "best") or at_step(tensors)


def at_step(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network of a checkpoint as it was then: the moving average, where there is one."""
    return part(tensors, "average") or part(tensors, "model")


def step_of(path: Path) -> int:
    """How many steps were done before a checkpoint."""
    return int(path.stem.split("-")[1])


def passing(paths: Iterable[Path], keep_every: int) -> list[Path]:
    """Those of some checkpoints that do not stay: where `keep_every` is 0, all."""
    return [path for path in paths if not keep_every or step_of(path) % keep_every]


def found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    return sorted(folder.glob("checkpoint-*.safetensors"), key=step_of, reverse=True)
