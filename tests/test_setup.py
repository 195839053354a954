"""The first command on machines that cannot run it: refused in words, nothing half-made."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from faults_seen import saw_end


@pytest.fixture
def checkout(tmp_path):
    """What the set-up reads, in a folder of its own."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.py", tmp_path / "scripts")
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def tools(tmp_path_factory):
    """A folder with the shell's tools and no Python, to be the whole PATH."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("sh", "bash", "make", "echo", "env"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def call(folder, path, *command):
    environment = {"PATH": str(path), "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.fault(
    "a machine without Python", "an error that says what to install; nothing half made"
)
def test_missing_python_is_said(checkout, tools):
    ended = call(checkout, tools, "make", "book")
    assert ended.returncode != 0
    saw_end(ended.returncode, ended.stderr)
    assert "no python3 found; install Python 3.11, 3.12 or 3.13" in ended.stderr
    assert not (checkout / ".venv").exists()


OLD = "import sys; sys.exit(not ((3, 6) <= sys.version_info[:2] < (3, 11)))"


def old_python():
    """Some installed Python that is too old, or None."""
    for minor in (10, 9, 8, 7, 6):
        names = [f"python3.{minor}", *map(str, PYENV.glob(f"3.{minor}.*/bin/python3"))]
        for name in names:
            found = shutil.which(name)
            if found and subprocess.call([found, "-c", OLD], stderr=subprocess.DEVNULL) == 0:
                return found
    return None


PYENV = ROOT.__class__(os.environ.get("PYENV_ROOT", ROOT.__class__.home() / ".pyenv")) / "versions"


@pytest.mark.fault(
    "a Python that is too old", "refused, with the versions wanted; nothing half made"
)
def test_a_wrong_python_is_refused_by_version(checkout, tools):
    old = old_python()
    if old is None:
        pytest.skip("no Python older than 3.11 is installed here")
    (tools / "python3").symlink_to(os.path.realpath(old))
    ended = call(checkout, tools, "make", "book")
    assert ended.returncode != 0
    saw_end(ended.returncode, ended.stderr)
    assert "found, one of 3.11, 3.12, 3.13 wanted" in ended.stderr
    assert not (checkout / ".venv").exists()


def test_a_wrong_python_looks_for_a_right_one_beside_it(tmp_path, monkeypatch, setup):
    right = tmp_path / f"python{sys.version_info.major}.{sys.version_info.minor}"
    right.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(setup.sys, "version_info", (3, 10, 1))
    assert setup.interpreter() == right.name


@pytest.fixture
def setup(checkout):
    """The set-up script of the checkout, as a module."""
    spec = importlib.util.spec_from_file_location("set_up", checkout / "scripts" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.fault("{system} on {machine}", "refused by name")
@pytest.mark.parametrize(
    ("system", "machine"), [("Windows", "AMD64"), ("Darwin", "x86_64"), ("FreeBSD", "amd64")]
)
def test_another_system_is_refused_by_name(setup, monkeypatch, system, machine):
    monkeypatch.setattr(setup.platform, "system", lambda: system)
    monkeypatch.setattr(setup.platform, "machine", lambda: machine)
    with pytest.raises(SystemExit, match=f"{system} on {machine} is not supported"):
        setup.main()


@pytest.mark.fault("a disk too small for the environment", "an error before anything starts")
def test_a_full_disk_is_said_before_anything_starts(tmp_path, checkout):
    small = tmp_path / "small"
    small.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that needs root")
    try:
        for name in ("scripts", "Makefile", "requirements.lock", "pyproject.toml"):
            copy = shutil.copytree if (checkout / name).is_dir() else shutil.copy
            copy(checkout / name, small / name)
        command = [sys.executable, "scripts/setup.py"]
        ended = subprocess.run(command, cwd=small, capture_output=True, text=True, check=False)
        assert ended.returncode != 0
        assert "GB free at" in ended.stderr
        saw_end(ended.returncode, ended.stderr)
        assert "GB needed" in ended.stderr
        assert not (small / ".venv").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.fault("an installation that fails", "an error; not taken for done")
def test_an_install_that_fails_is_not_taken_for_done(setup, monkeypatch):
    monkeypatch.setattr(setup, "check_space", lambda need: None)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    with pytest.raises(SystemExit, match="run the command again"):
        setup.main()
    assert not setup.READY.exists()
    assert not setup.current()


def test_a_current_environment_is_left_alone(setup, monkeypatch):
    setup.VENV.joinpath("bin").mkdir(parents=True)
    setup.VENV.joinpath("bin", "python").symlink_to(sys.executable)
    setup.READY.write_text(setup.wanted_state())
    monkeypatch.setattr(setup, "install", lambda: pytest.fail("installed again"))
    setup.main()
    (setup.ROOT / "requirements.lock").write_text("changed")
    with pytest.raises(pytest.fail.Exception):
        setup.main()


def test_variables_that_the_readme_names_are_those_of_the_makefile():
    readme, makefile = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile")
    )
    named = set(re.findall(r"\b([A-Z]{3,})=", readme))
    assert "BENCH" in named
    assert named <= set(re.findall(r"^([A-Z]{3,}) \?=", makefile, re.MULTILINE))
    command = ["make", "-n", "bench", "BENCH=theory"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "for name in theory;" in told.stdout
