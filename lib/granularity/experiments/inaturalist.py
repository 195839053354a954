"""Experiment B, the same images: source and target differ in their labels and in nothing else.

Pretrain with a label function, finetune on the target, compare; the baseline pretrains on the
target itself (section 5.2). The datasets: `inaturalist` is iNaturalist 2021 with its 11
supercategories as the target; `tiny-imagenet-200` has cuts of WordNet for ranks and target (ours);
`toy` is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from granularity import files
from granularity.experiments import starts
from granularity.experiments.choices import SameImages, chosen, names_of
from granularity.experiments.datasets import LabelledSets, open_labelled
from granularity.experiments.two_stages import (
    Machine,
    check_recipes,
    combinations,
    describe,
    errors_by_step,
    evaluate,
    listed,
    loaded,
    once,
    train,
)
from granularity.fingerprints.digest import digest
from granularity.images.subset import Subset, classes_in
from granularity.images.toy import species_drawing
from granularity.labels.alignment import alignment
from granularity.labels.function import LabelFunction, save
from granularity.labels.kinds import KINDS
from granularity.labels.specification import make, needs_embeddings, parse
from granularity.labels.tree import Tree
from granularity.training import embeddings, networks, one_stage, processes
from granularity.training.evaluation import errors_of, keep
from granularity.training.presets import recipe_of
from granularity.training.recipe import Recipe

SELF_SUPERVISED = "instance"  # an embedding by a network that was trained here without any label
PARTS = ("source", "evaluation")  # the target's images are the source's
CLIP = "clip"  # what the names of networks of CLIP's kind contain


@dataclass(frozen=True)
class Labelled:
    """What label functions are made from: names (N,) and leaves (N,) as the tree numbers them."""

    names: np.ndarray
    leaf: np.ndarray


# ------------------------------------------------------------------------------------- labels


def labelled(part: Subset, tree: Tree) -> Labelled:
    """A part's images as label functions take them."""
    place = {leaf: index for index, leaf in enumerate(tree.leaves)}
    number = np.array([place.get(name, -1) for name in part.images.classes])
    return Labelled(part.names, number[part.leaf])


def lookup_of(function: LabelFunction, here: LabelledSets) -> tuple[np.ndarray | None, np.ndarray]:
    """What is looked up for each image of the source's set, and the table it is looked up in.

    A function of leaves is looked up by leaf (None); one of samples by the image's number, with -1
    for images of the set that are not in the source.
    """
    source = here.sets.source
    if function.domain == "leaf":
        return None, here.rows_of(function, source)
    table = np.full((len(source.images), function.indices.shape[1]), -1, np.int32)
    table[source.rows] = function.indices
    return np.arange(len(source.images)), table


def embed(
    here: LabelledSets, embedding: str, pretraining: Mapping, machine: Machine, seed: int
) -> np.ndarray:
    """One vector for each source image, (N, D), computed once for a network and these images.

    `embedding` is the name of a timm network with its weights, as the paper's
    `vit_large_patch14_clip_quickgelu_224.openai`, or "instance": the network of this recipe and
    seed, trained here to tell every image from every other one, so without any label.
    """
    accelerator = processes.accelerator_of(machine.device)
    if embedding == SELF_SUPERVISED:
        recipe = recipe_of(pretraining)
        images = labelled(here.sets.source, here.tree)
        function = make("instance", here.tree, images, seed)
        done = train_first(here, function, recipe, machine, seed)
        model, name = accelerator.unwrap_model(done.model, keep_torch_compile=False), done.key
    else:
        model, name = embeddings.pretrained(embedding, machine.weights or None), embedding
        recipe = recipe_of(pretraining | {"image_size": embeddings.size_of(model)})
    key = digest([name, here.sets.source.fingerprint, *weights_of(embedding, machine)])
    folder = Path(machine.stages) / "embeddings" / key
    with accelerator.main_process_first(), files.alone(folder):
        return embeddings.features(
            model,
            loaded(here.sets.source, recipe, workers=machine.workers),
            key=key,
            folder=folder,
            device=str(accelerator.device),
        )


def weights_of(embedding: str, machine: Machine) -> list[str]:
    """The fingerprint of the file that an embedding's weights are read from, where they are."""
    read = machine.weights if embedding != SELF_SUPERVISED else ""
    return [found] if (found := embeddings.weights_fingerprint(read)) else []


