"""The container file, as far as it can be tested without a container."""

import fnmatch
import shlex
import subprocess

import pytest
import yaml
from conftest import ROOT

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
STEPS = [line.partition(" ")[::2] for line in LINES if line and not line.startswith("#")]
IGNORED = [
    line
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def test_it_starts_from_a_python_that_the_set_up_supports_and_that_ci_uses():
    base = next(rest for word, rest in STEPS if word == "FROM")
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["test-and-build"]["steps"]
    (version,) = (s["with"]["python-version"] for s in steps if "setup-python" in s.get("uses", ""))
    assert base == f"python:{version}-slim-bookworm"


def test_its_commands_are_those_of_the_repository():
    commands = [shlex.split(rest) for word, rest in STEPS if word == "RUN"]
    assert ["python3", "scripts/setup.py"] in commands
    assert (ROOT / "scripts/setup.py").exists()
    assert "book" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_file_of_git_is_copied_and_nothing_that_was_made():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout of git")
    for path in listed.stdout.splitlines():
        for pattern in IGNORED:
            inside = path == pattern or path.startswith(f"{pattern}/")
            assert not inside and not fnmatch.fnmatch(path, pattern), f"{pattern} hides {path}"
    for made in (".venv", "runs", "_build", ".snakemake", "data"):
        assert made in IGNORED
    assert ".git" not in IGNORED
