"""The two stages of both experiments: pretrain on one label function, finetune on another.

An experiment's own module says which images and labels; here is how they are trained and evaluated.
"""

import contextlib
import copy
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from granularity import files
from granularity.experiments.starts import Weights
from granularity.fingerprints.digest import digest
from granularity.images import image_set
from granularity.images.subset import Subset
from granularity.inputs import renamed
from granularity.training import checkpoints, evaluation, loading, one_stage, sampling
from granularity.training.presets import recipe_of
from granularity.training.recipe import Recipe

STOPPED_BY = 0.1  # share of a stage's images that are held out where a recipe stops early
NOTE = "stage.json"  # beside a stage's checkpoint: what it was made of


@dataclass(frozen=True)
class Machine:
    """Where things lie and run: it changes no number, and stands in no record.

    `stages` is the folder of trained networks, each below its fingerprint; `weights` a file with
    those of the embedding's network, where the hub cannot be reached. `workers` decode images,
    `micro_batch` images are handled by one process at once (0: its share of the batch),
    `save_every` steps lie between two checkpoints (0: one at the end), `keep_every` between two
    that stay and are evaluated (0: none). `tracker` is one of accelerate's, told what a log is.
    With `train_missing` a finetuning whose pretraining is not there makes it; it stops otherwise.
    """

    roots: Mapping[str, str] = field(default_factory=dict)
    stages: Path | str = ""
    weights: Path | str = ""
    device: str = "cpu"
    workers: int = 0
    micro_batch: int = 0
    save_every: int = 0
    keep_every: int = 0
    tracker: str = ""
    train_missing: bool = False


# ------------------------------------------------------------------------------------ settings


def listed(value: object) -> list:
    """A list as it is, anything else as the only item of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def combinations(arms: Sequence[Mapping[str, object]]) -> list[dict]:
    """Every arm's arguments, and where some are lists all combinations of their items."""
    return [
        dict(zip(arm, chosen, strict=True))
        for arm in arms
        for chosen in itertools.product(*map(listed, arm.values()))
    ]


def check_recipes(setting: Mapping) -> None:
    """Raises, naming the field, for a recipe of a run that is none (see `presets.recipe_of`)."""
    for recipe in ("pretraining", "finetuning"):
        if setting.get(recipe):
            recipe_of(setting[recipe])


def once(work: Callable[[Mapping], dict], names: Sequence[str]) -> Callable[[Mapping], dict]:
    """`work` of a setting, done once for all that have the same arguments of these `names`."""
    found: dict[str, dict] = {}

    def of(setting: Mapping) -> dict:
        key = digest({name: setting[name] for name in names if name in setting})
        if key not in found:
            found[key] = work(setting)
        return found[key]

    return of


# -------------------------------------------------------------------------------------- images


@cache
def pixels_of(images: image_set.ImageSet, size: int) -> torch.Tensor:
    """A whole set, decoded once in a process."""
    return image_set.decode(images, size)


def loaded(
    part: Subset, recipe: Recipe, lookup: np.ndarray | None = None, workers: int = 0
) -> sampling.Images:
    """The images of a part: in memory at up to 64 pixels, else from their files.

    `lookup` is what labels are looked up by, one number for each image of the whole set: its leaf
    where None.
    """
    lookup = part.images.leaf if lookup is None else lookup
    if recipe.image_size <= 64:
        leaf = torch.from_numpy(lookup.astype(np.int64))
        return loading.Memory(pixels_of(part.images, recipe.image_size), leaf, recipe, part.rows)
    return loading.Files(part.images, recipe, part.rows, lookup, workers)


# -------------------------------------------------------------------------------------- stages


