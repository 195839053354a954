"""The code's fingerprint: deaf to comments and docstrings, awake to everything else."""

import ast
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from granularity.fingerprints import source

PLAIN = "def f(x):\n    return x + 1\n"


def ran(text: str) -> list:
    """What Python makes of a module's `f`, called in several ways: results, and kinds of errors."""
    names = {"__name__": "library"}
    exec(text, names)
    found = []
    for given in ((), (-1,), (0,), (1,), (2.5,), (1, 1)):
        try:
            found.append(repr(names["f"](*given)))
        except Exception as error:
            found.append(type(error))
    return found


def same(first: str, second: str) -> bool:
    """Whether two texts have one digest; the same must come out where Python runs them."""
    alike = source.digest_of([first]) == source.digest_of([second])
    assert alike == (ran(first) == ran(second))
    return alike


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\ndef f(x):\n    return x + 1  # why\n",
        'def f(x):\n    """What it does."""\n    return x + 1\n',
        '"""The module."""\n\n\ndef f(x):\n\n    return (x + 1)\n',
        PLAIN + "\n\nif __name__ == '__main__':\n    print(f(3))\n",
    ],
)
def test_what_changes_no_number_changes_no_outline(text):
    assert same(PLAIN, text)


@pytest.mark.fault("code changed by {text}", "another fingerprint: old runs are not taken for new")
@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    return x + 2\n",
        "def f(x):\n    return x - 1\n",
        "def g(x):\n    return x + 1\n",
        "def f(x, y=None):\n    return x + 1\n",
        "def f(x):\n    return x + 1.0\n",
    ],
)
def test_what_may_change_a_number_changes_the_outline(text):
    assert not same(PLAIN, text)


REFUSAL = """
def f(x):
    if x < 0:
        near = 1
        raise ValueError(f'{x} is {near}')
    return x
"""


@pytest.mark.parametrize("new", [("near = 1", "near = 2"), ("is {near}", "was {near}")])
def test_the_words_of_an_error_make_no_number(new):
    assert same(REFUSAL, REFUSAL.replace(*new))


@pytest.mark.parametrize(
    "new",
    [
        ("x < 0", "x < 1"),
        ("ValueError", "KeyError"),
        ("raise ValueError(f'{x} is {near}')", "return near"),
        ("near = 1", "return 1"),
    ],
)
def test_what_decides_whether_to_refuse_may(new):
    assert not same(REFUSAL, REFUSAL.replace(*new))


# What f-strings, formats and constants look like differs between versions of Python: CPython
# gh-110309 put empty constants between the parts of an f-string into 3.12.0 and 3.12.1.
LITERAL = """
NAME = "é\u2014\U0001fae8"

def f(x, y=1e-3):
    return f"{x}{y:>{x}.2f}: {x!r}" + f"{x=}" + NAME
"""


def test_a_digest_is_the_same_on_every_python_that_is_supported():
    assert source.digest_of([LITERAL]) == "3ef42410bb1e9f4e"
    pythons = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13)]
    code = "import sys; from granularity.fingerprints import source;"
    code += "print(source.digest_of([sys.argv[1]]))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    for python in {sys.executable, *filter(None, pythons)}:
        call = [python, "-c", code, LITERAL]
        told = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
        if told.returncode == 0:  # a shim may stand for a version that is not there
            assert told.stdout.strip() == "3ef42410bb1e9f4e", python


def test_a_module_is_found_without_loading_it_or_its_package():
    code = "import sys; from granularity.fingerprints import source;"
    code += "source.path_of('granularity.theory.network')"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_table_that_the_code_names_is_part_of_its_fingerprint(tmp_path, monkeypatch):
    place = tmp_path / "granularity"
    (place / "tables").mkdir(parents=True)
    (place / "a.py").write_text("TABLE = 'known.csv'\n")
    monkeypatch.setattr(source, "LIBRARY", place)
    monkeypatch.setattr(source, "behind", lambda modules: {"granularity.a": place / "a.py"})

    def found():
        source.fingerprint.cache_clear()
        return source.fingerprint("granularity.a")

    seen = set()
    for name, text in (("other.csv", "1"), ("known.csv", "1"), ("known.csv", "2")):
        (place / "tables" / name).write_text(text)
        seen.add(found())
    (place / "tables" / "other.csv").write_text("2")
    assert len(seen) == 3 and found() in seen
    source.fingerprint.cache_clear()


def test_a_string_that_is_used_is_no_docstring():
    assert not same('def f():\n    return "a"\n', 'def f():\n    return "b"\n')


def test_modules_behind_a_module_are_found_through_others(tmp_path):
    package = tmp_path / "granularity"
    (package / "d").mkdir(parents=True)
    texts = {"a": "from granularity import b\n", "b": "from granularity.c import x\n"}
    texts |= {"c": "from granularity.d import e\n", "d/e": "y = 1\n", "d/__init__": "z = 1\n"}
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    names = {"granularity.a": "a", "granularity.b": "b", "granularity.c": "c"}
    found = {name: package / f"{file}.py" for name, file in names.items()}
    found["granularity.d.e"] = package / "d" / "e.py"  # and not all that its package has
    assert source.behind(["granularity.a"], package) == found
    assert list(source.behind(["granularity.d"], package)) == ["granularity.d"]


def test_what_only_a_script_imports_is_not_behind_a_module():
    text = "import granularity.a\nif __name__ == '__main__':\n    import granularity.b\n"
    assert source.imported(ast.parse(text)) == {"granularity.a"}
    deep = "def f():\n    if x:\n        from granularity import c\n"
    assert source.imported(ast.parse(deep)) == {"granularity.c"}


def test_an_unknown_module_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"granularity\.nothing"):
        source.behind(["granularity.nothing"])
