"""What the pages have beside Sphinx's own: links to notebooks, numbers and forms; docstrings."""

import importlib
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT
from docutils import nodes, utils
from sphinx import addnodes

from granularity import labels, theory
from granularity.experiments import datasets
from granularity.hierarchies import taxonomy
from granularity.images.toy import species_drawing
from granularity.labels.kind import Given

sys.path.insert(0, str(ROOT / "scripts"))
import pages

HERE = "https://github.com/someone/book"
NOTEBOOK = "notebooks/theory/why.ipynb"


@pytest.mark.parametrize(
    ("remote", "found"),
    [
        ("https://github.com/someone/book.git\n", HERE),
        ("git@github.com:someone/book.git", HERE),
        ("ssh://git@github.com/someone/book", HERE),
        ("https://name:secret@github.com/someone/book", HERE),
        ("https://gitlab.com/group/part/book/", "https://gitlab.com/group/part/book"),
        ("https://intranet.example/someone/book", None),
        ("git@intranet.example:someone/book", None),
        ("/srv/git/book", None),
        ("https://github.com/", None),
        ("", None),
    ],
)
def test_only_public_forges_have_an_address_and_it_holds_no_secret(remote, found):
    assert pages.normal(remote) == found


def test_the_environment_names_the_address_before_git(tmp_path, monkeypatch):
    monkeypatch.delenv("GRANULARITY_REPOSITORY", raising=False)
    assert pages.address(tmp_path) is None
    for words in (["init", "-q"], ["remote", "add", "origin", f"{HERE}.git"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    assert pages.address(tmp_path) == HERE
    monkeypatch.setenv("GRANULARITY_REPOSITORY", "https://git.example/a/b/")
    assert pages.address(tmp_path) == "https://git.example/a/b"


def test_colab_opens_sources_at_github_only():
    assert pages.colab(HERE, NOTEBOOK) == (
        f"https://colab.research.google.com/github/someone/book/blob/main/{NOTEBOOK}"
    )
    assert pages.colab("https://gitlab.com/someone/book", NOTEBOOK) is None


def test_a_report_goes_to_the_forge_s_own_form_and_names_the_page():
    assert pages.report_form(HERE, "book/how") == f"{HERE}/issues/new?title=Page%20book/how"
    assert "/-/issues/new?" in pages.report_form("https://gitlab.com/a/b", "x")


@pytest.mark.parametrize(
    ("repository", "link"),
    [
        (HERE, f"{HERE}/commit/abcdef0123"),
        ("https://gitlab.com/a/b", "https://gitlab.com/a/b/-/commit/abcdef0123"),
        ("https://bitbucket.org/a/b", "https://bitbucket.org/a/b/commits/abcdef0123"),
    ],
)
def test_the_foot_names_repository_commit_and_date_as_far_as_they_are_known(repository, link):
    commit = ("abcdef0123", "2026-11-27")
    said = pages.footer(repository, commit)
    assert f'href="{repository}"' in said
    assert f'<a href="{link}">commit abcdef0</a> of 2026-11-27.' in said
    assert pages.footer(None, commit) == "<br/>Commit abcdef0 of 2026-11-27."
    assert pages.footer(repository, None) == f'<br/><a href="{repository}">The repository</a>.'
    assert pages.footer(None, None) == ""


def test_the_commit_is_git_s_and_none_where_there_is_no_git(tmp_path):
    assert pages.commit_of(tmp_path) is None
    told = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    name, date = pages.commit_of(ROOT)
    assert name == told.stdout.strip() and re.fullmatch(r"\d{4}-\d\d-\d\d", date)


def document(*children):
    page = utils.new_document("page")
    page += children
    return page


def test_a_description_is_the_first_paragraph_cut_at_a_word():
    empty, first = nodes.paragraph(), nodes.paragraph("", "What is\nit? ")
    first += nodes.strong("", "This.")
    assert (
        pages.described(document(empty, first, nodes.paragraph("", "more"))) == "What is it? This."
    )
    long = pages.described(document(nodes.paragraph("", "word " * 100)))
    assert len(long) <= pages.LONGEST + 2 and long.endswith("word …")
    assert pages.described(document()) == ""


def test_a_description_is_what_a_page_says_in_short():
    answer = nodes.paragraph()
    answer += [nodes.strong("", "In short."), nodes.Text(" Yes, by\n11 points.")]
    page = document(nodes.paragraph("", "Does it help?"), answer, nodes.paragraph("", "more"))
    assert pages.described(page) == "Yes, by 11 points."


def test_the_head_has_a_description_and_a_card_where_the_site_is_known():
    found = pages.tags('A "title"', "It's <b>.", "Book", "https://x.example/book/")
    assert '<meta name="description" content="It&#x27;s &lt;b&gt;." />' in found
    assert '<meta property="og:title" content="A &quot;title&quot;" />' in found
    assert 'og:image" content="https://x.example/book/_static/card.png"' in found
    assert (ROOT / "book" / pages.CARD).exists()
    plain = pages.tags("A", "", "Book", "")
    assert "og:image" not in plain and "description" not in plain and "og:site_name" in plain


def test_the_search_knows_outputs_and_no_code():
    source = nodes.container("", nodes.literal_block("", "import x"), classes=["cell_input"])
    output = nodes.container("", nodes.paragraph("", "found"), classes=["cell_output"])
    cell = nodes.container("", source, output, classes=["cell"])
    page = document(nodes.paragraph("", "prose"), cell)
    fed = {}

    build = SimpleNamespace(
        builder=SimpleNamespace(index_page=lambda name, page, title: fed.update({name: page})),
        env=SimpleNamespace(metadata={"api": {"no-search": "true"}}),
        config=SimpleNamespace(search_first={"hard samples": "a"}),
    )
    pages.search_words(build)
    for name in ("a", "b", "api"):
        build.builder.index_page(name, page, "title")
    assert set(fed) == {"a", "b"}
    assert "import x" in page.astext()  # the page itself keeps its code
    for name, words in fed.items():
        assert "prose" in words.astext() and "found" in words.astext()
        assert "import x" not in words.astext()
        entries = [entry for index in words.findall(addnodes.index) for entry in index["entries"]]
        wanted = [("single", "hard samples", "", "main", None)] if name == "a" else []
        assert entries == wanted


def test_the_search_s_first_pages_are_pages_of_the_book():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    first = config["sphinx"]["config"]["search_first"]
    assert set(first.values()) <= set(yaml_pages(ROOT / "_toc.yml"))
    assert "no-search: true" in (ROOT / "book/api.md").read_text(encoding="utf-8").split("---")[1]


def yaml_pages(toc):
    return re.findall(r"(?:file|root): (\S+)", toc.read_text(encoding="utf-8"))


def test_a_figure_s_numbers_are_found_by_its_name(tmp_path):
    def cell(name, data):
        figure = {"figure": {"name": name}} if name else {}
        return {"metadata": {"mystnb": figure}, "outputs": [{"data": data}, {"name": "stdout"}]}

    cells = [
        cell("fig-a", {"image/svg+xml": "<svg/>", "text/csv": ["x,y\n", "1,2\n"]}),
        cell("fig-b", {"image/svg+xml": "<svg/>"}),
        cell(None, {"text/csv": "lost"}),
        {"metadata": {}},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    assert pages.figure_tables(tmp_path / "a.ipynb") == {"fig-a": "x,y\n1,2\n"}
    assert pages.figure_tables(tmp_path / "a.ipynb", "svg") == {
        "fig-a": "<svg/>",
        "fig-b": "<svg/>",
    }


def shown(tags):
    """A document with a cell of one code block and one figure, and that figure."""
    figure = nodes.figure("", ids=["fig-a"])
    code = nodes.container("", nodes.literal_block("draw()", "draw()"), classes=["cell_input"])
    output = nodes.container("", figure, classes=["cell_output"])
    cell = nodes.container("", code, output, classes=["cell", *tags])
    return cell, figure


@pytest.mark.parametrize("tags", [["tag_hide-input"], []])
def test_a_figure_s_code_goes_below_it(tags):
    cell, figure = shown(tags)
    (code,) = pages.code_of(figure)
    assert code.astext() == "draw()"
    assert not [name for part in cell.children for name in part["classes"] if name == "cell_input"]
    assert not [name for name in cell["classes"] if "hide-input" in name]
    assert pages.code_of(figure) == []  # taken once
    assert pages.code_of(nodes.figure()) == []  # a figure of a page without cells


def test_the_line_below_a_figure_has_what_there_is(tmp_path):
    class App:
        srcdir = tmp_path

    notebook = tmp_path / "book/chapters/x.ipynb"
    notebook.parent.mkdir(parents=True)
    notebook.write_text(json.dumps({"metadata": {"papermill": {"duration": 12.4}}, "cells": []}))
    notebook.with_name("fig-a.csv").touch()
    _, figure = shown([])
    line = pages.below(App, "book/chapters/x", figure)
    text = " ".join(node.astext() for node in line)
    assert [word in text for word in ("Code", "Data (CSV)", "SVG", "Reproduce")] == [
        *(True, True, False, True)
    ]
    assert "notebooks/x.ipynb out.ipynb  # took 12 s here" in text
    assert pages.below(App, "book/paper", figure) == []


@pytest.mark.parametrize(
    ("markdown", "rst"),
    [
        ("takes `names` (N,)", "takes ``names`` (N,)"),
        ("`start_…` and head_ are", r"``start_…`` and head\_ are"),
        ("*hypernyms* of |x|", r"*hypernyms* of \|x\|"),
        ("`a_` over\ntwo lines: `b\nc`", "``a_`` over\ntwo lines: ``b\nc``"),
    ],
)
def test_docstrings_become_what_sphinx_reads(markdown, rst):
    lines = markdown.split("\n")
    pages.as_rst(None, "function", "f", None, None, lines)
    assert "\n".join(lines) == rst


def test_pages_lose_the_icons_script_and_keep_the_others(tmp_path):
    class Build:
        outdir = tmp_path

    kept = '<link rel="stylesheet" href="a/fontawesome/all.css"><script src="a/theme.js"></script>'
    gone = '<link rel="preload" as="font" crossorigin href="a/fontawesome/x.woff2" />\n'
    gone += '<script src="a/fontawesome/6/js/all.min.js?digest=1"></script>'
    (tmp_path / "deep").mkdir()
    page = tmp_path / "deep" / "page.html"
    page.write_text(gone + kept)
    pages.lighten(Build, ValueError("the build failed"))
    assert page.read_text() == gone + kept
    pages.lighten(Build, None)
    assert page.read_text() == kept


# ---------------------------------------------------------------------- pages typed by hand


def test_the_symbols_are_named_as_the_code_names_them():
    text = (ROOT / "book/glossary.md").read_text(encoding="utf-8").partition("## Symbols")[2]
    names = [name for line in text.splitlines() for name in re.findall(r"`([\w.]+)`", line)]
    known = {*theory.grid()[0], *theory.Network._fields, *theory.samples.Samples._fields}
    for name in names:
        place, *inside = name.split(".")
        found = theory if place == "theory" else None
        for part in inside:
            found = getattr(found, part)
        assert found is not None or name in known | {"simulate.ipynb"}, name


def test_the_api_page_names_what_its_modules_have():
    """Sphinx cannot say which name it missed, only that the book has a warning."""
    text = (ROOT / "book/api.md").read_text(encoding="utf-8")
    named = re.findall(r"automodule:: (\S+)\n   :members: (.*)", text)
    assert named
    for module, members in named:
        has = vars(importlib.import_module(module))
        assert [name for name in members.split(", ") if name not in has] == [], module


def test_the_glossary_is_sorted_and_says_each_word_once():
    text = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    words = re.search(r"```\{glossary\}\n(.*?)```", text, re.DOTALL)[1].splitlines()
    terms = [line for line in words if line and not line.startswith(" ")]
    assert terms == sorted(set(terms), key=str.casefold)


def test_the_guide_s_label_function_works_and_the_files_it_names_are_there():
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1]
    made = {}
    exec(textwrap.dedent(example), made)  # what a newcomer would paste
    synsets = datasets.TINY_SYNSETS.read_text(encoding="utf-8").split()
    for tree in (
        labels.tree_of_taxonomy(taxonomy.shipped()),
        labels.tree_of_taxonomy(taxonomy.read(species_drawing.SPECIES)),  # what its run is on
        labels.tree_of_cuts(synsets, "balanced"),
    ):
        function = made["KINDS"]["ending"].make(Given([], tree, None, 0, None))
        last = [function.classes[row] for row in function.indices[:, 0]]
        assert last == [leaf[-1] for leaf in tree.leaves]
        assert function.num_classes > 5, "one class teaches nothing"
    for path in re.findall(r"`((?:lib|tests|notebooks|book|scripts)/[\w/.-]+\.\w+)`", guide):
        assert (ROOT / path).exists() or path.endswith("/ending.py"), path
    kinds = (ROOT / "tests/labels/test_specification.py").read_text(encoding="utf-8")
    assert all(word in kinds for word in ("\nCHANCE = [", "\nFIXED = [", "\ndef plain():"))


def test_the_citation_is_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    page = (ROOT / "book/references.md").read_text(encoding="utf-8")
    entry = re.search(r"```bibtex\n(.*?)```", page, re.DOTALL)[1]
    told = {name: value.strip("{}") for name, value in re.findall(r"(\w+) += \{(.*)\},", entry)}
    assert told["title"] == citation["title"]
    assert [told["author"]] == [author["name"] for author in citation["authors"]]
    (paper,) = citation["references"]
    arxiv = paper["url"].rpartition("/")[2]
    assert told["note"] == f"Version {version}; reproduces arXiv {arxiv}"
    assert told["year"] == str(yaml.safe_load((ROOT / "_config.yml").read_text())["copyright"])
    bibliography = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    of_paper = next(e for e in bibliography.split("\n@") if arxiv in e and paper["title"] in e)
    names = [author["family-names"] for author in paper["authors"]]
    assert all(name in of_paper for name in names) and str(paper["year"]) in of_paper
