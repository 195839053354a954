"""A file is whole or it is not there; a folder is worked in by one process at a time."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


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
    # Where a file system has no locks, a mark in their place would outlive a killed process.
    lock = FileLock(folder / "lock", fallback_to_soft=False)
    with ExitStack() as held:
        try:
            held.enter_context(lock.acquire(blocking=False))
        except Timeout:
            told = f"another process works in {folder}"
            if not wait:
                raise BlockingIOError(f"{told}: start this one when that has ended") from None
            print(f"{told}: waiting for it", flush=True)
        held.enter_context(lock.acquire())  # at once, where it is held already
        yield
