"""Runs of Experiment B side by side: which may be compared, and what their arms are called.

An arm is a label function with a number of stages: `baseline`, `one pass` (both of the label
function `target`), or the label function's specification, as `rank:family` or `random:34`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from granularity.analysis import selection, statistics
from granularity.fingerprints.digest import canonical
from granularity.images import sources
from granularity.labels.kinds import KINDS
from granularity.labels.kinds import ordered as ordered_kinds
from granularity.records import tables

KIND = "inaturalist.transfer"
BASELINE, ONE_PASS = "baseline", "one pass"

# What runs of one comparison share. `finetuning` too, but a single pass has none.
SHARED = ("dataset", "target", "training", "images", "held_out", "pretraining")

# Arms of the label function `target`, and what tables call them; the others are of its kinds.
OF_TARGET = {BASELINE: "target, the baseline", ONE_PASS: "target, one pass"}

# Files of published runs, in the folder of a size.
PUBLISHED = "inaturalist.jsonl"
MORE_IMAGES = "inaturalist_400.jsonl"  # of the cell in which every compared arm learns its images


@dataclass(frozen=True)
class Study:
    """Runs that may be compared, as a chapter shows them.

    `arrays` are those that the runs kept of every evaluation image, by the runs' fingerprints.
    """

    title: str
    size: str  # as in `claims.rules.SIZES`: what the rules let it decide
    runs: pd.DataFrame
    arrays: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def toy(self) -> bool:
        """Whether its images were drawn."""
        return bool((self.runs["dataset"] == "toy").all())

    @property
    def mark(self) -> str:
        """Its title as names in a record begin."""
        return re.sub(r"\W+", "_", self.title.lower())

    @property
    def seeds(self) -> int:
        """How many seeds any of its arms has."""
        return int(self.runs["seed"].nunique())

    def of(self, arm: str, metric: str = "error") -> np.ndarray:
        """A metric of an arm's runs, by seed; empty where there is no such run."""
        if arm not in set(self.runs["arm"]):
            return np.empty(0)
        return selection.by_seed(selection.select(self.runs, {"arm": arm}), metric, arm).to_numpy()

    def mean(self, arm: str, metric: str = "error") -> float:
        """The mean of a metric over an arm's runs; nan where there is no such run."""
        return statistics.spread(self.of(arm, metric))[0]

    def against(self, reference: str, arm: str, metric: str = "error") -> pd.Series:
        """By how much an arm's metric is below the reference's, within each seed of both."""
        pair = ({"arm": reference}, {"arm": arm})
        return selection.paired_difference(self.runs, metric, *pair)

    def reduction(self, arm: str) -> pd.Series:
        """The share of the baseline's error that an arm does not make, by seed."""
        pair = ({"arm": BASELINE}, {"arm": arm})
        return selection.relative_reduction(self.runs, "error", *pair)

    def sorted_out(self, arms: Collection[str]) -> dict[str, list[str]]:
        """Which arms err less and more than the baseline, by the 95% interval over seeds.

        The keys are "below", "above" and "unclear" (the interval holds zero, or there is none).
        Each arm by itself, without a correction for their number.
        """
        found: dict[str, list[str]] = {"below": [], "above": [], "unclear": []}
        for arm in arms:
            _, low, high = statistics.interval(self.against(BASELINE, arm))
            found["below" if low > 0 else "above" if high < 0 else "unclear"].append(arm)
        return found

    @property
    def best_rank(self) -> str | None:
        """The manual rank finer than the target with the lowest mean error, if there is one."""
        return min(ladder(self.runs), key=lambda arm: self.of(arm).mean(), default=None)


def studies(runs: Path | str, published: Path | str) -> list[Study]:
    """What there is to show: the published runs in a folder, if any, then those of this build.

    Raises Unfit where there is neither.
    """
    found, file = [], Path(published) / PUBLISHED
    if file.exists():
        found += _studies(file, "our runs")
    if tables.any_ran(Path(runs)):
        found += _studies(Path(runs), "this build")
    if not found:
        raise statistics.Unfit(f"{runs} holds no finetuned run of {KIND}")
    return found


