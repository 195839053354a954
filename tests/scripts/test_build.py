"""The build, broken for real: a fault ends non-zero, shows nothing stale, and is recovered from."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import CHAPTER, END, ROOT, RUN, House
from faults_seen import saw, saw_end

sys.path.insert(0, str(ROOT / "scripts"))
import build

PARAMETERS = "runs = 'runs/smoke/theory/simulate'\nfolder = 'runs/hand/chapter'"


@pytest.fixture(scope="session")
def built_once(tmp_path_factory):
    """A small book that was built; copied before it is broken."""
    house = House(tmp_path_factory.mktemp("built"))
    status, printed = house.build()
    assert status == 0, printed
    return house


@pytest.fixture
def built(built_once, tmp_path):
    """The built book in a folder of its own, with the times of its files."""
    shutil.copytree(built_once.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    house = object.__new__(House)
    house.folder = tmp_path
    return house


def chapter(house, *cells):
    house.notebook("theory/chapter", PARAMETERS, CHAPTER, *cells)


def test_a_fresh_build_makes_the_pages_and_a_second_one_does_nothing(built):
    page = built.page()
    assert "a result" in page.read_text()
    assert (built.folder / "_build/html/index.html").exists()
    before = page.stat().st_mtime_ns
    status, printed = built.build()
    assert status == 0
    assert "Nothing to be done" in printed
    assert page.stat().st_mtime_ns == before


def test_a_changed_chapter_alone_runs_again(built):
    chapter(built, "print('another result')", END)
    status, printed = built.build()
    assert status == 0
    assert "chapter: theory/chapter" in printed
    assert "run: theory/simulate" not in printed
    assert "another result" in built.page().read_text()


@pytest.mark.fault(
    "the built book is deleted", "built again from its chapters, which do not run again"
)
def test_a_deleted_book_is_built_again_from_its_chapters(built):
    shutil.rmtree(built.folder / "_build/html")
    status, printed = built.build()
    assert status == 0
    assert "chapter:" not in printed
    assert built.page().exists()


FAULTS = {
    "an exception": ("raise ValueError('it broke')", "it broke"),
    "sys.exit(0)": ("import sys; sys.exit(0)", "chapter"),
    "a killed kernel": ("import os; os.kill(os.getpid(), 9)", "Kernel died"),
}


@pytest.mark.fault(
    "{fault} in a chapter", "status not zero; the old book stays; mending the chapter is enough"
)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_chapter_that_fails_leaves_the_old_book_and_its_repair_is_enough(built, fault):
    cell, told = FAULTS[fault]
    old = built.page().read_text()
    chapter(built, cell, "print('a later result')", END)
    status, printed = built.build()
    assert status != 0
    assert told in printed
    assert built.page().read_text() == old
    chapter(built, "print('a later result')", END)
    status, printed = built.build()
    assert status == 0, printed
    assert "a later result" in built.page().read_text()


@pytest.mark.fault(
    "a chapter ends after its record: {cell}", "status not zero; not published; the old book stays"
)
@pytest.mark.parametrize("cell", ["import sys; sys.exit(0)", "import os; os.kill(os.getpid(), 9)"])
def test_a_chapter_that_ends_after_its_record_is_not_published(built, cell):
    chapter(built, END, cell, "print('never reached')")
    old = built.page().read_text()
    status, _ = built.build()
    assert status != 0
    assert built.page().read_text() == old


@pytest.mark.fault(
    "{fault} in a run", "status not zero; no record, no page; the notebook is kept for reading"
)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_fails_stops_what_depends_on_it(house, fault):
    cell, told = FAULTS[fault]
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", cell, RUN)
    status, printed = house.build()
    assert status != 0
    assert told in printed or "simulate" in printed
    assert not house.page().exists()
    assert not (house.folder / "runs/smoke/theory/simulate/only/record.json").exists()
    log = house.folder / "runs/smoke/theory/simulate/only/notebook.ipynb"
    assert log.exists(), "the notebook is kept for reading"


@pytest.mark.fault(
    "a size file that says {parameters}",
    "refused before any work, with its place and the nearest name",
)
@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("sead: 1", "did you mean 'seed'"),
        ("seed: one", "'seed' is 'one'"),
        ("seed: 1e-3", "line 4: 1e-3 is read as a text; write 0.001"),
    ],
)
def test_a_wrong_parameter_in_a_size_file_stops_before_any_work(house, parameters, told):
    house.size(parameters)
    status, printed = house.build()
    assert status != 0
    assert told in printed
    assert "notebooks/params/smoke.yaml, " in printed
    assert "theory/simulate, only" in printed or "line 4" in printed
    assert "run: theory/simulate" not in printed


@pytest.mark.fault("a size that is not there", "refused, with the sizes that are")
def test_an_unknown_size_is_refused_with_the_sizes_there_are(house):
    command = [sys.executable, "scripts/build.py", "smok"]
    ended = subprocess.run(command, cwd=house.folder, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "no size 'smok'; there are smoke" in ended.stderr
    saw_end(ended.returncode, ended.stderr)


@pytest.mark.fault(
    "a table of contents with a page that was not built", "status not zero; the old book stays"
)
def test_a_page_that_is_not_there_fails_the_build_and_the_old_book_stays(built):
    built.write(
        "_toc.yml",
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/chapters/theory/chapter\n"
        "- file: book/missing\n",
    )
    old = built.page().read_text()
    status, printed = built.build()
    assert status != 0
    assert "book/missing" in printed
    assert built.page().read_text() == old


@pytest.mark.fault("a link in a page that leads nowhere", "status not zero; the old book stays")
def test_a_warning_fails_the_build(built):
    built.write("book/index.md", "# A small book\n\n[nowhere](nowhere.md)\n")
    old = (built.folder / "_build/html/book/index.html").read_text()
    status, printed = built.build()
    assert status != 0
    assert "nowhere" in printed
    assert (built.folder / "_build/html/book/index.html").read_text() == old


SLEEP = "import pathlib, time\npathlib.Path('asleep').touch()\ntime.sleep(600)"


def wait_for(path, process):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def left_running(house):
    """Processes that a build of the folder started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GRANULARITY_BUILD") == str(house.folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def asleep(house):
    """A build whose run notebook sleeps."""
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", SLEEP, RUN)
    process = house.start()
    wait_for(house.folder / "asleep", process)
    return process


