"""The iNaturalist arm: source and target are the same images, and only their labels differ.

Pretrain with a label function, finetune on the target, compare; the baseline pretrains on the
target itself (section 5.2). The datasets: `inaturalist` is iNaturalist 2021 with its 11
supercategories as the target; `tiny-imagenet-200` has cuts of WordNet for ranks and target (ours);
`toy` is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from granularity import files
from granularity.experiments.datasets import (
    Sets,
    checked,
    doubles_of,
    hold_out,
    opened,
    root_of,
    tiny_imagenet,
)
from granularity.experiments.two_stages import (
    Machine,
    combinations,
    described,
    evaluated,
    listed,
    loaded,
    once,
    trained,
)
from granularity.fingerprints.digest import digest
from granularity.hierarchies import taxonomy
from granularity.images.subset import Subset, classes_in, of_classes, some, whole
from granularity.images.toy import species_drawing
from granularity.labels.alignment import alignment
from granularity.labels.function import LabelFunction, save
from granularity.labels.specification import make
from granularity.labels.tree import Tree, tree_of_cuts, tree_of_taxonomy
from granularity.training import embeddings, networks, one_stage, processes
from granularity.training.evaluation import errors_of, keep
from granularity.training.presets import recipe_of

SELF_SUPERVISED = "instance"  # an embedding by a network that was trained here without any label
CHOSEN = ("target", "training", "images", "held_out", "skip")  # what chooses images
PARTS = ("source", "evaluation")  # the target's images are the source's
CLIP = "clip"  # what the names of networks of CLIP's kind contain


@dataclass(frozen=True)
class Dataset:
    """The images of a dataset, and the tree of their leaves with the target."""

    sets: Sets
    tree: Tree

    def rows_of(self, function: LabelFunction, part: Subset) -> np.ndarray:
        """A leaf's classes for each class of a part's set (leaves, q); -1 where it is none."""
        table = np.full((len(part.images.classes), function.indices.shape[1]), -1, np.int32)
        place = {name: index for index, name in enumerate(part.images.classes)}
        there = [row for row, leaf in enumerate(function.items) if leaf in place]
        table[[place[function.items[row]] for row in there]] = function.indices[there]
        return table


@dataclass(frozen=True)
class Labelled:
    """What label functions are made from: names (N,) and leaves (N,) as the tree numbers them."""

    names: np.ndarray
    leaf: np.ndarray


# ------------------------------------------------------------------------------------- datasets


def open_dataset(
    name: str,
    roots: Mapping[str, str],
    *,
    target: str = "supercategory",
    training: str = "2021_train_mini",
    images: int = 0,
    held_out: bool = False,
    skip: Sequence[str] = (),
) -> Dataset:
    """A dataset with so many training images of each leaf (0: all that there are).

    `target` is "supercategory", or a cut of WordNet for Tiny-ImageNet (see `tree_of_cuts`).
    `training` is the folder that iNaturalist's training images are in. With `held_out` a part of
    them is evaluated on, and not trained on. Raises KeyError for a dataset or a root that is not
    named, ValueError for a target that a dataset does not have.
    """
    if name not in DATASETS:
        raise KeyError(f"no images are called {name!r}; there are {', '.join(DATASETS)}")
    dataset = DATASETS[name](roots, target, training, images, tuple(skip))
    sets = checked(dataset.sets, skip)
    if held_out:
        sets = hold_out(sets, doubles_of(name))
    return Dataset(replace(sets, source=sets.target), dataset.tree)


def species(
    roots: Mapping[str, str],
    target: str,
    training: str,
    images: int,
    skip: tuple[str, ...],
    inside: str = "",
) -> Dataset:
    """iNaturalist 2021, species in folders of their own, named after all their ranks.

    `roots["inaturalist"]`, or its folder `inside` another root, holds `2021_train_mini` (or
    another folder of `training`) and `2021_valid`.
    """
    if target != "supercategory":
        raise ValueError(f"target is {target!r}; of species it is 'supercategory'")
    called = f"{inside}/inaturalist".lstrip("/")
    root = root_of(roots, inside or "inaturalist") / ("inaturalist" if inside else "")
    parts = (training, "2021_valid")
    source, evaluation = (opened(str(root), part, called, skip) for part in parts)
    part = Subset(source, some(source, images))
    tree = tree_of_taxonomy(taxonomy.read(source.classes))
    return Dataset(Sets(part, part, whole(evaluation), source.classes), tree)


def tiny(
    roots: Mapping[str, str], target: str, training: str, images: int, skip: tuple[str, ...]
) -> Dataset:
    """Tiny-ImageNet; a target may leave classes out. `training` says nothing here."""
    found, evaluation = tiny_imagenet(roots, skip)
    tree = tree_of_cuts(found.images.classes, target)
    rows = np.intersect1d(some(found.images, images), found.rows)
    part = of_classes(Subset(found.images, rows), tree.leaves)
    return Dataset(Sets(part, part, of_classes(whole(evaluation), tree.leaves), tree.leaves), tree)


DATASETS = {
    "toy": partial(species, inside="toy"),
    "tiny-imagenet-200": tiny,
    "inaturalist": species,
}


# ------------------------------------------------------------------------------------- labels


def labelled(part: Subset, tree: Tree) -> Labelled:
    """A part's images as label functions take them."""
    place = {leaf: index for index, leaf in enumerate(tree.leaves)}
    number = np.array([place.get(name, -1) for name in part.images.classes])
    return Labelled(part.names, number[part.leaf])


