"""YAML that reads as it looks: for every file that a user writes.

YAML 1.1 takes `010` for 8, `1:30` for 90, `no` for false and `1e3` for a text, and keeps the last
of two equal keys. Here each of these is refused, with its line and what to write instead.
"""

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

KINDS = {f"tag:yaml.org,2002:{kind}": kind for kind in ("int", "float", "bool", "timestamp", "str")}
LOOKS = {  # what reads as it looks
    "int": re.compile(r"[-+]?(0|[1-9][0-9]*)"),
    "float": re.compile(r"[-+]?((0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "timestamp": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
}
MERGE = "tag:yaml.org,2002:merge"
MEANT = "for a text put it in quotes"


class YamlError(ValueError):
    """A text that is no YAML, or reads otherwise than it looks; the message names the line."""


def load(path: Path, dates: bool = False) -> Any:
    """What a file holds. Raises YamlError, with file and line; OSError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: not a text file ({error})") from error
    return read(text, str(path), dates)


def read(text: str, place: str, dates: bool = False) -> Any:
    """What a text holds; `place` names it in errors. A date is refused unless `dates` are meant.

    Raises YamlError, with the line, for a key that stands twice in one mapping (one that overrides
    a merged one, `<<`, does not), and for a number or word that YAML reads as something else.
    """
    loader = None
    try:
        loader = Loader(text)
        loader.dates = dates
        return loader.get_single_data()
    except Otherwise as error:
        raise YamlError(f"{place}, line {error.line}: {error}") from None
    except Exception as error:  # PyYAML has more ways to fail than its own errors
        raise YamlError(f"{place}: no YAML ({error})") from error
    finally:
        if loader is not None:
            loader.dispose()


def dump(value: Any) -> str:
    """YAML that `read` reads back: a text that looks like a number is put in quotes."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=True, allow_unicode=True)


class Otherwise(Exception):
    """Something that reads otherwise than it looks, and its line."""

    def __init__(self, told: str, line: int) -> None:
        """Keeps the line, counted from 1."""
        super().__init__(told)
        self.line = line


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with a look at every scalar and at the keys of every mapping."""

    dates = False
    around: tuple[str, ...] = ()  # anchors of the collections that are being read

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        """A node, that does not hold itself."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) and event.anchor in self.around:
            raise Otherwise(f"*{event.anchor} stands in itself", event.start_mark.line + 1)
        before = self.around
        self.around = (*before, event.anchor) if event.anchor else before
        node = super().compose_node(parent, index)
        self.around = before
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """A scalar, that reads as it looks."""
        node = super().compose_scalar_node(anchor)
        kind = KINDS.get(node.tag, "")
        if told := otherwise(node.value, kind, plain=not node.style, dates=self.dates):
            raise Otherwise(told, node.start_mark.line + 1)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping, whose keys all differ; those that `<<` brings are not among them yet."""
        node = super().compose_mapping_node(anchor)
        lines: dict[Hashable, int] = {}
        for key, _ in node.value:
            name = key.value if key.tag == MERGE else self.construct_object(key, deep=True)
            line = key.start_mark.line + 1
            if isinstance(name, Hashable) and name in lines:
                hint = "; write <<: [*one, *other]" if key.tag == MERGE else ""
                told = f"the key {name!r} stands twice, first in line {lines[name]}{hint}"
                raise Otherwise(told, line)
            if isinstance(name, Hashable):
                lines[name] = line
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Puts what `<<` brings in the place of it, by the rule of YAML's merge keys.

        A mapping's own key wins, then that of the earlier of several mappings. Written out here
        because releases of PyYAML disagree where a merged mapping has merged others: 6.0.4 lets the
        innermost win.
        """
        own, merged = [], []
        for key, value in node.value:
            if key.tag == MERGE:
                merged += [pair for given in self.merged(value) for pair in given.value]
            else:
                own.append((key, value))
        node.value = merged + own

    def merged(self, value: yaml.Node) -> list[yaml.MappingNode]:
        """The mappings that a `<<` names, the first last, so that its keys win."""
        given = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for mapping in given:
            if not isinstance(mapping, yaml.MappingNode):
                raise Otherwise("<< wants a mapping, or a list of them", value.start_mark.line + 1)
            self.flatten_mapping(mapping)
        return given[::-1]


class Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, with quotes around what looks like a number."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A text; in quotes where `read` would refuse it, or take it for another, else."""
        breaks = any(character in text for character in "\x85\u2028\u2029")  # to PyYAML alone
        style = '"' if breaks or otherwise(text, "str", plain=True, dates=False) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        """Writes everything out: equal values give equal text, whatever they share."""
        return True


Dumper.add_representer(str, Dumper.represent_text)


def otherwise(text: str, kind: str, plain: bool, dates: bool) -> str:
    """What is wrong with a scalar that YAML takes for a `kind`, and what to write; else nothing."""
    if kind == "str":
        return f"{text} is read as a text; {instead(text)}" if plain and is_number(text) else ""
    if kind not in LOOKS or (kind == "timestamp" and not dates):
        return f"{text} is read as a date; {MEANT}" if kind == "timestamp" else ""
    if LOOKS[kind].fullmatch(text):
        endless = kind == "float" and not math.isfinite(float(text))
        return f"{text} is too large for a number" if endless else ""
    if kind == "bool":
        word = "true" if text.lower() in ("yes", "on") else "false"
        return f"{text} is read as {word}; write {word}, or {MEANT}"
    if kind == "timestamp":
        return f"{text} is no date like 2026-11-26; {MEANT}"
    return f"{text} is read as {yaml.safe_load(text)}; {instead(text)}"


def is_number(text: str) -> bool:
    """Whether a reader would take a text for a number."""
    if re.fullmatch(r"[-+]?0[box][0-9a-fA-F_]+", text):
        return True
    try:
        float(re.sub(r"[_,']", "", text))
    except ValueError:
        return False
    return any(character.isdigit() for character in text)


def instead(text: str) -> str:
    """What to write for a number in an unusual form."""
    grouped = re.fullmatch(r"[-+]?[0-9]{1,3}([_,'][0-9]{3})+(\.[0-9]*)?", text)
    bare = re.sub(r"[_,']", "", text) if grouped else text
    try:
        number = int(bare, 0) if re.match(r"[-+]?0[box]", bare) else float(bare)
    except ValueError:  # 1:30, 1,5
        number = math.nan
    if not math.isfinite(number):
        return f"write the number in decimal digits; {MEANT}"
    if abs(number) < 1e15 and number == int(number):
        return f"write {int(number)}, or {MEANT}"
    return f"write {yaml.safe_dump(number).splitlines()[0]}, or {MEANT}"
