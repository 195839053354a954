"""What differs between two versions of the code behind a run, statement by statement.

Functions are told apart by what they do and not by where they stand: one that moved, or that got
another name, has not changed. So a moved module or a split file differs in nothing.
"""

import ast
import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from granularity.fingerprints.digest import canonical
from granularity.fingerprints.source import is_start, outline, plain, refuses

TOP = "<module>"
LOCAL = "="  # before a name that a statement sets
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SILENT = (ast.Pass, ast.Global, ast.Nonlocal, ast.Raise, ast.Try, ast.Import, ast.ImportFrom)
SEVERAL = {"world", "world_size", "processes", "num_processes"}  # names for a number of processes


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
    form: tuple[str, ...]  # what it does, whatever it calls what is its own
    takes: tuple[str, ...] = ()  # its arguments; "**" where it takes any

    @property
    def does(self) -> tuple[str, ...]:
        """What tells it from another one; its own name does not."""
        return tuple(statement.does for statement in self.statements)

    @property
    def starts(self) -> bool:
        """Whether Python runs it unasked: as a module is loaded, or by a name of its own."""
        last = self.name.rpartition(".")[2]
        return last == TOP or last.startswith("__")

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
            given = frozenset(
                f"{LOCAL}{a.arg}" for a in ast.walk(node.args) if isinstance(a, ast.arg)
            )
            head = Statement(signature(node), range(node.lineno, inside), True, given)
            own = with_numbered_names(node)
            form = (signature(own), *(s.does for s in statements(own.body)))
            whole = (head, *statements(node.body))
            yield Unit(file, prefix + node.name, whole, form, arguments_of(node))
        elif isinstance(node, ast.ClassDef):
            yield from units_of(file, f"{prefix}{node.name}.", node.body)
            rest.append(node)
        elif not is_start(node):
            rest.append(node)
    beside = tuple(s for node in rest for s in statements([node]))
    yield Unit(file, f"{prefix}{TOP}", beside, tuple(s.does for s in beside))


def arguments_of(node: ast.FunctionDef) -> tuple[str, ...]:
    """The arguments of a function in their order, and "**" where it takes any name."""
    args = node.args
    named = [*args.posonlyargs, *args.args, *filter(None, [args.vararg]), *args.kwonlyargs]
    return (*(one.arg for one in named), *["**"] * bool(args.kwarg))


def with_numbered_names(node: ast.FunctionDef) -> ast.FunctionDef:
    """The same function with numbers for its arguments' names and for those that it sets.

    Two functions are alike then if they differ in such names alone, whatever each name stands for:
    numbers follow first places, so one name is never taken for two, nor two for one.
    """
    found, names, free = copy.deepcopy(node), {}, set()
    for inner in ast.walk(found):
        if isinstance(inner, (ast.Global, ast.Nonlocal)):
            free |= {*inner.names}
        elif isinstance(inner, ast.arg):
            names.setdefault(inner.arg, f"={len(names)}")
        elif isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            names.setdefault(inner.id, f"={len(names)}")
    for inner in ast.walk(found):
        if isinstance(inner, ast.arg) and inner.arg not in free:
            inner.arg = names[inner.arg]
        elif isinstance(inner, ast.Name) and inner.id not in free:
            inner.id = names.get(inner.id, inner.id)
    return found


def signature(node: ast.FunctionDef) -> str:
    """A function's arguments, defaults and decorators; not its name, and no types."""
    taken = copy.deepcopy(node.args)
    for argument in ast.walk(taken):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return canonical([outline(taken), outline(node.decorator_list)])


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
    """The names in parts of a statement: `name`, `of.name`, and `=name` where it is set."""
    for part in parts:
        for node in part if isinstance(part, list) else [part]:
            for inner in ast.walk(node) if isinstance(node, ast.AST) else ():
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                    yield inner.id
                elif isinstance(inner, ast.Name):
                    yield f"{LOCAL}{inner.id}"
                elif isinstance(inner, ast.Attribute):
                    base = inner.value.id if isinstance(inner.value, ast.Name) else ""
                    yield f"{base}.{inner.attr}"


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
    """Whether a block is for a GPU, several processes or a hub: canaries have none of these."""
    if not isinstance(node, ast.If):
        return False
    tests = (
        node.test.values
        if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And)
        else [node.test]
    )
    return any(for_gpu(test) or for_several(test) or for_hub(test) for test in tests)


