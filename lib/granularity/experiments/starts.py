"""Weights that a run starts from, in place of those that its seed draws.

They are published weights of timm's, named `timm:<model.tag>`, or a file. A run's arguments hold
the name, never a place; where the file lies is the root "start". What is in it is told by its
SHA-256, in the run's key and record and in the stage's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
from huggingface_hub import try_to_load_from_cache
from timm.models import load_state_dict
from torch import Tensor

from granularity.inputs.nearest import nearest
from granularity.training import networks
from granularity.training.embeddings import WeightsError, weights_fingerprint
from granularity.training.presets import recipe_of

TIMM = "timm:"
ROOT = "start"  # what the file is called among the roots
FILES = ("model.safetensors", "pytorch_model.bin")  # as the hub calls files of weights


@dataclass(frozen=True)
class Weights:
    """What was read from a file: its SHA-256, and tensors by their names."""

    digest: str
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """What a stage's key and note call them."""
        return f"weights {self.digest}"


def read(start: str, roots: Mapping[str, str]) -> Weights | None:
    """The weights that `start` names, from the root "start"; None where it names none.

    A file is one that timm reads: safetensors, or what torch loads without calling any code.
    Raises as `digest_of` does, and WeightsError, naming the file, for one that holds no weights.
    """
    if not start:
        return None
    digest = digest_of(start, roots)
    try:
        return Weights(digest, load_state_dict(roots[ROOT]))
    except Exception as error:  # torch, pickle and safetensors have a dozen ways to refuse a file
        raise WeightsError(f"{roots[ROOT]} holds no weights: {error}") from error


def digest_of(start: str, roots: Mapping[str, str]) -> str:
    """The SHA-256 of the file that `start` names. Raises FileNotFoundError where it is not here."""
    if not roots.get(ROOT):
        raise FileNotFoundError(
            f"the run starts from {start}, and no root says where that file lies: --root start=FILE"
        )
    return weights_fingerprint(roots[ROOT])


def stated(setting: Mapping, roots: Mapping[str, str]) -> dict[str, str]:
    """The digest of a run's weights, for its key and record; nothing where it has its seed's."""
    return {ROOT: digest_of(setting["start"], roots)} if setting.get("start") else {}


def refuse_unfit(setting: Mapping, roots: Mapping[str, str]) -> None:
    """Raises, before any work, where a run's first network cannot start from what it names.

    As `read` does, and CheckpointError, naming the tensor.
    """
    if found := read(setting.get("start", ""), roots):
        recipe = recipe_of(setting["pretraining"] or setting["finetuning"])
        networks.check_weights(recipe, found.tensors)


# ------------------------------------------------------------------------------ names and files


def arguments(start: str) -> dict[str, str]:
    """What a run's arguments say of `start`: a name of timm's, or the file's without its folder."""
    named = start if start.startswith(TIMM) else Path(start).name
    return {"start": named} if start else {}


def file_of(start: str) -> str:
    """The file of what a size file or a notebook calls `start`; "" for "".

    Raises as `cached` does.
    """
    return cached(start.removeprefix(TIMM)) if start.startswith(TIMM) else start


def cached(name: str) -> str:
    """The file of timm's weights of this name, `model.tag`, in the hub's cache on this machine.

    Raises KeyError, with the nearest name, for one that timm lacks; FileNotFoundError, with the
    line that fetches it, where it is not here: a run fetches nothing.
    """
    known = timm.list_models(pretrained=True)
    if name not in known:
        raise KeyError(
            f"timm has no weights called {name!r}; the nearest ones are"
            f" {nearest(name, known, cutoff=0)!r}"
        )
    config = timm.get_pretrained_cfg(name)
    for file in filter(None, (config.hf_hub_filename, *FILES)):
        found = try_to_load_from_cache(config.hf_hub_id, file)
        if isinstance(found, str):
            return found
    raise FileNotFoundError(
        f"the weights {name} are not in the cache of this machine, and no run fetches any; once,"
        f' where there is a network: python -c "import timm; timm.create_model({name!r},'
        ' pretrained=True)"'
    )
