"""One build of the book at a time, from whatever state the last one left.

    python scripts/build.py smoke
    python scripts/build.py smoke --as-is

Snakemake cannot tell the lock of a killed call from a live one, and a killed Snakemake leaves
papermill running. So the build holds a lock of its own, which the system frees when it dies, and
everything that it starts carries a mark in its environment: what an earlier build left running is
found by the mark and ended before anything starts. Whatever ran becomes a book: where a job failed,
and with `--as-is` where jobs were not run, the book is built of the others' records, and every page
says whose are missing. The machine's own settings change nothing: this program and all that it
starts run in the project's own environment (`granularity.surroundings`).
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "lib"))  # this folder's, wherever the environment's points
from granularity import surroundings  # noqa: E402

MARK = "GRANULARITY_BUILD"
AGAIN = "GRANULARITY_STARTED_AGAIN"
LOCK = Path(".snakemake/build.lock")
FAILED = 1  # Snakemake's status where a job failed, or its rules could not be read
LONG_AGO = 1.0  # s since 1970
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# Draws matplotlib's list of fonts where there is none yet: in a chapter that would be a warning.
FIRST = "import granularity, matplotlib.font_manager; print(granularity.__file__)"


class Stopped(BaseException):
    """A signal told the build to stop; holds the status that a shell expects then."""


def stop(number, frame):
    """Raises Stopped at the first signal; further ones are ignored before anything else is done."""
    ignore_stops()
    raise Stopped(128 + number)


def ignore_stops() -> None:
    """Nothing interrupts what comes now: the end of what the build started."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def heed_stops() -> None:
    """Signals end the build from here on, also where a background shell has them ignored."""
    for number in STOPS:
        # A hang-up that is ignored was to be: that is what nohup does.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def use_own_environment() -> None:
    """Starts this program again in the neutral environment, once.

    Ends the program where something would change pages and cannot be put aside, and where the
    environment's Python finds another folder's library.
    """
    here = {AGAIN: str(os.getpid())}  # it stays the same process
    if os.environ.get(AGAIN) != here[AGAIN]:
        wanted = surroundings.neutral(os.environ, ROOT) | here
        os.execve(sys.executable, [sys.executable, __file__, *sys.argv[1:]], wanted)
    told = subprocess.run([sys.executable, "-c", FIRST], stdout=subprocess.PIPE, text=True)
    if told.returncode:
        sys.exit(f"error: {sys.executable} has not what the book needs; run `make setup`")
    try:
        surroundings.refuse_another_library(ROOT, Path(told.stdout.strip()).parent)
        surroundings.refuse_system_files(ROOT)
    except surroundings.SurroundingsError as error:
        sys.exit(f"error: {error}")


def hold_lock():
    """The open lock file; ends the program where another build holds it."""
    LOCK.parent.mkdir(exist_ok=True)
    lock = LOCK.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        sys.exit(f"error: another build ({lock.read().strip()}) runs in this folder; nothing done")
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return lock


