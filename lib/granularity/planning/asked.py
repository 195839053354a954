"""What a job of the graph asks for: its notebook's runs, and whether these are made already."""

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from granularity import notebook, theory
from granularity.analysis import best_recipe
from granularity.experiments import datasets, imagenet, inaturalist, sets, starts
from granularity.experiments.choices import SameImages, chosen
from granularity.experiments.two_stages import check_recipes, listed
from granularity.fingerprints import equivalence
from granularity.fingerprints.digest import canonical, digest
from granularity.hierarchies import plankton, synset_lists, taxonomy, wordnet
from granularity.images.toy.drawing import SYNSETS
from granularity.images.toy.species_drawing import SPECIES
from granularity.inputs import renamed
from granularity.inputs.nearest import nearest
from granularity.inputs.open_recipes import RECIPES, is_open
from granularity.labels.kinds import KINDS
from granularity.labels.specification import make, parse
from granularity.labels.tree import Tree, tree_of_cuts, tree_of_plankton, tree_of_taxonomy
from granularity.records import tables
from granularity.records.entries import kind_of, kind_of_function
from granularity.records.record import RecordError
from granularity.training import networks
from granularity.training.presets import recipe_of

SETS = ("dataset", "overlap", "source_images", "target_images", "classes")
SOURCE = ("level", "placebo", *SETS, "held_out", "skip", "pretraining", "seed", "start")
TARGET = (*SOURCE, "baseline", "finetuning", "scratch")
TRANSFER = ("dataset", "target", "training", "images", "labels", "embedding", "pretraining")
TRANSFER += ("finetuning", "one_pass", "held_out", "skip", "seed", "start")
SAME_IMAGES = ("seed", "pretraining", "finetuning")  # what chooses no images of a run
TRAINING = ("2021_train_mini", "2021_train")  # iNaturalist's folders of training images
OVERLAPS = ("contained", "disjoint")
TARGETS = {"inaturalist": "supercategory", "toy": "supercategory", datasets.PLANKTON: "group"}
OF_LEAVES = ("target", "ranks", "regrouped")  # groups of label functions that no image decides
MACHINE = ("folder", "processes", "workers")  # where a simulation is made, and no setting of it
# Parameters that name where sets lie, and what the sets are called.
ROOTS = {"toy_root": "toy", "tiny_imagenet": "tiny-imagenet-200", "imagenet21k": "imagenet21k"}
ROOTS |= {"imagenet1k": "imagenet1k", "inaturalist_root": "inaturalist"}


def runs_of(run: str, values: Mapping[str, Any]) -> tuple[Callable, list[dict]]:
    """The entry and the arguments of all runs of a job; `values` are all of its parameters.

    Raises KeyError for a run notebook that is not known here, and what the settings refuse.
    """
    values = with_recipes(values)
    if run == "theory/simulate":
        given = {name: value for name, value in values.items() if name not in MACHINE}
        return theory.simulate, theory.grid(**given)
    arms, entry, names = {
        "imagenet/pretrain": (imagenet.arms, imagenet.pretrain, SOURCE),
        "imagenet/finetune": (imagenet.arms, imagenet.finetune, TARGET),
        "inaturalist/transfer": (inaturalist.arms, inaturalist.transfer, TRANSFER),
    }[run]
    return entry, arms(**{name: values[name] for name in names})


def with_recipes(values: Mapping[str, Any]) -> dict[str, Any]:
    """A job's parameters with the first of the recipes where runs have yet to choose one.

    All of them take as long, so the plan is the same.
    """
    return {name: value[RECIPES][0] if is_open(value) else value for name, value in values.items()}


def checked(run: str, values: Mapping[str, Any], place: str) -> tuple[Callable, list[dict]]:
    """As `runs_of`, of values that go together, as far as can be seen without the images.

    Raises ParameterError, naming `place`, for others: a recipe, a label function or a dataset that
    is none, a setting of the theory that cannot be.
    """
    tried = [value[RECIPES] for value in values.values() if is_open(value)]
    try:
        for recipe in itertools.chain(*tried):
            recipe_of(recipe)
        entry, settings = runs_of(run, values)
        for setting in settings:
            check_recipes(setting)
            if "dataset" in setting:
                refuse_choice(entry, setting)
            if entry is inaturalist.transfer:
                refuse_labels(setting["dataset"], setting["target"], setting["labels"])
                refuse_count(setting)
            elif entry in (imagenet.pretrain, imagenet.finetune) and not setting.get("classes"):
                refuse_level(setting["dataset"], setting["level"])
            refuse_networks(setting, values)
            refuse_name("overlap", setting.get("overlap", OVERLAPS[0]), OVERLAPS)
            for kind in listed(setting.get("skip", [])):
                refuse_name("skip", kind, sets.SKIP)
        refuse_names(values)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        told = error if isinstance(error, OSError) else error.args[0]
        raise notebook.ParameterError(f"{place}: {told}") from None
    return entry, settings


