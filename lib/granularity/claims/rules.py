"""The paper's claims as data, with the rules that judge them: what `book/claims.yml` may hold.

Everything is checked as it is read: a misspelt field of a rule would otherwise be a rule that
nobody applies. Nothing here knows runs; `judging` applies the rules.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from granularity.claims.checks import (
    ClaimsError,
    check_names,
    choose,
    columns_of,
    mapping,
    refuse_arms_of_bound,
    refuse_cells,
    refuse_columns,
)
from granularity.inputs import plain_yaml
from granularity.inputs.strict import Misfit, checked

MARKS = {
    "P": "the paper's main text says so",
    "P1": "only the abstract of its first version says so",
    "L": "lineage: a work that the paper follows or cites says so",
    "R": "a reviewer asked for it",
    "O": "ours: a choice, a measurement or a reading of our own",
}
# "published" are the full theory runs of this book; "paper" is an experiment at the paper's scale.
SIZES = ("smoke", "tiny", "published", "paper")

Mark = Literal["P", "P1", "L", "R", "O"]
Scalar = str | bool | int | float
Where = Mapping[str, Scalar | Mapping[str, Any]]  # columns and their values; a mapping is a recipe
Values = Mapping[str, Scalar | Mapping[str, Any] | Sequence[Scalar]]  # a list: one of these
Share = Annotated[float, Field(gt=0, lt=1)]
AtLeastNone = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Value:
    """A value that somebody stated, with its mark; a text where the statement has no number."""

    what: str
    value: float | str
    mark: Mark
    unit: str = ""
    part: str | None = None  # the part of the rules whose effect it is, "" where they have none


@dataclass(frozen=True)
class Shown:
    """Runs whose mean and interval the scoreboard shows for a claim, whatever the verdict."""

    what: str
    records: str
    where: Where
    metric: str


@dataclass(frozen=True)
class Gate:
    """The regime in which a claim is made: the mean of `metric` over the runs of `arm`."""

    metric: str
    at_most: float
    arm: str | None = None  # none: each arm of the rule, and of a rule without arms all its runs
    note: str = ""


@dataclass(frozen=True)
class Until:
    """How far a condition follows a curve, see `Condition`."""

    curve: str
    at_most: float
    times: Annotated[float, Field(ge=1)]


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
    trend: Literal["not rising", "not falling"] | None = None
    tolerance: AtLeastNone | None = None
    at: Literal["every", "last"] = "every"
    until: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Fixed:
    """What runs must be to be judged: those with the values `of` must have the values `are`.

    A recipe stands here with the fields that it must have; its run's own has its preset filled in.
    """

    are: Values
    of: Where = field(default_factory=dict)


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
    sizes: Sequence[Literal["tiny", "published", "paper"]]
    records: str
    seeds: Annotated[int, Field(ge=2)]  # below two there is no interval
    interval: Share
    metric: str = ""
    direction: Literal["above", "below"] = "above"
    smallest_effect: AtLeastNone = 0.0
    family: Literal["primary", "exploratory"] = "exploratory"
    gate: Sequence[Gate] = ()
    arms: Mapping[str, Where] = field(default_factory=dict)
    effect: Mapping[str, float] = field(default_factory=dict)
    along: str = ""
    overall: str = ""
    relative_to: str = ""  # an arm: effects are shares of its mean error
    even: AtLeastNone = 0.0  # of a judge: the largest difference of its correlations with two arms
    least_gain: AtLeastNone = 0.0  # on all images: with less there is nothing to locate
    matched: AtLeastNone = 0.0  # of a placebo: the largest difference of its gain on all images
    cells: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    settings: Sequence[Mapping[str, int | float]] = ()
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
    mark: Mark
    paper: Sequence[Value]
    rules: Sequence[Rule]
    shows: Sequence[Shown] = ()
    chapter: str = ""  # a page of the book below `book/chapters`, without its ending
    note: str = ""

    def version(self, number: int) -> Rule:
        """One version of its rule, counted from 1."""
        return self.rules[number - 1]

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
    mark: Mark
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
    "contrast": ({"metric", "arms", "effect", "smallest_effect"}, {"cells", "relative_to"}),
    # change of a metric over the whole range of log2(along), by a line within each seed
    "slope": ({"metric", "arms", "along", "smallest_effect", "direction"}, {"cells"}),
    # limits and trends that all must hold, at each of some settings
    "bound": ({"settings", "conditions"}, {"arms"}),
    # an effect that must exceed zero and the same effect under a placebo, with a null of no effect
    # (`overall`: the whole gain; a placebo that loses by it refutes nothing)
    "placebo": ({"metric", "arms", "smallest_effect"}, {"cells", "overall"}),
    # where `fine` gains over `coarse`, beyond a gain that is uniform in log-odds; above that of
    # `matched`, which is coarse too, and by other means as good as `fine` on the whole
    "located": ({"arms", "smallest_effect", "even", "least_gain", "matched"}, set()),
    # several rules, which inherit every field that they do not state
    "parts": ({"parts"}, {f.name for f in fields(Rule)}),
    # the same claim on several sets of images: one part for each, and not run before each has runs
    "sets": ({"parts"}, {f.name for f in fields(Rule)}),
}
PARTED = ("parts", "sets")
NAMED_ARMS = {
    "placebo": {"effect", "placebo", "null"},
    "located": {"coarse", "fine", "matched"},
}
ALWAYS = {f.name for f in fields(Rule) if f.default is MISSING and f.default_factory is MISSING}
FREE = {"direction", "family", "gate", "why", "fixed"}  # any rule may state these


def read(text: str) -> Book:
    """The claims file from its YAML text. Raises ClaimsError for anything that does not fit."""
    return book(loaded(text))


def loaded(text: str) -> dict[str, Any]:
    """What a claims file says, unchecked. Raises ClaimsError for what is not plain YAML."""
    try:
        return plain_yaml.read(text, "book/claims.yml", dates=True)
    except plain_yaml.YamlError as error:
        raise ClaimsError(str(error)) from error


def book(data: Mapping[str, Any]) -> Book:
    """The claims of a loaded file. Raises ClaimsError for anything that does not fit."""
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
        shows=tuple(shown(entry, f"{place}, shows") for entry in made.shows),
        rules=rules,
    )


def shown(given: Mapping[str, Any], place: str) -> Shown:
    """A shown quantity, of columns that its records have."""
    made = build(Shown, given, place)
    known = columns_of(made.records, place)
    for name in (*made.where, made.metric) if known else ():
        choose(name, sorted(known), place, "", "column")
    return made


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
    for name in sorted(needed & {"metric", "along"}):
        if not getattr(made, name):
            raise ClaimsError(f"{place}, field '{name}': it is empty")
    refuse_cells(made, place)
    for name, weight in made.effect.items():
        choose(name, made.arms, place, "effect")
        if not weight:
            raise ClaimsError(f"{place}, field 'effect': the weight of '{name}' is 0")
    if made.effect and abs(sum(made.effect.values())) > 1e-9:
        told = "its weights do not add up to 0, so it compares nothing"
        raise ClaimsError(f"{place}, field 'effect': {told}")
    if kind == "bound":
        refuse_arms_of_bound(made, place)
    if kind == "slope" and not set(made.arms) - {
        entry.get("arm") for entry in given.get("gate", ())
    }:
        raise ClaimsError(f"{place}, field 'arms': none is on the line, all are a gate's")
    if kind in NAMED_ARMS:
        check_names(made.arms, NAMED_ARMS[kind], (), f"{place}, arms")
    if made.relative_to:
        choose(made.relative_to, made.arms, place, "relative_to", "arm")
    gates = tuple(build(Gate, entry, f"{place}, gate") for entry in made.gate)
    for gate in gates:
        if gate.arm is not None and kind not in PARTED:
            choose(gate.arm, made.arms, f"{place}, gate", "arm")
    conditions = tuple(condition(entry, f"{place}, conditions") for entry in made.conditions)
    demands = fixed(made.fixed, f"{place}, fixed")
    made = replace(made, gate=gates, conditions=conditions, fixed=demands)
    refuse_columns(made, place)
    return replace(made, parts=parts(given, place))


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
    if made.trend is not None and made.tolerance is None:
        raise ClaimsError(f"{place}, '{made.metric}': field 'tolerance' is missing for a trend")
    if made.until is not None:
        build(Until, made.until, f"{place}, until")
    return made


def table(name: str, given: Mapping[str, Any]) -> Table:
    """One table whose rows all have as many cells as there are columns."""
    made = build(Table, given, f"table {name}")
    for row in made.rows:
        if len(row) != len(made.columns):
            raise ClaimsError(f"table {name}: {row} has not {len(made.columns)} cells")
    return made


UNION = re.compile(r"^(int|float|str|bool)$|\]$")  # pydantic's names for members of a union


def build(shape: type, given: Any, place: str) -> Any:
    """`shape(**given)`, with every name and value checked; what is built later is still fields."""
    try:
        checked(shape, mapping(given, place))
    except Misfit as fault:
        if fault.kind == "unknown":
            choose(fault.field, fault.wanted, place, "", "field")
        if fault.kind == "missing":
            raise ClaimsError(f"{place}: field '{fault.field}' is missing") from None
        steps = [step for step in map(str, fault.inside) if not UNION.search(step)]
        where = "', '".join([fault.field, *steps])
        if fault.kind == "choice":
            choose(fault.value, fault.wanted, place, where)
        wanted = " or ".join(fault.wanted)
        raise ClaimsError(
            f"{place}, field '{where}': {fault.value!r:.80} is not {wanted}"
        ) from None
    return shape(**given)
