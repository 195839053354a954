"""The language of the book: spelling in its sources, the house's style on its built pages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import ROOT

from granularity.pages import summary
from granularity.planning import sizes

SITE = ROOT / "_build" / "html"
SOURCES = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").rglob("*.ipynb")]
SOURCES += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
SOURCES += [ROOT / "book/claims.yml", *(ROOT / "lib/granularity").rglob("*.py")]

# What no page says, and what it says instead.
FORBIDDEN = {
    r"0\.000 ?±|± ?0\.0+(?![0-9])": "0%, or < 0.1%",
    r"(?<![0-9])[-−]0\.0+(?![0-9])": "0.0, without a sign",
    r"\([-][0-9.]+ to|to [-][0-9.]+\)": "a true minus sign",
    r"\b(rank:depth|cluster-free:|foreign_embedding)": "words, not the names of the code",
    r"in our hands|[wW]hole story|half of the story": "outcome reproduced, explanation in part",
    r"first arm|second arm": "Experiment A, Experiment B",
    r"[Pp]ublished runs": "our runs",
    r"images of a class|neurons an output|seeds a setting": "per class, per output",
    r"one label an image": "instance labels",
    r"nobody won|own outputs": "the field's terms",
}


@pytest.fixture(scope="module")
def texts():
    """The words of every built page without its code, by name."""
    if not (SITE / "index.html").exists():
        pytest.skip("no book was built here: make book")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        names = [name for name in sizes.contents() if name not in ("book/api", "book/glossary")]
    found = {}
    for name in names:
        page = BeautifulSoup((SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        article = page.find("article")
        for part in article.find_all(["pre", "code", "script", "svg", "style"]):
            part.decompose()
        found[name] = article.get_text(" ", strip=True)
    return found


def test_words_are_spelt_right():
    command = ["codespell", "--toml", str(ROOT / "pyproject.toml"), *map(str, SOURCES)]
    found = subprocess.run(
        [Path(sys.executable).with_name("codespell"), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_page_says_what_the_house_does_not(texts, pattern):
    found = [
        f"{name}: …{text[max(0, hit.start() - 40) : hit.end() + 20]}…"
        for name, text in texts.items()
        if not name.endswith("faults")  # messages as they were
        for hit in re.finditer(pattern, text)
    ]
    assert found == [], f"write {FORBIDDEN[pattern]}"


def test_answers_are_short_and_stand_first(texts):
    answers = {}
    for name, text in texts.items():
        if "In short." in text:
            assert text.index("In short.") < 260, f"{name}: the answer comes late"
            answers[name] = text
    assert len(answers) > 12
    for name in answers:
        page = BeautifulSoup((SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        (lead,) = [p for p in page.find_all("p") if p.get_text().startswith("In short.")]
        summary.in_short(lead.get_text(" ", strip=True).removeprefix("In short."))


def test_the_first_figure_s_networks_are_those_of_the_numbers_under_it():
    """The numbers are of networks that were not finetuned, and so is the drawing."""
    drawing = (ROOT / "book/images/coarse-and-fine.svg").read_text(encoding="utf-8")
    assert "finetuned" not in drawing
    home = json.loads((ROOT / "notebooks/index.ipynb").read_text(encoding="utf-8"))
    (cell,) = [c for c in home["cells"] if "SVG(filename" in "".join(c["source"])]
    assert "neither is finetuned" in cell["metadata"]["mystnb"]["figure"]["caption"]


def test_an_arm_is_a_condition_and_nothing_else():
    words = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    arm = re.search(r"\narm\n(.*?)\n\n", words, re.DOTALL)[1]
    assert "condition" in arm and "experiment" not in arm


def test_old_addresses_lead_to_pages_that_are_there(texts):
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    redirects = settings["sphinx"]["config"]["redirects"]
    assert len(redirects) >= 4
    for old, new in redirects.items():
        page = (SITE / f"{old}.html").read_text(encoding="utf-8")
        assert (SITE / f"{old}.html").with_name(new).is_file(), old
        assert f'location.replace("{new}" + location.hash)' in page
        assert 'lang="en"' in page and "<title>" in page
        assert old not in texts
