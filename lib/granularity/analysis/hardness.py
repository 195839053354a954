"""Where do fine labels gain: on the images that are hard, or on all alike? (Claim C9.)

Hardness has to be judged by somebody, and every judge that stands nearer to one of two compared
arms makes an effect by itself: what the judge gets wrong by chance or by its kind is called hard,
and the other arm, which errs elsewhere, gains there. So the judges here are runs of other seeds, as
many of one arm as of the other; and beside each gain stand a null (two runs of one arm) and a
placebo (random ids). All of this is ours: the paper states the claim and shows no such figure.

A run is a dict of arrays: `loss` and `rank` (0: right), one number an evaluation image; gains by
class want `label` and `classes` too.
"""

from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from granularity.analysis import located, transfer_runs
from granularity.analysis.located import FIFTHS, fifths, hard_less_easy
from granularity.analysis.selection import from_seed, once, plain, select
from granularity.analysis.statistics import Unfit, class_errors
from granularity.fingerprints.digest import canonical
from granularity.records import tables

KIND = "hardness.split"  # what a row of the table is called, as a record would be
REFERENCE = "baseline"
JUDGES = ("baseline", "leaf")
# What runs that are compared share, by the kind of their records. Where the baseline never saw the
# source, its recipe is another one: see `recipes`.
RECIPES = ("pretraining", "finetuning")
SOURCE = "imagenet.finetune"
SAME = {
    SOURCE: ("dataset", "overlap", "source_images", "target_images", "held_out"),
    transfer_runs.KIND: (*transfer_runs.SHARED, "finetuning"),
}
# What a row says of the compared run alone.
OWN = ("training_error", "target_classes", "training_images", *RECIPES)
LEAVES = ("rank:leaf", "rank:species")  # label functions of one class for each leaf

Runs = Mapping[str, Mapping[int, Mapping[str, np.ndarray]]]  # arm → seed → arrays


def hardness(runs: Runs, judges: Sequence[str], without: Collection[int]) -> np.ndarray:
    """The mean standing of each image among runs of the arms `judges`, (N,).

    Seeds in `without` do not judge, and of the others only those that every one of these arms has,
    so that each arm has equally many voices. Raises Unfit where none is left.
    """
    try:
        return located.hardness([runs.get(arm, {}) for arm in judges], without)
    except Unfit:
        raise Unfit(f"no further seed of {' and '.join(judges)} to judge by") from None


def gains_by_fifth(
    reference: Mapping[str, np.ndarray], compared: Mapping[str, np.ndarray], group: np.ndarray
) -> tuple[list[float], float]:
    """By how much the second run errs less than the first: in each fifth, and the effect.

    The effect is the gain on the hardest 40% minus that on the easiest 40%.
    """
    gain = (reference["rank"] > 0).astype(float) - (compared["rank"] > 0)
    by_fifth = [float(gain[group == fifth].mean()) for fifth in range(FIFTHS)]
    return by_fifth, hard_less_easy(gain, group)


def split(
    runs: Runs, compared: str, reference: str = REFERENCE, judges: Sequence[str] = JUDGES
) -> pd.DataFrame:
    """One row a seed: the gain of an arm over the reference, by hardness.

    Columns: `seed`, `reference`, `compared`, `judge`; `extra_gain_on_hard` (the effect), `gain` (on
    all images), `gain_1` (easiest fifth) to `gain_5`, and `error_1` to `error_5` of the reference,
    all as shares of the images.

    An arm is compared with the reference of the same seed, and the reference with itself (the null)
    of the next seed, in a circle. For each seed neither it nor the next one judges, so that effect,
    placebo and null see the images in one and the same order. Round the circle the null's gains
    cancel nearly by themselves: its spread says more than its mean. Raises Unfit below three seeds.
    """
    pairs = circle(runs, compared, reference)
    if len(pairs) < 3:
        raise Unfit(
            f"{compared} against {reference}: {len(pairs)} seeds, and a judge of other seeds"
            " takes three at least"
        )
    rows = []
    for seed, following in pairs:
        group = fifths(hardness(runs, judges, {seed, following}))
        other = runs[reference][following if compared == reference else seed]
        by_fifth, effect = gains_by_fifth(other, runs[compared][seed], group)
        wrong = other["rank"] > 0
        rows.append(
            {
                "seed": seed,
                "reference": reference,
                "compared": compared,
                "judge": " and ".join(judges),
                "extra_gain_on_hard": effect,
                "gain": float(wrong.mean() - (runs[compared][seed]["rank"] > 0).mean()),
                **{f"gain_{fifth + 1}": by_fifth[fifth] for fifth in range(FIFTHS)},
                **{f"error_{f + 1}": float(wrong[group == f].mean()) for f in range(FIFTHS)},
            }
        )
    return pd.DataFrame(rows)


