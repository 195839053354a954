"""The figures that are files are those that the published runs and the claims' file give."""

import re
import sys

import numpy as np
import pytest
from conftest import ROOT

from granularity.figures import overview
from granularity.records import tables

sys.path.insert(0, str(ROOT / "scripts"))
import make_story

NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")


def parts(svg):
    """A drawing's text without its numbers, and the numbers."""
    text = re.sub(r'<svg [^>]*>|(id|href)="[^"]*"|url\([^)]*\)', "", svg)
    return NUMBER.sub("#", text), np.array([float(found) for found in NUMBER.findall(text)])


def same(one, other):
    """Whether two drawings differ by no more than rounding: a hundredth of a point."""
    (words, numbers), (others, also) = parts(one), parts(other)
    return words == others and np.allclose(numbers, also, rtol=0, atol=0.01)


@pytest.fixture(scope="module")
def committed():
    return make_story.PICTURE.read_text(encoding="utf-8")


def test_it_is_what_the_published_records_give(committed, tmp_path):
    make_story.draw(tmp_path / "story.svg")
    assert same((tmp_path / "story.svg").read_text(encoding="utf-8"), committed), (
        "the records have changed: python scripts/make_story.py"
    )


def test_table_1_is_drawn_from_the_claims_file(tmp_path):
    make_story.draw_table_1(tmp_path / "table.svg")
    stored = make_story.TABLE_1.read_text(encoding="utf-8")
    assert same((tmp_path / "table.svg").read_text(encoding="utf-8"), stored), (
        "Table 1 has changed: python scripts/make_story.py"
    )


def test_other_records_give_another(committed, tmp_path, monkeypatch):
    runs = tables.table(make_story.RUNS)
    row = runs.index[(runs["labels"] == "fine") & (runs["k"] == 4)][0]
    runs.loc[row, "hard_error"] += 0.05
    monkeypatch.setattr(tables, "table", lambda path: runs)
    make_story.draw(tmp_path / "story.svg")
    assert not same((tmp_path / "story.svg").read_text(encoding="utf-8"), committed)


def test_it_holds_the_means_of_the_runs():
    runs = tables.table(make_story.RUNS)
    learned, wrong = overview.draw(runs).axes
    bars = sorted(
        bar.get_height() for box in learned.containers for bar in getattr(box, "patches", ())
    )
    at_8 = runs[runs["k"] == 8].groupby("labels")[["response_common", "response_fine"]].mean()
    assert np.allclose(bars, sorted(at_8.to_numpy().flat))
    lines = [box.lines[0] for box in wrong.containers]
    for line, (_, of_labels) in zip(lines, runs.groupby("labels"), strict=True):
        means = of_labels.groupby("k")["hard_error"].mean()
        assert list(line.get_xdata()) == list(means.index)
        assert np.allclose(line.get_ydata(), means)


def test_runs_with_one_kind_of_labels_are_refused():
    runs = tables.table(make_story.RUNS)
    with pytest.raises(ValueError, match="both coarse and fine labels at k = 8"):
        overview.draw(runs[runs["labels"] == "fine"])


def test_the_readme_shows_it_and_says_in_words_what_one_sees():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"!\[(.+?)\]\(book/images/story\.svg\)", readme)
    assert len(found[1]) > 100
    first = (ROOT / "notebooks/theory/coarse_vs_fine.ipynb").read_text(encoding="utf-8")
    assert found[1] in first
    assert "overview.draw(" in first
