"""Claims beside runs: what the paper says, what ours say at each size, and the verdict."""

import contextlib
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from granularity.analysis import hardness, selection, statistics
from granularity.claims import fixed, judging, outcome
from granularity.claims.outcome import Verdict
from granularity.claims.rules import SIZES, Book, Claim, Fixed, Rule
from granularity.fingerprints import equivalence
from granularity.records import tables

NAMES = {
    "smoke": "Smoke, toy size",
    "tiny": "Tiny-ImageNet, our runs",
    "published": "Our simulations",
    "paper": "The paper's scale",
}


@dataclass(frozen=True)
class Line:
    """What the runs of one size say about one shown quantity; `older` where their code changed."""

    what: str
    seeds: int
    mean: float
    low: float
    high: float
    older: bool


@dataclass(frozen=True)
class Entry:
    """A claim with all that is known about it, by size."""

    claim: Claim
    verdicts: Mapping[str, Verdict]
    lines: Mapping[str, Sequence[Line]]
    rules: Mapping[str, Rule]  # by size: the version that gave the verdict
    seeds: Mapping[str, str]  # by size: how many seeds it planned, and how many each arm has
    others: Mapping[tuple[str, int], Verdict]  # by size and version: what all other rules say
    waiting: Mapping[str, str]  # by size: which newer version has some of its seeds, in words

    @property
    def size(self) -> str:
        """The size that speaks for the claim: the largest one that may judge it and has runs."""
        for size in reversed(SIZES):
            if self.verdicts.get(size, NOTHING).word not in (outcome.NOT_RUN, outcome.MACHINERY):
                return size
        ran = [s for s, v in self.verdicts.items() if v.word == outcome.MACHINERY]
        return ran[0] if ran else next(iter(self.verdicts), "smoke")

    @property
    def verdict(self) -> Verdict:
        """The verdict of that size."""
        return self.verdicts.get(self.size, NOTHING)


NOTHING = Verdict(outcome.NOT_RUN, "no run yet")


def name_of(size: str) -> str:
    """What a page calls a size."""
    return NAMES.get(size, f"The size {size}")


def load(
    runs: Path, published: Path, scales: Mapping[str, Sequence[Fixed]] = MappingProxyType({})
) -> dict[str, pd.DataFrame]:
    """The tables of runs by size: the folder of one size, and all published files.

    Published files below `tiny/` and `paper/` are of these sizes, all others are "published". A run
    that lies in several places counts once. The runs of a size of any other name are of the size
    whose `scales` they meet, with what was published of it; where they meet none, of that name.
    """
    found: dict[str, list[Path]] = {}
    own: dict[str, pd.DataFrame] = {}
    with contextlib.suppress(FileNotFoundError):  # nothing ran yet: there may be published runs
        tables.collect(runs)
        if runs.name in SIZES:
            found[runs.name] = [runs]
        else:
            own = by_scale(tables.table(runs), runs.name, scales)
    files = {file for file in published.rglob("*.jsonl") if file.name != equivalence.FILE.name}
    for file in sorted(files):  # what was proven of code is no run
        top = file.relative_to(published).parts[0]
        found.setdefault(top if top in SIZES else "published", []).append(file)
    return {
        size: read([*found.get(size, []), *[runs] * (size in own)], own.get(size))
        for size in dict.fromkeys((*SIZES, *own))
        if size in found or size in own
    }


def by_scale(
    runs: pd.DataFrame, name: str, scales: Mapping[str, Sequence[Fixed]]
) -> dict[str, pd.DataFrame]:
    """Runs by the size that each is one of, by what it is; `name` where it is of none."""
    of = [fixed.scale_of(run, scales) or name for run in runs.to_dict("records")]
    return dict(iter(runs.groupby(np.array(of, dtype=object))))


