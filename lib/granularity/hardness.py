"""Where do fine labels gain: on the images that are hard, or on all alike? (Claim C9.)

Hardness has to be judged by somebody, and every judge that stands nearer to one of two compared
arms makes an effect by itself: what the judge gets wrong by chance or by its kind is called hard,
and the other arm, which errs elsewhere, gains there. So the judges here are runs of other seeds, as
many of one arm as of the other; and beside each gain stand a null (two runs of one arm) and a
placebo (random ids). All of this is ours: the paper states the claim and shows no such figure.

A run is a dict with the arrays `loss` and `rank` (0: right), one number an evaluation image.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from granularity import comparison, records
from granularity.analysis import Unfit, once
from granularity.digest import canonical

FIFTHS = 5
KIND = "hardness.split"  # what a row of the table is called, as a record would be
REFERENCE = "baseline"
JUDGES = ("baseline", "leaf")
# What runs that are compared share, by the kind of their records. (Where the baseline never saw the
# source, its recipe is another one.)
RECIPES = ("pretraining", "finetuning")
SAME = {
    "imagenet.finetune": ("world", "overlap", "source_images", "target_images", "held_out"),
    comparison.KIND: (*comparison.SHARED, "finetuning"),
}
LEAVES = ("rank:leaf", "rank:species")  # label functions of one class for each leaf

Runs = Mapping[str, Mapping[int, Mapping[str, np.ndarray]]]  # arm → seed → arrays


def standing(losses: np.ndarray) -> np.ndarray:
    """Each image's place in one run's order of losses, in (0, 1); equal losses share a place.

    Places and not losses are averaged over judges, so that none speaks louder than another.
    """
    _, place, counts = np.unique(losses, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last) / 2 / len(losses))[place]


def hardness(runs: Runs, judges: Sequence[str], without: Collection[int]) -> np.ndarray:
    """The mean standing of each image among runs of the arms `judges`, (N,).

    Seeds in `without` do not judge, and of the others only those that every one of these arms has,
    so that each arm has equally many voices. Raises Unfit where none is left.
    """
    seeds = set.intersection(*(set(runs.get(arm, {})) for arm in judges)) - set(without)
    if not seeds:
        raise Unfit(f"no further seed of {' and '.join(judges)} to judge by")
    voices = [standing(runs[arm][seed]["loss"]) for arm in judges for seed in sorted(seeds)]
    return np.mean(voices, axis=0)


def fifths(hardness: np.ndarray) -> np.ndarray:
    """0 for the easiest fifth of the images to 4 for the hardest, in sizes that differ by one."""
    order = np.argsort(hardness, kind="stable")
    group = np.empty(len(order), int)
    group[order] = np.arange(len(order)) * FIFTHS // len(order)
    return group


def gains(
    reference: Mapping[str, np.ndarray], compared: Mapping[str, np.ndarray], group: np.ndarray
) -> tuple[list[float], float]:
    """By how much the second run errs less than the first: in each fifth, and the effect.

    The effect is the gain on the hardest 40% minus that on the easiest 40%.
    """
    gain = (reference["rank"] > 0).astype(float) - (compared["rank"] > 0)
    effect = gain[group >= 3].mean() - gain[group <= 1].mean()
    return [float(gain[group == fifth].mean()) for fifth in range(FIFTHS)], float(effect)


def split(
    runs: Runs, compared: str, reference: str = REFERENCE, judges: Sequence[str] = JUDGES
) -> pd.DataFrame:
    """One row a seed: the gain of an arm over the reference, by hardness.

    An arm is compared with the reference of the same seed, and the reference with itself (the null)
    of the next seed, in a circle. For each seed neither it nor the next one judges, so that effect,
    placebo and null see the images in one and the same order. Round the circle the null's gains
    cancel nearly by themselves: its spread says more than its mean. Raises Unfit below three seeds.
    """
    seeds = sorted(set(runs.get(reference, {})) & set(runs.get(compared, {})))
    if len(seeds) < 3:
        raise Unfit(
            f"{compared} against {reference}: {len(seeds)} seeds, and a judge of other seeds"
            " takes three at least"
        )
    rows = []
    for seed, following in zip(seeds, seeds[1:] + seeds[:1], strict=True):
        group = fifths(hardness(runs, judges, {seed, following}))
        other = runs[reference][following if compared == reference else seed]
        by_fifth, effect = gains(other, runs[compared][seed], group)
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


def class_gains(runs: Runs, compared: str, reference: str = REFERENCE) -> pd.DataFrame:
    """By how much an arm errs less than the reference in each class: classes × seeds.

    An arm compared with itself is compared with the next seed, as in `split`: the null.
    """
    seeds = sorted(set(runs.get(reference, {})) & set(runs.get(compared, {})))
    columns = {}
    for seed, following in zip(seeds, seeds[1:] + seeds[:1], strict=True):
        other = runs[reference][following if compared == reference else seed]
        gain = (other["rank"] > 0).astype(float) - (runs[compared][seed]["rank"] > 0)
        label = other["label"]
        columns[seed] = np.bincount(label, gain) / np.bincount(label)
    names = runs[reference][seeds[0]]["classes"] if seeds else []
    return pd.DataFrame(columns, index=list(map(str, names)))


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
    """The arm of each run of a table, as `arm_of` names those of the ImageNet arm.

    In the other arm `random` are ids inside the target's classes, as many as there are leaves.
    """
    if "level" in table:
        return [arm_of(*run) for run in zip(table["labels"], table["level"], strict=True)]
    leaf = table["labels"].isin(LEAVES)
    named = {f"random:{classes}": "random" for classes in table.loc[leaf, "classes"]}
    named |= dict.fromkeys(LEAVES, "leaf")
    once = (table["labels"] == "target") & (table["stages"] == 1)
    baseline = (table["labels"] == "target") & ~once
    found = table["labels"].map(lambda spec: named.get(spec, spec))
    return found.mask(once, "one pass").mask(baseline, REFERENCE).tolist()


def by_arm(table: pd.DataFrame, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> dict:
    """The arrays of runs, arm → seed → arrays. Raises Unfit where an arm has a seed twice."""
    found: dict[str, dict[int, Mapping[str, np.ndarray]]] = {}
    table = once(table)
    for arm, run in zip(arms(table), table.itertuples(), strict=True):
        seeds = found.setdefault(arm, {})
        if run.seed in seeds:
            raise Unfit(f"arm '{arm}' has seed {run.seed} twice")
        if run.fingerprint in arrays:
            seeds[run.seed] = arrays[run.fingerprint]
    return found


def largest_cell(runs: pd.DataFrame) -> dict:
    """The choice of sets that most runs of one kind share, as plain values of columns."""
    same = SAME[runs["kind"].iloc[0]]
    shared, _ = max(cells(runs, same, {}), key=lambda cell: len(cell[1]))
    values = (getattr(value, "item", lambda value=value: value)() for value in shared)
    return dict(zip(same, values, strict=True))


def contrasts(arms: Collection[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """What to compare, as (compared, reference, judges), as far as there are such arms.

    First the three that the claim's rule reads; then the same under judges of a third kind, the
    coarsest level, or in the other arm each manual rank; the placebo under a judge that favours
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


