"""Proves that two codes make the same numbers: bit for bit, over every line that differs.

The code of an older commit and the present one run the same canaries on this machine. Everything
that comes out is compared: metrics, curves, arrays, every tensor of every checkpoint; and runs
that the old code began are ended by the new one. Equal results of a sample say nothing of a line
that the sample never ran, so each statement that differs must have been executed too.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from granularity import files
from granularity.fingerprints import changes, equivalence, source
from granularity.fingerprints.digest import digest
from granularity.proofs import canaries, canary_runs
from granularity.proofs.canaries import Canary
from granularity.proofs.canary import NOTHING
from granularity.proofs.canary_runs import NotEqual, clean_environment, ended, read, start
from granularity.records import entries, record
from granularity.training import one_stage

REPOSITORY = source.LIBRARY.parent.parent
PROVABLE = ("theory.simulate", "imagenet.finetune", "inaturalist.transfer")  # published, no timings


@dataclass(frozen=True)
class Side:
    """One of the two codes: its library's folder, its commit, and what its canaries gave."""

    library: Path
    commit: str
    found: list[dict]

    def ran(self, numbers: Iterable[int]) -> dict[str, set[int]]:
        """Lines of each file that some of the canaries executed."""
        lines: dict[str, set[int]] = {}
        for number in numbers:
            for file, some in self.found[number]["lines"].items():
                lines.setdefault(file, set()).update(some)
        return lines


# ----------------------------------------------------------------------------------- the proof


def prove(
    commit: str,
    published: Sequence[Mapping[str, Any]],
    roots: Mapping[str, str],
    kinds: Sequence[str],
    folder: Path,
    say: Callable[[str], None] = print,
) -> list[dict]:
    """Compares the code of `commit` with the present one; the rows of what is equal.

    `published` are records: of those that the older code made, or code equal to it, the canaries go
    all ways. Those on photographs are made again where `roots` names their images. `kinds` are the
    entries to compare. Raises NotEqual at the first difference, naming setting, step and tensor,
    and for a changed line that was not executed.
    """
    started = time.time()
    drawn = canaries.draw(folder / "images")
    chosen = [r for r in published if entries.kind_of(r["entry"]) in kinds]
    with checkout(commit, folder / "old") as library:
        sides = {"before": library, "now": source.LIBRARY}
        codes = {
            "before": {kind: code_in(library, kind, folder) for kind in kinds},
            "now": {kind: entries.named(kind).code for kind in kinds},
        }
        own = [record for record in chosen if is_of(record, codes["before"])]
        more = [c for c in canaries.beside(drawn) if c.kind in (*kinds, canaries.OPENING)]
        few = [*canaries.of_records(own, drawn), *more]
        real = canaries.on_photographs(own, roots) if roots else []
        say(f"{len(few)} canaries and {len(real)} published runs, by both codes")
        found = canary_runs.short(sides, few, folder)
        for name, more in canary_runs.published(sides, codes, real, folder).items():
            found[name] += more
        every = [*few, *real]
        old = Side(library, record.git("rev-parse", commit), found["before"])
        new = Side(source.LIBRARY, record.git("rev-parse", "HEAD"), found["now"])
        compare_all(every, old, new, folder)
        for kind in kinds:
            numbers = [n for n in range(len(few)) if every[n].kind in (kind, canaries.OPENING)]
            hold_changes(kind, old, new, numbers, {kind, *PROVABLE})
        pairs = {kind: (codes["before"][kind], codes["now"][kind]) for kind in kinds}
        if set(kinds) >= set(canaries.IMAGES[1:]) and (code := stage_code_in(library, folder)):
            pairs[equivalence.STAGE] = (code, one_stage.code())
        return [row(kind, pair, old, new, every, started) for kind, pair in pairs.items()]


def is_of(made: Mapping[str, Any], codes: Mapping[str, str]) -> bool:
    """Whether a published record is of the older code, or of code that is proven equal to that."""
    kind = entries.kind_of(made["entry"])
    return made["code"] in equivalence.equal(kind, codes[kind], "cpu")


def compare_all(every: Sequence[Canary], old: Side, new: Side, folder: Path) -> None:
    """Raises NotEqual where a canary differs, or one that the old code began and the new ended."""
    for canary, before, now in zip(every, old.found, new.found, strict=True):
        if not (canary.new and before == NOTHING):
            compare(canary.name, before, now)
    for number in resumable(every):
        ended_by = resumed(every[number], number, folder)
        name = f"{every[number].name}, begun by the old code"
        compare(name, old.found[number], ended_by["new"], of_half)
        for side, one in (("old", old), ("new", new)):
            merge(one.found[number]["lines"], ended_by[side]["lines"])