def read(paths: Sequence[Path], own: pd.DataFrame | None = None) -> pd.DataFrame:
    """The runs of folders and files, and what rules read that is worked out from several of them.

    `own` are those that count of the last path; all of them where none are given. The column
    `evaluation` has what each run kept of every image it was evaluated on. Where an arm has a seed
    twice, nothing is worked out of these runs: claim C9 is then not run.
    """
    whole = paths if own is None else paths[:-1]
    runs = selection.once(pd.concat([tables.table(*whole), own], ignore_index=True))
    kept = ChainMap(*map(tables.arrays, paths))
    parts = [runs.assign(evaluation=runs["fingerprint"].map(kept.get))]
    with contextlib.suppress(statistics.Unfit):
        parts.append(hardness.splits(parts[0], paths))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def entries(book: Book, tables: Mapping[str, pd.DataFrame]) -> list[Entry]:
    """All claims in the order of their names, judged at each size that has runs."""
    alone = {
        size: {name: judging.in_force(c, table, size) for name, c in book.claims.items()}
        for size, table in tables.items()
    }
    judged = {size: judging.among_all(found) for size, found in alone.items()}
    return [
        entry(
            claim,
            tables,
            {size: alone[size][name].rule for size in tables},
            {size: judged[size][name] for size in tables},
        )
        for name, claim in sorted(book.claims.items(), key=lambda item: in_order(item[0]))
    ]


def in_order(name: str) -> tuple[int, str]:
    """Where a claim stands among the others: C2 before C2a, and that before C10."""
    number = name.strip("Cabcdefgh")
    return int(number), name.partition(number)[2]


def entry(
    claim: Claim,
    tables: Mapping[str, pd.DataFrame],
    rules: Mapping[str, Rule],
    judged: Mapping[str, Verdict],
) -> Entry:
    """One claim, whose rules in force have given these verdicts, all by size."""
    return Entry(
        claim,
        judged,
        {size: lines(claim, table) for size, table in tables.items()},
        rules,
        {size: planned_and_found(rules[size], table) for size, table in tables.items()},
        {
            (size, rule.version): judging.verdict(rule, table, size)
            for size, table in tables.items()
            for rule in claim.rules
            if size in rule.sizes and rule != rules[size]
        },
        {size: waiting(claim, rules[size], size, table) for size, table in tables.items()},
    )


def waiting(claim: Claim, speaking: Rule, size: str, runs: pd.DataFrame) -> str:
    """The next version after the one that speaks, where some of its seeds have run; in words."""
    for rule in claim.rules[speaking.version :]:
        found = fixed.seeds_of(rule, runs).values() if size in rule.sizes else ()
        if any(found):
            whole = min(found)
            have = "has" if whole == 1 else "have"
            told = f"{whole} of its {rule.seeds} seeds {have} run in every arm"
            return f"Version {rule.version} waits: {told}, and it speaks when all have."
    return ""


def planned_and_found(rule: Rule, runs: pd.DataFrame) -> str:
    """How many seeds a rule planned, and how many there are in each of its arms, in words."""
    found = {arm: seeds for arm, seeds in fixed.seeds_of(rule, runs).items() if arm}
    counts = set(found.values())
    if len(counts) < 2:
        told = f"{counts.pop()} in every arm" if counts else ""
    else:
        told = ", ".join(f"{name} {number}" for name, number in found.items())
    return f"Seeds: {rule.seeds} planned, found {told}." if told else ""


def lines(claim: Claim, runs: pd.DataFrame) -> list[Line]:
    """The quantities that a claim shows, as far as these runs have them.

    Raises analysis.Unfit where runs of one seed differ in something that the claim does not name.
    """
    made = []
    for shown in claim.shows:
        chosen = selection.select(runs, {"kind": shown.records, **shown.where})
        values = selection.by_seed(chosen, shown.metric, f"claim {claim.id}, {shown.what}")
        if len(values):
            older = any(is_older(run) for run in chosen.itertuples())
            made.append(Line(shown.what, len(values), *statistics.interval(values), older))
    return made


def counts(table: pd.DataFrame) -> tuple[int, int]:
    """How many runs a table has, and how many older code made; derived rows are no runs."""
    runs = table[table["kind"] != hardness.KIND]
    return len(runs), sum(is_older(run) for run in runs.itertuples())


def is_older(run: object) -> bool:
    """Whether the code of a run is neither the library's present one nor proven equal to it."""
    return run.standing == equivalence.OLDER