def function_of(
    here: LabelledSets,
    labels: str,
    embedding: str,
    pretraining: Mapping,
    machine: Machine,
    seed: int,
) -> LabelFunction:
    """The label function of source images that `labels` names (see `labels.specification`)."""
    vectors = None
    if needs_embeddings(labels):
        vectors = embed(here, embedding, pretraining, machine, seed)
    images = labelled(here.sets.source, here.tree)
    return make(labels, here.tree, images, seed, vectors)


def target_of_outputs(function: LabelFunction, here: LabelledSets) -> np.ndarray:
    """The target class that most source images of each pretraining class have, (K,)."""
    source = here.sets.source
    lookup, table = lookup_of(function, here)
    classes = table[(source.images.leaf if lookup is None else lookup)[source.rows], 0]
    target = here.rows_of(here.tree.target, source)[source.leaf, 0]
    counts = np.zeros((function.num_classes, here.tree.target.num_classes), np.int64)
    np.add.at(counts, (classes, target), 1)
    return counts.argmax(axis=1)


# ------------------------------------------------------------------------------------ settings


def arms(
    *,
    labels: str | Sequence[str],
    finetuning: Mapping | Sequence[Mapping],
    one_pass: bool = False,
    skip: str | Sequence[str] = (),
    start: str = "",
    **common: object,
) -> list[dict]:
    """The arguments of `transfer` for whole arms: one for each label function, all combinations.

    The arm of the label function "target" is the baseline: it has two stages as all others have.
    `one_pass` adds the run that has the first one only. A recipe may be a list, to choose from.
    All have the same `skip`, and the same `start`.
    """
    found = [common | {"labels": spec, "finetuning": finetuning} for spec in listed(labels)]
    found += [common | {"labels": "target", "finetuning": {}}] if one_pass else []
    found = combinations(found)
    found = [arm | {"skip": listed(skip)} for arm in found] if skip else found
    return [arm | starts.arguments(start) for arm in found]


def sets_of(setting: Mapping, roots: Mapping[str, str]) -> LabelledSets:
    """The images that a run with these arguments opens, and the tree of their leaves."""
    return open_labelled(chosen(SameImages, setting)[0], roots)


def stated(
    settings: Sequence[Mapping], roots: Mapping[str, str], weights: Path | str = ""
) -> list[dict]:
    """What each run will read, JSON-plain: of source and evaluation the set and its images.

    The target's images are the source's. A run that makes clusters of a timm network's embeddings
    reads the file of its `weights` too. For key and record of the run, before it starts; see
    `Subset.stated`.
    """
    told = once(lambda setting: sets_of(setting, roots).sets.stated(*PARTS), names_of(SameImages))
    file = embeddings.weights_fingerprint(weights)
    return [
        dict(told(setting))
        | ({"weights": file} if file and embeds(setting) else {})
        | starts.stated(setting, roots)
        for setting in settings
    ]


def embeds(setting: Mapping) -> bool:
    """Whether a run computes embeddings by a network that was not trained here."""
    foreign = setting.get("embedding", SELF_SUPERVISED) != SELF_SUPERVISED
    return foreign and needs_embeddings(setting["labels"])


def looked_over(settings: Sequence[Mapping], roots: Mapping[str, str]) -> list[dict]:
    """What the runs will read, a row for each label function and choice of images.

    Opens all sets and recipes and makes all label functions but those of embeddings (of which it
    asks whether there can be so many classes), so that whatever is missing or misspelt is told
    before any work.
    """
    found = {}
    for setting in settings:
        check_recipes(setting)
        starts.refuse_unfit(setting, roots)
        asked = {name: setting[name] for name in names_of(SameImages) if name in setting}
        key = digest([setting["labels"], asked])
        if key not in found:
            here = sets_of(setting, roots)
            found[key] = {
                **asked,
                "labels": setting["labels"],
                "its classes": classes_of(setting["labels"], here),
                "training images": len(here.sets.source),
                "leaves": len(here.tree.leaves),
                "images evaluated on": len(here.sets.evaluation),
                "leaves evaluated on": len(classes_in(here.sets.evaluation)),
                "left out": here.sets.left_out(*PARTS),
            }
    return list(found.values())


def classes_of(labels: str, here: LabelledSets) -> int:
    """How many classes a label function will have; its errors are those of `make`."""
    kind, values = parse(labels)
    alike = ":".join([KINDS[kind].counts_as or kind, *values])
    found = make(alike, here.tree, labelled(here.sets.source, here.tree), 0).num_classes
    if found < 2:
        raise ValueError(f"labels are {labels!r}: one class of all images, which teaches nothing")
    return found


# ---------------------------------------------------------------------------------------- run


