"""One set of versions: pyproject.toml, requirements.lock and environment.yml say the same."""

import re
import subprocess
import sys
import tomllib

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = (
    ("linux", "Linux", "x86_64"),
    ("linux", "Linux", "aarch64"),
    ("darwin", "Darwin", "arm64"),
)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked() -> list[Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if re.match(r"[a-z0-9]", line)]


def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def pinned(python: str, platform: str, system: str, machine: str) -> dict[str, str]:
    """Package → version, as the lock says it for one Python and machine."""
    dataset = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_system": system,
        "platform_machine": machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
    }
    found = [line for line in locked() if line.marker is None or line.marker.evaluate(dataset)]
    names = [canonicalize_name(line.name) for line in found]
    assert len(set(names)) == len(names), "two versions of one package for one machine"
    return {
        name: str(line.specifier).removeprefix("==")
        for name, line in zip(names, found, strict=True)
    }


def asked() -> list[Requirement]:
    extras = [item for group in project()["optional-dependencies"].values() for item in group]
    return [Requirement(item) for item in [*project()["dependencies"], *extras]]


def test_the_lock_meets_every_requirement_on_every_python_and_machine():
    for python in PYTHONS:
        for machine in MACHINES:
            versions = pinned(python, *machine)
            for requirement in asked():
                version = versions[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version), (requirement, version, python)


def test_the_lock_has_hashes_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "index" not in text.lower().replace("importlib", "")
    blocks = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert all("--hash=sha256:" in block for block in blocks)


def test_conda_takes_the_lock_and_a_supported_python():
    listed = environment()["dependencies"]
    assert {"pip": ["-r requirements.lock"]} in listed
    python = next(item for item in listed if str(item).startswith("python="))
    assert SpecifierSet(project()["requires-python"]).contains(python.removeprefix("python="))


def test_every_supported_python_is_supported_everywhere():
    specifier = SpecifierSet(project()["requires-python"])
    assert [f"3.{minor}" for minor in range(20) if specifier.contains(f"3.{minor}")] == [*PYTHONS]
    setup = (ROOT / "scripts" / "setup.py").read_text()
    assert "SUPPORTED = ((3, 11), (3, 12), (3, 13))" in setup


def test_this_environment_is_the_locked_one():
    frozen = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format", "freeze"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    installed = {canonicalize_name(n): v for n, v in (line.split("==") for line in frozen)}
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    machine = next(m for m in MACHINES if m[0] == sys.platform)
    for name, version in pinned(here, *machine).items():
        assert installed[name].split("+")[0] == version.split("+")[0], name
