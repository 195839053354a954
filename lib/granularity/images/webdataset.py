"""What a WebDataset shard tells of an image: its class and its name, in files beside it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

CLASSES = "classes.txt"  # beside shards: what their numbers mean, a class a line
FIELDS = ("synset", "wnid", "class_name", "label", "cls")  # of a .json, where a class may stand


def told(
    beside: Mapping[str, bytes], file: str, numbered: Sequence[str] | None
) -> tuple[str, str] | None:
    """Class and file name of the image `file`, from the files beside it; None where none says.

    `beside` is by suffix. `.json` may have the `filename` that the image had in its set,
    `n01440764/n01440764_10026.JPEG`, as timm's shards have it. Else the class stands in `.cls`, or
    in the first of `FIELDS` that a `.json` has: its name, or its number in `numbered`. Raises
    ValueError for a number that is none of these, and for a `.json` that is none.
    """
    fields = _fields(beside.get(".json", b"{}"))
    folder, _, name = str(fields.get("filename", "")).rpartition("/")
    if folder:
        return folder.rpartition("/")[2], name
    found = beside[".cls"].decode().strip() if ".cls" in beside else _first(fields)
    return None if found is None else (_class_of(str(found), numbered), file)


def _fields(content: bytes) -> Mapping[str, Any]:
    fields = json.loads(content)
    return fields if isinstance(fields, dict) else {}


def _first(fields: Mapping[str, Any]) -> Any:
    return next((fields[name] for name in FIELDS if name in fields), None)


def _class_of(found: str, numbered: Sequence[str] | None) -> str:
    if not found.lstrip("-").isdecimal():
        return found
    if numbered is None or not 0 <= int(found) < len(numbered):
        known = "no list of classes" if numbered is None else f"a list of {len(numbered):,} classes"
        raise ValueError(
            f"the class number {found}, given {known}; {CLASSES} beside the shards names them,"
            f" a class a line"
        )
    return numbered[int(found)]
