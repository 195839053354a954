"""The library's own source text: which modules stand behind one, and their fingerprint.

Two modules have equal fingerprints where their syntax trees are equal, docstrings left out: a
comment changes no number, so it must not make a run of days look old.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "granularity"


def imported(tree: ast.AST) -> set[str]:
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
            found.add(node.module)
    return {name for name in found if name.startswith(f"{PACKAGE}.")}


def walked(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree, without those that only a script's start runs."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"):
            yield node
            yield from walked(node)


def imports_of(texts: Iterable[str]) -> set[str]:
    """Full names of the library's modules that pieces of code, as a notebook's cells, import."""
    return {name for text in texts for name in imported(ast.parse(text))}


def path_of(module: str) -> Path:
    """The file of a module, without loading it. Raises ModuleNotFoundError, naming it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the library has no module {module}")
    return Path(spec.origin)


def behind(modules: Iterable[str]) -> dict[str, Path]:
    """`modules` and all of the library that they import, directly or not: name → file, sorted."""
    found: dict[str, Path] = {}
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        found[module] = path_of(module)
        waiting |= imported(ast.parse(found[module].read_text(encoding="utf-8"))) - set(found)
    return dict(sorted(found.items()))


def outline(node: Any) -> Any:
    """A syntax tree as plain nested lists, equal on every Python version that we support."""
    if isinstance(node, ast.AST):
        fields = [(name, outline(value)) for name, value in ast.iter_fields(node)]
        # Python 3.12 and 3.13 added fields that are empty here: an empty field says nothing.
        return [type(node).__name__, *([n, v] for n, v in fields if v != [])]
    if isinstance(node, list):
        return [outline(item) for item in node]
    return repr(node)


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree with the docstrings of the module, its classes and its functions removed."""
    for node in ast.walk(tree):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


@cache
def fingerprint(module: str) -> str:
    """Sixteen hexadecimal digits for the code of `module` and of all that it imports of ours."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in behind([module]).items()}
    trees = {name: outline(without_docstrings(ast.parse(text))) for name, text in texts.items()}
    return hashlib.sha256(repr(trees).encode()).hexdigest()[:16]
