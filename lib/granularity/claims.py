"""The paper's claims as data, with the rules that judge them: what `book/claims.yml` may hold.

Everything is checked as it is read: a misspelt field of a rule would otherwise be a rule that
nobody applies. Nothing here knows runs; `verdicts` applies the rules.
"""

import datetime
import difflib
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from granularity import plain_yaml

MARKS = {
    "P": "the paper's main text says so",
    "P1": "only the abstract of its first version says so",
    "L": "lineage: a work that the paper follows or cites says so",
    "R": "a reviewer asked for it",
    "O": "ours: a choice, a measurement or a reading of our own",
}
# "published" are the full theory runs of this book; "paper" is an experiment at the paper's scale.
SIZES = ("smoke", "tiny", "published", "paper")
TRENDS = ("not rising", "not falling")


class ClaimsError(ValueError):
    """A mistake in the claims file: the message names the claim, the field and the nearest one."""


@dataclass(frozen=True)
class Value:
    """A value that somebody stated, with its mark; a text where the statement has no number."""

    what: str
    value: float | str
    mark: str
    unit: str = ""


@dataclass(frozen=True)
class Shown:
    """Runs whose mean and interval the scoreboard shows for a claim, whatever the verdict."""

    what: str
    records: str
    where: Mapping[str, Any]
    metric: str


@dataclass(frozen=True)
class Gate:
    """The regime in which a claim is made: the mean of `metric` over the runs of `arm`."""

    metric: str
    at_most: float
    arm: str | None = None  # none: every run that the rule reads
    note: str = ""


@dataclass(frozen=True)
class Condition:
    """One demand on a metric: a limit for its interval, or a trend over the settings.

    `at` "every" setting or only the "last". `until` follows a curve instead of the last value:
    {"curve": …, "at_most": …, "times": …} takes every logged step up to `times` the first step at
    which that other curve is at most so much.
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    trend: str | None = None
    tolerance: float | None = None
    at: str = "every"
    until: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Fixed:
    """What runs must be to be judged: those with the values `of` must have the values `are`.

    A recipe stands here with the fields that it must have; its run's own has its preset filled in.
    """

    are: Mapping[str, Any]
    of: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """How runs decide a claim, written before the runs that it judges.

    An effect above `smallest_effect` is in the paper's direction: for "below" the sign is turned.
    Arms and settings select runs by the values of their columns. `KINDS` says what each kind of
    rule needs.
    """

    version: int
    date: datetime.date
    kind: str
    text: str
    refuted_by: str
    sizes: Sequence[str]
    records: str
    seeds: int
    interval: float
    metric: str = ""
    direction: str = "above"
    smallest_effect: float = 0.0
    family: str = "exploratory"
    gate: Sequence[Gate] = ()
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    effect: Mapping[str, float] = field(default_factory=dict)
    along: str = ""
    overall: str = ""
    cells: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    settings: Sequence[Mapping[str, Any]] = ()
    conditions: Sequence[Condition] = ()
    parts: Mapping[str, "Rule"] = field(default_factory=dict)
    fixed: Sequence[Fixed] = ()  # runs that are otherwise are not judged
    why: str = ""  # what a new version changed, and for which reason
    # What makes a run one of a size, whatever the rule: no part of it, and the file's `scales`.
    scales: Mapping[str, Sequence[Fixed]] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, its values there, and its rules, oldest first."""

    id: str
    title: str
    statement: str
    where: str
    mark: str
    paper: Sequence[Value]
    rules: Sequence[Rule]
    shows: Sequence[Shown] = ()
    chapter: str = ""  # a page of the book below `book/chapters`, without its ending
    note: str = ""

    def rule(self, size: str) -> Rule:
        """The newest rule for a size; for one that none may judge, that of the small scale."""
        fitting = [rule for rule in self.rules if size in rule.sizes]
        small = [rule for rule in self.rules if "tiny" in rule.sizes]
        return (fitting or small or list(self.rules))[-1]


@dataclass(frozen=True)
class Table:
    """A table of somebody's values, as rows under named columns."""

    title: str
    where: str
    mark: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Book:
    """All of the file: claims by id, tables by name, in the file's order."""

    claims: Mapping[str, Claim]
    tables: Mapping[str, Table]
    # By size: what its runs must be, whatever the rule.
    scales: Mapping[str, Sequence[Fixed]] = field(default_factory=dict)


