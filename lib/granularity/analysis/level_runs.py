"""Runs of Experiment A side by side, the ladder of label levels: studies.

Arms are called as `hardness.arm_of` calls them: `baseline`, `leaf`, `level 4`, `random`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from granularity.analysis import hardness, selection, spoken, statistics
from granularity.images import sources
from granularity.records import tables

WORDS = {"leaf": "leaf labels", "random": "random ids"}  # arms whose name in a table is another
FEW, MANY = 10, 14  # classes that gain least and most, where not all can be drawn


@dataclass(frozen=True)
class Study:
    """Runs that share sets and recipes, as a chapter shows them.

    `runs` have the columns `arm` and `accuracy` (in per cent), `arrays` are by arm and seed,
    `gains` as `hardness.table` makes them, `levels` from leaf labels (0) to the coarsest.
    """

    title: str
    toy: bool
    runs: pd.DataFrame
    arrays: hardness.Runs
    gains: pd.DataFrame
    levels: list[int]

    @property
    def coarsest(self) -> str:
        """The arm with the coarsest labels."""
        return hardness.arm_of("level", self.levels[-1])

    @property
    def rungs(self) -> list[str]:
        """The arms with labels of a level, from leaf labels to the coarsest."""
        return [hardness.arm_of("level", level) for level in self.levels]

    def of(self, arm: str, column: str = "accuracy") -> tuple[float, float, float]:
        """Mean over an arm's runs and its 95% interval; nan where there is no such run."""
        return statistics.interval(self.runs[column][self.runs["arm"] == arm])

    def said(self, arm: str, column: str = "accuracy") -> str:
        """The same as text, in per cent: `57.9% (57.4–58.4)`."""
        values = self.runs[column][self.runs["arm"] == arm]
        return spoken.per_cent(values / 100 if column == "accuracy" else values)


def study(path: Path | str, whose: str) -> Study:
    """The comparison in a folder of runs or a published file: the largest choice of sets.

    Raises Unfit where there is no finetuned run of Experiment A.
    """
    runs = hardness.source_runs(path)
    cell = hardness.largest_cell(runs)
    return Study(
        title=f"{sources.title_of(cell['dataset'])}, {whose}",
        toy=cell["dataset"] == "toy",
        runs=runs.assign(accuracy=100 * (1 - runs["error"])),
        arrays=hardness.by_arm(runs, tables.arrays(path)),
        gains=hardness.table(path, **cell),
        levels=sorted(runs["level"][runs["labels"] == "level"].unique().tolist()),
    )


def studies(runs: Path | str, archived: Path | str) -> list[Study]:
    """What there is to show: the archived runs of a file, if any, then those of this build, if any.

    Raises Unfit where there is neither.
    """
    found = [study(archived, "our runs")] if Path(archived).exists() else []
    if tables.any_ran(Path(runs)):
        found.append(study(runs, "this build"))
    if not found:
        raise statistics.Unfit(f"{runs} holds no finetuned run of {hardness.SOURCE}")
    return found


def by_choice(
    path: Path | str, choice: str, metric: str = "error"
) -> dict[str, dict[int | str, pd.Series]]:
    """A metric by seed at each value of one choice of sets, arm → value → values by seed.

    `choice` is the column of the choice, as `target_images` (of a class) or `overlap`. Of arms that
    have several of its values, and at values that all of these arms have: leaf labels first, the
    baseline last.
    """
    runs = hardness.source_runs(path, free=choice)
    if runs.empty:
        return {}
    found: dict[str, dict[int | str, pd.Series]] = {}
    for (arm, value), own in runs.groupby(["arm", runs[choice].convert_dtypes()]):
        found.setdefault(arm, {})[selection.plain(value)] = selection.by_seed(own, metric, arm)
    found = {arm: by_value for arm, by_value in found.items() if len(by_value) > 1}
    shared = sorted(set.intersection(*map(set, found.values()))) if found else []
    order = sorted(found, key=lambda arm: (arm == "baseline", arm != "leaf", arm))
    return {arm: {value: found[arm][value] for value in shared} for arm in order if shared}


def rates(path: Path | str) -> pd.DataFrame:
    """Mean error on held-out images by finetuning rate (rows) and arm (columns).

    Of those arms' runs in a file of choices that were pretrained on a source; empty without any.
    """
    runs = selection.from_seed(tables.table(path))
    runs = runs[(runs["kind"] == "imagenet.finetune") & (runs["labels"] != "target")]
    if runs.empty:
        return pd.DataFrame()
    found = runs.assign(
        arm=hardness.arms(runs),
        learning_rate=[recipe["learning_rate"] for recipe in runs["finetuning"]],
    )
    return found.pivot_table(index="learning_rate", columns="arm", values="error")


def chance_band(null: pd.DataFrame) -> float:
    """How far the mean gain of a class lies from zero by chance alone, in 95% of classes.

    `null` is a table of `hardness.class_gains` of one arm against itself, classes × seeds.
    """
    values = null.to_numpy()
    return float(1.96 * np.sqrt(np.nanmean(values**2) / values.shape[1]))


def few_classes(gains: pd.DataFrame) -> list[str]:
    """The classes of a table of gains, by rising mean: all, or those that gain least and most."""
    order = gains.mean(axis=1).sort_values().index.tolist()
    return order if len(order) <= FEW + MANY else order[:FEW] + order[-MANY:]