def train(
    recipe: Recipe,
    part: Subset,
    labels: np.ndarray,
    machine: Machine,
    seed: int,
    *,
    lookup: np.ndarray | None = None,
    start: Path | Weights | None = None,
    wanted: bool = False,
) -> one_stage.Trained:
    """One stage: trained now, taken up where it was stopped, or found done.

    `labels` (leaves, q) are class indices, padded with -1, of what `lookup` gives for an image.
    `start` is the folder of the stage that is finetuned, or weights. The stage's name is a
    fingerprint of recipe, images, every image's labels, start, seed and code; `stage.json` in its
    folder says so in words. A stage that is `wanted` must be done, unless the machine's
    `train_missing` lets it be trained: raises FileNotFoundError, with what differs in the nearest
    one that is there. Raises IndexError, naming the image, where it has no label.
    """
    num_classes = int(labels.max()) + 1
    numbers = (part.images.leaf if lookup is None else lookup)[part.rows]
    strange = np.flatnonzero((numbers < 0) | (numbers >= len(labels)))
    if len(strange):
        name, number = os.fsdecode(part.names[strange[0]]), numbers[strange[0]]
        raise IndexError(f"image {name} asks for label {number} of {len(labels)}")
    of_images = labels[numbers]
    told = hashlib.sha256(f"{of_images.shape}".encode() + of_images.astype("<i4").tobytes())
    key = one_stage.key_of(
        renamed.first(recipe.plain()),
        part.fingerprint,
        told.hexdigest(),
        num_classes,
        start.name if start else None,
        seed,
    )
    made_of = {
        "recipe": recipe.plain(),
        "images": part.stated(),
        "labels": told.hexdigest()[:16],
        "classes": num_classes,
        "start": start.name if start else None,
        "seed": seed,
        "code": one_stage.key_of(),
    }
    if wanted and not machine.train_missing and not is_done(Path(machine.stages) / key):
        raise FileNotFoundError(not_there(Path(machine.stages), key, made_of))
    learnt, held_out = split_off(part) if recipe.early_stopping else (part, None)
    found = one_stage.stage(
        recipe,
        loaded(learnt, recipe, lookup, machine.workers),
        torch.tensor(labels),  # a copy: the label function keeps its own read-only
        num_classes,
        key=key,
        seed=seed,
        folder=Path(machine.stages),
        start=start if isinstance(start, Path) else None,
        weights=start.tensors if isinstance(start, Weights) else None,
        device=machine.device,
        micro_batch=machine.micro_batch,
        save_every=machine.save_every,
        keep_every=machine.keep_every,
        held_out=held_out and loaded(held_out, recipe, lookup, machine.workers),
        tracker=machine.tracker,
    )
    if found.accelerator.is_main_process:
        with files.alone(found.folder):
            if note(found.folder / NOTE) != made_of:
                files.write(found.folder / NOTE, json.dumps(made_of) + "\n")
    return found


def split_off(part: Subset) -> tuple[Subset, Subset]:
    """The images of a part but the last tenth of each leaf's, by name, and these.

    Raises ValueError where no leaf has so many that one could be held out.
    """
    groups = [part.rows[part.leaf == label] for label in np.unique(part.leaf)]
    held = np.concatenate(
        [group[len(group) - round(STOPPED_BY * len(group)) :] for group in groups]
    )
    if not len(held):
        raise ValueError(
            f"early_stopping holds out {STOPPED_BY:.0%} of each class of {part.images.name}, and"
            f" none has more than {max(map(len, groups))} images"
        )
    learnt = np.setdiff1d(part.rows, held)
    return Subset(part.images, learnt), Subset(part.images, np.sort(held))


def is_done(folder: Path) -> bool:
    """Whether the stage in a folder was trained to its end."""
    return (folder / "done").exists()