def lookup_of(function: LabelFunction, dataset: Dataset) -> tuple[np.ndarray | None, np.ndarray]:
    """What is looked up for each image of the source's set, and the table it is looked up in.

    A function of leaves is looked up by leaf (None); one of samples by the image's number, with -1
    for images of the set that are not in the source.
    """
    source = dataset.sets.source
    if function.domain == "leaf":
        return None, dataset.rows_of(function, source)
    table = np.full((len(source.images), function.indices.shape[1]), -1, np.int32)
    table[source.rows] = function.indices
    return np.arange(len(source.images)), table


def embedded(
    dataset: Dataset, embedding: str, pretraining: Mapping, machine: Machine, seed: int
) -> np.ndarray:
    """One vector for each source image, (N, D), computed once for a network and these images.

    `embedding` is the name of a timm network with its weights, as the paper's
    `vit_large_patch14_clip_quickgelu_224.openai`, or "instance": the network of this recipe and
    seed, trained here to tell every image from every other one, so without any label.
    """
    accelerator = processes.accelerator_of(machine.device)
    if embedding == SELF_SUPERVISED:
        recipe = recipe_of(pretraining)
        function = make("instance", dataset.tree, labelled(dataset.sets.source, dataset.tree), seed)
        lookup, table = lookup_of(function, dataset)
        done = trained(recipe, dataset.sets.source, table, machine, seed, lookup=lookup)
        model, name = accelerator.unwrap_model(done.model, keep_torch_compile=False), done.key
    else:
        model, name = embeddings.pretrained(embedding, machine.weights or None), embedding
        recipe = recipe_of(pretraining | {"image_size": embeddings.size_of(model)})
    key = digest([name, dataset.sets.source.fingerprint, *weights_of(embedding, machine)])
    folder = Path(machine.stages) / "embeddings" / key
    with accelerator.main_process_first(), files.alone(folder):
        return embeddings.features(
            model,
            loaded(dataset.sets.source, recipe, workers=machine.workers),
            key=key,
            folder=folder,
            device=str(accelerator.device),
        )


def weights_of(embedding: str, machine: Machine) -> list[str]:
    """The fingerprint of the file that an embedding's weights are read from, where they are."""
    read = machine.weights if embedding != SELF_SUPERVISED else ""
    return [found] if (found := embeddings.weights_fingerprint(read)) else []


def function_of(
    dataset: Dataset, labels: str, embedding: str, pretraining: Mapping, machine: Machine, seed: int
) -> LabelFunction:
    """The label function of source images that `labels` names (see `labels.specification`)."""
    vectors = None
    if labels.startswith("cluster"):
        vectors = embedded(dataset, embedding, pretraining, machine, seed)
    images = labelled(dataset.sets.source, dataset.tree)
    return make(labels, dataset.tree, images, seed, vectors)


