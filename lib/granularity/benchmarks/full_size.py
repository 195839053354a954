"""What the sets of Experiment A cost at full size, with made-up file names and no image.

All of it is the code that a run at the paper's scale goes through before and beside its training:
index, opening, source and target, labels, sampler, lookup, metrics. Only what the disk and the
network do is left out.
"""

import contextlib
import hashlib
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from granularity.experiments import datasets, imagenet, sets
from granularity.hierarchies import wordnet
from granularity.images import layouts, listing, subset
from granularity.images.layouts import Place
from granularity.training import sampling
from granularity.training.evaluation import errors_of

FULL_IMAGES, FULL_CLASSES = 14_197_122, 21_843  # ImageNet-21k's, of fall 2011 and in the paper
LEVEL, BATCH, PROCESSES = 4, 4096, 8  # of the paper's pretraining, on one machine
MICRO_BATCH = 128  # images
EVERY = 21  # each so-many-th class of the source is a class of the target


def full(*, seed: int = 0, images: int = FULL_IMAGES, classes: int = FULL_CLASSES) -> dict:
    """Seconds of every part, and the bytes that it held for each image, with made-up files.

    Bytes are the most that a part held at once beyond what it was given: in a second call, under
    `tracemalloc`, which sees NumPy and Python. The classes are ImageNet-21k's first ones, so that
    they have levels. Raises ValueError for more classes than there are, or fewer images.
    """
    if not EVERY <= classes <= min(images, FULL_CLASSES):
        raise ValueError(f"{classes:,} classes for {images:,} images, of {FULL_CLASSES:,} in all")
    cost = Costs(images)
    with tempfile.TemporaryDirectory() as folder, cached_in(Path(folder) / "cache"):
        roots = {name: str(Path(folder, name)) for name in ("imagenet21k", "imagenet1k")}
        counts = shares(sorted(wordnet.read_list("imagenet21k")[:classes]), images)
        target = dict(list(counts.items())[::EVERY])
        val = {label: max(1, number // 20) for label, number in target.items()}
        write_index(Path(roots["imagenet1k"], "train"), target, plainly)
        write_index(Path(roots["imagenet1k"], "val"), val, plainly)
        index = write_index(Path(roots["imagenet21k"], "train"), counts, cost)
        cost.metrics["index_bytes"] = index.stat().st_size / images
        for part in ("train", "val"):
            sets.opened(roots["imagenet1k"], part, "imagenet1k", ())
        large = (roots["imagenet21k"], "train", "imagenet21k", ())
        cost("open", lambda: sets.opened.__wrapped__(*large))
        sets.opened(*large)
        source = cost(
            "join", lambda: datasets.open_sets(datasets.LargerSource("imagenet"), roots).source
        )
        leaf, table = cost("labels", lambda: imagenet.source_labels(source, "level", LEVEL, seed))
        cost("placebo", lambda: imagenet.source_labels(source, "random", LEVEL, seed))
        cost("name", lambda: name_of(source, table[leaf[source.rows]]))
        cost("epoch", lambda: epoch(source.rows, leaf, table, seed))
        found = evaluation(len(source), seed)
        cost("metrics", lambda: errors_of(found, source.leaf))
        sets.opened.cache_clear()
    return {"metrics": cost.metrics | {"label_classes": int(table.max()) + 1}}


class Costs:
    """Measures parts of some work, one after the other, as `part_seconds` and `part_bytes`."""

    def __init__(self, images: int):
        """Bytes are told for each of so many images."""
        self.images, self.metrics = images, {}

    def __call__(self, part: str, work: Callable[[], Any]) -> Any:
        """Does the work twice, for its time and for its memory, and returns what it made."""
        begun = time.perf_counter()
        work()
        self.metrics[f"{part}_seconds"] = time.perf_counter() - begun
        tracemalloc.start()
        try:
            made = work()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.metrics[f"{part}_bytes"] = most / self.images
        return made


def plainly(part: str, work: Callable[[], Any]) -> Any:
    """Does the work without measuring it."""
    return work()


@contextlib.contextmanager
def cached_in(folder: Path) -> Iterator[None]:
    """Index files lie in this folder and not in the user's."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


# --------------------------------------------------------------------------------- made-up files


def shares(classes: Sequence[str], images: int) -> dict[str, int]:
    """How many images each class has: all as many, the first ones one more."""
    each, rest = divmod(images, len(classes))
    return {label: each + (number < rest) for number, label in enumerate(classes)}


def place_of(label: str, images: int, stamp: int, part: str = "train") -> Place:
    """A class folder with files as ImageNet names them, of sizes that depend on the number."""
    first = label if part == "train" else part
    names = np.array([f"{label}/{first}_{number}.JPEG".encode() for number in range(images)])
    return Place(
        label,
        stamp,
        (label,),
        names=names,
        leaf=np.zeros(images, "<i4"),
        sizes=100_000 + np.arange(images, dtype="<i8") % 1000,
        start=np.full(images, layouts.WHOLE, "<i8"),
    )


def write_index(root: Path, counts: Mapping[str, int], do: Callable) -> Path:
    """Lays out empty class folders, and an index of the files that they would hold; its path.

    The folders' times stand in the index, which is therefore taken for that of full ones.
    """
    for label in counts:
        (root / label).mkdir(parents=True)
    _, index = listing.kept(root, [], None, Path(os.environ["XDG_CACHE_HOME"], "granularity"))
    stamps = {label: (root / label).stat().st_mtime_ns for label in (".", *counts)}
    places = [place_of(label, n, stamps[label], root.name) for label, n in counts.items()]
    none = (places[0].names[:0], *[places[0].leaf[:0]] * 3)
    places.append(Place(".", stamps["."], (), *none, entries=layouts.entries(root)))
    listed = do("assemble", lambda: listing.assembled(root, places))
    do("write", lambda: listing.write(index, listed))
    return index


# ----------------------------------------------------------------------------------------- parts


def name_of(source: subset.Subset, labels: np.ndarray) -> str:
    """What names a training: its images and their labels, as in `two_stages.train`."""
    told = hashlib.sha256(f"{labels.shape}".encode() + labels.astype("<i4").tobytes())
    return source.fingerprint + told.hexdigest()


def epoch(rows: np.ndarray, leaf: np.ndarray, table: np.ndarray, seed: int) -> int:
    """One process's share of an epoch: which images, and their labels; returns how many."""
    labels, batch_size = torch.tensor(table), min(BATCH, len(rows))
    steps = range(len(rows) // batch_size)
    batches = sampling.plan(
        len(rows), batch_size, seed, steps, micro_batch=MICRO_BATCH, world_size=PROCESSES
    )
    return sum(
        len(labels[torch.from_numpy(leaf[rows[batch.samples]].astype(np.int64))])
        for batch in batches
    )


def evaluation(images: int, seed: int) -> dict[str, np.ndarray]:
    """What an evaluation gives for each image, drawn."""
    rng = np.random.default_rng(seed)
    return {
        "rank": rng.integers(0, 10, images),
        "loss": rng.random(images, np.float32),
    }
