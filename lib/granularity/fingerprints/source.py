"""The library's own source text: which modules stand behind one, and their fingerprint.

Two modules have equal fingerprints where their syntax trees are equal, less what makes no number: a
comment, a docstring, the words of an error, a script's start. None of these must make a run of days
look old. The digest is the same on every Python that we support.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from granularity.fingerprints.digest import digest

PACKAGE = "granularity"
LIBRARY = Path(__file__).resolve().parent.parent  # the package's folder
# Modules that are not behind a run, whoever imports them. What `presets` holds stands in full in
# what a run is keyed by, two others make that key, and the rest are words for a person. The second
# line has the names that older code has for them.
APART = {"training.presets", "fingerprints.source", "fingerprints.equivalence", "images.sources"}
APART |= {"inputs.nearest", "presets", "source", "equivalence", "downloads", "known", "nearest"}
APART = {f"{PACKAGE}.{name}" for name in APART}
LEAVES = (ast.Return, ast.Yield, ast.YieldFrom, ast.Break, ast.Continue)  # ways out of a block
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


# --------------------------------------------------------------------- modules behind a module


def imported(tree: ast.AST, library: Path = LIBRARY) -> set[str]:
    """Full names of the library's modules that the code of `tree` imports.

    What it imports as a script only is left out: it makes no number of a run.
    """
    found = set()
    for node in walked(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found |= {f"{PACKAGE}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module for module in modules if exists(module, library)} or {node.module}
    return {name for name in found if name.startswith(f"{PACKAGE}.")}


def walked(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree, without those that only a script's start runs."""
    for node in ast.iter_child_nodes(tree):
        if not is_start(node):
            yield node
            yield from walked(node)


def is_start(node: ast.AST) -> bool:
    """Whether a node is what a module does when it is started as a script."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def imports_of(texts: Iterable[str]) -> set[str]:
    """Full names of the library's modules that pieces of code, as a notebook's cells, import."""
    return {name for text in texts for name in imported(ast.parse(text))}


def path_of(module: str, library: Path = LIBRARY) -> Path:
    """The file of a module, without loading it or a package that it lies in.

    Raises ModuleNotFoundError, naming it.
    """
    place = library.parent.joinpath(*module.split("."))
    for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if file.is_file():
            return file
    raise ModuleNotFoundError(f"the library has no module {module}")


def exists(module: str, library: Path) -> bool:
    """Whether the library has a module of this name."""
    try:
        return bool(path_of(module, library))
    except ModuleNotFoundError:
        return False


def behind(modules: Iterable[str], library: Path = LIBRARY) -> dict[str, Path]:
    """`modules` and all of the library that they import, directly or not: name → file, sorted.

    Those `APART` are left out. `library` is the package's folder, where not the one at hand.
    """
    found: dict[str, Path] = {}
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        found[module] = path_of(module, library)
        tree = ast.parse(found[module].read_text(encoding="utf-8"))
        waiting |= imported(tree, library) - set(found) - APART
    return dict(sorted(found.items()))


# ------------------------------------------------------------------------------- fingerprints


def outline(node: Any) -> Any:
    """A syntax tree as plain nested lists, equal on every Python version that we support."""
    if isinstance(node, ast.Raise):
        return ["Raise", raised(node)]
    if isinstance(node, ast.AST):
        fields = [(name, outline(value)) for name, value in ast.iter_fields(node)]
        # Python 3.12 and 3.13 added fields that are empty here: an empty field says nothing.
        return [type(node).__name__, *([n, v] for n, v in fields if v != [])]
    if isinstance(node, list):
        if refusal := refuses(node):
            return [["Raise", raised(refusal)]]
        return [outline(item) for item in node if not (is_start(item) or says_nothing(item))]
    return ascii(node)  # which characters `repr` escapes differs between versions


def raised(node: ast.Raise) -> str:
    """The class of an error that is raised; nothing where the one at hand goes on."""
    error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return "" if error is None else ast.unparse(error)


def refuses(block: list) -> ast.Raise | None:
    """The `raise` at the end of a block that there is no other way out of.

    Such a block makes an error and no number, so what else stands in it is not looked at.
    """
    if not block or not isinstance(block[-1], ast.Raise):
        return None
    return (
        None if any(isinstance(node, LEAVES) for item in block for node in own(item)) else block[-1]
    )


def own(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all that is below it, without the inside of functions defined there."""
    yield node
    if not isinstance(node, DEFINITIONS):
        for child in ast.iter_child_nodes(node):
            yield from own(child)


def says_nothing(node: Any) -> bool:
    """An empty constant, as some versions of Python 3.12 put between the parts of an f-string."""
    return isinstance(node, ast.Constant) and node.value == "" and hasattr(node, "in_f_string")


def plain(text: str) -> ast.Module:
    """The syntax tree of a module's text, without docstrings, and with f-strings marked."""
    tree = without_docstrings(ast.parse(text))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                part.in_f_string = True
    return tree


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree with the docstrings of the module, its classes and its functions removed."""
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, *DEFINITIONS))
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return tree


def digest_of(texts: Iterable[str]) -> str:
    """Sixteen hexadecimal digits for the code of these texts, the same on every Python."""
    return digest([outline(plain(text)) for text in texts])


@cache
def fingerprint(*modules: str) -> str:
    """Sixteen hexadecimal digits for the code of `modules` and of all that they import of ours.

    The library's tables that the code names are part of it: they make labels.
    """
    texts = {name: path.read_text(encoding="utf-8") for name, path in behind(modules).items()}
    tables = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(LIBRARY.glob("**/tables/*"))
        if any(file.name in text for text in texts.values())
    }
    return digest([{name: digest_of([text]) for name, text in texts.items()}, tables])
