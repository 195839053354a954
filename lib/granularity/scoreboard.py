"""Claims beside runs: what the paper says, what ours say at each size, and the verdict, as HTML."""

import contextlib
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from granularity import analysis, equivalence, hardness, records, verdicts
from granularity.claims import MARKS, SIZES, Book, Claim, Rule
from granularity.verdicts import Verdict

# A sign and a colour for each word (Okabe and Ito's): nobody has to tell them by colour alone.
SIGNS = {
    verdicts.REPRODUCED: ("✓", "#009E73"),
    verdicts.NOT_REPRODUCED: ("✕", "#D55E00"),
    verdicts.PARTLY: ("◐", "#E69F00"),
    verdicts.SMALLER: ("<", "#CC79A7"),
    verdicts.UNDECIDED: ("?", "#0072B2"),
    verdicts.NOT_RUN: ("○", "#8A8A8A"),
    verdicts.MACHINERY: ("·", "#8A8A8A"),
}
NAMES = {
    "smoke": "Smoke, toy size",
    "tiny": "Tiny, real images",
    "published": "Published runs",
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
    earlier: Mapping[tuple[str, int], Verdict]  # by size and version: what replaced rules say

    @property
    def size(self) -> str:
        """The size that speaks for the claim: the largest one that may judge it and has runs."""
        for size in reversed(SIZES):
            if self.verdicts.get(size, NOTHING).word not in (verdicts.NOT_RUN, verdicts.MACHINERY):
                return size
        ran = [s for s, v in self.verdicts.items() if v.word == verdicts.MACHINERY]
        return ran[0] if ran else next(iter(self.verdicts), "smoke")

    @property
    def verdict(self) -> Verdict:
        """The verdict of that size."""
        return self.verdicts.get(self.size, NOTHING)


NOTHING = Verdict(verdicts.NOT_RUN, "no run yet")


def load(runs: Path, published: Path) -> dict[str, pd.DataFrame]:
    """The tables of runs by size: the folder of one size, and all published files.

    Published files below `tiny/` and `paper/` are of these sizes, all others are "published". A run
    that lies in several places counts once. Raises ValueError for a folder that is named after no
    size.
    """
    if runs.name not in SIZES:
        raise ValueError(f"{runs}: its name is no size; there are {', '.join(SIZES)}")
    found: dict[str, list[Path]] = {}
    with contextlib.suppress(FileNotFoundError):  # nothing ran yet: there may be published runs
        records.collect(runs)
        found[runs.name] = [runs]
    files = {file for file in published.rglob("*.jsonl") if file.name != equivalence.FILE.name}
    for file in sorted(files):  # what was proven of code is no run
        top = file.relative_to(published).parts[0]
        found.setdefault(top if top in SIZES else "published", []).append(file)
    return {size: read(found[size]) for size in SIZES if size in found}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """The runs of folders and files, and what rules read that is worked out from several of them.

    The column `evaluation` has what each run kept of every image it was evaluated on. Where an arm
    has a seed twice, nothing is worked out of these runs: claim C9 is then not run.
    """
    runs = analysis.once(records.table(*paths))
    kept = ChainMap(*map(records.arrays, paths))
    tables = [runs.assign(evaluation=runs["fingerprint"].map(kept.get))]
    with contextlib.suppress(analysis.Unfit):
        tables.append(hardness.splits(tables[0], paths))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def entries(book: Book, tables: Mapping[str, pd.DataFrame]) -> list[Entry]:
    """All claims, judged at each size that has runs."""
    rules = {
        size: {name: verdicts.in_force(c, table, size) for name, c in book.claims.items()}
        for size, table in tables.items()
    }
    judged = {size: verdicts.judge(rules[size], table, size) for size, table in tables.items()}
    return [
        Entry(
            claim,
            {size: judged[size][name] for size in tables},
            {size: lines(claim, table) for size, table in tables.items()},
            {size: rules[size][name] for size in tables},
            {size: planned_and_found(rules[size][name], table) for size, table in tables.items()},
            {
                (size, rule.version): verdicts.verdict(rule, table, size)
                for size, table in tables.items()
                for rule in claim.rules
                if size in rule.sizes and rule.version < rules[size][name].version
            },
        )
        for name, claim in book.claims.items()
    ]


def planned_and_found(rule: Rule, runs: pd.DataFrame) -> str:
    """How many seeds a rule planned, and how many there are in each of its arms, in words."""
    found: dict[str, int] = {}
    for part, one in (rule.parts or {"": rule}).items():
        read = runs[runs["kind"] == one.records] if "kind" in runs else runs
        for arm, where in one.arms.items():
            chosen = analysis.select(read, where)
            name = f"{arm} ({part})" if part else arm
            found[name] = chosen["seed"].nunique() if len(chosen) else 0
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
        chosen = analysis.select(runs, {"kind": shown.records, **shown.where})
        values = analysis.by_seed(chosen, shown.metric, f"claim {claim.id}, {shown.what}")
        if len(values):
            older = any(is_older(run) for run in chosen.itertuples())
            made.append(Line(shown.what, len(values), *analysis.interval(values), older))
    return made


def counts(table: pd.DataFrame) -> tuple[int, int]:
    """How many runs a table has, and how many older code made; derived rows are no runs."""
    runs = table[table["kind"] != hardness.KIND]
    return len(runs), sum(is_older(run) for run in runs.itertuples())


def is_older(run: object) -> bool:
    """Whether the code of a run is neither the library's present one nor proven equal to it."""
    return run.standing == equivalence.OLDER


# --------------------------------------------------------------------------------------- HTML

STYLE = """<style>
.gb-strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr));
  gap: .4rem; margin: 1rem 0; padding: 0; list-style: none; }
.gb-strip li { margin: 0; padding: .3rem .6rem; border: 1px solid var(--pst-color-border, #ccc);
  border-left: .35rem solid var(--gb-colour); border-radius: .25rem; }
.gb-claim { margin: 1.2rem 0; padding: .8rem 1rem; border: 1px solid var(--pst-color-border, #ccc);
  border-left: .35rem solid var(--gb-colour); border-radius: .25rem; overflow-wrap: anywhere; }
.gb-claim p { margin: .4rem 0; }
.gb-title { font-weight: 600; font-size: 1.1em; }
.gb-claim dl { display: grid; grid-template-columns: 9.5rem 1fr; gap: .3rem .8rem;
  margin: .6rem 0; }
.gb-claim dt { font-weight: 600; margin: 0; }
.gb-claim dd { margin: 0; }
.gb-muted { color: var(--pst-color-text-muted, #555); }
html[data-theme=dark] body .bd-content div.cell_output .text_html:has(.gb-strip, .gb-claim) {
  background: transparent; color: inherit; padding: 0; } /* the theme would put it on light grey */
.gb-claim details { margin-top: .4rem; }
.gb-claim summary { cursor: pointer; }
@media (max-width: 560px) { .gb-claim dl { grid-template-columns: 1fr; gap: 0; }
  .gb-claim dd { margin-bottom: .5rem; } }
</style>"""


def strip(found: Sequence[Entry], page: str = "") -> str:
    """All verdicts at a glance, each a link to its card on `page` ("" for the page at hand)."""
    items = [
        f'<li style="--gb-colour: {SIGNS[entry.verdict.word][1]}">'
        f'<a href="{page}#claim-{escape(entry.claim.id)}">{escape(entry.claim.id)}</a> '
        f"{word(entry.verdict.word)}</li>"
        for entry in found
    ]
    return f'{STYLE}<ul class="gb-strip">{"".join(items)}</ul>'


def cards(found: Sequence[Entry]) -> str:
    """One card for each claim: the paper's values, ours at each size, verdict, reason, rule."""
    return STYLE + "".join(card(entry) for entry in found)


def word(verdict: str) -> str:
    """A verdict with its sign; the sign is for the eye only."""
    return f'<span aria-hidden="true">{SIGNS[verdict][0]}</span> {escape(verdict)}'


def card(entry: Entry) -> str:
    """One claim."""
    claim, judged = entry.claim, entry.verdict
    mark = f'<abbr title="{escape(MARKS[claim.mark])}">{claim.mark}</abbr>'
    rows = [("The paper", paper_values(claim))]
    for size, found in entry.verdicts.items():
        if entry.lines[size] or found.word != verdicts.NOT_RUN:
            rows.append((NAMES[size], ours(found, entry.lines[size])))
    if len(rows) == 1:
        rows.append(("Ours", "no run yet, at any size"))
    rows.append(("Verdict", f"<strong>{word(judged.word)}</strong>: {escape(judged.reason)}"))
    table = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    link = ""
    if claim.chapter:
        link = f'<p><a href="{escape(claim.chapter)}.html">The chapter with the evidence</a></p>'
    note = f'<p class="gb-muted">{escape(claim.note)}</p>' if claim.note else ""
    return (
        f'<section class="gb-claim" id="claim-{escape(claim.id)}" '
        f'aria-label="Claim {escape(claim.id)}" style="--gb-colour: {SIGNS[judged.word][1]}">'
        f'<p class="gb-title">{escape(claim.id)}. {escape(claim.title)}</p>'
        f"<p>{escape(claim.statement)} "
        f'<span class="gb-muted">({escape(claim.where)}; {mark})</span></p>'
        f"{note}<dl>{table}</dl>{rules(entry)}{link}</section>"
    )


def paper_values(claim: Claim) -> str:
    """What the paper states, with the mark where it is not the claim's."""
    said = []
    for value in claim.paper:
        mark = "" if value.mark == claim.mark else f" ({value.mark})"
        number = f"{value.value} {value.unit}".strip()
        said.append(f"{escape(value.what)}: {escape(number)}{mark}")
    return "<br>".join(said)


def ours(found: Verdict, shown: Sequence[Line]) -> str:
    """What the runs of one size give: shown quantities, and the effect that the rule judges."""
    seeds = {line.seeds for line in shown}
    said = [
        f"{escape(line.what)}: "
        f"{number(line.mean, line.low, line.high, line.seeds if len(seeds) > 1 else None)}"
        + (" <em>(older code)</em>" if line.older else "")
        for line in shown
    ]
    if len(seeds) == 1:
        said.append(f"{counted(seeds.pop())} each")
    if found.seeds and not found.parts and not shown:
        said.append(f"effect: {number(found.mean, found.low, found.high, found.seeds)}")
    said += [of_part(name, part) for name, part in found.parts.items()]
    if found.word in (verdicts.MACHINERY, verdicts.NOT_RUN) or not said:
        said.append(f'<span class="gb-muted">{escape(found.word)}: {escape(found.reason)}</span>')
    return "<br>".join(said)


def of_part(name: str, part: Verdict) -> str:
    """The verdict on a part of a claim, with its numbers or those of its cells."""
    said = [f"{escape(name)}: {word(part.word)}"]
    if part.seeds:
        said.append(number(part.mean, part.low, part.high, part.seeds))
    said += [
        f"{escape(cell)}: {number(one.mean, one.low, one.high, None)}"
        for cell, one in part.parts.items()
        if one.seeds
    ]
    return ", ".join(said)


def number(mean: float, low: float, high: float, seeds: int | None) -> str:
    """Mean, interval and, where given, number of seeds, to three decimals."""
    if mean != mean:
        return counted(seeds or 0)
    between = "" if low != low else f" [{low:.3f}, {high:.3f}]"
    return f"{mean:.3f}{between}" + (f", {counted(seeds)}" if seeds else "")


def counted(seeds: int) -> str:
    """`1 seed`, `10 seeds`."""
    return f"{seeds} seed{'s' * (seeds != 1)}"


def rules(entry: Entry) -> str:
    """The rule in words, folded away; older versions with what they would say stay below it."""
    rule = entry.rules.get(entry.size) or entry.claim.rule(entry.size)
    text = [f"<details><summary>How it is decided</summary><p>{escape(rule.text)}</p>"]
    text.append(f"<p>{escape(demands(rule))} {escape(entry.seeds.get(entry.size, ''))}</p>")
    text.append(f"<p>It would be refuted by: {escape(decapitalised(rule.refuted_by))}</p>")
    for (size, version), verdict in entry.earlier.items():
        if size == entry.size:
            old = entry.claim.rules[version - 1]
            text.append(
                f'<p class="gb-muted">Version {version} of {old.date}, before any correction for '
                f"many claims, says <em>{verdict.word}</em> ({escape(verdict.reason)}): "
                f"{escape(old.text)}</p>"
            )
    newest = entry.claim.rule(entry.size)
    if newest.version > rule.version:
        text.append(
            f'<p class="gb-muted">Version {newest.version} of {newest.date} is written, and its '
            f"runs are still to be made: {escape(newest.text)}</p>"
        )
    if rule.why:
        text.append(f'<p class="gb-muted">Why it was changed: {escape(rule.why)}</p>')
    return "".join(text) + "</details>"


def demands(rule: Rule) -> str:
    """The rule's numbers in one sentence or two."""
    said = f"Version {rule.version} of {rule.date}: at least {rule.seeds} seeds"
    if rule.smallest_effect:
        said += f", smallest effect {rule.smallest_effect:g}"
    said += f", {rule.interval:.0%} intervals; {verdicts.listed(rule.sizes)} runs decide."
    for gate in rule.gate:
        arm = f" of the {gate.arm} runs" if gate.arm else ""
        said += f" Gate: mean {gate.metric}{arm} at most {gate.at_most:g} ({gate.note})."
    return said


def decapitalised(text: str) -> str:
    """A sentence's text to follow a colon."""
    return text[:1].lower() + text[1:]