def refuse_choice(entry: Callable, setting: Mapping[str, Any]) -> None:
    """Raises for a dataset, a cut of its leaves, or a folder of its images that there is not."""
    found = datasets.named(setting["dataset"])
    same = entry is inaturalist.transfer
    can = {n for n, f in datasets.DATASETS.items() if (f.same_images if same else f.larger_source)}
    refuse_name("dataset", setting["dataset"], can)
    if not same:
        return refuse_classes(setting.get("classes", []))
    choice, _ = chosen(SameImages, setting)
    refuse_name("training", choice.training, TRAINING)
    if SameImages in found.sizes:
        found.size_of(choice)


def refuse_classes(classes: Sequence[str]) -> None:
    """Raises ValueError, with the nearest one, for a chosen class that is no noun of WordNet."""
    known = wordnet.nouns().names
    for label in classes:
        if label not in known:
            near = nearest(label, known, cutoff=0)
            raise ValueError(
                f"classes has {label!r}, no synset of WordNet's nouns; nearest: {near}"
            )


@cache
def refuse_labels(dataset: str, target: str, labels: str) -> None:
    """Raises ValueError for what is no label function, or one that cannot be made of these leaves.

    Those of images are made once the images are there.
    """
    group = KINDS[parse(labels)[0]].group
    tree = tree_of(dataset, target)
    if group in OF_LEAVES and make(labels, tree, None, seed=0).num_classes < 2:
        raise ValueError(f"labels are {labels!r}: one class of all leaves, which teaches nothing")


def refuse_count(setting: Mapping[str, Any]) -> None:
    """Raises ValueError for one class of all images, or for more classes than there are images.

    A set that lies here may be a part of the one that is known, so it may have fewer.
    """
    kind, values = parse(setting["labels"])
    if "<K>" in KINDS[kind].form and KINDS[kind].group not in OF_LEAVES:
        most = datasets.named(setting["dataset"]).size_of(chosen(SameImages, setting)[0]).source
        if not 2 <= int(values[0]) <= most:
            raise ValueError(
                f"label function {setting['labels']!r}: {int(values[0]):,} classes of {most:,}"
                f" images; 2 to {most:,} are possible"
            )


@cache
def tree_of(dataset: str, target: str) -> Tree:
    """The tree of a dataset's leaves, known without its images.

    Raises ValueError for a target that it does not have.
    """
    if dataset in TARGETS:
        refuse_name("target", target, [TARGETS[dataset]])
    if dataset == datasets.PLANKTON:
        return tree_of_plankton(plankton.shipped())
    if dataset == datasets.TINY:
        return tree_of_cuts(wordnet.read_list(datasets.TINY_SYNSETS), target)
    drawn = dataset == "toy"
    return tree_of_taxonomy(taxonomy.read(SPECIES) if drawn else taxonomy.shipped())


@cache
def refuse_level(dataset: str, level: int) -> None:
    """Raises ValueError, with the highest, for a level at which all leaves are one class."""
    leaves = Leaves(f"the source of {dataset}", leaves_of(dataset))
    imagenet.level_table(leaves, level)


def leaves_of(dataset: str) -> tuple[str, ...]:
    """The synsets of a dataset's source."""
    found = datasets.named(dataset)
    if not found.roots:
        return SYNSETS
    return tuple(synset_lists.read(found.synsets or datasets.TINY_SYNSETS))


class Leaves(NamedTuple):
    """A set of images by what levels ask of it."""

    name: str
    classes: tuple[str, ...]