@pytest.mark.fault(
    "two builds of one folder at once", "the second refuses, naming the first, which goes on"
)
@pytest.mark.faults
def test_a_second_build_at_once_refuses_and_the_first_goes_on(house):
    first = asleep(house)
    status, printed = house.build()
    assert status != 0
    assert re.search(rf"another build \(process {first.pid}\)", printed)
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=300)
    assert first.returncode != 0
    assert not left_running(house)


@pytest.mark.fault(
    "a build told to stop (signal {sign})", "status not zero; nothing that it started goes on"
)
@pytest.mark.faults
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_told_to_stop_takes_its_children_along(house, sign):
    process = asleep(house)
    process.send_signal(sign)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert not left_running(house)


@pytest.mark.fault(
    "build and Snakemake killed; papermill goes on as an orphan, a stale lock stays",
    "the next build ends the orphan, frees the lock, and completes the book",
)
@pytest.mark.faults
def test_a_killed_build_leaves_orphans_that_the_next_one_ends_and_recovers(house):
    process = asleep(house)
    process.kill()
    process.wait()
    for orphan in left_running(house):
        if "snakemake" in " ".join(orphan.cmdline()):
            orphan.kill()  # it can free no lock and note nothing
    time.sleep(0.5)
    orphans = left_running(house)
    assert orphans, "papermill goes on without its parents"
    assert list((house.folder / ".snakemake/locks").iterdir())
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", RUN)
    status, printed = house.build()
    assert status == 0, printed
    assert not any(orphan.is_running() for orphan in orphans)
    saw(f"{len(orphans)} orphans and a lock found; all ended, and the book is there")
    assert house.page().exists()


