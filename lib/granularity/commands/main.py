"""The command `granularity`: what a shell can ask of the library.

    granularity levels imagenet1k            classes at each label level
    granularity check data/imagenet1k        a look at a set before a week of training
    granularity plan paper                   what a size would take, before anything starts
    granularity verify FILE --random 1       a published run, made again

Each command stands in a module of its own and is loaded only when it is asked for.
"""

import contextlib
import importlib
import os
import select
import sys
from collections.abc import Iterator, Sequence

from granularity.inputs.nearest import nearest

# Command: the module whose `main` takes the words behind it, and what it is for.
COMMANDS = {
    "levels": ("granularity.commands.levels", "classes at each label level of a list of synsets"),
    "check": ("granularity.commands.check", "what a set of images holds, before it is trained on"),
    "pack": ("granularity.commands.pack", "write a set as tar files of smaller images, once"),
    "plan": ("granularity.commands.plan", "what a size would take, before anything starts"),
    "toy": ("granularity.commands.toy", "draw the two toy image datasets, in seconds"),
    "train": ("granularity.commands.train", "make the runs of a job file"),
    "export": ("granularity.commands.export", "give a run's trained backbone to timm, as a file"),
    "publish": ("granularity.commands.records", "add runs to a published file of records"),
    "verify": ("granularity.commands.records", "make recorded runs again, and compare"),
    "equal": ("granularity.commands.records", "prove that an older code makes the same numbers"),
}
HELP = ("-h", "--help", "help")


def main(words: Sequence[str] | None = None) -> None:
    """Does what the first word asks for, with the others; without any it says what there is."""
    words = sys.argv[1:] if words is None else list(words)
    with patient_terminal():
        if not words or words[0] in HELP:
            print(told())
        elif words[0] not in COMMANDS:
            near = nearest(words[0], COMMANDS, cutoff=0)
            sys.exit(f"granularity: no command {words[0]!r}, the nearest one is {near!r}\n{told()}")
        else:
            command = importlib.import_module(COMMANDS[words[0]][0])
            command.main(words)


def told() -> str:
    """All commands, a line each."""
    lines = [f"  {name:8} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: granularity COMMAND …", "", *lines, "", "granularity COMMAND --help"])


def reader_is_gone() -> bool:
    """Whether nobody reads what is printed any more."""
    try:
        output = sys.stdout.fileno()
    except OSError:  # a stream that is no file, as a notebook's
        return False
    asked = select.poll()
    asked.register(output, 0)  # an error or a hang-up is told unasked
    return bool(asked.poll(0))


@contextlib.contextmanager
def patient_terminal() -> Iterator[None]:
    """Where a reader that goes away, as `| head`, and letters a terminal lacks are no errors."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not reader_is_gone():  # some other pipe, as to a process that loads images
            raise
        # Python would try to write what is left once more as it ends, and say that it cannot.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