def target_of_outputs(function: LabelFunction, dataset: Dataset) -> np.ndarray:
    """The target class that most source images of each pretraining class have, (K,)."""
    source = dataset.sets.source
    lookup, table = lookup_of(function, dataset)
    classes = table[(source.images.leaf if lookup is None else lookup)[source.rows], 0]
    target = dataset.rows_of(dataset.tree.target, source)[source.leaf, 0]
    counts = np.zeros((function.num_classes, dataset.tree.target.num_classes), np.int64)
    np.add.at(counts, (classes, target), 1)
    return counts.argmax(axis=1)


# ------------------------------------------------------------------------------------ settings


def arms(
    *,
    labels: str | Sequence[str],
    finetuning: Mapping | Sequence[Mapping],
    one_pass: bool = False,
    skip: Sequence[str] = (),
    **common: object,
) -> list[dict]:
    """The arguments of `transfer` for whole arms: one for each label function, all combinations.

    The arm of the label function "target" is the baseline: it has two stages as all others have.
    `one_pass` adds the run that has the first one only. A recipe may be a list, to choose from.
    All have the same `skip`.
    """
    found = [common | {"labels": spec, "finetuning": finetuning} for spec in listed(labels)]
    found += [common | {"labels": "target", "finetuning": {}}] if one_pass else []
    found = combinations(found)
    return [arm | {"skip": list(skip)} for arm in found] if skip else found


def dataset_of(setting: Mapping, roots: Mapping[str, str]) -> Dataset:
    """The dataset that a run with these arguments opens."""
    return open_dataset(
        setting["dataset"], roots, **{n: setting[n] for n in CHOSEN if n in setting}
    )


def stated(
    settings: Sequence[Mapping], roots: Mapping[str, str], weights: Path | str = ""
) -> list[dict]:
    """What each run will read, JSON-plain: of source and evaluation the set and its images.

    The target's images are the source's. A run that makes clusters of a timm network's embeddings
    reads the file of its `weights` too. For key and record of the run, before it starts; see
    `Subset.stated`.
    """
    told = once(
        lambda setting: dataset_of(setting, roots).sets.stated(*PARTS), ("dataset", *CHOSEN)
    )
    file = embeddings.weights_fingerprint(weights)
    return [
        dict(told(setting)) | ({"weights": file} if file and embeds(setting) else {})
        for setting in settings
    ]


def embeds(setting: Mapping) -> bool:
    """Whether a run computes embeddings by a network that was not trained here."""
    clusters = setting["labels"].startswith("cluster")
    return clusters and setting.get("embedding", SELF_SUPERVISED) != SELF_SUPERVISED


def looked_over(settings: Sequence[Mapping], roots: Mapping[str, str]) -> list[dict]:
    """What the runs will read, a row for each label function and choice of images.

    Opens all sets and recipes and makes all label functions but clusters (of which it asks whether
    there can be so many), so that whatever is missing or misspelt is told before any work.
    """
    found = {}
    for setting in settings:
        for recipe in ("pretraining", "finetuning"):
            if setting.get(recipe):
                recipe_of(setting[recipe])
        chosen = {name: setting[name] for name in CHOSEN if name in setting}
        key = digest([setting["dataset"], setting["labels"], chosen])
        if key not in found:
            dataset = dataset_of(setting, roots)
            found[key] = {
                "dataset": setting["dataset"],
                **chosen,
                "labels": setting["labels"],
                "its classes": classes_of(setting["labels"], dataset),
                "training images": len(dataset.sets.source),
                "leaves": len(dataset.tree.leaves),
                "images evaluated on": len(dataset.sets.evaluation),
                "leaves evaluated on": len(classes_in(dataset.sets.evaluation)),
                "left out": dataset.sets.left_out(*PARTS),
            }
    return list(found.values())