def transfer(
    *,
    labels: str = "target",
    embedding: str = SELF_SUPERVISED,
    pretraining: Mapping = {},
    finetuning: Mapping = {},
    seed: int = 0,
    start: str = "",
    run_folder: Path | None = None,
    **places: object,
) -> dict:
    """Pretrains with a label function, finetunes the whole network on the target, evaluates it.

    `labels` names the label function; without `finetuning` the network is evaluated after its one
    stage, its outputs pooled by target class, as all are `…_before` finetuning. `embedding` matters
    to clusters alone. `start` names weights that the first stage starts from in place of the seed's
    (see `starts`). `places` are fields of `SameImages`, which choose images, and of
    `two_stages.Machine`. Label function, per-image losses and predictions stay in `run_folder`;
    with `keep_every` the errors of each kept checkpoint too.
    """
    choice, places = chosen(SameImages, places)
    machine = Machine(**places)
    here = open_labelled(choice, machine.roots)
    recipes = [recipe_of(pretraining), *([recipe_of(finetuning)] if finetuning else [])]
    check(recipes, here, machine)
    function = function_of(here, labels, embedding, pretraining, machine, seed)
    begun = starts.read(start, machine.roots)
    done = first = train_first(here, function, recipes[0], machine, seed, begun)
    pool = target_of_outputs(function, here)
    found = before = answers(first, recipes[0], here, "evaluation", machine, pool)
    if finetuning:
        of_target = here.rows_of(here.tree.target, here.sets.source)
        pool = None
        done = train(recipes[1], here.sets.source, of_target, machine, seed, start=first.folder)
        found = answers(done, recipes[1], here, "evaluation", machine)
    learnt = answers(done, recipes[-1], here, "source", machine, pool)
    part = here.sets.evaluation
    of_part = here.rows_of(here.tree.target, part)
    errors_by_step(done, recipes[-1], part, of_part, machine, run_folder, pool)
    if run_folder is not None and done.accelerator.is_main_process:
        save(function, Path(run_folder) / "labels.npz")
        keep(found, Path(run_folder) / "evaluation.npz", here.tree.target.classes)
    after, earlier = (measured(one, here, choice.dataset) for one in (found, before))
    return {
        "metrics": {
            **after,
            **{f"{name}_before": value for name, value in earlier.items()},
            **of_labels(function, here),
            "training_error": float((learnt["rank"] > 0).mean()),
            "pretraining_loss": first.curves["loss"][-1],
            "stages": len(recipes),
            "foreign_embedding": int(needs_embeddings(labels) and CLIP not in embedding),
        },
        "stage": done.key,
        "pretraining_stage": first.key if finetuning else None,
        "left_out": here.sets.left_out(*PARTS),
        **describe(done),
    }


def check(recipes: Sequence[Recipe], here: LabelledSets, machine: Machine) -> None:
    """Raises, before any work, for stages that cannot be trained, one after the other."""
    for recipe in recipes:
        one_stage.check(recipe, len(here.sets.source), machine.micro_batch)
    if len(recipes) > 1:
        networks.check_both(*recipes)


def train_first(
    here: LabelledSets,
    function: LabelFunction,
    recipe: Recipe,
    machine: Machine,
    seed: int,
    start: starts.Weights | None = None,
) -> one_stage.Trained:
    """The first stage, on a label function's classes, from weights where they are given."""
    lookup, table = lookup_of(function, here)
    return train(recipe, here.sets.source, table, machine, seed, lookup=lookup, start=start)


def answers(
    done: one_stage.Trained,
    recipe: Recipe,
    here: LabelledSets,
    name: str,
    machine: Machine,
    pool: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """What a network answers for each image of the part of this name, against the target."""
    part = getattr(here.sets, name)
    return evaluate(done, recipe, part, here.rows_of(here.tree.target, part), machine, pool)


def measured(found: Mapping[str, np.ndarray], here: LabelledSets, dataset: str) -> dict[str, float]:
    """The errors, and in the toy dataset those on its easy and hard images too."""
    metrics = errors_of(found, found["label"])
    if dataset == "toy":
        hard = np.array([species_drawing.hard(name) for name in here.sets.evaluation.names])
        wrong = found["rank"] > 0
        metrics |= {"easy_error": float(wrong[~hard].mean())}
        metrics |= {"hard_error": float(wrong[hard].mean())}
    return metrics


def of_labels(function: LabelFunction, here: LabelledSets) -> dict[str, float]:
    """How a label function and the target agree on the training images, and how many they are."""
    source, target = here.sets.source, here.tree.target
    return alignment(function, target, labelled(source, here.tree).leaf) | {
        "training_images": len(source),
        "classes": function.num_classes,
        "target_classes": target.num_classes,
    }
