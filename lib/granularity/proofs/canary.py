"""Short runs of whatever `granularity` is on the path, and every number that came out of them.

`canary_runs` starts this file by its path, in the old code's checkout and in the new one's, so it
imports nothing of the library but the function that a run is named by, which every version has:

    PYTHONPATH=CHECKOUT/lib python -P canary.py JOB.json

A job holds `canaries`, each with `name`, `entry` (names of one function, the newest first),
`arguments`, `places`, `first_names` (of arguments, for a version that has no newer ones) and, if
wanted, `measure` to note executed lines, a `folder` of its own, `clean` to keep its numbers alone,
`may_be_refused`, and `waits` to be run once more while another holds its stages; and `out`, an
empty folder.
With `plant` the runs go on from checkpoints that another version wrote: `old` and `new` are the
folders of stages that each version makes of the canary, and `step` is the one to go on from.
"""

import contextlib
import fcntl
import hashlib
import importlib
import inspect
import json
import multiprocessing
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

# The one function that makes no run, by its names, the newest first.
OPENINGS = ["granularity.images.image_set:open_set", "granularity.data:open_set"]
COMPARED = ("metrics", "curves")  # of what an entry returns; the rest are names and speeds
NOTHING = {"values": {}, "tensors": {}, "lines": {}}  # what a refused canary gives
SPEEDS = {"images_per_second"}  # what no two runs share


def main(path: Path) -> None:
    """Runs a job's canaries one by one, each in a process of its own, and keeps what they gave."""
    job = json.loads(path.read_text(encoding="utf-8"))
    out, parent = Path(job["out"]), os.getppid()
    context = multiprocessing.get_context("fork")  # torch is loaded once; nothing has run in it
    for entry in {name for canary in job["canaries"] for name in canary["entry"]}:
        found_entry([entry], missing_ok=True)
    for number, canary in enumerate(job["canaries"]):
        folder = Path(canary.get("folder", out / str(number)))
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was stopped left
        folder.mkdir(parents=True)
        if "plant" in job:
            plant(folder / "stages", **job["plant"])
        child = context.Process(target=kept, args=(canary, folder, canary.get("measure", False)))
        child.start()
        while child.is_alive():
            child.join(1)
            if os.getppid() != parent:  # the proof was killed: nobody reads these numbers
                child.kill()
                sys.exit("ended: what started this is gone")
        if child.exitcode and canary.get("may_be_refused"):
            (folder / "found.json").write_text(json.dumps(NOTHING), encoding="utf-8")
        elif child.exitcode or not (folder / "found.json").exists():
            told = folder / "error.txt"
            said = told.read_text("utf-8") if told.exists() else f"ended with {child.exitcode}"
            sys.exit(f"canary {canary['name']}: {said}")


def kept(canary: Mapping, folder: Path, measure: bool) -> None:
    """Runs one canary and writes `found.json`: values, tensors by their digests, executed lines."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    forget()
    try:
        with measured(measure) as lines:
            result = run(canary, folder)
            if canary.get("waits"):
                with others_hold(folder / "stages"):
                    result = run(canary, folder)
        today = {old: name for name, old in names_before(canary).items()}
        compared = renamed({part: result.get(part, {}) for part in COMPARED}, today)
        found = {
            "values": dict(values_of(compared)),
            "tensors": dict(tensors_of(folder, today)),
            "lines": lines(),
        }
    except BaseException:
        (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        raise
    if canary.get("clean"):
        for made in ("stages", "run"):
            shutil.rmtree(folder / made, ignore_errors=True)
    (folder / "found.part").write_text(json.dumps(found), encoding="utf-8")
    (folder / "found.part").rename(folder / "found.json")


def forget() -> None:
    """Empties the caches of the library, so that what importing worked out is noted too."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "granularity":
            for value in vars(module).values():
                getattr(value, "cache_clear", lambda: None)()


def found_entry(names: list[str], missing_ok: bool = False) -> Callable | None:
    """The function that one of the names is for, in this version of the library."""
    for name in names:
        try:
            if name not in OPENINGS and (entry_of := registry()):
                return entry_of(name)
            module, _, function = name.partition(":")  # the first versions knew no other way
            return getattr(importlib.import_module(module), function)
        except Exception as error:  # each version has an error of its own for a name it lacks
            last = error
    if missing_ok:
        return None
    raise last


def registry() -> Callable | None:
    """What gives functions by their names, where this version of the library has such."""
    for module in ("granularity.records.entries", "granularity.records"):
        with contextlib.suppress(ModuleNotFoundError):
            found = importlib.import_module(module)
            if hasattr(found, "entry_of"):
                return found.entry_of
    return None


def names_before(canary: Mapping) -> dict[str, str]:
    """Names of arguments that this version has not got yet, and what it calls them."""
    try:
        own = importlib.import_module("granularity.inputs.renamed").FIRST
    except ModuleNotFoundError:
        own = {}
    return {name: old for name, old in canary["first_names"].items() if name not in own}


def renamed(values: object, names: Mapping[str, str]) -> object:
    """JSON-plain values with other names, at every depth."""
    if isinstance(values, Mapping):
        return {names.get(name, name): renamed(value, names) for name, value in values.items()}
    return [renamed(value, names) for value in values] if isinstance(values, list) else values


