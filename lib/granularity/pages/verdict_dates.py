"""What the answers were, and since when: verdicts by date, and the changelog as a page shows it."""

import re
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from granularity.claims import outcome, provenance
from granularity.claims.rules import Rule
from granularity.claims.scoreboard import Entry, name_of

SILENT = (outcome.NOT_RUN, outcome.MACHINERY)


def changes(found: Sequence[Entry], tables: Mapping[str, pd.DataFrame]) -> list[dict[str, str]]:
    """What each version of a claim's rule says, the newest versions first, as rows of a table.

    One row for each claim, size and version that has a verdict: the day of the version, what it
    says, and the day of the last run that it reads.
    """
    rows = [
        {
            "rule of": str(rule.date),
            "claim": entry.claim.id,
            "version": str(rule.version),
            "verdict": word,
            "of runs": name_of(size),
            "last run": last_day(provenance.runs_of(rule, tables[size])),
        }
        for entry in found
        for size, rule, word in verdicts_of(entry)
    ]
    return sorted(rows, key=lambda row: row["rule of"], reverse=True)


def last_day(runs: pd.DataFrame) -> str:
    """The day on which the last of some runs began; a dash for a rule on what others work out."""
    return runs["started"].max()[:10] if len(runs) else "–"


def verdicts_of(entry: Entry) -> Iterator[tuple[str, Rule, str]]:
    """The sizes and versions of a claim's rule that say something of it, and what.

    A version that still waits for seeds says nothing yet.
    """
    for size, verdict in entry.verdicts.items():
        speaking = entry.rules[size].version
        versions = {v: old for (at, v), old in entry.others.items() if at == size and v < speaking}
        versions[speaking] = verdict
        for version, one in sorted(versions.items(), reverse=True):
            rule = entry.claim.version(version)
            if one.word not in SILENT and size in rule.sizes:
                yield size, rule, one.word


def as_part_of_a_page(changelog: str) -> str:
    """A changelog without its title, each version folded under its name."""
    before, *versions = re.split(r"^## ", changelog.partition("\n")[2], flags=re.MULTILINE)
    folded = [version.partition("\n")[::2] for version in versions]
    return before + "".join(f":::{{dropdown}} {name}\n{body}\n:::\n" for name, body in folded)
