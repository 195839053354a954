"""What every notebook needs before its work: the repository's root, and parameters that are right.

papermill only logs a parameter that the notebook does not have, and runs on with the defaults;
Jupyter and papermill start kernels in different folders. Nothing here knows what parameters mean.
"""

import ast
import json
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from granularity import surroundings
from granularity.inputs.nearest import nearest

# Of tqdm, as it is loaded in a kernel without widgets: its bars are plain text there.
warnings.filterwarnings("ignore", message="IProgress not found")

MARKER = "_toc.yml"
INJECTED = "# Parameters"  # the first line of the cell that papermill puts in
FIELD = re.compile(r"^(\w+)\.(\w+) = ")


class ParameterError(ValueError):
    """A parameter that the notebook does not have, or a value that it cannot take."""


def root(start: Path | str = ".") -> Path:
    """The repository's folder: the nearest one at or above `start` that holds the marker file.

    Raises FileNotFoundError where there is none.
    """
    here = Path(start).resolve()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder
    raise FileNotFoundError(f"{here} is in no checkout of the book (no {MARKER} at or above it)")


def in_kernel() -> bool:
    """Whether this process is a kernel, and not one that runs a notebook's cells by itself."""
    return "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None


def take_fields() -> None:
    """Lets `papermill -p pretraining.epochs 1` change one field of a recipe in this kernel.

    papermill writes it as `pretraining.epochs = 1`, which is none of a dictionary's attributes.
    """
    if not in_kernel():
        return
    shell = sys.modules["IPython"].get_ipython()
    if with_fields not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(with_fields)


def with_fields(lines: list[str]) -> list[str]:
    """The lines of papermill's cell, with `name["field"] = ` for `name.field = `."""
    if not lines or not lines[0].startswith(INJECTED):
        return lines
    return [FIELD.sub(r'\1["\2"] = ', line) for line in lines]


def assignments(code: str, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Names and literal values that a cell assigns.

    A line `name["field"] = literal` changes a recipe of this cell, or of `before`. Raises
    ParameterError, with the line, for anything else than that and `name = literal`.
    """
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ParameterError(f"cell of parameters: not Python ({error})") from error
    found = {}
    for statement in statements:
        try:
            (target,), value = statement.targets, ast.literal_eval(statement.value)
            if isinstance(target, ast.Subscript):
                name, field = target.value.id, ast.literal_eval(target.slice)
                found[name] = {**found.get(name, (before or {}).get(name)), field: value}
            else:
                found[target.id] = value
        except (AttributeError, ValueError, TypeError, RecursionError, MemoryError):
            line = (ast.get_source_segment(code, statement) or "").partition("\n")[0]
            raise ParameterError(f"cell of parameters: '{line}' is no 'name = value'") from None
    return found


def code_cells(path: Path | str) -> list[dict]:
    """The code cells of a notebook file, with their source as one string each.

    Raises ParameterError, naming the file, for what is no notebook.
    """
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        return [
            {**cell, "source": "".join(cell["source"]), "tags": [*cell["metadata"].get("tags", ())]}
            for cell in code
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        kind = type(error).__name__
        raise ParameterError(f"{path} is no notebook ({kind}: {error})") from error


def declared(path: Path | str) -> dict[str, Any]:
    """Names and defaults in the notebook's tagged cell. Raises ParameterError where it has none."""
    for cell in code_cells(path):
        if "parameters" in cell["tags"]:
            return assignments(cell["source"])
    raise ParameterError(f"{path} has no cell tagged 'parameters'")


def fits(value: Any, default: Any) -> bool:
    """Whether a value has the default's type, or is a list of such; an int may stand for a float.

    A default that is a list takes lists of its items' types, and single such values; an empty one
    takes texts.
    """
    if isinstance(value, list):
        return all(not isinstance(item, list) and fits(item, default) for item in value)
    if isinstance(default, list):
        return any(fits(value, item) for item in default or [""])
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def check(given: Mapping[str, Any], allowed: Mapping[str, Any], place: str) -> None:
    """Raises ParameterError, naming `place` and the nearest name, for what a notebook lacks."""
    for name, value in given.items():
        if name not in allowed:
            near = nearest(name, allowed, cutoff=0.3)
            hint = f"did you mean '{near}'?" if near else f"it has {', '.join(allowed)}"
            raise ParameterError(f"{place}: no parameter '{name}'; {hint}")
        if not fits(value, allowed[name]):
            kind = f"{type(allowed[name]).__name__} like {allowed[name]!r}"
            kind = "text" if allowed[name] == [] else kind
            raise ParameterError(
                f"{place}: parameter '{name}' is {value!r}, a {type(value).__name__}; "
                f"it takes a {kind}, or a list of such"
            )


def parameters(history: Sequence[str]) -> dict[str, Any]:
    """All parameters of the running notebook, injected ones checked; pass it IPython's `In`.

    The cell that calls this must stand right after the tagged one (papermill puts its own cell
    between the two). In a kernel it also takes away what the machine's settings would change; see
    `surroundings`. Raises ParameterError, and SurroundingsError for what cannot be taken away.
    """
    if in_kernel():
        surroundings.settle(root())
    before = list(history[:-1])
    injected = before.pop() if before and before[-1].startswith(INJECTED) else ""
    values = assignments(before[-1] if before else "")
    if not values:
        raise ParameterError("run the cell of parameters first, and this cell right after it")
    given = assignments(injected, values)
    check(given, values, "injected parameters")
    return values | given