class checkout:
    """The library's folder of a commit, in a worktree that goes at the end."""

    def __init__(self, commit: str, folder: Path):
        """Nothing is done before it is entered."""
        self.commit, self.folder = commit, folder

    def __enter__(self) -> Path:
        """Lays the worktree. Raises NotEqual, with git's words, for an unknown commit."""
        call = ["worktree", "add", "--detach", str(self.folder), self.commit]
        ended = subprocess.run(
            ["git", "-C", str(REPOSITORY), *call], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise NotEqual(f"no checkout of {self.commit}: {ended.stderr.strip()}")
        return self.folder / "lib" / source.PACKAGE

    def __exit__(self, *error: object) -> None:
        """Takes the worktree away."""
        call = ["git", "-C", str(REPOSITORY), "worktree", "remove", "--force", str(self.folder)]
        subprocess.run(call, capture_output=True, check=False)


# -------------------------------------------------------------------------------- what it asks


def compare(name: str, before: Mapping, now: Mapping, skip: Callable = lambda place: False) -> None:
    """Raises NotEqual at the first number that differs, or that one side lacks.

    `skip` says which places are not looked at.
    """
    for part in ("tensors", "values"):
        for place in sorted({*before[part], *now[part]}):
            if skip(place):
                continue
            one, other = before[part].get(place, "nothing"), now[part].get(place, "nothing")
            if one != other:
                raise NotEqual(f"{name}: {place} was {one} and is {other}")


def resumable(every: Sequence[Canary]) -> list[int]:
    """The first canary of each kind that trains in stages: it is begun by the old code too."""
    kinds = [canary.kind for canary in every]
    return [kinds.index(kind) for kind in canaries.IMAGES if kind in kinds]


def of_half(place: str) -> bool:
    """Places where a run that was stopped in between shows it: checkpoints on the way, the log."""
    half = f"step {canaries.STEPS // 2}," in place or ", log, " in place
    return half or place.startswith("curves") or place.endswith(("training_loss", "_loss"))


def resumed(canary: Canary, number: int, folder: Path) -> dict[str, dict]:
    """What each code gives where it goes on from the old code's middle checkpoints."""
    halves = replace(canary, places=canary.places | {"save_every": canaries.STEPS // 2}).job()
    sides = {"old": folder / "old/lib" / source.PACKAGE, "new": source.LIBRARY}
    stages, found = {}, {}
    for name, library in sides.items():
        out = folder / f"half-{name}-{number}"
        ended(start(library, [halves], out), out)
        stages[name] = str(out / "0" / "stages")
    for name, library in sides.items():
        out = folder / f"resumed-{name}-{number}"
        plant = {"old": stages["old"], "new": stages[name], "step": canaries.STEPS // 2}
        ended(start(library, [halves | {"measure": True}], out, plant=plant), out)
        found[name] = read(out / "0")
    return found


def merge(lines: dict[str, list[int]], more: Mapping[str, Sequence[int]]) -> None:
    """Adds executed lines to others."""
    for file, some in more.items():
        lines[file] = sorted({*lines.get(file, ()), *some})


def hold_changes(
    kind: str, old: Side, new: Side, numbers: Sequence[int], kinds: Iterable[str]
) -> None:
    """Raises NotEqual for a changed statement behind an entry that no canary executed.

    `numbers` are the entry's own canaries. In a function that none of them entered, those of other
    entries count: it serves these. What stands behind another one of `kinds` in both codes, and is
    the same, has not changed.
    """
    own = {side.commit: all_units([kind], side.library) for side in (old, new)}
    units = {side.commit: all_units(kinds, side.library) for side in (old, new)}
    names = {side.commit: {unit.name for unit in units[side.commit]} for side in (old, new)}
    gone, _ = changes.changed(own[old.commit], units[new.commit])
    _, came = changes.changed(units[old.commit], own[new.commit])
    function = entries.named(kind).function
    missed = []
    for side, other, changed in ((new, old, came), (old, new, gone)):
        reached = changes.reached(own[side.commit], function)
        ran, by_any = side.ran(numbers), side.ran(range(len(side.found)))
        for change in changed:
            lines = ran if change.unit.entered(ran) else by_any
            missed += changes.unseen([change], lines, reached, names[other.commit])
    if missed:
        told = "\n  ".join(str(change) for change in missed)
        raise NotEqual(f"{kind}: {len(missed)} changed lines were not executed:\n  {told}")


def all_units(kinds: Iterable[str], library: Path) -> list[changes.Unit]:
    """All functions of the code behind some entries, in a checkout."""
    files_of_all = dict.fromkeys(
        file for kind in sorted(kinds) for file in files_behind(entries.named(kind), library)
    )
    found = []
    for file in files_of_all:
        text = file.read_text(encoding="utf-8")
        found += changes.units(file.relative_to(library).as_posix(), text)
    return found


def files_behind(entry: entries.Entry, library: Path) -> list[Path]:
    """The files behind an entry in a checkout, where it may have stood elsewhere."""
    for module in (entry.module, *(name.partition(":")[0] for name in entry.names)):
        try:
            return list(source.behind([module], library).values())
        except ModuleNotFoundError:
            continue
    raise NotEqual(f"{library} has no {entry.module}")


# ------------------------------------------------------------------------------------- the rows


def code_in(library: Path, kind: str, folder: Path) -> str:
    """The digest that a checkout's own code gives for an entry: what its records hold."""
    names = [kind, *entries.named(kind).names]
    text = (
        "import sys, json, importlib\n"
        "names = json.loads(sys.argv[1])\n"
        "for place in 'granularity.records.entries', 'granularity.entries':\n"
        "    try:\n"
        "        print(importlib.import_module(place).named(names[0]).code)\n"
        "        break\n"
        "    except ImportError:\n"
        "        continue\n"
        "else:\n"  # the first versions had no registry
        "    from granularity import source\n"
        "    print(source.fingerprint(names[-1].partition(':')[0]))\n"
    )
    return said_by(library, text, json.dumps(names), folder)


def stage_code_in(library: Path, folder: Path) -> str:
    """The same for one stage of training; nothing where a checkout has no name for it."""
    text = (
        "import importlib\n"
        "for place in 'granularity.training.one_stage', 'granularity.train':\n"
        "    try:\n"
        "        found = importlib.import_module(place)\n"
        "    except ImportError:\n"
        "        continue\n"
        "    print(found.code() if hasattr(found, 'code') else '')\n"
        "    break\n"
    )
    return said_by(library, text, "", folder)


def said_by(library: Path, text: str, argument: str, folder: Path) -> str:
    """The last line that a text prints where a checkout's library is on the path."""
    environment = clean_environment() | {"PYTHONPATH": str(library.parent)}
    call = [sys.executable, "-P", "-c", text, argument]
    told = subprocess.run(
        call, env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def row(
    kind: str,
    codes: tuple[str, str],
    old: Side,
    new: Side,
    every: Sequence[Canary],
    started: float,
) -> dict:
    """An ordinary record of what was proven. Raises NotEqual where no run of the kind was made."""
    kinds = canaries.IMAGES if kind == equivalence.STAGE else (kind,)
    found = [
        (run.name, result)
        for run, result in zip(every, new.found, strict=True)
        if run.kind in kinds
    ]
    if not found:
        raise NotEqual(f"no published run of {kind} tells what to compare")
    compared = [
        {"name": name, "results": digest([result["values"], result["tensors"]])}
        for name, result in found
    ]
    counted = {
        part: sum(len(result[part]) for _, result in found) for part in ("values", "tensors")
    }
    facts = {
        "entry": kind,
        "device": "cpu",
        "old": {"code": codes[0], "commit": old.commit},
        "new": {"code": codes[1], "commit": new.commit},
    }
    with tempfile.TemporaryDirectory() as folder:
        return record.write(
            Path(folder) / "record.json",
            kind=equivalence.KIND,
            parameters=facts,
            metrics={"canaries": len(found), **counted},
            started=started,
            canaries=compared,
        )


def keep(rows: Sequence[Mapping], file: Path = equivalence.FILE) -> int:
    """Adds rows to the file, but for those of which it has as strong a one; returns how many."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    there = [json.loads(line) for line in text.splitlines()]
    fresh = [made for made in rows if differs(made) and not any(covers(old, made) for old in there)]
    files.write(file, text + "".join(f"{json.dumps(made)}\n" for made in fresh))
    equivalence.rows.cache_clear()
    return len(fresh)


def differs(made: Mapping) -> bool:
    """Whether a row is of two codes: one that did not change needs no proof."""
    return made["parameters"]["old"]["code"] != made["parameters"]["new"]["code"]


def covers(old: Mapping, made: Mapping) -> bool:
    """Whether a row says as much as another one: the same two codes, by as many runs."""
    same = [
        [of["parameters"][name] for name in ("entry", "device")]
        + [of["parameters"][side]["code"] for side in ("old", "new")]
        for of in (old, made)
    ]
    more = made["metrics"].get("canaries", 0) > old["metrics"].get("canaries", 0)
    return same[0] == same[1] and not more


def main(
    commit: str,
    published: Sequence[Mapping],
    kinds: Sequence[str],
    roots: Mapping[str, str],
    trial: bool,
) -> None:
    """Proves, and keeps the rows; `trial` keeps none, and is all that uncommitted code may have."""
    state = record.git_state()
    if state["dirty"] is not False and not trial:
        raise NotEqual(f"the present code is not committed ({state}): a row would name no code")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = prove(commit, published, roots, kinds, Path(folder))
    for made in rows:
        facts, count = made["parameters"], made["metrics"]
        print(
            f"{facts['entry']}: {facts['old']['code']} = {facts['new']['code']}"
            f" ({count['canaries']} runs, {count['values']:,} values, {count['tensors']:,} tensors)"
        )
    print(f"equal, in {time.monotonic() - begun:.0f} s")
    if not trial:
        print(f"{keep(rows)} rows added to {equivalence.FILE.relative_to(REPOSITORY)}")
