"""Creates .venv from requirements.lock, saying first what it takes; leaves a current one alone.

One that was copied here, or moved with its checkout, names another folder: it is renewed for this
one. Runs on any Python 3 that a system may carry, so that it can refuse the wrong one in words.
"""

import ast
import fcntl
import hashlib
import os
import platform
import re
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
# Of pip's settings those that say where packages come from; others put them elsewhere.
SOURCES = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "cert",
)
SOURCES += ("client-cert", "keyring-provider", "cache-dir", "no-cache-dir", "retries", "timeout")
SOURCES += ("default-timeout",)
OTHERS = ("PYTHON", "PIP_", "SETUPTOOLS_", "DISTUTILS_")  # of the environment's variables
# Where a script's first lines, plain or for a long path, and `activate` name their environment.
NAMED = re.compile(
    rb"\A#!([^\n]+)/bin/python|\A#!/bin/sh\n'''exec' \"?([^\"\n]+)/bin/python"
    rb"|^\s*(?:set \S+ |setenv )?VIRTUAL_ENV[= ][\"']?(/[^\"'\n]+)",
    re.MULTILINE,
)
LONGEST = 127  # bytes of a first line, on Linux


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


def installed():
    same = READY.exists() and READY.read_text() == wanted_state()
    return same and works(VENV / "bin" / "python")


def current():
    return installed() and not misplaced() and library_is_here()


def environment():
    """Variables for Python and pip: without the user's own, but for where packages come from."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
    kept.update(
        (variable(k), os.environ[variable(k)]) for k in SOURCES if variable(k) in os.environ
    )
    return kept


def variable(key):
    return "PIP_" + key.upper().replace("-", "_")


def pip_environment():
    """The same with what pip's own files say of sources, and without those files."""
    kept = environment()
    asked = dict(kept)
    if "PIP_CONFIG_FILE" in os.environ:
        asked["PIP_CONFIG_FILE"] = os.environ["PIP_CONFIG_FILE"]
    command = [str(VENV / "bin" / "python"), "-m", "pip", "config", "list"]
    try:
        told = subprocess.check_output(command, env=asked, cwd=str(ROOT)).decode("utf-8")
    except subprocess.CalledProcessError:
        refuse("pip cannot read its configuration; mend what it names")
    for section in ("global", "install"):  # the second overrules the first
        for key, value in re.findall(r"(?m)^" + section + r"\.([\w-]+)=(.*)$", told):
            if key in SOURCES and variable(key) not in os.environ:
                kept[variable(key)] = ast.literal_eval(value)
    kept["PIP_CONFIG_FILE"] = os.devnull
    return kept


def misplaced():
    """Files of the environment that name another one's folder: path and that folder."""
    found = {}
    for path in sorted((VENV / "bin").iterdir()):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1000000:
            continue
        match = NAMED.search(path.read_bytes())
        old = os.fsdecode(next(filter(None, match.groups()))) if match else ""
        if is_environment(old) and not same_place(old, VENV):
            found[path] = old
    return found


def is_environment(folder):
    """Whether a first line names an environment, there or gone, rather than the system's Python."""
    path = Path(folder)
    return path.is_absolute() and (path.name == VENV.name or (path / "pyvenv.cfg").exists())


def same_place(one, other):
    return os.path.realpath(str(one)) == os.path.realpath(str(other))


def library():
    """The folder of the environment's `granularity`; an empty text where it has none."""
    code = (
        "import importlib.util as u; s = u.find_spec('granularity'); print(s.origin if s else '')"
    )
    command = [str(VENV / "bin" / "python"), "-I", "-c", code]
    try:
        told = subprocess.check_output(command, env=environment()).decode("utf-8").strip()
    except subprocess.CalledProcessError:
        return ""
    return str(Path(told).parent) if told else ""


def library_is_here():
    ours = ROOT / "lib" / "granularity"
    return not ours.is_dir() or same_place(library(), ours)


def renew():
    """Turns a copied or moved environment to this folder, but for its `granularity`."""
    olds = misplaced()
    if VENV.is_symlink() and not library_is_here():
        refuse(f"{VENV} is a link to an environment of {library() or 'no folder'}: remove the link")
    if olds or not library_is_here():
        print(f"note: .venv was made for another folder; renewed for {ROOT}", flush=True)
    for path, old in olds.items():
        rewrite(path, old)
    for old in set(olds.values()):
        rewrite(VENV / "pyvenv.cfg", old)


def rewrite(path, old):
    """Puts this environment's folder in the place of another one's, in a new file of that name."""
    new = os.fsencode(str(VENV))
    text = re.sub(re.escape(os.fsencode(old)) + rb"(?=[/\"'\s])", lambda _: new, path.read_bytes())
    first, _, rest = text.partition(b"\n")
    if first.startswith(b"#!" + new) and (b" " in new or len(first) > LONGEST):
        text = b"#!/bin/sh\n'''exec' \"" + first[2:] + b'" "$0" "$@"\n\' \'\'\'\n' + rest
    part = path.with_name(path.name + ".part")
    part.write_bytes(text)
    shutil.copymode(str(path), str(part))
    part.replace(path)  # not in place: the file may be linked with the other environment's


def run(*words, env=None):
    command = [str(word) for word in words]
    status = subprocess.call(command, cwd=str(ROOT), env=env or environment())
    if status:
        shown = " ".join(command[:4])
        refuse(f"'{shown} ...' ended with status {status}; run the command again to go on")


def works(python):
    """Whether an interpreter is there, starts, and is of a supported version."""
    check = f"import sys; sys.exit(sys.version_info[:2] not in {SUPPORTED!r})"
    try:
        command = [str(python), "-I", "-c", check]
        return subprocess.call(command, stderr=subprocess.DEVNULL, env=environment()) == 0
    except OSError:
        return False


def install():
    python = interpreter()
    download, disk = SIZES[platform.system()]
    check_space(disk + SPARE)
    print(f"Setting up .venv: about {download} GB to download, {disk} GB on disk.", flush=True)
    if READY.exists():
        READY.unlink()
    if not works(VENV / "bin" / "python") or not (VENV / "pyvenv.cfg").exists():
        run(python, "-m", "venv", "--clear", VENV)
    renew()
    pip("--require-hashes", "-r", "requirements.lock")
    install_library()
    READY.write_text(wanted_state())


def pip(*words):
    options = ("--disable-pip-version-check", "--no-input")
    python = VENV / "bin" / "python"
    run(python, "-m", "pip", "install", *options, *words, env=pip_environment())


def install_library():
    pip("--quiet", "--no-deps", "--no-build-isolation", "--editable", ".")


def main():
    check_machine()
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second call waits for the first one's environment
        if not installed():
            install()
        elif not current():
            renew()
            install_library()


if __name__ == "__main__":
    main()
