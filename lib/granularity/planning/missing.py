"""What a machine lacks for the runs of a plan: images, GPUs, weights."""

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import timm

from granularity.experiments import imagenet, inaturalist, starts
from granularity.experiments.datasets import named
from granularity.experiments.two_stages import listed
from granularity.images import huggingface, known_layouts, sources
from granularity.planning import asked
from granularity.planning.plan import Job

SOURCE_OF = {"tiny-imagenet-200": "tinyimagenet", "inaturalist": "inat"}  # keys of `SOURCES`
SOURCE_OF |= {"mini-imagenet-75": "miniimagenet"}


def roots_of(job: Job) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The roots that a job reads: source → where it should lie, and its parts."""
    found, places = {}, asked.roots_of(job.values)
    for dataset in listed(job.values.get("dataset", "toy")):
        known = named(dataset)
        alone = known.target_root and not reads_source(job)
        for root in [known.target_root] if alone else known.roots:
            parts = known.roots[root]
            inside = tuple(part.format(**job.values) for part in parts)
            found[SOURCE_OF.get(root, root)] = (places.get(root, ""), inside)
    return found


def reads_source(job: Job) -> bool:
    """Whether any run of a job reads images of a source beside its target's."""
    return imagenet.any_source(asked.runs_of(job.run, job.values)[1])


def gigabytes_of(dataset: str) -> float:
    """What has to be downloaded for a set."""
    return sources.SOURCES[dataset].size / 1e9


class Here(NamedTuple):
    """What a machine has, and how much the runs of a plan leave on its disk."""

    gpus: int
    cores: int
    free: float  # gigabytes
    gigabytes: float  # that stay


def missing(jobs: Iterable[Job], root: Path, here: Here) -> list[str]:
    """What this machine lacks for the jobs that are left, in sentences, each once.

    `root` is the folder that relative paths start from.
    """
    told: dict[str, None] = {}
    for job in jobs:
        if not job.done:
            told |= dict.fromkeys([*sets_missing(job, root), *machine_missing(job, here)])
            told |= dict.fromkeys(weights_missing(job, root))
    if here.free < here.gigabytes:
        told[f"disk: the runs leave {here.gigabytes:,.0f} GB, {here.free:,.0f} GB are free"] = None
    return list(told)


def sets_missing(job: Job, root: Path) -> Iterator[str]:
    """The sets that a job reads and that are not there, with the place to get them from."""
    for dataset, (place, parts) in roots_of(job).items():
        where = sources.SOURCES.get(dataset, "")
        if not place:
            yield f"{dataset}: no root is named in {job.run}, {job.setting}. {where}"
            continue
        inside = huggingface.place_of(root, place)
        on_hub = any(huggingface.source_of(inside, part) for part in parts)
        lacking = [part for part in parts if not there(root, place, part)]
        if on_hub and importlib.util.find_spec("datasets") is None:
            yield f"{place}: it is read by the package datasets: pip install datasets"
        elif lacking:
            yield f"{place}: no {' and no '.join(lacking)} there. {where}"


def machine_missing(job: Job, here: Here) -> Iterator[str]:
    """The GPUs and cores that a job wants and that are not here."""
    processes, workers = job.values.get("processes", 1), job.values.get("workers", 0)
    if job.values.get("device") == "cuda" and here.gpus < processes:
        yield f"GPUs: {processes} wanted by {job.run}, {here.gpus} here"
    cores = processes * (1 + workers)
    if here.cores < cores:
        each = f"{workers} workers beside each of {processes} processes" if workers else "processes"
        yield f"cores: {cores} wanted by {job.run} ({each}), {here.cores} here"


def there(root: Path, place: str, part: str) -> bool:
    """Whether a part of a set is there, in any layout; of one on a hub it is not asked."""
    where = huggingface.place_of(root, place)
    found = Path(where).is_dir() and known_layouts.part_of(Path(where), part)
    return bool(found) or huggingface.source_of(where, part) is not None


def weights_missing(job: Job, root: Path) -> list[str]:
    """What is to be said of the weights that runs start from, or that clusters are made with."""
    return [*start_missing(job, root), *embedding_missing(job, root)]


def start_missing(job: Job, root: Path) -> list[str]:
    """Whether the weights that a job's runs start from are not here, in a sentence."""
    start = job.values.get("start", "")
    try:
        file = starts.file_of(start)
    except FileNotFoundError as error:
        return [str(error)]
    lacks = start and not (root / file).is_file()
    return [f"{file}, to start from: not there"] if lacks else []


def embedding_missing(job: Job, root: Path) -> list[str]:
    """What is to be said of the weights of the network that clusters are made with."""
    name = job.values.get("embedding") or inaturalist.SELF_SUPERVISED
    file = job.values.get("weights", "")
    labels = map(str, listed(job.values.get("labels", [])))
    if not any(inaturalist.embeds({"labels": one, "embedding": name}) for one in labels):
        return []
    if file:
        return [] if (root / file).is_file() else [f"{file}, the weights of {name}: not there"]
    hub = timm.get_pretrained_cfg(name).hf_hub_id
    return [
        f"the weights of {name}: fetched from huggingface.co/{hub} when they are needed; on a node"
        " without a network name a safetensors file as `weights`"
    ]