def circle(runs: Runs, compared: str, reference: str) -> list[tuple[int, int]]:
    """The seeds that both arms have, each with the next seed of the reference, round in a circle.

    The next one of the *reference*, whatever the other arm has: so one seed has the same judges in
    every comparison.
    """
    seeds = sorted(runs.get(reference, {}))
    pairs = zip(seeds, seeds[1:] + seeds[:1], strict=True)
    return [pair for pair in pairs if pair[0] in runs.get(compared, {})]


def class_gains(runs: Runs, compared: str, reference: str = REFERENCE) -> pd.DataFrame:
    """By how much an arm errs less than the reference in each class: classes × seeds.

    An arm compared with itself is compared with the next seed, as in `split`: the null. A class
    without images is nan. Raises Unfit below two seeds, where a null would be a run against itself.
    """
    pairs = circle(runs, compared, reference)
    if len(pairs) < 2:
        raise Unfit(f"{compared} against {reference}: {len(pairs)} seeds; gains take two at least")
    names = [str(name) for name in runs[reference][pairs[0][0]]["classes"]]
    columns = {}
    for seed, following in pairs:
        other = runs[reference][following if compared == reference else seed]
        own = runs[compared][seed]
        columns[seed] = np.subtract(
            *(class_errors(run["rank"], other["label"], len(names)) for run in (other, own))
        )
    return pd.DataFrame(columns, index=names)


# ------------------------------------------------------------------------------- from records


def arm_of(labels: str, level: int) -> str:
    """`baseline`, `leaf`, `level 4`, `random` or, at another level's class sizes, `random 4`.

    In a table with runs that have no level, pandas makes it a float.
    """
    level = int(level)
    if labels == "target":
        return "baseline"
    if labels == "level":
        return "leaf" if level == 0 else f"level {level}"
    return "random" if level == 0 else f"random {level}"


def arms(table: pd.DataFrame) -> list[str]:
    """The arm of each run of a table, as `arm_of` names those of Experiment A.

    In Experiment B `random` are ids inside the target's classes, as many as there are leaves.
    """
    if "level" in table:
        return [arm_of(*run) for run in zip(table["labels"], table["level"], strict=True)]
    leaf = table["labels"].isin(LEAVES)
    named = {f"random:{classes:.0f}": "random" for classes in table.loc[leaf, "classes"]}
    named |= dict.fromkeys(LEAVES, "leaf")
    found = zip(table["labels"], table["stages"], strict=True)
    return [named.get(arm, arm) for arm in (transfer_runs.arm_of(*run) for run in found)]


