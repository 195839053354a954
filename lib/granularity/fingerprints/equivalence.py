"""Which code is equal to which: what `granularity equal` has proven, a checksummed row each.

A record is tied to the code behind it by a digest. Where two codes gave the same bits in everything
that was compared, a row says so, and both count as one: what a run is keyed by is the oldest of
them. Only exact equality counts, for only that carries over from one row to the next; and a row
made on one kind of device serves that kind alone.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from granularity.fingerprints.digest import digest
from granularity.fingerprints.source import LIBRARY

FILE = LIBRARY.parent.parent / "book" / "results" / "equivalences.jsonl"
KIND = "equivalence"
STAGE = "stage"  # the code that trains one stage and shows it images, whatever run asked for it
THIS, PROVEN, OLDER = "this code", "equal code, proven", "older code"
TIMING = "a timing of its commit"  # equal bits say nothing of speed


class EquivalenceError(ValueError):
    """A row that was changed after it was written, or is none."""


@cache
def rows(file: Path) -> tuple[dict[str, Any], ...]:
    """The rows of a file, oldest first; none where there is no file. Raises EquivalenceError."""
    if not file.exists():
        return ()
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(checked(line, f"{file.name}:{number}") for number, line in enumerate(lines, 1))


def checked(line: str, place: str) -> dict[str, Any]:
    """One row. Raises EquivalenceError, naming its place, where its checksum does not fit."""
    try:
        row = json.loads(line)
        rest = {name: value for name, value in row.items() if name != "checksum"}
        whole = row["kind"] == KIND and digest(rest) == row["checksum"]
        facts = row["parameters"]
        told = [facts["entry"], facts["device"], facts["old"]["code"], facts["new"]["code"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EquivalenceError(f"{place}: no row of equal code ({error!r})") from error
    if not whole or not all(isinstance(word, str) for word in told):
        raise EquivalenceError(f"{place}: changed after it was written (its checksum does not fit)")
    return row


def equal(entry: str, code: str, device: str, file: Path | None = None) -> list[str]:
    """All codes that are proven equal to `code` for an entry, itself among them, oldest first."""
    found = rows(FILE if file is None else file)
    pairs = [
        (row["parameters"]["old"]["code"], row["parameters"]["new"]["code"])
        for row in found
        if (row["parameters"]["entry"], row["parameters"]["device"]) == (entry, device)
    ]
    known, before = {code}, 0
    while len(known) > before:
        before = len(known)
        known |= {one for pair in pairs if known & set(pair) for one in pair}
    order = list(dict.fromkeys(one for pair in pairs for one in pair if one in known))
    return order or [code]


def oldest(entry: str, code: str, device: str, file: Path | None = None) -> str:
    """The first code that is proven equal to `code`; itself where none is."""
    return equal(entry, code, device, file)[0]


def standing(entry: str, code: str | None, current: str, device: str) -> str:
    """What a record's code is beside the library's present one: one of three words."""
    if code == current:
        return THIS
    return PROVEN if code in equal(entry, current, device) else OLDER
