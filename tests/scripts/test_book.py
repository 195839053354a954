"""The built book: every page of its table of contents was run to its end and is there.

Checks the book in `_build/html`; skips, visibly, where none was built.
"""

import json
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from granularity.planning import sizes

sys.path.insert(0, str(ROOT / "scripts"))
import book
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
        return sizes.contents()


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


# ---------------------------------------------------------------------- what a page must not show


def cell(*outputs, **metadata):
    """A code cell that ran."""
    return {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": metadata,
        "outputs": list(outputs),
        "source": "",
    }


def data(**kinds):
    return {
        "output_type": "display_data",
        "data": {k.replace("_", "/"): v for k, v in kinds.items()},
    }


def table(rows=29, columns=2, **options):
    """What pandas itself shows of a table under some options."""
    frame = pd.DataFrame({f"c{number}": range(rows) for number in range(columns)})
    pairs = [part for name, value in options.items() for part in (f"display.{name}", value)]
    with pd.option_context("display.max_rows", 60, *pairs):
        return data(text_html=frame._repr_html_(), text_plain=repr(frame))


def series(**options):
    pairs = [part for name, value in options.items() for part in (f"display.{name}", value)]
    with pd.option_context("display.max_rows", 60, *pairs):
        return data(text_plain=repr(pd.Series(range(29))))


def stream(name, text):
    return {"output_type": "stream", "name": name, "text": text}


CAPTION = {"mystnb": {"figure": {"caption": "A line."}}}
WARNED = "/a/b.py:3: UserWarning: findfont: Font family 'No Such Font' not found.\n  warn(x)\n"
HALF = "<table><tbody><tr><td>1</td></tr></tbody></table>\n<p>29 rows × 1 columns</p>"
SHOWN_WRONG = {
    "a figure's caption and no image": (
        cell(data(text_plain="<Figure size 640x480 with 1 Axes>"), **CAPTION),
        "caption and shows no image",
    ),
    "a figure's caption and no output": (cell(**CAPTION), "caption and shows no image"),
    "a figure's caption, its output removed": (
        cell(data(image_png="x"), tags=["remove-output"], **CAPTION),
        "caption and shows no image",
    ),
    "18 of a table's 29 rows": (cell(table(max_rows=18)), "a row of dots"),
    "18 of 29 rows, and no line that says so": (
        cell(table(max_rows=18, show_dimensions=False)),
        "a row of dots",
    ),
    "4 of a table's 30 columns": (
        cell(table(columns=30, max_columns=4, show_dimensions=False)),
        "a column of dots",
    ),
    "1 of a table's 29 rows, without dots": (cell(data(text_html=HALF)), "1 of 29 rows"),
    "8 of a series' 29 values": (cell(series(max_rows=8)), "a line of dots"),
    "a warning": (cell(stream("stderr", WARNED)), "shows a warning: /a/b.py:3: UserWarning"),
    "a message of a library": (
        cell(stream("stderr", "findfont: Font family not found\n")),
        "shows a warning: findfont",
    ),
    "a warning among what is printed": (
        cell(stream("stdout", f"a result\n{WARNED}")),
        "shows a warning: /a/b.py:3: UserWarning",
    ),
}
SHOWN_RIGHT = {
    "a figure": cell(data(image_svg="<svg/>"), **CAPTION),
    "a figure in HTML": cell(data(text_html="<svg></svg>"), **CAPTION),
    "a whole table": cell(table()),
    "a whole table that says its size": cell(table(show_dimensions=True)),
    "a whole series": cell(series()),
    "printed words": cell(stream("stdout", "a Warning: no\n...and so on\n")),
    "words about rows": cell(data(text_html="<p>29 rows × 2 columns</p>", text_plain="x")),
    "a cell that no page shows": cell(stream("stderr", WARNED), tags=["remove-cell"]),
    "a warning that no page shows": cell(stream("stderr", WARNED), tags=["remove-stderr"]),
}


def written(folder, one):
    path = folder / "chapter.ipynb"
    path.write_text(json.dumps({"cells": [cell(), one]}))
    return path


@pytest.mark.fault("a chapter that shows {case}", "not published: the build fails, naming the cell")
@pytest.mark.parametrize("case", SHOWN_WRONG)
def test_a_chapter_that_shows_less_than_it_should_is_refused(tmp_path, case):
    shown, told = SHOWN_WRONG[case]
    with pytest.raises(ValueError, match="code cell 2 ") as caught:
        book.check_executed(written(tmp_path, shown))
    assert told in str(caught.value)


@pytest.mark.parametrize("case", SHOWN_RIGHT)
def test_a_chapter_that_shows_what_it_should_passes(tmp_path, case):
    book.check_executed(written(tmp_path, SHOWN_RIGHT[case]))


@given(rows=st.integers(1, 80), most=st.integers(2, 100), levels=st.integers(1, 3))
def test_a_table_is_refused_exactly_where_pandas_leaves_rows_out(rows, most, levels):
    frame = pd.DataFrame({f"c{number}": range(rows) for number in range(5)})
    frame = frame.set_index([f"c{number}" for number in range(levels)]) if levels > 1 else frame
    with pd.option_context("display.max_rows", most, "display.min_rows", None):
        html = frame._repr_html_()
    assert bool(book.rows_missing(html)) == (rows > most)
