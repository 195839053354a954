"""What no rule may hold: names that nothing has, and parts that contradict one another.

A rule is taken as `claims.rules.Rule` has it.
"""

from collections.abc import Collection, Hashable, Mapping
from typing import Any

from granularity.claims import columns
from granularity.inputs.nearest import nearest


class ClaimsError(ValueError):
    """A mistake in the claims file: the message names the claim, the field and the nearest one."""


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
    near = nearest(value, known)
    hint = f"did you mean '{near}'?" if near else f"known: {', '.join(map(str, known))}"
    where = f"{place}, field '{name}'" if name else place
    raise ClaimsError(f"{where}: unknown {what} '{value}'; {hint}")


def refuse_cells(made: Any, place: str) -> None:
    """Raises ClaimsError for cells without a value, with one twice, or that an arm names too."""
    for name, values in made.cells.items():
        if not values:
            raise ClaimsError(f"{place}, cells, field '{name}': it is empty")
        if len(set(values)) < len(values):
            raise ClaimsError(f"{place}, cells, field '{name}': {values} has a value twice")
        for arm, where in made.arms.items():
            if name in where:
                raise ClaimsError(f"{place}, cells, field '{name}': the arm '{arm}' names it too")


def refuse_arms_of_bound(made: Any, place: str) -> None:
    """Raises ClaimsError for more than one arm, and for settings that it contradicts or repeats."""
    if len(made.arms) > 1:
        named = "', '".join(made.arms)
        raise ClaimsError(f"{place}, field 'arms': a bound has one at most, not '{named}'")
    settings = [dict(setting) for setting in made.settings]
    for arm, where in made.arms.items():
        if both := sorted({name for setting in settings for name in setting} & set(where)):
            raise ClaimsError(f"{place}, settings, field '{both[0]}': the arm '{arm}' names it too")
    twice = [setting for setting in settings if settings.count(setting) > 1]
    if twice:
        raise ClaimsError(f"{place}, field 'settings': {twice[0]} stands twice")


def refuse_columns(made: Any, place: str) -> None:
    """Raises ClaimsError, with the nearest name, for what no record of the rule's kind says."""
    if made.parts:
        return  # each of them names its own
    known = columns_of(made.records, place)
    named = [(f"arms, {arm}", where) for arm, where in made.arms.items()]
    named += [("cells", made.cells), *(("settings", setting) for setting in made.settings)]
    named += [("fixed", one) for demand in made.fixed for one in (demand.of, demand.are)]
    named += [("gate", [gate.metric]) for gate in made.gate]
    named += [("conditions", [one.metric]) for one in made.conditions]
    named += [(n, [getattr(made, n)]) for n in ("metric", "along", "overall") if getattr(made, n)]
    for where, names in named:
        for name in names if known else ():
            choose(name, sorted(known), f"{place}, {where}", "", "column")
    for one in made.conditions:
        curves = columns.CURVES.get(made.records, ())
        for name in (one.until["curve"], one.metric) if one.until and curves else ():
            choose(name, sorted(curves), f"{place}, conditions, until", "", "curve")


def columns_of(records: str, place: str) -> Collection[str]:
    """What records of a kind say; nothing for a kind that is like no known one."""
    if records not in columns.COLUMNS and nearest(records, columns.COLUMNS, cutoff=0.7):
        choose(records, columns.COLUMNS, place, "records")
    return columns.COLUMNS.get(records, ())
