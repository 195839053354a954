"""Values that somebody wrote, checked against the fields of a dataclass by pydantic.

Nothing is converted but a whole number to a fraction, no field is left over, no number is infinite.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

KINDS = {
    "extra_forbidden": "unknown",
    "missing": "missing",
    "literal_error": "choice",
    **dict.fromkeys(
        ("greater_than", "greater_than_equal", "less_than", "less_than_equal"), "range"
    ),
    "finite_number": "range",
}
WORDS = {  # pydantic's, and what we say
    "a valid number": "a float",
    "a valid integer": "an int",
    "a valid string": "a str",
    "a valid boolean": "a bool",
    "a valid dictionary": "a mapping",
    "a valid list": "a list",
}
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


@dataclass
class Misfit(ValueError):
    """The first value that does not fit; whoever checks says it in words of its own.

    `kind`: "unknown" or "missing" (a field; `wanted` are all), "choice" (of the words `wanted`),
    "range" or "type" (`wanted` says which). `inside` are the steps from the field to the value.
    """

    kind: str
    field: str
    inside: Sequence[str | int]
    value: Any
    wanted: Sequence[str]


def checked(shape: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a dataclass's fields, those that are given. Raises Misfit for the first fault.

    What is itself of dataclasses is taken as mappings, to be checked on its own.
    """
    return validated(model_of(shape), values)


def validated(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a model's fields, those that are given. Raises Misfit for the first fault."""
    try:
        made = model.model_validate(dict(values))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        told = found["msg"].removeprefix("Input should ").removeprefix("be ")
        told = told.replace("greater than or equal to", "at least")
        wanted = [WORDS.get(told, told.replace("less than or equal to", "at most"))]
        kind = KINDS.get(found["type"], "type")
        if kind in ("unknown", "missing"):
            wanted = [*model.model_fields]
        if kind == "choice":
            wanted = re.findall(r"'(.*?)'(?=, | or |$)", found["ctx"]["expected"])
        name, *inside = found["loc"]
        raise Misfit(kind, str(name), inside, found["input"], wanted) from None
    return {name: getattr(made, name) for name in made.model_fields_set}


@cache
def model_of(shape: type) -> type[BaseModel]:
    """The strict model of a dataclass's fields."""
    hints = get_type_hints(shape, include_extras=True)
    needed = {f.name for f in fields(shape) if f.default is f.default_factory is MISSING}
    given = {name: (plain(hint), ... if name in needed else None) for name, hint in hints.items()}
    return create_model(shape.__name__, __config__=STRICT, **given)


def plain(hint: Any) -> Any:
    """A field's type, with mappings in the place of dataclasses."""
    inner = [plain(one) for one in get_args(hint)]
    if is_dataclass(hint):
        return Mapping[str, Any]
    return get_origin(hint)[tuple(inner)] if inner != [*get_args(hint)] else hint
