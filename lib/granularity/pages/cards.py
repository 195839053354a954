"""Claims beside runs as a page shows them: a strip of verdicts, and a card for each claim."""

from collections.abc import Sequence
from html import escape

from granularity.claims import judging, outcome
from granularity.claims.outcome import Verdict
from granularity.claims.rules import MARKS, Claim, Rule
from granularity.claims.scoreboard import NAMES, Entry, Line

# A sign and a colour for each word (Okabe and Ito's): nobody has to tell them by colour alone.
SIGNS = {
    outcome.REPRODUCED: ("✓", "#009E73"),
    outcome.NOT_REPRODUCED: ("✕", "#D55E00"),
    outcome.PARTLY: ("◐", "#E69F00"),
    outcome.SMALLER: ("<", "#CC79A7"),
    outcome.UNDECIDED: ("?", "#0072B2"),
    outcome.NOT_RUN: ("○", "#8A8A8A"),
    outcome.MACHINERY: ("·", "#8A8A8A"),
}
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
        if entry.lines[size] or found.word != outcome.NOT_RUN:
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
    if found.word in (outcome.MACHINERY, outcome.NOT_RUN) or not said:
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
    said += f", {rule.interval:.0%} intervals; {judging.listed(rule.sizes)} runs decide."
    for gate in rule.gate:
        arm = f" of the {gate.arm} runs" if gate.arm else ""
        said += f" Gate: mean {gate.metric}{arm} at most {gate.at_most:g} ({gate.note})."
    return said


def decapitalised(text: str) -> str:
    """A sentence's text to follow a colon."""
    return text[:1].lower() + text[1:]
