"""One record: a JSON file that says what ran, what came out, and what made it.

It is written whole or not at all and carries a checksum, so a number changed by hand is seen.
"""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from granularity import files
from granularity.fingerprints.digest import canonical, digest
from granularity.records.machine import device, versions

SCHEMA = 1
ASKED = "asked.json"  # at the top of a size's runs: the folders of runs that its size file asks for
CODE = (":/lib", ":/notebooks")  # what a run may be made of
REQUIRED = {"schema", "kind", "fingerprint", "metrics", "started", "seconds", "made_by", "checksum"}
SHAPES = {"kind": str, "fingerprint": str, "metrics": dict, "made_by": dict, "runs": list}
SHAPES |= {"arguments": dict, "recipes": dict, "curves": dict, "entry": str, "code": str}


class RecordError(ValueError):
    """A record that is broken, foreign, changed by hand, or not fit for what is asked of it."""


def write(
    path: Path | str,
    *,
    kind: str,
    metrics: Mapping[str, Any],
    parameters: Mapping[str, Any] | None = None,
    started: float | None = None,
    state: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict:
    """Writes one record atomically and returns it; `started` is in seconds since the epoch.

    `state` is what `git_state` said when the work began: now, where it is not given.
    Raises RecordError, naming the field, for what is not JSON-plain or not finite.
    """
    now = time.time()
    begun = now if started is None else min(started, now)  # a clock may be set back meanwhile
    record = {
        "schema": SCHEMA,
        "kind": kind,
        "parameters": dict(parameters or {}),
        "metrics": dict(metrics),
        "started": datetime.fromtimestamp(begun, UTC).isoformat(timespec="seconds"),
        "seconds": round(now - begun, 3),
        "made_by": made_by(state),
        **more,
    }
    for name, value in record.items():
        try:
            canonical(value)
        except (TypeError, ValueError) as error:
            raise RecordError(f"{path}: field '{name}' cannot be recorded: {error}") from error
    record.setdefault("fingerprint", digest([kind, record["parameters"]]))
    record["checksum"] = digest(record)
    files.write(Path(path), json.dumps(record, allow_nan=False) + "\n")
    return record


def read(path: Path | str) -> dict:
    """One record, checked. Raises RecordError, naming the file, for any that is not whole."""
    return parse(text_of(Path(path)), str(path))


def text_of(path: Path) -> str:
    """The text of a file. Raises RecordError, naming it, where it holds none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not a text file ({error})") from error


def parse(text: str, place: str) -> dict:
    """A record from its JSON text; `place` names it in errors."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{place}: not a whole JSON record ({error})") from error
    if not isinstance(record, dict) or REQUIRED - set(record):
        raise RecordError(f"{place}: no record of this project (it needs {sorted(REQUIRED)})")
    if record["schema"] != SCHEMA:
        raise RecordError(f"{place}: schema {record['schema']!r}, this code reads {SCHEMA}")
    for name, shape in SHAPES.items():
        if not isinstance(record.get(name, shape()), shape):
            raise RecordError(f"{place}: field '{name}' is {record[name]!r:.60}")
    git = record["made_by"].get("git")
    if (
        not isinstance(git, dict)
        or {"commit", "dirty"} - set(git)
        or not ({"packages", "device"} <= set(record["made_by"]))
    ):
        raise RecordError(f"{place}: field 'made_by' is {record['made_by']!r:.60}")
    rest = {name: value for name, value in record.items() if name != "checksum"}
    try:
        fits = digest(rest) == record["checksum"]
    except ValueError:  # JSON of ours holds no NaN
        fits = False
    if not fits:
        raise RecordError(f"{place}: changed after it was written (its checksum does not fit)")
    return record


def made_by(state: Mapping[str, Any] | None = None) -> dict:
    """Commit, package versions and device of this process; no name or path of the machine."""
    return {"git": dict(state or git_state()), "packages": versions(), "device": device()}


def git(*words: str) -> str:
    """What git says of the library's own repository.

    Raises OSError where there is no git, CalledProcessError where it fails.
    """
    call = ["git", "-C", str(Path(__file__).parent), *words]
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(
        call, capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


def git_state() -> dict:
    """Commit of the library's own repository and whether its files differ from it.

    So does a file below `lib` or `notebooks` that was never added: a run may have imported it.
    Where there is no commit to name, `why` says for what reason.
    """
    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not some repository around it
        changed = git("status", "--porcelain", "--untracked-files=no")
        added = git("status", "--porcelain", "--untracked-files=all", "--", *CODE)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed or added)}
    except OSError:
        why = "git is not installed"
    except subprocess.CalledProcessError as error:
        why = reason(error.stderr)
    return {"commit": None, "dirty": None, "why": why}


def reason(said: str) -> str:
    """Why git names no commit, in words without a place on this machine."""
    if "dubious ownership" in said:
        return "git refuses this folder, which is another user's (see git's safe.directory)"
    if "did not match any file" in said:
        return "the library's files are not in this repository"
    if "HEAD" in said:
        return "the repository has no commit"
    return "this copy is no git repository"