@pytest.mark.fault(
    "a build beside a Snakemake that somebody started by hand",
    "refused, naming the live process; its lock is left alone",
)
@pytest.mark.faults
def test_the_lock_of_a_live_snakemake_is_respected(house):
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", SLEEP, RUN)
    command = [sys.executable, "-m", "snakemake", "--cores", "1"]
    command += ["--configfile", "notebooks/params/smoke.yaml"]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=house.folder, start_new_session=True, **quiet)
    try:
        wait_for(house.folder / "asleep", process)
        status, printed = house.build()
        assert status != 0
        assert f"snakemake ({process.pid}) runs in this folder" in printed
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.fault("papermill -p {parameter}", "refused before any work, with the parameter's name")
@pytest.mark.parametrize("parameter", ["sead 7", "seed seven"])
def test_a_notebook_called_by_hand_refuses_a_wrong_parameter(house, parameter):
    papermill = [sys.executable, "-m", "papermill", "notebooks/theory/simulate.ipynb", "out.ipynb"]
    ended = subprocess.run(
        [*papermill, "-p", *parameter.split(), "-p", "folder", "runs/hand"],
        cwd=house.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert "ParameterError" in ended.stderr
    saw_end(ended.returncode, ended.stderr)
    assert "'seed'" in ended.stderr
    assert not (house.folder / "runs").exists()


def test_the_tree_is_not_touched_by_a_build_of_another_folder(built):
    assert not (ROOT / "book/chapters/theory/chapter.ipynb").exists()
    assert built.folder != ROOT


STOPPED_TWICE = """
import os, signal, sys
sys.path.insert(0, "scripts")
sys.argv = ["scripts/build.py", "smoke"]
import build
build.use_own_environment = lambda: None
marked = build.marked
def and_again():
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    return marked()
build.marked = and_again
real = build.build
def told_to_stop(*asked):
    build.marked = marked
    try:
        return real(*asked)
    finally:
        build.marked = and_again
build.build = told_to_stop
build.main()
"""


@pytest.mark.fault(
    "further stop signals between the first one and the end of what the build started ({sign})",
    "ignored: status not zero; nothing that it started goes on",
)
@pytest.mark.faults
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_further_signals_do_not_keep_the_build_from_ending_what_it_started(house, sign):
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", SLEEP, RUN)
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED_TWICE],
        cwd=house.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(sign, signal.SIG_DFL),  # these tests may run under nohup
    )
    wait_for(house.folder / "asleep", process)
    process.send_signal(sign)
    printed, _ = process.communicate(timeout=300)
    saw_end(process.returncode, printed)
    assert process.returncode == 1
    assert f"(status {128 + sign})" in printed
    assert not left_running(house)


@pytest.mark.fault(
    "Snakemake ends with status 0 and has made no book", "an error; no page is promised"
)
def test_no_book_is_promised_that_is_not_there(house, monkeypatch):
    monkeypatch.chdir(house.folder)
    with pytest.raises(SystemExit, match="there is no smoke book"):
        build.report("smoke", [])


def test_a_book_that_was_there_before_is_not_said_to_be_made(built):
    status, printed = built.build()
    assert status == 0
    assert "Nothing new; the book as it was: " in printed
    assert "The book: " not in printed


# ------------------------------------------------------------------- a book of what there is

TWO = "size: smoke\nruns:\n  theory/simulate:\n    good: {seed: 1}\n    bad: {seed: 2}\n"
BREAKS = RUN.replace("path =", "assert seed != 2, 'it broke'\npath =")


@pytest.mark.fault(
    "one of two jobs fails",
    "status not zero; the book of the other is built, and each page names the one that is missing",
)
def test_a_failed_job_leaves_a_book_of_the_others_that_says_so(house):
    house.write("notebooks/params/smoke.yaml", TWO)
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", BREAKS)
    for _ in range(2):
        status, printed = house.build()
        assert status != 0 and "it broke" in printed
        assert "no record of theory/simulate/bad" in printed
        page = house.page().read_text()
        assert "a result" in page
        assert "Not everything ran: there is no record of theory/simulate/bad." in page
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", RUN)
    status, printed = house.build()
    assert status == 0, printed
    assert "Not everything ran" not in house.page().read_text()
    assert "Nothing new" in house.build()[1]


def test_a_job_that_is_not_wanted_any_more_is_not_missing(house):
    house.write("notebooks/params/smoke.yaml", TWO)
    house.notebook("theory/simulate", "seed = 0\nfolder = 'x'", BREAKS)
    assert house.build()[0] != 0
    house.write("notebooks/params/smoke.yaml", TWO.partition("    bad")[0])
    status, printed = house.build()
    assert status == 0, printed
    assert "Not everything ran" not in house.page().read_text()


def test_a_book_as_it_is_runs_no_job(house):
    house.write("notebooks/params/smoke.yaml", TWO)
    command = [sys.executable, "scripts/build.py", "smoke", "--as-is"]
    ended = subprocess.run(command, cwd=house.folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "without 2 jobs that have no record" in ended.stdout
    assert not list(house.folder.glob("runs/smoke/theory/simulate/*/record.json"))
    assert "no record of theory/simulate/good, theory/simulate/bad." in house.page().read_text()