def _studies(path: Path, whose: str) -> list[Study]:
    found, arrays, made = read(path), tables.arrays(path), []
    for runs, more in zip(found, told_apart(found), strict=True):
        dataset = runs["dataset"].iloc[0]
        size = {"toy": "smoke", "inaturalist": "paper"}.get(dataset, "tiny")
        title = ", ".join([sources.title_of(dataset), whose, *more])
        made.append(Study(title, size, runs, arrays))
    return made


def told_apart(tables: Sequence[pd.DataFrame]) -> list[list[str]]:
    """For each table what its runs share and those of the others do not, in words."""
    of = [
        {
            "target": f"target {runs['target'].iloc[0]}",
            "images": f"{runs['images'].iloc[0] or 'all'} images per class",
            "network": network.get("model", network.get("preset")),
            "length": f"{network.get('epochs')} epochs",
        }
        for runs in tables
        for network in [runs["pretraining"].iloc[0]]
    ]
    names = of[0] if of else ()
    differing = [name for name in names if len({one[name] for one in of}) > 1]
    return [[one[name] for name in differing] for one in of]


def arm_of(labels: str, stages: int) -> str:
    """What the arm of a run is called."""
    if labels == "target":
        return BASELINE if stages == 2 else ONE_PASS
    return labels


def kind_of(arm: str) -> str:
    """Which of `kinds()` an arm is. Raises KeyError, naming it, for any other."""
    kind = arm.partition(":")[0]
    if kind not in kinds():
        raise KeyError(f"no kind of arm is called {kind!r}; there are {', '.join(kinds())}")
    return kind


def kinds() -> list[str]:
    """All kinds of arms, in the order in which tables show them."""
    return [*OF_TARGET, *(kind for kind in ordered_kinds(KINDS) if kind != "target")]


def name_of(arm: str) -> str:
    """An arm as a reader is told it: `family`, `random inside, 34`, `family, 50% reassigned`."""
    kind, values = kind_of(arm), arm.split(":")[1:]
    if kind == "misaligned":
        values[1] = f"{float(values[1]):.0%}"
    if kind in ("rank", "mixed", "misaligned"):
        cut = "cut at depth" if kind == "rank" else "depth"
        ranks = [re.sub(r"^depth(\d+)$", rf"{cut} \1", rank) for rank in values[0].split(",")]
        values[0] = " and ".join("leaves" if rank == "leaf" else rank for rank in ranks)
    if arm == "rank:leaf":
        return "leaf labels"
    if kind == "misaligned":
        return f"{values[0]}, {values[1]} reassigned"
    words = OF_TARGET[kind] if kind in OF_TARGET else KINDS[kind].name
    return words.format(*values)


def names_of(kind: str) -> str:
    """Several arms of a kind as a reader is told them: `manual ranks`, `instance labels`."""
    return KINDS[kind].names


def read(path: Path | str) -> list[pd.DataFrame]:
    """The runs of a folder or a published file, split into those that may be compared.

    One table for each choice of images, target and recipes, largest first, with the columns `arm`,
    `kind_of_arm` and `per_class` (images for each pretraining class, nan where it is not known).
    Runs on held-out images are left out: they chose rates; so are those that started from weights.
    Raises Unfit where an arm has a seed
    twice within a table.
    """
    runs = tables.table(path)
    runs = runs[(runs["kind"] == KIND) & (runs["held_out"] == False)]  # noqa: E712
    runs = selection.from_seed(selection.once(runs))
    if runs.empty:
        return []
    of_arms = [arm_of(*pair) for pair in zip(runs["labels"], runs["stages"], strict=True)]
    runs = runs.assign(arm=of_arms, kind_of_arm=[kind_of(arm) for arm in of_arms])
    shared = pd.Series([_key(run) for run in runs[[*SHARED]].to_dict("records")], runs.index)
    tuned = pd.Series([canonical(recipe) for recipe in runs["finetuning"]], runs.index)
    found = []
    for _, group in runs.groupby(shared, sort=False):
        alone = group["arm"] == ONE_PASS
        lengths = tuned[group.index][~alone].unique()
        found += [
            sized(group[alone | (tuned[group.index] == length)])
            for length in (lengths if len(lengths) else [tuned[group.index[0]]])
        ]
    for table in found:
        _check(table)
    return sorted(found, key=len, reverse=True)


