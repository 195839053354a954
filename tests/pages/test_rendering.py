"""Templates: what is shown as text, what is an error, and that an installed package has them."""

import fnmatch
import tomllib

import jinja2
import pytest
from conftest import ROOT

from granularity.pages import rendering


def test_a_text_is_escaped_wherever_it_stands(monkeypatch):
    loader = jinja2.DictLoader({"x.html": '<a href="{{ text }}">{{ text }}</a>'})
    monkeypatch.setattr(rendering, "TEMPLATES", rendering.TEMPLATES.overlay(loader=loader))
    shown = rendering.render("x.html", text='"><b>&')
    assert shown == '<a href="&#34;&gt;&lt;b&gt;&amp;">&#34;&gt;&lt;b&gt;&amp;</a>'


def test_a_name_that_is_not_given_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="rows"):
        rendering.render("faults.html")


def test_an_installed_package_has_every_template():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["granularity.pages"]
    package = ROOT / "lib/granularity/pages"
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".py"]
    names = [path.relative_to(package).as_posix() for path in files if path.suffix != ".pyc"]
    assert set(names) == {f"templates/{name}" for name in rendering.TEMPLATES.list_templates()}
    assert all(any(fnmatch.fnmatch(name, one) for one in patterns) for name in names)