# Which fields a kind of rule needs beside those of every rule, and which it may have.
KINDS = {
    # one weighted sum of arms, paired by seed, against zero and the smallest effect
    "contrast": ({"metric", "arms", "effect", "smallest_effect"}, {"cells"}),
    # change of a metric over the whole range of log2(along), by a line within each seed
    "slope": ({"metric", "arms", "along", "smallest_effect", "direction"}, {"cells"}),
    # limits and trends that all must hold, at each of some settings
    "bound": ({"settings", "conditions"}, {"arms"}),
    # an effect that must exceed zero and the same effect under a placebo, with a null of no effect
    # (`overall`: the whole gain; a placebo that loses by it refutes nothing)
    "placebo": ({"metric", "arms", "smallest_effect"}, {"cells", "overall"}),
    # several rules, which inherit every field that they do not state
    "parts": ({"parts"}, {f.name for f in fields(Rule)}),
}
ALWAYS = {f.name for f in fields(Rule) if f.default is MISSING and f.default_factory is MISSING}
FREE = {"direction", "family", "gate", "why", "fixed"}  # any rule may state these


def read(text: str) -> Book:
    """The claims file from its YAML text. Raises ClaimsError for anything that does not fit."""
    try:
        data = plain_yaml.read(text, "book/claims.yml", dates=True)
    except plain_yaml.YamlError as error:
        raise ClaimsError(str(error)) from error
    check_names(data, {"claims", "tables"}, {"shared", "scales"}, "the file")  # shared: anchors
    for part in ("claims", "tables"):
        for name, given in mapping(data[part], part).items():
            mapping(given, f"{part}, {name}")
    scales = {
        choose(size, SIZES, "scales", ""): fixed(given, f"scales, {size}")
        for size, given in mapping(data.get("scales", {}), "scales").items()
    }
    made = {name: claim(name, given) for name, given in data["claims"].items()}
    return Book(
        claims={name: scaled(claim, scales) for name, claim in made.items()},
        tables={name: table(name, given) for name, given in data["tables"].items()},
        scales=scales,
    )


def scaled(claim: Claim, scales: Mapping[str, Sequence[Fixed]]) -> Claim:
    """The claim, whose rules know what the runs of a size must be."""
    return replace(claim, rules=tuple(replace(rule, scales=scales) for rule in claim.rules))


def fixed(given: Any, place: str) -> tuple[Fixed, ...]:
    """Demands on runs."""
    if not isinstance(given, (list, tuple)):
        raise ClaimsError(f"{place}: {given!r:.80} is no list of demands")
    return tuple(build(Fixed, entry, place) for entry in given)


def claim(name: str, given: Mapping[str, Any]) -> Claim:
    """One claim. Its rules must be numbered 1, 2, … and dated in that order."""
    made = build(Claim, given | {"id": name}, f"claim {name}")
    place = f"claim {name}"
    rules = tuple(rule(entry, f"{place}, rule {n}") for n, entry in enumerate(made.rules, 1))
    if not rules or [r.version for r in rules] != list(range(1, len(rules) + 1)):
        raise ClaimsError(f"{place}, field 'rules': versions must be 1, 2, … without a gap")
    if [r.date for r in rules] != sorted(r.date for r in rules):
        raise ClaimsError(f"{place}, field 'rules': a later version has an earlier date")
    return replace(
        made,
        paper=tuple(build(Value, entry, f"{place}, paper") for entry in made.paper),
        shows=tuple(build(Shown, entry, f"{place}, shows") for entry in made.shows),
        rules=rules,
    )


def rule(given: Mapping[str, Any], place: str) -> Rule:
    """One rule with the fields that its kind needs, and no others."""
    mapping(given, place)
    kind = choose(given.get("kind"), KINDS, place, "kind")
    needed, allowed = KINDS[kind]
    check_names(given, ALWAYS | needed, ALWAYS | needed | allowed | FREE, place)
    made = build(Rule, given, place)
    for name in ("sizes", *sorted(needed & {"arms", "effect", "settings", "conditions", "parts"})):
        if not getattr(made, name):
            raise ClaimsError(f"{place}, field '{name}': it is empty")
    if not 0 < made.interval < 1:
        raise ClaimsError(f"{place}, field 'interval': {made.interval:g} is not between 0 and 1")
    for name, values in made.cells.items():
        if not values:
            raise ClaimsError(f"{place}, cells, field '{name}': it is empty")
    for size in made.sizes:
        choose(size, [s for s in SIZES if s != "smoke"], place, "sizes")
    choose(made.direction, ("above", "below"), place, "direction")
    choose(made.family, ("primary", "exploratory"), place, "family")
    for name in made.effect:
        choose(name, made.arms, place, "effect")
    if kind == "placebo":
        check_names(made.arms, {"effect", "placebo", "null"}, (), f"{place}, arms")
    gates = tuple(build(Gate, entry, f"{place}, gate") for entry in made.gate)
    for gate in gates:
        if gate.arm is not None and kind != "parts":
            choose(gate.arm, made.arms, f"{place}, gate", "arm")
    conditions = tuple(condition(entry, f"{place}, conditions") for entry in made.conditions)
    demands = fixed(made.fixed, f"{place}, fixed")
    return replace(
        made, gate=gates, conditions=conditions, fixed=demands, parts=parts(given, place)
    )