def table(path: Path | str, **where: object) -> pd.DataFrame:
    """All splits that the runs of a folder or a published file allow; it may be empty.

    One row a seed and contrast, with the columns of `split`, those that the compared runs share,
    `training_error` of the compared run, `study` (the kind of the runs) and `kind`
    "hardness.split", as the rule of claim C9 reads them. `where` are values of columns that the
    runs must have, so that one recipe is left. Raises Unfit, naming the arm, where an arm still has
    a seed twice.
    """
    runs, arrays = records.table(path), records.arrays(path)
    found = [
        rows.assign(study=kind, **{n: [v] * len(rows) for n, v in zip(same, shared, strict=True)})
        for kind, same in SAME.items()
        for shared, cell in cells(runs[runs["kind"] == kind], same, where)
        for rows in of_cell(cell, arrays)
    ]
    if not found:
        return pd.DataFrame(columns=["seed", "reference", "compared", "judge", "study", "kind"])
    return pd.concat(found, ignore_index=True).assign(kind=KIND)


def cells(
    runs: pd.DataFrame, same: Sequence[str], where: Mapping[str, object]
) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """The runs of one kind that may be compared, group by group, with what they share."""
    for column, value in where.items():
        if len(runs):
            runs = runs[[found == value for found in runs[column]]]
    if runs.empty:
        return
    runs = runs.dropna(axis=1, how="all")  # columns of other kinds
    keys = [
        runs[name].map(canonical) if name in RECIPES else runs[name]  # dicts cannot be grouped by
        for name in same
    ]
    for _, group in runs.groupby(keys, dropna=False):
        yield tuple(group[name].iloc[0] for name in same), group


def of_cell(
    cell: pd.DataFrame, arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[pd.DataFrame]:
    """The splits of runs that may be compared, a table for each contrast."""
    runs = by_arm(cell, arrays)
    errors = dict(
        zip(zip(arms(cell), cell["seed"], strict=True), cell["training_error"], strict=True)
    )
    for compared, reference, judges in contrasts(runs):
        try:
            rows = split(runs, compared, reference, judges)
        except Unfit:
            continue  # too few seeds yet: the rule then says "not run"
        rows["training_error"] = [errors[compared, seed] for seed in rows["seed"]]
        yield rows
