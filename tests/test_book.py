"""The built book: every page of its table of contents was run to its end and is there.

Checks the book in `_build/html`; skips, visibly, where none was built.
"""

import json
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import book
import graph
from pages import figure_tables

SITE = ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def site(request):
    if not (SITE / "index.html").exists():
        pytest.skip("no book was built here: make book")
    return SITE


@pytest.fixture(scope="module")
def contents():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return graph.contents()


def executed(*cells):
    return {
        "cells": [
            {"cell_type": "code", "execution_count": count, "outputs": outputs, "source": ""}
            for count, outputs in cells
        ]
    }


@pytest.mark.fault("a chapter to be published: {told}", "refused, naming the cell")
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (executed((1, []), (None, [])), "code cell 2 was not run"),
        (executed((1, [{"output_type": "error"}])), "code cell 1 raised an error"),
        (executed(), "no code cell"),
    ],
)
def test_an_unexecuted_or_failed_or_killed_chapter_is_refused(tmp_path, content, told):
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=told):
        book.check_executed(path)


def test_an_executed_chapter_passes(tmp_path):
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps(executed((1, []), (2, [{"output_type": "stream"}]))))
    book.check_executed(path)


def test_every_page_of_the_contents_is_there_and_every_chapter_was_run(site, contents):
    book.check_pages(site)
    chapters = [entry for entry in contents if entry.startswith("book/chapters/")]
    assert chapters
    for chapter in chapters:
        book.check_executed(ROOT / f"{chapter}.ipynb")


def test_no_chapter_shows_a_warning(site, contents):
    for chapter in [entry for entry in contents if entry.startswith("book/chapters/")]:
        for cell in json.loads((ROOT / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]:
            shown = [output for output in cell.get("outputs", ()) if "name" in output]
            assert [output for output in shown if output["name"] == "stderr"] == [], chapter


def test_every_built_chapter_is_of_the_size_in_the_stamp(site):
    stamps = list((ROOT / "_build").glob("*.json"))
    assert len(stamps) == 1
    size = json.loads(stamps[0].read_text())["size"]
    for notebook in (ROOT / "book" / "chapters").rglob("*.ipynb"):
        name = notebook.relative_to(ROOT / "book" / "chapters")
        made = ROOT / "runs" / size / "chapters" / name.with_suffix("") / "notebook.ipynb"
        assert made.read_text() == notebook.read_text()


class Page(HTMLParser):
    """Links, ids, images without alternative text, and scripts of a page."""

    def __init__(self, text):
        """Reads the page."""
        super().__init__()
        self.links, self.ids, self.bare, self.foreign = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "img" and not found.get("alt"):
            self.bare.append(found.get("src"))
        loaded = found.get("src") or (found.get("href") if tag == "link" else None)
        if loaded and re.match(r"(https?:)?//", loaded):
            self.foreign.append(loaded)


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_no_link_or_anchor_inside_the_book_is_broken(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                parts.fragment and target in pages and parts.fragment not in pages[target].ids
            ):
                broken.append((path.name, link))
    assert not broken


def test_every_image_has_alternative_text(pages):
    assert not [(path.name, page.bare) for path, page in pages.items() if page.bare]


def test_no_page_loads_anything_from_another_host(pages):
    assert not [(path.name, page.foreign) for path, page in pages.items() if page.foreign]


def test_every_figure_with_numbers_links_them(site, pages, contents):
    for chapter in [entry for entry in contents if entry.startswith("book/chapters/")]:
        links = pages[site / f"{chapter}.html"].links
        linked = {link.rpartition("/")[2] for link in links if link.endswith(".csv")}
        assert linked >= {f"{name}.csv" for name in figure_tables(ROOT / f"{chapter}.ipynb")}


def test_every_chapter_leads_to_its_notebook(site, pages, contents):
    for chapter in [entry for entry in contents if entry.startswith("book/chapters/")]:
        links = pages[site / f"{chapter}.html"].links
        assert any(
            "_downloads/" in link and link.endswith(f"/{chapter.rpartition('/')[2]}.ipynb")
            for link in links
        )


def test_no_page_names_the_machine_that_made_it(site):
    for path in site.rglob("*.html"):
        assert str(ROOT) not in path.read_text(encoding="utf-8"), path