def classes_of(labels: str, dataset: Dataset) -> int:
    """How many classes a label function will have; its errors are those of `make`."""
    kind, _, rest = labels.partition(":")
    if kind in ("cluster", "cluster-free", "cluster-crossed"):
        labels = f"{'random-free' if kind == 'cluster-free' else 'random'}:{rest}"
    found = make(labels, dataset.tree, labelled(dataset.sets.source, dataset.tree), 0).num_classes
    if found < 2:
        raise ValueError(f"labels are {labels!r}: one class of all images, which teaches nothing")
    return found


# ---------------------------------------------------------------------------------------- run


def transfer(
    *,
    dataset: str = "toy",
    target: str = "supercategory",
    training: str = "2021_train_mini",
    images: int = 0,
    labels: str = "target",
    embedding: str = SELF_SUPERVISED,
    pretraining: Mapping = {},
    finetuning: Mapping = {},
    held_out: bool = False,
    skip: Sequence[str] = (),
    seed: int = 0,
    run_folder: Path | None = None,
    **places: object,
) -> dict:
    """Pretrains with a label function, finetunes the whole network on the target, evaluates it.

    `labels` names the label function; without `finetuning` the network is evaluated after its one
    stage, its outputs pooled by target class, as all are `…_before` finetuning. `embedding` matters
    to clusters alone. `places` are fields of `two_stages.Machine`. Label function, per-image losses
    and predictions stay in `run_folder`.
    """
    machine, recipe = Machine(**places), recipe_of(pretraining)
    chosen = (target, training, images, held_out, skip)
    here = open_dataset(dataset, machine.roots, **dict(zip(CHOSEN, chosen, strict=True)))
    images_there = len(here.sets.source)
    one_stage.check(recipe, images_there, machine.micro_batch)
    if finetuning:
        one_stage.check(recipe_of(finetuning), images_there, machine.micro_batch)
        networks.check_both(recipe, recipe_of(finetuning))
    function = function_of(here, labels, embedding, pretraining, machine, seed)
    source, evaluation = here.sets.source, here.sets.evaluation
    lookup, table = lookup_of(function, here)
    done = trained(recipe, source, table, machine, seed, lookup=lookup)
    of_target, of_evaluation = (here.rows_of(here.tree.target, p) for p in (source, evaluation))
    pool = target_of_outputs(function, here)
    before = evaluated(done, recipe, evaluation, of_evaluation, machine, pool)
    learnt = evaluated(done, recipe, source, of_target, machine, pool)
    found, loss = before, done.curves["loss"][-1]
    if finetuning:
        recipe = recipe_of(finetuning)
        done = trained(recipe, source, of_target, machine, seed, start=done.folder)
        found = evaluated(done, recipe, evaluation, of_evaluation, machine)
        learnt = evaluated(done, recipe, source, of_target, machine)
    if run_folder is not None and done.accelerator.is_main_process:
        save(function, Path(run_folder) / "labels.npz")
        keep(found, Path(run_folder) / "evaluation.npz", here.tree.target.classes)
    return {
        "metrics": {
            **measured(found, evaluation, dataset),
            **{f"{name}_before": v for name, v in measured(before, evaluation, dataset).items()},
            **alignment(function, here.tree.target, labelled(source, here.tree).leaf),
            "training_error": float((learnt["rank"] > 0).mean()),
            "pretraining_loss": loss,
            "training_images": len(source),
            "classes": function.num_classes,
            "stages": 2 if finetuning else 1,
            "target_classes": here.tree.target.num_classes,
            "foreign_embedding": int(labels.startswith("cluster") and CLIP not in embedding),
        },
        "left_out": here.sets.left_out(*PARTS),
        **described(done),
    }


def measured(found: Mapping[str, np.ndarray], part: Subset, dataset: str) -> dict[str, float]:
    """The errors, and in the toy dataset those on its easy and hard images too."""
    metrics = errors_of(found, found["label"])
    if dataset == "toy":
        hard = np.array([species_drawing.hard(name) for name in part.names])
        wrong = found["rank"] > 0
        metrics |= {"easy_error": float(wrong[~hard].mean())}
        metrics |= {"hard_error": float(wrong[hard].mean())}
    return metrics
