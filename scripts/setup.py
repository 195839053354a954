"""Creates .venv from requirements.lock, saying first what it takes; leaves a current one alone.

Runs on any Python 3 that a system may carry, so that it can refuse the wrong one in words.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
READY = VENV / "ready"
INPUTS = ("requirements.lock", "pyproject.toml")
SUPPORTED = ((3, 11), (3, 12), (3, 13))
# Gigabytes to download and on disk, measured with the lock's wheels; Linux takes torch with CUDA.
SIZES = {"Linux": (2.8, 6.4), "Darwin": (0.6, 2.0)}
SPARE = 3.0  # pip unpacks beside what it downloads, and the book needs room too


def refuse(reason):
    sys.exit("error: " + reason)


def check_machine():
    system, machine = platform.system(), platform.machine()
    if system == "Linux" or (system == "Darwin" and machine == "arm64"):
        return
    refuse(f"{system} on {machine} is not supported; use Linux or a Mac with Apple silicon")


def interpreter():
    """This Python where it is a supported one, else the newest supported one that runs."""
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    for major, minor in reversed(SUPPORTED):
        if works(f"python{major}.{minor}"):
            return f"python{major}.{minor}"
    wanted = ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
    return refuse(f"Python {platform.python_version()} found, one of {wanted} wanted")


def check_space(need):
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < need:
        refuse(f"{free:.1f} GB free at {ROOT}, {need:.1f} GB needed")


def wanted_state():
    inputs = b"".join((ROOT / name).read_bytes() for name in INPUTS)
    return hashlib.sha256(inputs).hexdigest() + "\n"


def current():
    same = READY.exists() and READY.read_text() == wanted_state()
    return same and works(VENV / "bin" / "python")


def run(*words):
    status = subprocess.call([str(word) for word in words], cwd=str(ROOT))
    if status:
        command = " ".join(str(word) for word in words[:4])
        refuse(f"'{command} ...' ended with status {status}; run the command again to go on")


def works(python):
    """Whether an interpreter is there, starts, and is of a supported version."""
    check = f"import sys; sys.exit(sys.version_info[:2] not in {SUPPORTED!r})"
    try:
        return subprocess.call([str(python), "-c", check], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def install():
    python = interpreter()
    download, disk = SIZES[platform.system()]
    check_space(disk + SPARE)
    print(f"Setting up .venv: about {download} GB to download, {disk} GB on disk.", flush=True)
    if READY.exists():
        READY.unlink()
    if not works(VENV / "bin" / "python"):
        run(python, "-m", "venv", "--clear", VENV)
    pip = (
        VENV / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    )
    run(*pip, "--require-hashes", "-r", "requirements.lock")
    run(*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", ".")
    READY.write_text(wanted_state())


def main():
    os.environ.pop("PYTHONPATH", None)
    check_machine()
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second call waits for the first one's environment
        if not current():
            install()


if __name__ == "__main__":
    main()