def cells(paths: Iterable[Path | str], arm: str, **where: object) -> dict[tuple[int, int], Study]:
    """Studies on Tiny-ImageNet by (images of a class, epochs of pretraining).

    `paths` are published files; one that is not there is left out. Only runs with these values of
    columns, and studies that have the baseline and `arm`. Raises Unfit where two studies have the
    same images and epochs.
    """
    found: dict[tuple[int, int], Study] = {}
    for table in [table for path in paths if Path(path).exists() for table in read(path)]:
        runs = selection.select(table, where)
        if not {BASELINE, arm} <= set(runs["arm"]):
            continue
        cell = (int(runs["images"].iloc[0]), int(runs["pretraining"].iloc[0]["epochs"]))
        if cell in found:
            raise statistics.Unfit(f"two studies of {cell[0]} images and {cell[1]} epochs")
        found[cell] = Study("", "tiny", runs, {})
    return found


def augmented(runs: pd.DataFrame) -> pd.Series:
    """Whether the last stage of each run augmented its images, as presets do unless told not to."""
    last = [run.finetuning or run.pretraining for run in runs.itertuples()]
    return pd.Series([recipe.get("augmentation") != "none" for recipe in last], runs.index)


def _key(run: Mapping) -> str:
    return canonical({name: selection.plain(value) for name, value in run.items()})


def _check(runs: pd.DataFrame) -> None:
    twice = runs[runs.duplicated(["arm", "seed"])]
    if len(twice):
        one = twice.iloc[0]
        raise statistics.Unfit(
            f"arm '{one['arm']}' has seed {one['seed']} twice within {_key(one[[*SHARED]])}"
        )


def sized(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with `per_class`: training images over the number of pretraining classes.

    Where no run says how many training images there are, instance labels do: they have one class
    for each.
    """
    images = np.nan
    if "training_images" in runs:
        images = runs["training_images"]
    elif (runs["arm"] == "instance").any():
        images = runs["classes"][runs["arm"] == "instance"].iloc[0]
    return runs.assign(per_class=images / runs["classes"])


def ordered(runs: pd.DataFrame, only: Collection[str] | None = None) -> list[str]:
    """The arms, kind by kind as in `kinds()`, and within one by number of classes.

    `only` some kinds, where they are named.
    """
    order = kinds()
    table = runs[runs["kind_of_arm"].isin(order if only is None else only)].groupby(
        "arm", sort=False
    )
    size = table["classes"].mean()
    return sorted(size.index, key=lambda arm: (order.index(kind_of(arm)), size[arm], arm))


def ladder(runs: pd.DataFrame) -> list[str]:
    """The manual ranks that are finer than the target, from coarse to fine."""
    table = runs[runs["kind_of_arm"] == "rank"]
    finer = table[table["classes"] > table["target_classes"]]
    return ordered(finer, ["rank"])


def by_class(runs: pd.DataFrame, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Errors in each target class: target classes × (arm, seed), of the runs that kept arrays."""
    columns, names = {}, []
    for run in runs.itertuples():
        if run.fingerprint in arrays:
            kept = arrays[run.fingerprint]
            names = [str(name) for name in kept["classes"]]
            errors = statistics.class_errors(kept["rank"], kept["label"], len(names))
            columns[run.arm, run.seed] = errors
    table = pd.DataFrame(columns, index=names)
    if columns:
        table.columns = pd.MultiIndex.from_tuples(columns, names=["arm", "seed"])
    return table
