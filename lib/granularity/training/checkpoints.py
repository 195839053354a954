"""Checkpoints: tensors and plain facts in one safetensors file, whole or not at all, no pickles."""

import json
from collections.abc import Mapping
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
    """An optimiser's state as tensors: `optimiser.<parameter>.<name>`; numbers become tensors."""
    return {
        f"optimiser.{index}.{name}": torch.as_tensor(value)
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser the state that `flat` took; its groups keep what the recipe said."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )


def weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's part of a checkpoint."""
    return {
        name.removeprefix("model."): value
        for name, value in tensors.items()
        if name.startswith("model.")
    }
