"""Runs that answer what was asked of photographs: finetuning's length, class sizes, networks.

Each function reads the published files in the folder of a size. Errors are shares of test images,
by seed. Arms of Experiment A are called as `hardness.arm_of` calls them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from granularity.analysis import hardness, selection
from granularity.analysis.transfer_runs import PUBLISHED, Study, read
from granularity.records import tables

FIRST, ASKED, CHOICES = "imagenet.jsonl", "questions.jsonl", "choices.jsonl"
LEAF = "leaf"
LEVELS = (LEAF, "level 4", "level 9")  # the arms with labels of a level that are looked at
COARSE = LEVELS[-1]


def of_source(*files: Path) -> pd.DataFrame:
    """Finetuned runs of Experiment A in published files, without those on held-out images.

    With the columns `arm`, `steps` (of finetuning, 0 for a run without) and a whole
    `source_images`. A file that is not there is left out; raises ValueError where none is.
    """
    parts = [tables.table(file) for file in files if file.exists()]
    found = pd.concat(parts, ignore_index=True)
    found = selection.select(found, {"kind": hardness.SOURCE, "held_out": False})
    return found.assign(
        arm=hardness.arms(found),
        steps=[recipe.get("steps", 0) for recipe in found["finetuning"]],
        source_images=found["source_images"].astype(int),
    )


def seeds(place: Path) -> list[int]:
    """The seeds of the runs of Experiment A that were asked for, sorted."""
    return sorted(of_source(place / ASKED)["seed"].unique().tolist())


def beside_judged(place: Path) -> tuple[pd.DataFrame, dict]:
    """Runs of Experiment A that may stand beside the judged cell's, and what that cell shares.

    They are of its world and of the seeds that were asked for; the cell is columns and their
    values. Raises Unfit where no run of Experiment A is published.
    """
    cell = hardness.largest_cell(of_source(place / FIRST))
    runs = of_source(place / FIRST, place / ASKED)
    return runs[(runs["dataset"] == cell["dataset"]) & runs["seed"].isin(seeds(place))], cell


@dataclass(frozen=True)
class Lengths:
    """Networks pretrained alike and finetuned for several numbers of steps, on one choice of sets.

    `runs` have the columns `arm` and `steps`, and `arms` are those of a level that several lengths
    were asked of.
    """

    runs: pd.DataFrame
    arms: list[str]
    steps: list[int]

    def of(self, arm: str, steps: int, metric: str = "error") -> pd.Series:
        """A metric of an arm after so many steps, by seed. Raises Unfit for a seed with two."""
        where = {"arm": arm, "steps": steps}
        return selection.by_seed(selection.select(self.runs, where), metric, str(where))

    def lead(self, steps: int) -> pd.Series:
        """By how much leaf labels err less than the coarsest after so many steps, by seed.

        A seed that one of the two lacks is nan.
        """
        return self.of(COARSE, steps) - self.of(LEAF, steps)

    def best(self, arm: str) -> int:
        """The number of steps with an arm's lowest mean error."""
        return min(self.steps, key=lambda steps: self.of(arm, steps).mean())

    def lead_at_best(self) -> pd.Series:
        """The lead of leaf labels with each of the two at its best length, by seed."""
        coarse, leaf = (self.of(arm, self.best(arm)) for arm in (COARSE, LEAF))
        return coarse - leaf

    def baseline(self) -> pd.Series:
        """The baseline's error, by seed. Raises Unfit for a seed with two lengths."""
        alone = selection.select(self.runs, {"arm": hardness.REFERENCE})
        return selection.by_seed(alone, "error", hardness.REFERENCE)


def lengths(place: Path) -> Lengths:
    """The lengths of finetuning in the judged cell, of the seeds that were asked for.

    Raises Unfit where no run of Experiment A is published.
    """
    runs, cell = beside_judged(place)
    runs = selection.select(runs, cell)
    asked = set(of_source(place / ASKED)["arm"])
    steps = sorted(runs["steps"][runs["arm"] == LEAF].unique().tolist())
    return Lengths(runs, [arm for arm in LEVELS if arm in asked], steps)


