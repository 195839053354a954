"""What a size's runs could decide: the seeds that rules want, and designs that cost less.

What a design could find is reckoned with the spread over seeds that the small runs had.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from scipy import stats

from granularity.claims import judging
from granularity.claims.outcome import Verdict
from granularity.claims.rules import Book, Rule
from granularity.experiments.two_stages import listed
from granularity.planning import plan
from granularity.planning.plan import Job, Known
from granularity.training.presets import PRESETS, recipe_of

SCALE = "paper"  # the size whose rules are about the whole experiment
SOURCE = "imagenet.finetune"  # the records of the arm that is the dear one
SMALL = 0.95  # of the intervals that are spoken of


@dataclass(frozen=True)
class Design:
    """A way to spend less on Experiment A: fewer levels or seeds, another recipe."""

    name: str
    seeds: int
    levels: tuple[int, ...] = ()  # none: the size's own
    pretraining: Mapping[str, Any] = ()
    finetuning: Mapping[str, Any] = ()


PAPER = PRESETS["vit_b16_i21k"]
SMALLER = {"model": "vit_small_patch16_224"}
DESIGNS = (
    Design("eight seeds of all levels, as the rules ask", 8),
    Design("three seeds of levels 0, 4 and 9 first", 3, (0, 4, 9)),
    Design("the same with a ViT-S/16", 3, (0, 4, 9), SMALLER, SMALLER),
    Design(
        f"and 30 epochs instead of {PAPER.epochs:g}",
        3,
        (0, 4, 9),
        {**SMALLER, "epochs": 30},
        SMALLER,
    ),
)


def wanted(book: Book, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """For each claim that the whole experiment may decide: seeds its rule wants, and the jobs have.

    One row for each kind of runs that the rule reads. Whether the jobs have all settings that it
    wants is not asked.
    """
    planned = seeds_of(jobs)
    return [
        {
            "claim": name,
            "title": claim.title,
            "runs": kind,
            "wanted": rule.seeds,
            "planned": planned.get(kind, 0),
        }
        for name, claim in book.claims.items()
        for rule in [claim.rule(SCALE)]
        if SCALE in rule.sizes
        for kind in sorted(set(kinds_of(rule)))
    ]


def kinds_of(rule: Rule) -> Iterator[str]:
    """Which runs a rule reads, in all its parts; a gain by hardness is one of a study's runs."""
    if rule.parts:
        for part in rule.parts.values():
            yield from kinds_of(part)
    elif studies := {where["study"] for where in rule.arms.values() if "study" in where}:
        yield from studies
    else:
        yield rule.records


def seeds_of(jobs: Iterable[Job]) -> dict[str, int]:
    """By the kind of runs, the largest number of seeds that one of its settings has.

    Runs that choose by held-out images decide nothing.
    """
    found: dict[str, dict[str, set]] = {}
    for job in jobs:
        if not job.values.get("held_out"):
            kind = job.run.replace("/", ".")
            seeds = found.setdefault(kind, {}).setdefault(job.setting, set())
            seeds |= set(listed(job.values["seed"]))
    return {kind: max(map(len, settings.values())) for kind, settings in found.items()}


def cheaper(jobs: Sequence[Job], known: Known, gpu: str, spread: float) -> list[dict[str, Any]]:
    """GPU-hours of Experiment A in each of `DESIGNS`, and the half-width of its intervals.

    Nothing where the size has no such jobs, or pretrains for another time than the paper, which
    the designs are compared with. `spread` is the standard deviation over seeds of the difference
    of two arms' errors; half-widths are in points.
    """
    first = {job.run: job for job in reversed(jobs) if is_of_source(job)}
    if set(first) != {"imagenet/pretrain", "imagenet/finetune"}:
        return []
    pretraining = one(first["imagenet/pretrain"].values["pretraining"])
    if recipe_of(pretraining).epochs != PAPER.epochs:
        return []
    levels = sorted({v for job in jobs if is_of_source(job) for v in listed(job.values["level"])})
    scratch = [job for job in jobs if job.run == "imagenet/finetune" and job.values["baseline"]]
    rows = []
    for design in DESIGNS:
        asked = [changed(job, design, levels) for job in first.values()]
        asked += [changed(job, design, []) for job in scratch[:1]]
        hours = plan.plan(asked, known, gpu)["hours"].sum(skipna=False)
        rows.append(
            {
                "design": design.name,
                "gpu_hours": float(hours),
                "points": 100 * half_width(design.seeds, spread),
            }
        )
    return rows


def is_of_source(job: Job) -> bool:
    """Whether a job has levels of Experiment A that are judged."""
    return job.run.startswith("imagenet/") and job.values["level"] != [] and not held_out(job)


def held_out(job: Job) -> bool:
    """Whether a job's runs are there to choose by."""
    return bool(job.values.get("held_out"))


def changed(job: Job, design: Design, levels: Sequence[int]) -> Job:
    """A job as a design would have it."""
    values = {**job.values, "seed": list(range(design.seeds))}
    values["level"] = [] if job.values["level"] == [] else list(design.levels or levels)
    for recipe, field in (
        ("pretraining", "pretraining"),
        ("finetuning", "finetuning"),
        ("scratch", "pretraining"),
    ):
        if recipe in values:
            given = dict(getattr(design, field))
            if "model" in given:  # another network has none of the options of the one before
                given = {"model_options": {}} | given
            values[recipe] = {**one(values[recipe]), **given}
    return replace(job, values=values, done=False, read=())


def one(recipe: Any) -> Mapping[str, Any]:
    """A recipe, or the first of those that are chosen from."""
    return listed(recipe)[0]


def half_width(seeds: int, spread: float) -> float:
    """Half the width of a 95% interval of a mean over seeds."""
    return float(stats.t.ppf((1 + SMALL) / 2, seeds - 1) * spread / seeds**0.5)


def spread_of(book: Book, runs: pd.DataFrame, size: str = "tiny") -> float:
    """The median standard deviation over seeds of the effects that rules judge in Experiment A."""
    found = []
    for claim in book.claims.values():
        rule, verdict = judging.in_force(claim, runs, size)
        if SOURCE in kinds_of(rule):
            found += [deviation(leaf, rule.interval) for leaf in leaves(verdict) if leaf.seeds > 2]
    found = [value for value in found if value == value and value > 0]
    return statistics.median(found) if found else float("nan")


def leaves(verdict: Verdict) -> Iterator[Verdict]:
    """The verdicts that a verdict is made of, on one effect each."""
    if not verdict.parts:
        yield verdict
    for part in verdict.parts.values():
        yield from leaves(part)


def deviation(verdict: Verdict, interval: float) -> float:
    """The standard deviation over seeds behind a verdict's interval."""
    quantile = stats.t.ppf((1 + interval) / 2, verdict.seeds - 1)
    return (verdict.high - verdict.low) / 2 / quantile * verdict.seeds**0.5