def by_arm(table: pd.DataFrame, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> dict:
    """The arrays of runs, arm → seed → arrays.

    Raises Unfit where an arm has a seed twice, and where runs kept other images, or in another
    order: their arrays are compared place by place.
    """
    found: dict[str, dict[int, Mapping[str, np.ndarray]]] = {}
    table, labels = once(table), []
    for arm, run in zip(arms(table), table.itertuples(), strict=True):
        seeds = found.setdefault(arm, {})
        if run.seed in seeds:
            raise Unfit(f"arm '{arm}' has seed {run.seed} twice")
        if run.fingerprint in arrays:
            seeds[run.seed] = arrays[run.fingerprint]
            labels.append(arrays[run.fingerprint]["label"])
            if not np.array_equal(labels[0], labels[-1]):
                raise Unfit(f"arm '{arm}', seed {run.seed}: other images than those of other runs")
    return found


def source_runs(*paths: Path | str, free: str = "") -> pd.DataFrame:
    """Experiment A's finetuned runs of the choice of sets, and the recipes, that most share.

    `paths` are folders or published files; in the column `free` runs may differ. With the column
    `arm`. Runs on held-out images are left out: they chose rates; so are those that started from
    weights. It may be empty.
    """
    found = from_seed(once(tables.table(*paths)))
    found = select(found, {"kind": SOURCE, "held_out": False})
    if found.empty:
        return found.assign(arm=[])
    same = {name: value for name, value in largest_cell(found).items() if name != free}
    found = recipes(select(found, same))
    return found.assign(arm=arms(found))


def largest_cell(runs: pd.DataFrame) -> dict:
    """The choice of sets that most runs of one kind share, as plain values of columns.

    Raises Unfit where there is no run.
    """
    if runs.empty:
        raise Unfit("no run, and so no choice of sets")
    same = SAME[runs["kind"].iloc[0]]
    shared, _ = max(comparable(runs, same), key=lambda cell: len(cell[1]))
    return dict(zip(same, map(plain, shared), strict=True))


def contrasts(arms: Collection[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """What to compare, as (compared, reference, judges), as far as there are such arms.

    First the three that the claim's rule reads; then the same under judges of a third kind, the
    coarsest level, or in Experiment B each manual rank; the placebo under a judge that favours
    neither of its own two arms; and leaf labels against the coarsest level.
    """
    levels = sorted((arm for arm in arms if arm.startswith("level ")), key=lambda a: int(a[6:]))
    third = levels[-1:] or sorted(arm for arm in arms if arm.startswith("rank:"))
    found = [(arm, REFERENCE, JUDGES) for arm in ("leaf", "random", REFERENCE)]
    found += [(arm, REFERENCE, (one,)) for one in third for arm in ("leaf", "random", REFERENCE)]
    found += [("random", REFERENCE, (REFERENCE, "random"))]
    found += [("leaf", levels[-1], (levels[-1], "leaf"))] if levels else []
    return [
        (compared, reference, judges)
        for compared, reference, judges in found
        if {compared, reference, *judges} <= set(arms)
    ]


def table(*paths: Path | str, **where: object) -> pd.DataFrame:
    """All splits that the runs of folders or published files allow; it may be empty.

    One row a seed and contrast, with the columns of `split`, those that the compared runs share,
    those of `OWN`, `study` (the kind of the runs) and `kind` "hardness.split", as the rule of claim
    C9 reads them. `where` are values of columns that the runs must have. Raises Unfit, naming the
    arm, where an arm still has a seed twice.
    """
    return splits(select(once(tables.table(*paths)), where), paths)


def splits(runs: pd.DataFrame, paths: Collection[Path | str]) -> pd.DataFrame:
    """The same of runs that were read before, each once, from these folders and files.

    Runs that started from weights are left out.
    """
    arrays, runs = ChainMap(*map(tables.arrays, paths)), from_seed(runs)
    found = [
        rows.assign(study=kind, **{n: [v] * len(rows) for n, v in zip(same, shared, strict=True)})
        for kind, same in SAME.items()
        for shared, cell in comparable(select(runs, {"kind": kind}), same)
        for rows in of_cell(recipes(cell) if kind == SOURCE else cell, arrays)
    ]
    if not found:
        return pd.DataFrame(columns=["seed", "reference", "compared", "judge", "study", "kind"])
    return pd.concat(found, ignore_index=True).assign(kind=KIND)


def comparable(runs: pd.DataFrame, same: Sequence[str]) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """The runs of one kind that may be compared, group by group, with what they share."""
    if runs.empty:
        return
    runs = runs.dropna(axis=1, how="all")  # columns of other kinds
    keys = [
        runs[name].map(canonical) if name in RECIPES else runs[name]  # dicts cannot be grouped by
        for name in same
    ]
    for _, group in runs.groupby(keys, dropna=False):
        yield tuple(group[name].iloc[0] for name in same), group


def recipes(cell: pd.DataFrame) -> pd.DataFrame:
    """Of runs on the same sets those of one recipe: the one of most pretrained networks.

    The baseline's is its own, the one of most baselines. So lengths or rates that were tried beside
    the judged runs are no further seeds of theirs.
    """
    if not set(RECIPES) <= set(cell):
        return cell
    recipe = cell[[*RECIPES]].map(canonical).agg(" ".join, axis=1)
    alone = cell["labels"] == "target"
    return pd.concat(
        [
            most[recipe[most.index] == recipe[most.index].mode()[0]]
            for most in (cell[alone], cell[~alone])
            if len(most)
        ]
    )


def of_cell(
    cell: pd.DataFrame, arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[pd.DataFrame]:
    """The splits of runs that may be compared, a table for each contrast."""
    runs = by_arm(cell, arrays)
    own = [name for name in OWN if name in cell]
    of_run = dict(
        zip(zip(arms(cell), cell["seed"], strict=True), cell[own].to_dict("records"), strict=True)
    )
    for compared, reference, judges in contrasts(runs):
        try:
            rows = split(runs, compared, reference, judges)
        except Unfit:
            continue  # too few seeds yet: the rule then says "not run"
        told = [of_run[compared, seed] for seed in rows["seed"]]
        yield rows.assign(**{name: [run[name] for run in told] for name in own})