def for_gpu(test: ast.expr) -> bool:
    """Whether a condition is `… == "cuda"`."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "cuda"
    )


def for_hub(test: ast.expr) -> bool:
    """Whether a condition is that images come from a hub."""
    return "hub.PREFIX" in (text := ast.unparse(test)) or "huggingface.PREFIX" in text


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

    A function that stands in both is left out wherever it stands, whatever it is called and
    whatever it calls what is its own. Of the others, those of one name are compared with one
    another. A function that is gone altogether is no change by itself: whoever called it has
    changed.
    """
    old, new = list(old), list(new)
    in_old, in_new = by_form(old), by_form(new)
    left = [unit for unit in old if not stands_in(in_new, unit)]
    stays = {(unit.file, unit.name) for unit in new}
    gone: list[Change] = []
    came: list[Change] = []
    for unit in new:
        if stands_in(in_old, unit):
            continue
        before = nearest(unit, [one for one in left if may_become(one, unit, stays)])
        matcher = difflib.SequenceMatcher(None, before.does, unit.does, autojunk=False)
        for sign, first, last, start, stop in matcher.get_opcodes():
            if sign != "equal":
                gone += [Change(before, s) for s in before.statements[first:last]]
                came += [Change(unit, s) for s in unit.statements[start:stop]]
    return gone, came


def by_form(units: Iterable[Unit]) -> dict[tuple[str, ...], list[Unit]]:
    """Units by what they do."""
    found: dict[tuple[str, ...], list[Unit]] = {}
    for unit in units:
        found.setdefault(unit.form, []).append(unit)
    return found


def stands_in(units: Mapping[tuple[str, ...], Sequence[Unit]], unit: Unit) -> bool:
    """Whether one of some units does the same, and whoever names an argument means the same one."""
    return any(alike(one.takes, unit.takes) for one in units.get(unit.form, ()))


def alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether no name stands for another argument in one than in the other."""
    if "**" in one:  # an argument of another name would be taken all the same
        return tuple(one) == tuple(other)
    return all(other.index(name) == place for place, name in enumerate(one) if name in other)


def may_become(old: Unit, new: Unit, stays: set[tuple[str, str]]) -> bool:
    """Whether an old unit can be what a new one was; not where it has a new one of its own."""
    return old.file == new.file or (old.file, old.name) not in stays


def nearest(unit: Unit, old: Sequence[Unit]) -> Unit:
    """The old unit of the same name that has most in common; an empty one where there is none."""
    named = [one for one in old if one.name == unit.name]
    common = [len(set(one.does) & set(unit.does)) + (one.file == unit.file) / 2 for one in named]
    return named[common.index(max(common))] if named else Unit(unit.file, unit.name, (), ())


def reached(units: Sequence[Unit], function: str) -> set[tuple[str, str]]:
    """File and name of all units that a function can lead to, by the names that statements have.

    What modules do as they are loaded leads on too, and so do the methods that Python calls by
    itself. A refusal leads nowhere: what only refusals call makes the words of errors.
    """
    named: dict[str, list[Unit]] = {}
    for unit in units:
        named.setdefault(unit.name.rpartition(".")[2], []).append(unit)
    modules = {module_of(unit) for unit in units}
    waiting = [unit for unit in units if unit.starts or unit.name == function]
    found = {(unit.file, unit.name) for unit in waiting}
    while waiting:
        for unit in led_to(waiting.pop(), named, modules):
            if (unit.file, unit.name) not in found:
                found.add((unit.file, unit.name))
                waiting.append(unit)
    return found


def led_to(unit: Unit, named: Mapping[str, list[Unit]], modules: set[str]) -> Iterator[Unit]:
    """The units that one speaks of: functions by their names, methods by those of attributes."""
    spoken = {name for statement in unit.statements for name in statement.names}
    own = {name.removeprefix(LOCAL) for name in spoken if name.startswith(LOCAL)}
    for name in spoken - {f"{LOCAL}{one}" for one in own} - own:
        base, dot, last = name.rpartition(".")
        there = named.get(last, [])
        if dot and base in modules and base not in own:
            yield from (one for one in there if module_of(one) == base)
        elif dot:
            yield from (one for one in there if "." in one.name)
        else:
            here = [one for one in there if one.file == unit.file]
            yield from here or there


def module_of(unit: Unit) -> str:
    """What a unit's module is called where it is imported; a package by its folder."""
    path = PurePosixPath(unit.file)
    return path.parent.name if path.stem == "__init__" else path.stem


def unseen(
    changes: Iterable[Change], ran: Mapping[str, set[int]], own: set[tuple], others: set[str]
) -> list[Change]:
    """Those of the changes that must be seen to run, and were not.

    `ran` are the executed lines of each file. What a module does as it is loaded has run. A
    function that is none of its version's `own` reached ones makes the words of errors. One
    that no run entered is let pass where its name is none of the `others`, those of the other
    version: only a statement that is new itself can lead there, and that one is held.
    """
    found = []
    for change in changes:
        unit, statement = change.unit, change.statement
        if not statement.held or unit.name.endswith(TOP) or (unit.file, unit.name) not in own:
            continue
        entered = unit.entered(ran)
        if statement is unit.statements[0]:
            seen = entered
        else:
            seen = bool(ran.get(unit.file, set()) & set(statement.lines))
        if not seen and (entered or unit.name in others):
            found.append(change)
    return found