def not_there(stages: Path, key: str, made_of: Mapping) -> str:
    """What to say of a stage that is wanted and not done: what differs in the nearest that is."""
    folder, what = stages / key, made_of["images"]
    begun = "is begun and not done" if folder.exists() else "is not there"
    told = (
        f"{folder}: the pretraining on {what['set']} ({what['images']:,} images,"
        f" {what['fingerprint']}) {begun}, and nothing was trained. Run the pretraining with these"
        f" arguments and data first, or ask for it here: train_missing"
    )
    others = {path.parent.name: note(path) for path in sorted(stages.glob(f"*/{NOTE}"))}
    differ = {name: differences(found, made_of) for name, found in others.items() if found}
    near = sorted((len(found), name) for name, found in differ.items() if is_done(stages / name))
    if not near:
        return f"{told}. No other stage is there that says what it was made of"
    _, name = near[0]
    return f"{told}. The nearest that is there, {name}, differs in " + "; ".join(differ[name])


def note(path: Path) -> dict | None:
    """What a stage was made of; None where its note is none."""
    found = None
    with contextlib.suppress(OSError, ValueError):
        found = renamed.current(json.loads(path.read_text(encoding="utf-8")))
    return found if isinstance(found, dict) else None


def _of_images(note: Mapping) -> dict:
    return {f"{name} of the images": value for name, value in note.get("images", {}).items()}


def differences(found: Mapping, wanted: Mapping) -> list[str]:
    """Where two notes of stages differ, field by field: what is there, and what is wanted."""
    first, second = (
        {**note, **_of_images(note), **note.get("recipe", {})} for note in (found, wanted)
    )
    names = [name for name in second if name not in ("recipe", "images")]
    pairs = [(name, first.get(name), second[name]) for name in names]
    return [
        f"{name} ({there!r}, wanted {asked!r})" for name, there, asked in pairs if there != asked
    ]


def evaluate(
    done: one_stage.Trained,
    recipe: Recipe,
    part: Subset,
    labels: np.ndarray,
    machine: Machine,
    pool: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Each image of a part: loss, prediction, rank, label (see `evaluation.evaluate`).

    `labels` (leaves, 1) are the target's classes of the set's leaves.
    """
    device = done.accelerator.device
    found = evaluation.evaluate(
        done.model,
        loaded(part, recipe, workers=machine.workers),
        torch.tensor(labels).to(device),
        done.accelerator,
        recipe,
        micro_batch=machine.micro_batch,
        pool=None if pool is None else torch.tensor(pool).to(device),
    )
    return found | {"label": labels[part.leaf, 0]}


def errors_by_step(
    done: one_stage.Trained,
    recipe: Recipe,
    part: Subset,
    labels: np.ndarray,
    machine: Machine,
    run_folder: Path | str | None,
    pool: np.ndarray | None = None,
) -> None:
    """Evaluates the checkpoints that `keep_every` kept of a stage, and its last one.

    A line of JSON each, `step` and the errors of `evaluation.errors_of`, in
    `run_folder/errors_by_step.jsonl`. Nothing is done where none is kept.
    """
    if not machine.keep_every:
        return
    model = copy.deepcopy(done.accelerator.unwrap_model(done.model, keep_torch_compile=False))
    lines = []
    last, *others = checkpoints.found(done.folder)
    kept = [path for path in others if checkpoints.step_of(path) % machine.keep_every == 0]
    for path in [*reversed(kept), last]:
        model.load_state_dict(checkpoints.at_step(checkpoints.load(path)[0]))
        found = evaluate(replace(done, model=model), recipe, part, labels, machine, pool)
        errors = evaluation.errors_of(found, found["label"])
        lines.append(json.dumps({"step": checkpoints.step_of(path), **errors}))
    if run_folder is not None and done.accelerator.is_main_process:
        files.write(Path(run_folder) / "errors_by_step.jsonl", "\n".join([*lines, ""]))


def describe(done: one_stage.Trained) -> dict:
    """What a record says of how a stage was trained: curves and speed."""
    return {
        "curves": {name: done.curves[name] for name in ("step", "loss", "learning_rate")},
        "images_per_second": float(np.median(done.curves["images_per_second"])),
    }
