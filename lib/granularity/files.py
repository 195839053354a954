"""A file is whole or it is not there; a folder is worked in by one process at a time."""

import fcntl
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


@contextmanager
def alone(folder: Path, wait: bool = True) -> Iterator[None]:
    """Keeps a folder to one process; the system frees it when that process ends, however it ends.

    Where another works in it this one waits, or with `wait` False raises BlockingIOError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = f"another process works in {folder}"
            if not wait:
                raise BlockingIOError(f"{told}: start this one when that has ended") from None
            print(f"{told}: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
