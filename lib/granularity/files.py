"""A file is whole or it is not there: what exists under a name was written to its end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; at the end it is synced and takes the name of `path`.

    Whatever goes wrong before, the earlier file under that name stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Writes a whole text file, in UTF-8 with plain line ends."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
