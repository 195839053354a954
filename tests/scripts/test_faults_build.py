"""The whole build under further faults: killed parts, hanging cells, odd places, wrong clocks."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import END, ROOT, RUN, House, saw_end
from faults_seen import saw
from test_build import SLEEP, asleep, built, built_once, chapter, left_running  # noqa: F401

sys.path.insert(0, str(ROOT / "scripts"))
import book

pytestmark = pytest.mark.faults

SEED = "seed = 0\nfolder = 'x'"
RECORD = "runs/smoke/theory/simulate/only/record.json"
LOG = "runs/smoke/theory/simulate/only/notebook.ipynb"


def failed_without_traces(house: House, status: int) -> None:
    """A run that failed: status, no record, no page, nothing that goes on; the notebook is kept."""
    assert status != 0
    assert not (house.folder / RECORD).exists()
    assert not house.page().exists()
    assert (house.folder / LOG).exists(), "kept for reading"
    assert not left_running(house)


def works_when_mended(house: House) -> None:
    """The next build makes what is missing."""
    house.notebook("theory/simulate", SEED, RUN)
    status, printed = house.build()
    assert status == 0, printed
    assert (house.folder / RECORD).exists() and house.page().exists()


@pytest.mark.fault(
    "{part} killed in a run, the rest of the build left alone",
    "status not zero, no record, no page; the notebook is kept; the next call makes it",
)
@pytest.mark.parametrize("part", ["papermill", "snakemake"])
def test_a_killed_part_fails_its_run(house, part):
    process = asleep(house)
    called = {"papermill": "scripts/execute.py"}.get(part, part)
    killed = [p for p in left_running(house) if called in " ".join(p.cmdline()[:4])]
    assert killed
    for other in killed:
        other.kill()
    printed, _ = process.communicate(timeout=900)
    saw_end(process.returncode, printed)
    failed_without_traces(house, process.returncode)
    works_when_mended(house)


@pytest.mark.fault(
    "papermill killed in a run that somebody started by hand",
    "its kernel ends within seconds: no orphan writes later; no record",
)
def test_a_kernel_ends_with_its_papermill(house):
    house.notebook("theory/simulate", SEED, SLEEP, RUN)
    words = ["-m", "papermill", "notebooks/theory/simulate.ipynb", "out.ipynb", "--no-progress-bar"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *words], cwd=house.folder, **quiet)
    deadline = time.monotonic() + 240
    while not (house.folder / "asleep").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    kernels = psutil.Process(process.pid).children(recursive=True)
    assert kernels
    process.kill()
    process.wait()
    begun = time.monotonic()
    _, left = psutil.wait_procs(kernels, timeout=60)  # it sleeps for ten minutes
    assert not left
    assert not list(house.folder.glob("**/record.json"))
    saw(f"{len(kernels)} process ended by itself, {time.monotonic() - begun:.0f} s after papermill")


HUNGRY = """import resource
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
kept = [bytearray(2**20) for _ in range(2**12)]"""


@pytest.mark.fault(
    "the memory runs out in a run", "status not zero, no record, no page; the notebook is kept"
)
def test_a_run_without_memory_fails(house):
    house.notebook("theory/simulate", SEED, HUNGRY, RUN)
    status, printed = house.build()
    assert "MemoryError" in printed
    failed_without_traces(house, status)
    works_when_mended(house)


def limited(house: House, seconds: int) -> None:
    """The smoke size with a time limit for each cell."""
    path = house.folder / "notebooks/params/smoke.yaml"
    path.write_text(f"limit: {seconds}\n{path.read_text()}")


@pytest.mark.fault(
    "a cell of a run that hangs", "failed after its time limit; the notebook is kept for reading"
)
def test_a_cell_that_hangs_fails_after_its_time_limit(house):
    limited(house, 20)
    house.notebook("theory/simulate", SEED, SLEEP, RUN)
    begun = time.monotonic()
    status, printed = house.build()
    assert time.monotonic() - begun < 500  # the cell would sleep for 600 s
    assert "timed out" in printed or "Timeout" in printed
    failed_without_traces(house, status)
    works_when_mended(house)


@pytest.mark.fault(
    "a cell of a chapter that hangs", "failed after its time limit; the old book stays"
)
def test_a_chapter_that_hangs_leaves_the_old_book(built):  # noqa: F811
    old = built.page().read_text()
    limited(built, 20)
    chapter(built, SLEEP, END)
    status, printed = built.build()
    assert status != 0
    assert "timed out" in printed or "Timeout" in printed
    assert built.page().read_text() == old
    assert not left_running(built)


@pytest.mark.fault(
    "power cut while Jupyter Book builds the pages",
    "the old book stays; the next call builds the new",
)
def test_a_power_cut_in_the_middle_of_the_pages_leaves_the_old_book(built):  # noqa: F811
    old = built.page().read_text()
    chapter(built, "print('a later result')", END)
    process = built.start()
    deadline = time.monotonic() + 200
    while not (built.folder / "_build/fresh/_build").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    killed = left_running(built)
    for other in killed:
        other.kill()
    psutil.wait_procs(killed, 10)
    process.communicate(timeout=60)
    assert built.page().read_text() == old
    status, printed = built.build()
    assert status == 0, printed
    assert "a later result" in built.page().read_text()
    saw(f"{1 + len(killed)} processes killed; the old page was there, then the new one")


@pytest.mark.fault(
    "power cut between the old book's going and the new one's coming",
    "the old book is back, even where the next build fails",
)
def test_a_power_cut_in_the_swap_loses_no_book(built):  # noqa: F811
    old = built.page().read_text()
    shutil.copytree(built.folder / "_build/html", built.folder / "_build/fresh/_build/html")
    child = os.fork()
    if not child:
        os.chdir(built.folder)
        rename, calls = Path.rename, []

        def second_is_last(path, target):
            calls.append(path)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(path, target)

        Path.rename = second_is_last
        try:
            book.swap(Path("_build/fresh/_build/html"))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (built.folder / "_build/html").exists()
    chapter(built, "raise ValueError('it broke')", END)
    status, _ = built.build()
    assert status != 0
    assert built.page().read_text() == old


@pytest.mark.fault(
    "the disk is full as a changed chapter is built", "status not zero; the old book stays"
)
def test_a_full_disk_leaves_the_old_book(built_once, tmp_path):  # noqa: F811
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that needs root")
    try:
        shutil.copytree(built_once.folder, disk, symlinks=True, dirs_exist_ok=True)
        house = object.__new__(House)
        house.folder = disk
        old = house.page().read_text()
        chapter(house, "print('a later result')", END)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        status, printed = house.build()
        assert status != 0
        assert "No space left" in printed
        assert house.page().read_text() == old
        filler.unlink()
        status, printed = house.build()
        assert status == 0, printed
        assert "a later result" in house.page().read_text()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


# ----------------------------------------------------------------------------------- odd places


@pytest.mark.fault("a build in a folder with spaces, brackets and accents", "works")
def test_a_build_in_an_odd_folder(tmp_path):
    folder = tmp_path / "Größtes Buch (1) – été"
    folder.mkdir()
    house = House(folder)
    status, printed = house.build()
    assert status == 0, printed
    assert "a result" in house.page().read_text()
    assert "Nothing to be done" in house.build()[1]
    saw(f"the book is built in '{folder.name}', and a second call has nothing to do")


@pytest.mark.fault("a build under a German locale", "works: the page has no decimal comma")
def test_a_build_under_another_locale(house, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no localedef with the source of de_DE here: apt-get install locales")
    monkeypatch.setenv("LOCPATH", str(folder))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    told = (
        "import locale; locale.setlocale(locale.LC_ALL, '')\n"
        "print('by the locale', locale.str(0.5), 'and by us', 0.5)"
    )
    chapter(house, told, END)
    status, printed = house.build()
    assert status == 0, printed
    assert "by the locale 0.5 and by us 0.5" in house.page().read_text()
    saw("by the locale 0.5 and by us 0.5, in the page")


@pytest.mark.fault("a build without any locale (POSIX)", "works: text is UTF-8 all the same")
def test_a_build_without_a_locale(house, monkeypatch):
    monkeypatch.setenv("LC_ALL", "POSIX")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    monkeypatch.setenv("PYTHONUTF8", "0")
    house.write("book/index.md", "# Ein Büchlein – «été»\n")
    chapter(house, "print('größer')", END)
    status, printed = house.build()
    assert status == 0, printed
    assert "größer" in house.page().read_text(encoding="utf-8")
    assert "Büchlein" in house.page("book/index").read_text(encoding="utf-8")
    saw("accents are right in both pages")


# ------------------------------------------------------------------------------------- the clock


@pytest.mark.fault("notebooks from the future", "built once, not again and again")
def test_notebooks_from_the_future_are_built_once(house):
    later = time.time() + 86_400
    for path in (house.folder / "notebooks").rglob("*.ipynb"):
        os.utime(path, (later, later))
    status, printed = house.build()
    assert status == 0, printed
    status, printed = house.build()
    assert status == 0
    assert "Nothing to be done" in printed
    saw("built; a second call has nothing to do")


@pytest.mark.fault(
    "the clock set back by a day after a build, and a chapter changed", "the change is seen"
)
def test_a_change_after_the_clock_was_set_back_is_seen(built):  # noqa: F811
    later = time.time() + 86_400
    for path in built.folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (later, later))
    chapter(built, "print('another result')", END)
    status, printed = built.build()
    assert status == 0, printed
    assert "another result" in built.page().read_text()
    status, printed = built.build()
    assert status == 0
    assert "Nothing to be done" in printed
    saw("the page shows the changed chapter; a further call has nothing to do")
