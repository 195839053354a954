"""The first command on machines that cannot run it: refused in words, nothing half-made."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

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


# ------------------------------------------------------- an environment of another folder, and pip


PROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "granularity"
version = "0.1.0"
[tool.setuptools.packages.find]
where = ["lib"]
"""


@pytest.fixture
def whole(tmp_path):
    """A small checkout with an environment of its own, set up as the real one is."""
    folder = tmp_path / "first"
    for name in ("scripts", "lib/granularity"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup.py", folder / "scripts")
    (folder / "lib/granularity/__init__.py").write_text("")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "requirements.lock").write_text("")
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    library = Path(sysconfig.get_path("purelib"))
    packages = venv / library.relative_to(sys.prefix)
    for old in packages.glob("setuptools*"):
        shutil.rmtree(old)
    for found in [library / "setuptools", *library.glob("setuptools-*.dist-info")]:
        (packages / found.name).symlink_to(found)
    set_up(folder)
    return folder


def set_up(folder, **extra):
    """Runs the set-up, with what the machine's disk and lock would ask for taken as given."""
    code = "import setup; setup.check_space = lambda need: None; setup.main()"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, 'scripts'); {code}"]
    ended = subprocess.run(
        command, cwd=folder, env=os.environ | extra, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def belongs_to(folder):
    """The environment's scripts, `activate`, settings and library are this folder's."""
    venv = folder / ".venv"
    code = "import granularity, sys; print(granularity.__file__, sys.prefix)"
    command = [str(venv / "bin" / "python"), "-c", code]
    told = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(folder / "lib/granularity/__init__.py"), str(venv)]
    pip = subprocess.run(
        [venv / "bin/pip", "--version"], capture_output=True, text=True, check=True
    )
    assert str(venv) in pip.stdout
    shell = ["sh", "-c", '. .venv/bin/activate && echo "$VIRTUAL_ENV"']
    active = subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert active.strip() == str(venv)
    texts = [path for path in (venv / "bin").iterdir() if not path.is_symlink()]
    return b"".join(path.read_bytes() for path in [*texts, venv / "pyvenv.cfg"])


@pytest.mark.faults
@pytest.mark.fault(
    "{how} with its .venv", "set-up renews what names the other folder; that one stays as it was"
)
@pytest.mark.parametrize(
    "how",
    [
        "a checkout moved",
        "a checkout copied",
        "a checkout copied by hard links",
        "a checkout moved to a long path",
    ],
)
def test_an_environment_of_another_folder_is_renewed(whole, how):
    other = whole.with_name("second" + 90 * "x" * how.endswith("long path"))
    before = belongs_to(whole)
    if "moved" in how:
        whole.rename(other)
    else:
        link = os.link if "hard" in how else shutil.copy2
        shutil.copytree(whole, other, symlinks=True, copy_function=link)
    assert f"renewed for {other}" in set_up(other)
    assert os.fsencode(f"{whole}/") not in belongs_to(other)
    assert set_up(other) == "", "a second call has nothing to do"
    if "copied" in how:
        assert belongs_to(whole) == before


@pytest.mark.faults
@pytest.mark.fault(
    "PIP_USER, PIP_TARGET and Python's variables set, and a pip.conf with user = yes",
    "set up all the same, in .venv",
)
def test_pips_own_settings_do_not_reach_the_set_up(whole, tmp_path):
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[install]\nuser = yes\ntarget = {tmp_path}/target\n")
    extra = {"PIP_USER": "1", "PIP_TARGET": str(tmp_path / "t"), "PIP_CONFIG_FILE": str(settings)}
    (whole / "requirements.lock").write_text("# changed\n")
    assert "Setting up" in set_up(whole, PYTHONPATH="/nowhere", PYTHONOPTIMIZE="2", **extra)
    belongs_to(whole)
    assert not (tmp_path / "target").exists() and not (tmp_path / "t").exists()


@pytest.mark.fault(
    ".venv is a link to another clone's environment", "refused, with what to remove; it stays whole"
)
def test_a_link_to_another_environment_is_refused(setup, monkeypatch, tmp_path):
    (setup.ROOT / "lib" / "granularity").mkdir(parents=True)
    (tmp_path / "other" / "bin").mkdir(parents=True)
    setup.VENV.symlink_to(tmp_path / "other")
    monkeypatch.setattr(setup, "library", lambda: "/elsewhere/lib/granularity")
    with pytest.raises(SystemExit, match="is a link to an environment of /elsewhere"):
        setup.renew()


@pytest.mark.fault(
    "a company's index in pip.conf beside settings that move packages",
    "the index is used, the others are not",
)
def test_of_pips_files_the_sources_are_kept(setup, monkeypatch, tmp_path):
    setup.VENV.joinpath("bin").mkdir(parents=True)
    setup.VENV.joinpath("bin", "python").symlink_to(sys.executable)
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://a.example/simple\ncert = a.pem\nno-deps = yes\n"
        "[install]\nuser = yes\nfind-links =\n    /a\n    /b\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CERT", "b.pem")
    monkeypatch.setenv("PIP_PREFIX", "/nowhere")
    made = setup.pip_environment()
    assert made["PIP_INDEX_URL"] == "https://a.example/simple"
    assert made["PIP_FIND_LINKS"].split() == ["/a", "/b"]
    assert made["PIP_CERT"] == "b.pem"
    assert not {"PIP_USER", "PIP_PREFIX", "PIP_NO_DEPS"} & set(made)
    assert made["PIP_CONFIG_FILE"] == os.devnull