def marked() -> list[psutil.Process]:
    """Processes that a build of this folder started and that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(ROOT):
                found.append(process)
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            continue
    return found


def end(processes: list[psutil.Process]) -> None:
    """Asks the processes to end, then makes them."""
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                send(process)
            except psutil.NoSuchProcess:
                continue
        _, processes = psutil.wait_procs(processes, timeout=5)


def refuse_beside_snakemake() -> None:
    """Ends the program where a snakemake started by hand works in this folder."""
    for process in psutil.process_iter():
        try:
            named = any(Path(word).name == "snakemake" for word in process.cmdline()[:3])
            if named and Path(process.cwd()) == ROOT:
                sys.exit(f"error: snakemake ({process.pid}) runs in this folder; nothing done")
        except (psutil.Error, OSError):
            continue


def snakemake(*words: str, as_is: bool = False) -> int:
    """Runs Snakemake, marked, to its end and returns its status."""
    command = [sys.executable, "-m", "snakemake", "--profile", "none", "--workflow-profile", "none"]
    command += words
    environment = os.environ | {MARK: str(ROOT)} | ({surroundings.AS_IS: "1"} if as_is else {})
    # In a session of its own, so that Ctrl-C reaches this program alone, which then ends them all.
    return subprocess.run(command, env=environment, start_new_session=True, check=False).returncode


def correct_times(size: str) -> None:
    """Takes files from the future back, as a clock that was set back leaves them.

    Snakemake fails a job whose result is older than its input, and sees no change in an input that
    is older than a result. A source is of now, then, and a result of long ago: Snakemake compares
    contents where times leave it in doubt.
    """
    now = time.time()
    sources = [Path(name) for name in ("Snakefile", "_config.yml", "_toc.yml")]
    for folder in ("notebooks", "lib", "scripts", "book"):
        sources += Path(folder).rglob("*")
    results = [*Path("_build").glob("*.json"), *Path("runs", size).rglob("record.json")]
    results += Path("runs", size).rglob("parameters.yaml")
    ahead = 0
    for paths, corrected in ((sources, now), (results, LONG_AGO)):
        for path in paths:
            if path.is_file() and path.stat().st_mtime > now + 1:
                os.utime(path, (corrected, corrected))
                ahead += 1
    if ahead:
        print(f"note: {ahead} files were from the future (a clock set back?): times corrected")


def build(size: str, as_is: bool = False) -> int:
    """Brings the book of a size up to date; returns the exit status."""
    size_file = f"notebooks/params/{size}.yaml"
    if not Path(size_file).exists():
        known = sorted(path.stem for path in Path("notebooks/params").glob("*.yaml"))
        sys.exit(f"error: no size '{size}'; there are {', '.join(known)}")
    end(marked())
    correct_times(size)
    if any(Path(".snakemake/locks").glob("*")):
        refuse_beside_snakemake()
        snakemake("--configfile", size_file, "--unlock", "--quiet", "all")
    stamp, site, old = (Path("_build", name) for name in (f"{size}.json", "html", "html.old"))
    if old.exists() and not site.exists():
        old.rename(site)  # a kill came after the old book had gone and before the new one came
    if stamp.exists() and (not (site / "index.html").exists() or without(size)):
        stamp.unlink()  # the book itself was deleted, or it says of jobs that they are missing
    options = (
        "--keep-going",
        "--rerun-incomplete",
        "--show-failed-logs",
        "--quiet",
        "host",
        "reason",
    )
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))  # so that jobs do not share one
    limit = ("--resources", f"gpu={gpus}") if gpus else ()
    words = ("--configfile", size_file, "--cores", "all", *limit, *options)
    if as_is:
        return snakemake(*words, as_is=True)
    begun = time.time()
    status = snakemake(*words)
    if status == FAILED and some_are_made(size, begun):
        print("note: some jobs have no record; the book is built of what is there", flush=True)
        end(marked())
        snakemake(*words, as_is=True)
    return status


def some_are_made(size: str, begun: float) -> bool:
    """Whether a call that began at `begun` left some jobs with records and some without."""
    from granularity.planning import sizes  # in the project's own environment alone
    from granularity.records.record import ASKED

    asked = Path("runs", size, ASKED)
    if not asked.exists() or asked.stat().st_mtime < begun:
        return False  # the size file was refused
    jobs = json.loads(asked.read_text(encoding="utf-8"))
    made = [sizes.is_made(asked.parent / job) for job in jobs]
    return any(made) and not all(made)


def without(size: str) -> list[str]:
    """The jobs that the book at hand of this size is without."""
    stamp = Path("_build", f"{size}.json")
    return json.loads(stamp.read_text(encoding="utf-8")).get("without", [])


def written(size: str) -> list[tuple]:
    """Which files the stamp and the first page of the book are; another list once they are new."""
    found = []
    for path in (Path("_build", f"{size}.json"), Path("_build/html/index.html")):
        if path.is_file():
            state = path.stat()
            found.append((state.st_ino, state.st_mtime_ns, state.st_size))
    return found


def report(size: str, before: list[tuple]) -> None:
    """Says where the book is, and whether this call made it; ends the program where it is not."""
    now = written(size)
    if len(now) < 2:
        sys.exit(f"error: Snakemake ended well and there is no {size} book; see what it printed")
    made = not set(now) & set(before)
    told = "The book" if made else "Nothing new; the book as it was"
    lacking = f", without {len(without(size))} jobs that have no record" if without(size) else ""
    print(f"{told}{lacking}: {ROOT / '_build/html/index.html'}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="One build of the book at a time")
    parser.add_argument("size", help="the name of a file in notebooks/params, as smoke")
    parser.add_argument(
        "--as-is", action="store_true", help="run no job: a book of the records that are there"
    )
    asked = parser.parse_args()
    size = asked.size
    os.chdir(ROOT)
    use_own_environment()
    lock = hold_lock()
    before = written(size)
    heed_stops()
    try:
        status = build(size, asked.as_is)
        ignore_stops()
    except Stopped as stopped:
        status = stopped.args[0]
    finally:
        ignore_stops()  # another exception than a signal's came here without
        end(marked())
        lock.close()
    if status and (len(written(size)) < 2 or set(written(size)) & set(before)):
        sys.exit(f"error: the {size} book is not complete (status {status}); an older one stays")
    report(size, before)
    if status:
        sys.exit(f"error: no record of {', '.join(without(size))}; each page says so")


if __name__ == "__main__":
    main()
