"""Where numbers came from: times, machines, versions and commits of runs, as small tables."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache

import pandas as pd

from granularity.analysis.selection import once
from granularity.claims import rules
from granularity.claims.fixed import read_by
from granularity.claims.judging import in_force
from granularity.claims.rules import Book, Claim, Rule
from granularity.claims.scoreboard import name_of
from granularity.fingerprints import equivalence
from granularity.inputs import renamed
from granularity.records import machine, record

COLUMNS = ["size", "machine", "kind", "seconds", "commit", "dirty"]  # of the tables' many
FIRST = ["claim", "size", "rule", "runs", "made from", "first committed", "first run"]
FIRST += ["had the rule"]


def made(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The runs among the rows: what was worked out from several of them was made by no machine."""
    return {size: table[table["machine"].notna()] for size, table in tables.items()}


def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All runs under one another, with the size's name and the machine in words."""
    parts = [table[COLUMNS[1:]].assign(size=name_of(size)) for size, table in tables.items()]
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    runs = pd.concat(parts, ignore_index=True)
    return runs.assign(machine=[machine.in_words(described) for described in runs["machine"]])


def times(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Number of runs and their time, by size and kind."""
    runs = together(tables)
    grouped = runs.groupby(["size", "kind"], sort=False)["seconds"]
    found = grouped.agg(["count", "median", "max", "sum"]).reset_index()
    return pd.DataFrame(
        {
            "size": found["size"],
            "run": found["kind"],
            "runs": found["count"],
            "median": [duration(s) for s in found["median"]],
            "longest": [duration(s) for s in found["max"]],
            "in all": [duration(s) for s in found["sum"]],
        }
    )


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 0.4 s, 12 s, 3.5 min, 2.1 h."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def machines(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Number of runs of each size on each machine."""
    found = together(tables).groupby(["size", "machine"], sort=False).size()
    return found.rename("runs").reset_index()


def commits(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Number of runs of each size at each commit; "changed" where files differed from it.

    Runs that were made without git have neither: "unknown".
    """
    runs = together(tables)
    named = [str(c)[:10] if isinstance(c, str) else "unknown" for c in runs["commit"]]
    words = {True: "changed", False: "as committed"}
    state = [words.get(dirty, "unknown") for dirty in runs["dirty"]]
    runs = runs.assign(commit=named, files=state)
    found = runs.groupby(["size", "commit", "files"], sort=False).size()
    return found.rename("runs").reset_index()


def timed(*tables: pd.DataFrame) -> str:
    """Where and when seconds were measured, in a sentence: each machine and commit once."""
    runs = pd.concat(tables, ignore_index=True)
    told = [
        f"{machine.in_words(run.machine)}, at commit {str(run.commit)[:10]} on {run.started[:10]}"
        for run in runs.itertuples()
    ]
    return (
        "Measured on " + "; and on ".join(dict.fromkeys(told)) + ". A timing is of its commit and"
        " machine; `make bench` measures yours."
    )


def standings(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Number of runs of each size and kind by what their code is beside ours.

    Its words are those of `equivalence`: this code, equal code that is proven to be, older code, a
    timing whose seconds are those of its commit.
    """
    words = (equivalence.THIS, equivalence.PROVEN, equivalence.TIMING, equivalence.OLDER)
    parts = [
        table[["kind", "standing"]].assign(size=name_of(size)) for size, table in tables.items()
    ]
    runs = pd.concat(parts) if parts else pd.DataFrame(columns=["kind", "standing", "size"])
    counts = runs.groupby(["size", "kind", "standing"], sort=False).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(words), fill_value=0).rename_axis(columns=None)
    return counts.reset_index()


def rules_first(book: Book, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Whether each rule stood, as it is now, in the commits from which its runs were made.

    A part of a rule stood there if any version had it: a later one may add parts for other images.
    One row for each claim and size whose rule in force reads runs: all of them of commits that have
    the rule ("yes"), some not ("no"), or of commits that this copy of the repository does not hold
    ("?"). Times are UTC. What is worked out from several runs is left out, for it has no commit.
    """
    rows = []
    for size, table in tables.items():
        for claim in judged_at(book, size):
            rule, _ = in_force(claim, table, size)
            runs = runs_of(rule, table)
            commits = runs["commit"].unique()
            found = [
                stood(claim.id, part, commit)
                for part in parts_of(rule)
                for commit in runs_of(part, runs)["commit"].unique()
            ]
            if found:
                rows.append(
                    {
                        "claim": claim.id,
                        "size": name_of(size),
                        "rule": f"version {rule.version} of {rule.date}",
                        "runs": len(runs),
                        "made from": ", ".join(str(commit)[:7] for commit in commits),
                        "first committed": min(map(committed, commits)),
                        "first run": min(runs["started"])[:19].replace("T", " "),
                        "had the rule": "no" if False in found else "?" if None in found else "yes",
                    }
                )
    return pd.DataFrame(rows, columns=FIRST)


def judged_at(book: Book, size: str) -> list[Claim]:
    """The claims that have a rule for a size."""
    return [c for c in book.claims.values() if any(size in rule.sizes for rule in c.rules)]


def runs_of(rule: Rule, table: pd.DataFrame) -> pd.DataFrame:
    """The runs that any arm of a rule reads, each once, without what is worked out of several."""
    runs = once(pd.concat(read_by(rule, table).values()))
    return runs[runs["machine"].notna()]


def parts_of(rule: Rule) -> list[Rule]:
    """A rule without parts as it is, of others all that decide something, without their words."""
    if rule.parts:
        whole = rule.fixed
        inner = [replace(part, fixed=(*whole, *part.fixed)) for part in rule.parts.values()]
        return [one for part in inner for one in parts_of(part)]
    return [replace(rule, version=0, date=date.min, text="", refuted_by="", why="")]


def stood(claim: str, part: Rule, commit: str | None) -> bool | None:
    """Whether a commit's claims file has this part of a rule; None where it is not at hand."""
    then = book_at(commit)
    if then is None:
        return None
    versions = then.claims[claim].rules if claim in then.claims else ()
    return any(part in parts_of(version) for version in versions)


@cache
def book_at(commit: str | None) -> Book | None:
    """A commit's claims file, read once under today's names; None where it is not at hand."""
    if commit is None:
        return None
    try:
        then = rules.loaded(record.git("show", f"{commit}:book/claims.yml"))
        return rules.book(renamed.current(then))
    except (OSError, subprocess.CalledProcessError, rules.ClaimsError):
        return None


def committed(commit: str | None) -> str:
    """When a commit was made, in UTC to the second; "?" where it is not at hand, or not known."""
    if commit is None:
        return "?"
    try:
        seconds = int(record.git("show", "--no-patch", "--format=%ct", commit))
    except (OSError, subprocess.CalledProcessError):
        return "?"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def versions(tables: Mapping[str, pd.DataFrame], here: Mapping[str, str]) -> pd.DataFrame:
    """One row a package: its version on this machine and in each size's runs."""
    columns = {"here": dict(here)}
    for size, table in tables.items():
        made: dict[str, set[str]] = {}
        for packages in table["packages"]:
            for name, version in packages.items():
                made.setdefault(name, set()).add(version)
        columns[name_of(size)] = {name: ", ".join(sorted(v)) for name, v in made.items()}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = {title: [column.get(name, "–") for name in names] for title, column in columns.items()}
    return pd.DataFrame({"package": names, **rows})