def parts(given: Mapping[str, Any], place: str) -> dict[str, Rule]:
    """The parts of a rule, each with the fields of the whole that it does not state itself."""
    own = {"parts", "kind", "fixed"}  # runs that the whole does not judge do not reach its parts
    inherited = {name: value for name, value in given.items() if name not in own}
    made = {}
    for name, part in mapping(given.get("parts", {}), f"{place}, parts").items():
        here = f"{place}, part '{name}'"
        mapping(part, here)
        kind = choose(part.get("kind"), KINDS, here, "kind")
        known = ALWAYS | KINDS[kind][0] | KINDS[kind][1] | FREE
        wider = {field: value for field, value in inherited.items() if field in known}
        made[name] = rule(wider | part, here)
    return made


def condition(given: Mapping[str, Any], place: str) -> Condition:
    """One demand: exactly one of `at_most`, `at_least` and `trend`."""
    made = build(Condition, given, place)
    if sum(x is not None for x in (made.at_most, made.at_least, made.trend)) != 1:
        raise ClaimsError(f"{place}, '{made.metric}': one of at_most, at_least, trend is wanted")
    choose(made.at, ("every", "last"), place, "at")
    if made.trend is not None:
        choose(made.trend, TRENDS, place, "trend")
        if made.tolerance is None:
            raise ClaimsError(f"{place}, '{made.metric}': field 'tolerance' is missing for a trend")
    if made.until is not None:
        check_names(made.until, {"curve", "at_most", "times"}, (), f"{place}, until")
    return made


def table(name: str, given: Mapping[str, Any]) -> Table:
    """One table whose rows all have as many cells as there are columns."""
    made = build(Table, given, f"table {name}")
    for row in made.rows:
        if len(row) != len(made.columns):
            raise ClaimsError(f"table {name}: {row} has not {len(made.columns)} cells")
    return made


def build(shape: type, given: Any, place: str) -> Any:
    """`shape(**given)`, with the names, the types and the mark checked."""
    named = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(shape)}
    check_names(given, {n for n, needed in named.items() if needed}, named, place)
    if "mark" in given:
        choose(given["mark"], MARKS, place, "mark")
    wanted = get_type_hints(shape)
    for name, value in given.items():
        if not fits(value, wanted[name]):
            kind = getattr(wanted[name], "__name__", wanted[name])
            raise ClaimsError(f"{place}, field '{name}': {value!r:.80} is no {kind}")
    return shape(**given)


def fits(value: Any, wanted: Any) -> bool:
    """Whether a value of the file has a field's type; what is built later is still fields."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Sequence:
        return isinstance(value, (list, tuple)) and all(fits(item, inner[0]) for item in value)
    if origin is Mapping:
        pairs = value.items() if isinstance(value, Mapping) else [(None, None)]
        return all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in pairs)
    if is_dataclass(wanted):
        return isinstance(value, (Mapping, wanted))
    if wanted in (int, float):
        return isinstance(value, (int, wanted)) and not isinstance(value, bool)
    return isinstance(value, wanted)


def mapping(given: Any, place: str) -> Mapping:
    """`given` where it is a mapping; ClaimsError where it is something else."""
    if not isinstance(given, Mapping):
        raise ClaimsError(f"{place}: {given!r:.80} should be fields with values")
    return given


def check_names(given: Any, needed: Collection[str], allowed: Collection[str], place: str) -> None:
    """Raises ClaimsError for an unknown field, with the nearest one, and for a missing field."""
    for name in mapping(given, place):
        choose(name, sorted({*needed, *allowed}), place, "", "field")
    missing = sorted(set(needed) - set(given))
    if missing:
        raise ClaimsError(f"{place}: field '{missing[0]}' is missing")


def choose(value: Any, known: Collection[Any], place: str, name: str, what: str = "value") -> Any:
    """`value` where it is one of `known`; ClaimsError with the nearest one otherwise."""
    if isinstance(value, Hashable) and value in known:
        return value
    near = difflib.get_close_matches(str(value), [str(k) for k in known], n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(map(str, known))}"
    where = f"{place}, field '{name}'" if name else place
    raise ClaimsError(f"{where}: unknown {what} '{value}'; {hint}")
