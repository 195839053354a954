"""What differs between two versions of the code behind a run, statement by statement.

Functions are told apart by what they do and not by where they stand: one that moved, or that got
another name, has not changed. So a moved module or a split file differs in nothing.
"""

import ast
import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from granularity.digest import canonical
from granularity.source import is_start, outline, plain, refuses

TOP = "<module>"
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SILENT = (ast.Pass, ast.Global, ast.Nonlocal, ast.Raise, ast.Try, ast.Import, ast.ImportFrom)
SEVERAL = {"world", "processes", "num_processes"}  # names for a number of processes


@dataclass(frozen=True)
class Statement:
    """A statement without the blocks in it: what it does, how deep, on which lines."""

    does: str
    lines: range = field(compare=False)
    held: bool = field(compare=False)  # whether it must be seen to run
    names: frozenset[str] = field(compare=False, default=frozenset())  # that it speaks of


@dataclass(frozen=True)
class Unit:
    """A function, or what a module does beside its functions."""

    file: str
    name: str
    statements: tuple[Statement, ...]

    @property
    def does(self) -> tuple[str, ...]:
        """What tells it from another one; its own name does not."""
        return tuple(statement.does for statement in self.statements)

    def entered(self, ran: Mapping[str, set[int]]) -> bool:
        """Whether any statement of its body was executed."""
        return any(ran.get(self.file, set()) & set(s.lines) for s in self.statements[1:])


@dataclass(frozen=True)
class Change:
    """A statement that only one of two versions has."""

    unit: Unit
    statement: Statement

    def __str__(self) -> str:
        """Its place, for a person."""
        return f"{self.unit.file}:{self.statement.lines.start} in {self.unit.name}"


def units(file: str, text: str) -> Iterator[Unit]:
    """The functions of a module, each method on its own, and last what stands beside them."""
    yield from units_of(file, "", plain(text).body)


def units_of(file: str, prefix: str, body: Sequence[ast.stmt]) -> Iterator[Unit]:
    """The units of a module's or a class's body."""
    rest = []
    for node in body:
        if isinstance(node, FUNCTIONS):
            inside = first_line(node.body[0]) if node.body else node.end_lineno + 1
            head = Statement(signature(node), range(node.lineno, inside), True)
            yield Unit(file, prefix + node.name, (head, *statements(node.body)))
        elif isinstance(node, ast.ClassDef):
            yield from units_of(file, f"{prefix}{node.name}.", node.body)
            rest.append(node)
        elif not is_start(node):
            rest.append(node)
    yield Unit(file, f"{prefix}{TOP}", tuple(s for node in rest for s in statements([node])))


def signature(node: ast.FunctionDef) -> str:
    """A function's arguments, defaults and decorators; not its name or the type it returns."""
    return canonical([outline(node.args), outline(node.decorator_list)])


def statements(block: Sequence[Any], depth: str = "", held: bool = True) -> Iterator[Statement]:
    """The statements of a block and of all blocks in it, in order."""
    held = held and refuses(list(block)) is None
    for node in block:
        shell = {name: value for name, value in ast.iter_fields(node) if name not in BLOCKS}
        does = canonical([depth, type(node).__name__, *([n, outline(v)] for n, v in shell.items())])
        if isinstance(node, ast.Raise):
            does = canonical([depth, outline(node)])
        runs = held and not isinstance(node, (*SILENT, *FUNCTIONS, ast.ClassDef, ast.ExceptHandler))
        speaks = held and not isinstance(node, ast.Raise)
        names = frozenset(named_in(shell.values())) if speaks else frozenset()
        yield Statement(does, range(first_line(node), last_line(node) + 1), runs, names)
        if isinstance(node, ast.ClassDef):
            continue  # its methods are units of their own
        for name in BLOCKS:
            inner = held and not (name == "body" and elsewhere(node))
            yield from statements(blocks(node, name), f"{depth}{name[0]}", inner)


def named_in(parts: Iterable[Any]) -> Iterator[str]:
    """The names that parts of a statement speak of; those of an error that is raised are none."""
    for part in parts:
        for node in part if isinstance(part, list) else [part]:
            for inner in ast.walk(node) if isinstance(node, ast.AST) else ():
                if isinstance(inner, ast.Name):
                    yield inner.id
                elif isinstance(inner, ast.Attribute):
                    yield inner.attr