def refuse_networks(setting: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raises for a network that timm lacks, or that its stage before or this job cannot train.

    Nothing is read: so before the graph starts it is told what would stop a job days later.
    """
    recipes = [recipe_of(setting[n]) for n in ("pretraining", "finetuning") if setting.get(n)]
    for recipe in recipes:
        networks.check_name(recipe)
        processes, pieces = values.get("processes", 1), values.get("micro_batch", 0)
        if processes > 1 or pieces:
            share = -(-recipe.batch_size // processes)  # as the engine divides a batch
            at_once = min(pieces or share, share)
            networks.check_micro_batches(networks.check(recipe), recipe, at_once, processes)
    if len({canonical([recipe.model, recipe.model_options]) for recipe in recipes}) > 1:
        networks.check_both(*recipes)


def refuse_names(values: Mapping[str, Any]) -> None:
    """Raises ValueError or KeyError for a root, a tracker or timm's weights that there are not."""
    own = {name for found in datasets.DATASETS.values() for name in found.roots}
    for name in values.get("roots", {}):
        refuse_name("roots", name, {*own, *ROOTS.values()})
    refuse_name("tracker", values.get("tracker", ""), ["", *LOGGER_TYPE_TO_CLASS])
    named = [start] if (start := values.get("start", "")).startswith(starts.TIMM) else []
    named += [
        name for name in listed(values.get("embedding", [])) if name != inaturalist.SELF_SUPERVISED
    ]
    for name in named:
        with contextlib.suppress(FileNotFoundError):  # they need not be on this machine yet
            starts.cached(name.removeprefix(starts.TIMM))


def refuse_name(field: str, name: str, known: Collection[str]) -> None:
    """Raises ValueError, with the nearest one, for a name that is none of those known."""
    if name not in known:
        near = nearest(str(name), known, cutoff=0)
        there = ", ".join(sorted(filter(None, known)))
        raise ValueError(f"{field} has {name!r}, one of {there} wanted; did you mean {near!r}?")


def made(folder: Path, run: str, values: Mapping[str, Any], read: Sequence[Mapping | None]) -> bool:
    """Whether a job has nothing to do: every run that it asks for has its record in `folder`.

    `read` is what each of its runs would read. A table of contents alone says nothing: a run with
    other parameters leaves one in its place.
    """
    try:
        found = list(tables.in_folders(folder).values())
        values, _ = best_recipe.settled(values, Path())
    except (OSError, RecordError):
        return False
    entry, settings = runs_of(run, values)
    return all(any_is_of(found, entry, *both) for both in zip(settings, read, strict=True))


def read_by(run: str, settings: Sequence[Mapping], values: Mapping[str, Any]) -> list[dict | None]:
    """What the runs of a job would read; None of each where its images are not all here."""
    arm = {"imagenet": imagenet, "inaturalist": inaturalist}.get(run.partition("/")[0])
    if arm is None:
        return [None] * len(settings)
    roots = roots_of(values)
    weights = [values["weights"]] if values.get("weights") else []
    try:
        roots |= {starts.ROOT: starts.file_of(values["start"])}
        return arm.stated(settings, roots, *weights)
    except (OSError, ValueError, KeyError):
        return [None] * len(settings)


def reader() -> Callable[[str, Sequence[Mapping], Mapping[str, Any]], list[dict | None]]:
    """`read_by`, done once for all jobs whose runs differ in seed and recipes alone.

    For a plan: what lies in the folders is taken as it was when the first of them was asked about.
    """
    known: dict[str, list[dict | None]] = {}

    def read(run: str, settings: Sequence[Mapping], values: Mapping[str, Any]) -> list[dict | None]:
        chosen = [{n: v for n, v in one.items() if n not in SAME_IMAGES} for one in settings]
        key = digest([run, chosen, roots_of(values), values.get("weights"), values.get("start")])
        if key not in known:
            known[key] = read_by(run, settings, values)
        return known[key]

    return read


def roots_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Where a job's sets lie, by their names: in `roots`, or in a parameter of a set's own."""
    own = {name: values[place] for place, name in ROOTS.items() if values.get(place)}
    return own | values.get("roots", {})


def any_is_of(
    found: Iterable[Mapping], entry: Callable, arguments: Mapping, data: Mapping | None
) -> bool:
    """Whether one of some records is that of a run."""
    return any(is_of(record, entry, arguments, data) for record in found)


def is_of(
    record: Mapping[str, Any], entry: Callable, arguments: Mapping, data: Mapping | None = None
) -> bool:
    """Whether a record is that of the run `entry(**arguments)`, by our code or by equal code.

    `data` is what the run would read, where that is known.
    """
    try:
        same = kind_of(str(record.get("entry"))) == kind_of_function(entry)
    except RecordError:
        return False
    made_of = renamed.current(record.get("arguments"))
    same &= canonical(made_of) == canonical(dict(arguments))
    same &= data is None or record.get("data") == data
    return same and tables.standing(record) != equivalence.OLDER
