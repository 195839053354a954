"""The code's fingerprint: deaf to comments and docstrings, awake to everything else."""

import ast

import pytest

from granularity import source

PLAIN = "def f(x):\n    return x + 1\n"


def same(first: str, second: str) -> bool:
    outlines = [source.outline(source.without_docstrings(ast.parse(t))) for t in (first, second)]
    return outlines[0] == outlines[1]


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\ndef f(x):\n    return x + 1  # why\n",
        'def f(x):\n    """What it does."""\n    return x + 1\n',
        '"""The module."""\n\n\ndef f(x):\n\n    return (x + 1)\n',
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


def test_a_string_that_is_used_is_no_docstring():
    assert not same('def f():\n    return "a"\n', 'def f():\n    return "b"\n')


def test_modules_behind_a_module_are_found_through_others(tmp_path, monkeypatch):
    package = tmp_path / "granularity"
    package.mkdir()
    texts = {"a": "from granularity import b\n", "b": "from granularity.c import x\n", "c": "x = 1"}
    files = {f"granularity.{name}": package / f"{name}.py" for name in texts}
    for name, text in texts.items():
        files[f"granularity.{name}"].write_text(text)
    monkeypatch.setattr(source, "path_of", files.__getitem__)
    assert source.behind(["granularity.a"]) == files
    assert list(source.behind(["granularity.c"])) == ["granularity.c"]


def test_what_only_a_script_imports_is_not_behind_a_module():
    text = "import granularity.a\nif __name__ == '__main__':\n    import granularity.b\n"
    assert source.imported(ast.parse(text)) == {"granularity.a"}
    deep = "def f():\n    if x:\n        from granularity import c\n"
    assert source.imported(ast.parse(deep)) == {"granularity.c"}


def test_an_unknown_module_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"granularity\.nothing"):
        source.behind(["granularity.nothing"])