def first_line(node: ast.AST) -> int:
    """The first line of a statement, or of what else a block can hold."""
    return node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno


def last_line(node: ast.AST) -> int:
    """The last line of a statement before the blocks in it."""
    inner = [first_line(item) for name in BLOCKS for item in blocks(node, name)]
    if inner:
        return max(first_line(node), min(inner) - 1)
    return first_line(node) if isinstance(node, ast.match_case) else node.end_lineno


def blocks(node: ast.AST, name: str) -> list:
    """One of a node's blocks; a lambda's or a comprehension's body is none."""
    found = getattr(node, name, [])
    return found if isinstance(found, list) else []


def elsewhere(node: ast.AST) -> bool:
    """Whether a block is for a GPU, or for several processes: canaries run on a CPU, in one."""
    if not isinstance(node, ast.If):
        return False
    tests = (
        node.test.values
        if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And)
        else [node.test]
    )
    return any(for_gpu(test) or for_several(test) for test in tests)


def for_gpu(test: ast.expr) -> bool:
    """Whether a condition is `… == "cuda"`."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "cuda"
    )


def for_several(test: ast.expr) -> bool:
    """Whether a condition is that there is more than one process."""
    if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Gt)):
        return False
    name = test.left.attr if isinstance(test.left, ast.Attribute) else getattr(test.left, "id", "")
    return (
        name in SEVERAL
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == 1
    )


# ------------------------------------------------------------------------------------ comparing


def changed(old: Iterable[Unit], new: Iterable[Unit]) -> tuple[list[Change], list[Change]]:
    """Statements that only the old version has, and those that only the new one has.

    A function that stands in both is left out wherever it stands and whatever it is called. Of the
    others, those of one name are compared with one another. A function that is gone altogether is
    no change by itself: whoever called it has changed.
    """
    old, new = list(old), list(new)
    in_old, in_new = Counter(unit.does for unit in old), Counter(unit.does for unit in new)
    left = [unit for unit in old if not in_new[unit.does]]
    gone: list[Change] = []
    came: list[Change] = []
    for unit in new:
        if in_old[unit.does]:
            continue
        before = nearest(unit, left)
        matcher = difflib.SequenceMatcher(None, before.does, unit.does, autojunk=False)
        for sign, first, last, start, stop in matcher.get_opcodes():
            if sign != "equal":
                gone += [Change(before, s) for s in before.statements[first:last]]
                came += [Change(unit, s) for s in unit.statements[start:stop]]
    return gone, came


def nearest(unit: Unit, old: Sequence[Unit]) -> Unit:
    """The old unit of the same name that has most in common; an empty one where there is none."""
    named = [one for one in old if one.name == unit.name]
    common = [len(set(one.does) & set(unit.does)) + (one.file == unit.file) / 2 for one in named]
    return named[common.index(max(common))] if named else Unit(unit.file, unit.name, ())


def reached(units: Iterable[Unit]) -> set[str]:
    """The names that anything but a refusal speaks of: what else has them only words errors."""
    return {name for unit in units for one in unit.statements for name in one.names}


def unseen(
    changes: Iterable[Change], ran: Mapping[str, set[int]], own: set[str], others: set[str]
) -> list[Change]:
    """Those of the changes that must be seen to run, and were not.

    `ran` are the executed lines of each file. What a module does as it is loaded has run. A
    function whose name is none of its version's `own` reached ones makes the words of errors. One
    that no run entered is let pass where its name is none of the `others`, those of the other
    version: only a statement that is new itself can lead there, and that one is held.
    """
    found = []
    for change in changes:
        unit, statement = change.unit, change.statement
        name = unit.name.rpartition(".")[2]
        if not statement.held or name == TOP or not (name in own or name.startswith("__")):
            continue
        entered = unit.entered(ran)
        if statement is unit.statements[0]:
            seen = entered
        else:
            seen = bool(ran.get(unit.file, set()) & set(statement.lines))
        if not seen and (entered or unit.name in others):
            found.append(change)
    return found