@dataclass(frozen=True)
class ClassSizes:
    """Networks pretrained on a source disjoint from the target, with fewer images for a class.

    `runs` have the columns `arm`, `source_images` (of a synset) and `classes`.
    """

    runs: pd.DataFrame

    @property
    def full(self) -> int:
        """How many images of a synset there are where none were taken away."""
        return int(self.runs["source_images"].max())

    def cells(self) -> list[tuple[str, int]]:
        """The arms with their numbers of images of a synset, sorted."""
        return sorted({*zip(self.runs["arm"], self.runs["source_images"].tolist(), strict=True)})

    def of(self, arm: str, images: int) -> pd.Series:
        """An arm's error with so many images of a synset, by seed. Raises Unfit for two a seed."""
        return selection.by_seed(self._runs(arm, images), "error", f"{arm}, {images} images")

    def classes(self, arm: str, images: int) -> int:
        """How many classes an arm was pretrained on."""
        return int(self._runs(arm, images)["classes"].iloc[0])

    def images_of_a_class(self, arm: str, images: int) -> float:
        """The mean number of images of one class, there being as many synsets as leaf labels."""
        return images * int(self.runs["classes"].max()) / self.classes(arm, images)

    def better(self, arm: str, images: int, of_leaf: int) -> pd.Series:
        """By how much leaf labels err less than an arm, by seed, at these numbers of images."""
        return self.of(arm, images) - self.of(LEAF, of_leaf)

    def _runs(self, arm: str, images: int) -> pd.DataFrame:
        return selection.select(self.runs, {"arm": arm, "source_images": images})


def class_sizes(place: Path) -> ClassSizes:
    """The sizes of the source's classes, at the judged cell's target, of the seeds asked for.

    Raises Unfit where no run of Experiment A is published.
    """
    runs, cell = beside_judged(place)
    where = {"overlap": "disjoint", "target_images": cell["target_images"]}
    runs = selection.select(runs, where)
    return ClassSizes(runs[runs["arm"].isin(LEVELS)])


# -------------------------------------------------------------------------------- Experiment B


def judged_of_second(place: Path) -> Study:
    """The largest comparison of Experiment B among its judged runs."""
    return Study("Tiny-ImageNet", "tiny", max(read(place / PUBLISHED), key=len), {})


def asked_of_second(place: Path, chosen: Callable[[pd.DataFrame], pd.Series]) -> Study:
    """The largest comparison of Experiment B that was asked for, of the runs `chosen` picks.

    `chosen` takes a table of runs and says of each whether it is one. An empty study where none is.
    """
    found = [table[chosen(table)] for table in read(place / ASKED)]
    return Study("Tiny-ImageNet", "tiny", max(found, key=len), {})


def is_vit(runs: pd.DataFrame) -> pd.Series:
    """Whether each run's network is a vision transformer; a run without a recipe has none."""
    return runs["pretraining"].map(
        lambda recipe: isinstance(recipe, dict) and "vit" in recipe.get("model", "")
    )


def of_seeds(study: Study, other: Study) -> Study:
    """A study's runs of the seeds that another has."""
    return replace(study, runs=study.runs[study.runs["seed"].isin(other.runs["seed"])])


def rates_of_vit(place: Path) -> tuple[pd.DataFrame, int]:
    """Mean errors of vision transformers on held-out images, and over how many seeds.

    Label functions × finetuning rates.
    """
    runs = tables.table(place / CHOICES)
    runs = runs[is_vit(runs)]
    rates = runs["finetuning"].map(lambda recipe: recipe["learning_rate"])
    table = runs.groupby([runs["labels"], rates])["error"].mean().unstack()
    return table, runs["seed"].nunique()