def run(canary: Mapping, folder: Path) -> Mapping:
    """One call of the entry. Places that this version does not know are left out."""
    entry = found_entry(canary["entry"])
    arguments, places = (
        renamed(canary[name], names_before(canary)) for name in ("arguments", "places")
    )
    takes = inspect.signature(entry).parameters
    if "places" in takes or "roots" in takes:
        places["stages"] = str(folder / "stages")
    if "run_folder" in takes:
        (folder / "run").mkdir(exist_ok=True)
        places["run_folder"] = folder / "run"
    if canary["entry"] == OPENINGS:
        entry(**arguments, cache=folder / "cache")  # lists the files
        return of_set(entry(**arguments, cache=folder / "cache"))  # reads that list
    while True:
        try:
            return entry(**arguments, **places)
        except TypeError as error:
            unknown = [
                name for name in places if f"unexpected keyword argument '{name}'" in str(error)
            ]
            if not unknown:
                raise
            del places[unknown[0]]


@contextlib.contextmanager
def others_hold(stages: Path) -> Iterator[None]:
    """While another works in every stage's folder, as far as locks tell, for a second."""
    locks = [path.open("a") for path in stages.glob("*/lock")]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    end = threading.Timer(1, lambda: [lock.close() for lock in locks])
    end.start()
    yield
    end.join()


def of_set(images) -> dict:
    """What an opened set of images holds, as an entry returns numbers."""
    found = {"classes": list(images.classes), "leaf": images.leaf.tolist()}
    found["names"] = [name.decode() for name in images.names]
    found["content"] = [hashlib.sha256(images.content(i)).hexdigest() for i in range(len(images))]
    return {"metrics": found}


def plant(stages: Path, old: str, new: str, step: int) -> None:
    """Lays the old version's checkpoints of a step where the new one looks for its own.

    A checkpoint names its run by what the code calls it, so that name is written anew.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    for before, now in zip(ended_stages(Path(old)), ended_stages(Path(new)), strict=True):
        name = f"checkpoint-{step}.safetensors"
        with safe_open(before / name, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"]) | {"fingerprint": now.name}
        (stages / now.name).mkdir(parents=True)
        tensors = load_file(before / name)
        save_file(tensors, stages / now.name / name, metadata={"facts": json.dumps(facts)})


def ended_stages(folder: Path) -> list[Path]:
    """The stages that are done below a folder, in the order of their ends."""
    done = sorted(folder.glob("*/done"), key=lambda file: file.stat().st_mtime_ns)
    return [file.parent for file in done]


# ------------------------------------------------------------------------------------- numbers


def values_of(result: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every number of a result by its place, as text that tells all bits; speeds are left out."""
    if isinstance(result, Mapping):
        for key, value in result.items():
            if key not in SPEEDS:
                yield from values_of(value, f"{name}.{key}" if name else str(key))
    elif isinstance(result, (list, tuple)):
        for place, value in enumerate(result):
            yield from values_of(value, f"{name}[{place}]")
    else:
        yield name, repr(result)


def tensors_of(folder: Path, today: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The digest of every tensor and array below a folder, stages numbered as they ended.

    What a log's columns were called once is told by the names of `today`.
    """
    for number, stage in enumerate(ended_stages(folder / "stages")):
        for file in sorted(stage.glob("checkpoint-*.safetensors")):
            step = file.stem.split("-")[1]
            for name, value in opened(file).items():
                yield f"stage {number}, step {step}, {name}", digest(value)
        for name, value in logged(stage / "metrics.jsonl", today):
            yield f"stage {number}, log, {name}", value
    for file in sorted([*folder.rglob("*.npz"), *(folder / "stages").rglob("*.npy")]):
        stored = np.load(file, allow_pickle=False, mmap_mode=None)
        arrays = dict(stored) if file.suffix == ".npz" else {"array": stored}
        place = file.name
        for name, value in arrays.items():
            yield f"{place}, {name}", digest(value)


def opened(file: Path) -> dict[str, np.ndarray]:
    """A checkpoint's tensors. safetensors has no bfloat16 for NumPy, so torch reads them."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(file)
    return {
        name: value.contiguous().view(-1).view(torch.uint8).numpy()
        for name, value in tensors.items()
    }


def logged(file: Path, today: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What stands in a log, line by line, but for the speed."""
    for line in file.read_text(encoding="utf-8").splitlines():
        row = renamed(json.loads(line), today)
        yield f"step {row['step']}", json.dumps({k: v for k, v in row.items() if k not in SPEEDS})


def digest(value: np.ndarray) -> str:
    """Sixteen hexadecimal digits for an array's type, shape and bytes."""
    head = f"{value.dtype.str}{value.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).hexdigest()[:16]


# --------------------------------------------------------------------------------------- lines


class measured:
    """Notes which lines of the library are executed; its value gives them by file, sorted."""

    def __init__(self, wanted: bool):
        """Nothing is noted where it is not wanted."""
        self.wanted = wanted

    def __enter__(self) -> Callable[[], dict[str, list[int]]]:
        """Starts to note, and returns what tells the lines after the end."""
        self.root = Path(importlib.import_module("granularity").__file__).parent
        if self.wanted:
            import coverage

            self.coverage = coverage.Coverage(data_file=None, include=[f"{self.root}/*"])
            self.coverage.start()
        return self.lines

    def __exit__(self, *error: object) -> None:
        """Stops noting."""
        if self.wanted:
            self.coverage.stop()

    def lines(self) -> dict[str, list[int]]:
        """Executed lines by file, as a path below the library's folder."""
        if not self.wanted:
            return {}
        data = self.coverage.get_data()
        return {
            Path(file).relative_to(self.root).as_posix(): sorted(data.lines(file) or ())
            for file in sorted(data.measured_files())
        }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
