"""Claims beside runs as a page shows them: a strip of verdicts, and a card for each claim."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from granularity.analysis import spoken
from granularity.claims import effects, judging, outcome
from granularity.claims.outcome import Verdict
from granularity.claims.rules import MARKS, Claim, Rule
from granularity.claims.scoreboard import Entry, Line, name_of
from granularity.pages.rendering import render

# A sign for each word, beside its colour in `book.css`: nobody has to tell them by colour alone.
SIGNS = {
    outcome.REPRODUCED: "✓",
    outcome.NOT_REPRODUCED: "✕",
    outcome.PARTLY: "◐",
    outcome.SMALLER: "<",
    outcome.UNDECIDED: "?",
    outcome.NOT_RUN: "○",
    outcome.MACHINERY: "·",
}


@dataclass(frozen=True)
class Said:
    """A line on a card: a text, and where it has a verdict that with its sign and what follows."""

    text: str
    word: str = ""
    more: str = ""
    older: bool = False  # of runs whose code changed
    muted: bool = False


def strip(found: Sequence[Entry], page: str = "") -> str:
    """All verdicts at a glance, each a link to its card on `page` ("" for the page at hand)."""
    return render("strip.html", entries=found, page=page, signs=SIGNS)


def cards(found: Sequence[Entry]) -> str:
    """One card for each claim: the paper's values, ours at each size, verdict, reason, rule."""
    return "".join(card(entry) for entry in found)


def card(entry: Entry) -> str:
    """One claim, with its rule folded away, and below it all other versions and what they say."""
    claim, size = entry.claim, entry.size
    rule = entry.rules.get(size) or claim.rule(size)
    return render(
        "card.html",
        claim=claim,
        mark=MARKS[claim.mark],
        judged=entry.verdict,
        rows=[*rows(entry)],
        rule=rule,
        demands=demands(rule),
        seeds=entry.seeds.get(size, ""),
        waiting=entry.waiting.get(size, ""),
        refuted_by=decapitalised(rule.refuted_by),
        size=size,
        others=[(one, said_by(one, entry)) for one in claim.rules if one != rule],
        signs=SIGNS,
    )


def said_by(version: Rule, entry: Entry) -> Verdict | None:
    """What another version says of the runs that it may judge; None where none of them is made."""
    for size in (entry.size, *entry.verdicts):
        found = entry.others.get((size, version.version))
        if entry.rules.get(size) == version and size in version.sizes:
            found = entry.verdicts[size]
        if found and found.word != outcome.NOT_RUN:
            return found
    return None


def rows(entry: Entry) -> Iterator[tuple[str, list[Said]]]:
    """What the paper and the runs of each size say, as a heading and its lines."""
    yield "The paper", [*paper_values(entry.claim)]
    ran = [s for s, v in entry.verdicts.items() if entry.lines[s] or v.word != outcome.NOT_RUN]
    for size in ran:
        yield name_of(size), [*ours(entry.verdicts[size], entry.lines[size])]
    if not ran:
        yield "Ours", [Said("no run yet, at any size")]


def paper_values(claim: Claim) -> Iterator[Said]:
    """What the paper states, with the mark where it is not the claim's."""
    for value in claim.paper:
        mark = "" if value.mark == claim.mark else f" ({value.mark})"
        unit = value.unit if value.unit == "%" else f" {value.unit}".rstrip()
        yield Said(f"{value.what}: {value.value}{unit}{mark}")


def ours(found: Verdict, shown: Sequence[Line]) -> Iterator[Said]:
    """What the runs of one size give: shown quantities, and the effect that the rule judges."""
    seeds = {line.seeds for line in shown}
    for line in shown:
        told = number(line.mean, line.low, line.high, line.seeds if len(seeds) > 1 else None)
        yield Said(f"{line.what}: {told}", older=line.older)
    if len(seeds) == 1:
        yield Said(f"{counted(seeds.pop())} each")
    alone = bool(found.seeds and not found.parts and not shown)
    if alone:
        yield Said(f"effect: {effect(found.mean, found.low, found.high, found.seeds)}")
    for name, part in found.parts.items():
        yield of_part(name, part)
    nothing = not (shown or alone or found.parts)
    if found.word in (outcome.MACHINERY, outcome.NOT_RUN) or nothing:
        yield Said(f"{found.word}: {found.reason}", muted=True)


def of_part(name: str, part: Verdict) -> Said:
    """The verdict on a part of a claim, with its numbers or those of its cells."""
    told = [effect(part.mean, part.low, part.high, part.seeds) + why(part)] if part.seeds else []
    told += [
        f"{cell}: {effect(one.mean, one.low, one.high, None)}{why(one)}"
        for cell, one in part.parts.items()
        if one.seeds
    ]
    return Said(f"{outcome.part_name(name)}: ", part.word, "".join(f", {text}" for text in told))


def why(part: Verdict) -> str:
    """The reason of a part that numbers alone would not leave undecided, in brackets."""
    clear = part.low == part.low and not part.low <= 0 <= part.high
    return f" ({part.reason})" if clear and part.word == outcome.UNDECIDED else ""


def number(mean: float, low: float, high: float, seeds: int | None) -> str:
    """An error's mean, interval and, where given, its seeds: `41.2% (40.0–42.0), 10 seeds`."""
    if mean != mean:
        return counted(seeds or 0)
    between = "" if low != low or not high else f" ({100 * max(low, 0):.1f}–{100 * high:.1f})"
    said = f"{100 * mean:.1f}%" if mean >= 0.0005 else "< 0.1%" if mean else "0%"
    return said + between + (f", {counted(seeds)}" if seeds else "")


def effect(mean: float, low: float, high: float, seeds: int | None) -> str:
    """The same of a difference of errors: `+1.2 points (+0.4 to +2.0), 8 seeds`."""
    if mean != mean:
        return counted(seeds or 0)
    mean, low, high = (spoken.number(100 * end, "+.1f") for end in (mean, low, high))
    between = "" if low == "nan" else f" ({low} to {high})"
    return f"{mean} points{between}" + (f", {counted(seeds)}" if seeds else "")


def counted(seeds: int) -> str:
    """`1 seed`, `10 seeds`."""
    return f"{seeds} seed{'s' * (seeds != 1)}"


def demands(rule: Rule) -> str:
    """The rule's numbers in one sentence or two."""
    said = f"Version {rule.version} of {rule.date}: at least {rule.seeds} seeds"
    if rule.smallest_effect:
        said += f", smallest effect {effects.in_words(rule)}"
    said += f", {rule.interval:.0%} intervals; {judging.listed(rule.sizes)} runs decide."
    for gate in rule.gate:
        arm = f" of the {gate.arm} runs" if gate.arm else ""
        metric = gate.metric.replace("_", " ")
        most = f"{gate.at_most:.0%}" if "error" in metric else f"{gate.at_most:g}"
        said += f" Gate: mean {metric}{arm} at most {most} ({gate.note})."
    return said


def decapitalised(text: str) -> str:
    """A sentence's text to follow a colon."""
    return text[:1].lower() + text[1:]
