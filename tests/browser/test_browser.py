"""The built book in a browser: light and dark, on a desk and on a phone, served and from a folder.

`look.mjs` opens every page in the system's Chromium and lists what is wrong. Before it judges the
book it must find a planted fault of every kind, on its page and nowhere else. Skips, visibly, where
the browser, Node or the two packages are missing: `npm ci --prefix tests/browser`.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from granularity import theory
from granularity.figures import house_style
from granularity.hierarchies import taxonomy, wordnet
from granularity.pages import explorers
from granularity.planning import sizes

sys.path.insert(0, str(ROOT / "scripts"))
import pages

HERE = Path(__file__).parent
SITE = ROOT / "_build" / "html"
REPORTS = ROOT / "_build" / "browser"
MODES = ["desktop-light", "desktop-dark", "phone-light", "phone-dark", "folder"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


pytestmark = pytest.mark.browser


def node():
    """The major version of Node; 0 where there is none."""
    if not shutil.which("node"):
        return 0
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return int(told.stdout.lstrip("v").partition(".")[0] or 0)


@pytest.fixture(scope="module")
def look():
    """The look at a site: its report."""
    packages = (HERE / "node_modules" / "axe-core").exists()
    there = {"Node 20 or newer": node() >= 20, "Chromium": CHROMIUM, "its packages": packages}
    missing = [name for name, found in there.items() if not found]
    if missing:
        pytest.skip(
            f"the browser's check needs {', '.join(missing)}: npm ci --prefix tests/browser"
        )

    return lambda *words: json.loads(made("look.mjs", *words).read_text(encoding="utf-8"))


def made(program, site, file, *words):
    """The file that a program of this folder makes of a site; fails with what it printed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    ended = subprocess.run(
        ["node", HERE / program, site, file, *words],
        env=os.environ | {"CHROMIUM": CHROMIUM},
        capture_output=True,
        text=True,
        check=False,
    )
    assert file.exists(), ended.stdout + ended.stderr
    return file


# ------------------------------------------------------------------------------- planted faults

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>body {{ margin: 1rem; color: #222; background: #fff; overflow-wrap: anywhere }}
@media (prefers-color-scheme: dark) {{ body {{ color: #eee; background: #111 }} }}
a {{ color: inherit }} :focus-visible {{ outline: 2px solid }}</style></head>
<body><main><article><h1>{name}</h1>{body}</article></main></body></html>"""
PICTURE = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
# Three ways of looking show every kind of fault, and the book itself is seen in all five.
ALL, LOOKED_AT = {"desktop-light", "phone-dark", "folder"}, {"desktop-light", "phone-dark"}
DARK = PHONE = {"phone-dark"}
FOREIGN = '<script src="https://example.org/x.js"></script>'
SEARCH = """<p><label>Find <input type="search" {more}></label> <span id="said"></span></p><script>
const input = document.querySelector("input"), said = document.querySelector("#said");
input.addEventListener("{event}", () => {{ const found = document.createElement("{element}");
found.textContent = "found"; found.onclick = () => said.append(" opened"); said.append(found) }})
</script>"""
WORKS = {"more": "", "event": "input", "element": "button"}
TABLE = f'<table style="white-space: nowrap"><tr>{"<td>wwwwwwwwwwwwwww</td>" * 15}</tr></table>'

# A fault's name → its kind, what the page's body holds, and in which modes it must be seen.
PLANTED = {
    "a script that throws": ("script", "<script>nothing.there()</script>", ALL),
    "an error in the console": ("console", "<script>console.error('oh')</script>", ALL),
    "a script from another host": ("foreign", FOREIGN, ALL),
    "a font from another host": (
        "foreign",
        "<style>@font-face { font-family: x; src: url(https://example.org/x.woff2) }</style>"
        '<p style="font-family: x">text</p>',
        ALL,
    ),
    "a script that is not there": ("missing", '<script src="gone.js"></script>', ALL),
    "a link to no page": ("link", '<a href="gone.html">there</a>', {"desktop-light"}),
    "a link to no place of a page": ("anchor", '<a href="whole.html#x">t</a>', {"desktop-light"}),
    "an image that is not there": ("image", '<img src="gone.svg" alt="A bird.">', ALL),
    "an image without alternative text": ("alt", '<img src="p.svg" alt="">', ALL),
    "an image named by its file": ("alt", '<img src="p.svg" alt="p.svg">', ALL),
    "a drawing without a name": ("alt", "<svg width='9' height='9'></svg>", ALL),
    "a page wider than a phone": ("wide", '<p style="width: 600px">text</p>', PHONE),
    "a table that is cut off": ("wide", f'<div style="overflow: hidden">{TABLE}</div>', ALL),
    "a formula left as source": ("maths", '<span class="math">\\(x^2\\)</span>', ALL),
    "a formula in dollars": ("maths", "<p>so $x = \\alpha$ holds</p>", ALL),
    "a formula that KaTeX refused": (
        "maths",
        '<span class="math"><span class="katex"><b class="katex-error">x^</b></span></span>',
        ALL,
    ),
    "a heading that skips a level": ("headings", "<h3>deep</h3>", ALL),
    "two elements of one name": ("id", '<p id="twice">a</p><p id="twice">b</p>', ALL),
    "two titles": ("headings", "<h1>again</h1>", ALL),
    "pale text": ("axe", '<p style="color: #999; background: #fff">text</p>', LOOKED_AT),
    "text that is dark on dark": ("axe", '<p style="color: #333">text</p>', DARK),
    "a button without a name": ("axe", "<button></button>", LOOKED_AT),
    "a search out of Tab's reach": (
        "keyboard",
        SEARCH.format(**WORKS | {"more": 'tabindex="-1"'}),
        LOOKED_AT,
    ),
    "a search that hides the focus": (
        "keyboard",
        SEARCH.format(**WORKS | {"more": 'style="outline: none"'}),
        LOOKED_AT,
    ),
    "a search for the mouse alone": (
        "keyboard",
        SEARCH.format(**WORKS | {"event": "click"}),
        LOOKED_AT,
    ),
    "results for the mouse alone": (
        "keyboard",
        SEARCH.format(**WORKS | {"element": "span"}),
        LOOKED_AT,
    ),
    "a page of more than a megabyte": ("heavy", f"<!--{'x' * 1_100_000}-->", {"desktop-light"}),
}
WHOLE = (
    '<h2 id="here">Here</h2><p><a href="#here">here</a> <img src="p.svg" alt="A square."></p>'
    f'<div style="overflow-x: auto" tabindex="0">{TABLE}</div>'
    '<span class="math"><span class="katex">x</span></span><p>It costs $5 or $6.</p>'
) + SEARCH.format(**WORKS)


def address(name):
    return f"{name.replace(' ', '-')}.html"


@pytest.fixture(scope="module")
def planted(look, tmp_path_factory):
    """What is found in a site with a whole page and a page for each planted fault."""
    site = tmp_path_factory.mktemp("site")
    (site / "p.svg").write_text(PICTURE)
    bodies = {name: body for name, (_, body, _) in PLANTED.items()} | {"whole": WHOLE}
    for name, body in bodies.items():
        page = PAGE.format(name=name, body=body)
        (site / address(name)).write_text(page, encoding="utf-8")
    return look(site, site.parent / "report.json", "--modes", "desktop-light,phone-dark,folder")


@pytest.mark.fault("a built page with {name}", "named, with the page and the screens that show it")
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(planted, name):
    kind, _, modes = PLANTED[name]
    found = [fault for fault in planted["faults"] if fault["page"] == address(name)]
    assert {fault["mode"] for fault in found if fault["kind"] == kind} == modes


def test_a_whole_page_has_no_fault(planted):
    assert [fault for fault in planted["faults"] if fault["page"] == address("whole")] == []


def test_no_page_has_other_faults_than_its_own(planted):
    kinds = {address(name): kind for name, (kind, _, _) in PLANTED.items()}
    found = {(fault["page"], fault["kind"]) for fault in planted["faults"]}
    others = {(page, kind) for page, kind in found if kind != kinds.get(page)}
    # axe has an opinion of some of these faults too, and an image that is not there is missing.
    seconded = {(address(name), "axe") for name in PLANTED}
    assert others - seconded == {(address("an image that is not there"), "missing")}


# ------------------------------------------------------------------------- the explorer's answers


def test_the_explorer_of_the_levels_says_what_the_library_says(look, tmp_path):
    leaves = wordnet.read_list("imagenet21k")
    program = "".join(
        (ROOT / "book/_static" / name).read_text("utf-8") for name in ("explorer.js", "levels.js")
    )
    asked = ["n02113023", "n03792782", *random.Random(1).sample(leaves, 10)]
    element = f"<h2>Explorer</h2>{explorers.of_levels(leaves, asked[:1], program)}"
    (tmp_path / "levels.html").write_text(PAGE.format(name="levels", body=element), "utf-8")
    assert look(tmp_path, tmp_path / "report.json", "--modes", "phone-dark")["faults"] == []
    answers = made("explore.mjs", tmp_path, tmp_path / "answers.json", "levels.html", *asked)

    by_level, names = wordnet.levels(leaves, 12), wordnet.nouns().names
    sizes = [Counter(label for labels in level for label in labels) for level in by_level]
    for leaf, found in json.loads(answers.read_text()).items():
        climbed = [level[leaves.index(leaf)] for level in by_level]
        expected = [
            [f"{level}", names[label].replace("_", " "), f"{sizes[level][label]:,}"]
            for level, labels in enumerate(climbed)
            for label in labels
        ]
        assert found["title"] == f"{names[leaf].replace('_', ' ')} {leaf}"
        assert sorted(found["table"]) == sorted(expected)
        assert found["focused"] == "ex-title"  # where the reader goes on from
        label = re.search(r"(n\d{8}), class of level 2", found["heading"])[1]
        assert label in climbed[2]
        inside = [leaf for leaf, labels in zip(leaves, by_level[2], strict=True) if label in labels]
        assert sorted(found["members"]) == inside


def program(*names):
    return "".join((ROOT / "book/_static" / name).read_text("utf-8") for name in names)


ROBIN, TROUT, CORGI, PUG = "n01558993", "n02537085", "n02113023", "n02110958"
SMALL = {"d": 16, "k": 2, "width": 4, "steps": 20, "batch_size": 8, "logged": 4}
DIALS = {"k": [2, 3], "opposing_amplitude": [0.1, 0.2, 0.3], "strong_noise": [0.05, 0.5]}


@pytest.fixture(scope="module")
def of_explorers(look, tmp_path_factory):
    """A site of the three explorers, its faults, and what they answer."""
    site = tmp_path_factory.mktemp("explorers")
    species = taxonomy.shipped()
    colours = dict.fromkeys(species.classes("supercategory"), "#666")
    leaves = wordnet.read_list("imagenet21k")
    elements = {
        "levels": explorers.of_levels(leaves, [CORGI], program("explorer.js", "levels.js")),
        "taxonomy": explorers.of_taxonomy(species, colours, program("explorer.js", "taxonomy.js")),
        "theory": explorers.of_theory(
            theory.Setting(**SMALL),
            DIALS,
            house_style.COLOURS,
            program("explorer.js", "theory_model.js", "theory.js"),
            tests=20,
        ),
    }
    for name, element in elements.items():
        page = PAGE.format(name=name, body=f"<h2>Explorer</h2>{element}")
        (site / f"{name}.html").write_text(page, "utf-8")
    mine = site / "mine.txt"
    mine.write_text(f"{CORGI}\nn02084071 dog\nrabbit\n\nn99999999\n{CORGI}\nn04524313,{ROBIN}\n")
    pairs = [f"{CORGI},{PUG}", f"{ROBIN},{TROUT}", "n07753592,n12352287"]
    answers = made("states.mjs", site, site.parent / "answers.json", mine, *pairs)
    states = [
        *("levels.html", f"levels.html#leaf={CORGI}", f"levels.html#leaf={ROBIN}&with={TROUT}"),
        *("levels.html#labels=mine", "levels.html#level=9", "levels.html#leaf=&with="),
        *("taxonomy.html", "taxonomy.html#supercategory=Birds", "taxonomy.html#taxon=Fungi"),
        *("theory.html", "theory.html#k=2"),
    ]
    seen = site.parent / "report.json"
    report = look(site, seen, "--modes", "desktop-light,phone-dark", *states)
    return report["faults"], json.loads(answers.read_text("utf-8"))


def test_explorers_have_no_fault(of_explorers):
    assert of_explorers[0] == []


def test_no_sense_is_picked_for_the_reader(of_explorers):
    _, found = of_explorers
    assert found["banana"]["hash"] == ""
    assert "2 of just this name. Choose one." in found["banana"]["status"]
    firsts = found["banana"]["found"][:2]
    assert [re.search(r"n\d{8}", text)[0] for text in firsts] == ["n12352287", "n07753592"]
    assert found["banana"]["focused"] == firsts[0]
    assert found["chosen"] == ["#leaf=n07753592", "banana n07753592"]
    assert found["old"] is False


def test_a_state_stands_in_the_address(of_explorers):
    _, found = of_explorers
    corgi = [f"#leaf={CORGI}", f"Pembroke {CORGI}"]
    assert found["only"] == found["forth"] == found["again"] == corgi
    assert found["back"] == [*found["chosen"], ""]
    assert found["unknown"] == "This page has nothing for #leaf=n00000001."
    assert found["picked"] == [f"#leaf={CORGI}&with={PUG}", "Pembroke and pug"]
    assert found["birds"][0] == "#supercategory=Birds"
    assert "Latin" in found["latin"]
    assert "Birds" in found["latin"]
    assert "Turdus migratorius" in found["robin"] and "American robin" in found["robin"]
    assert any("Carcharhinidae" in text for text in found["shark"])
    assert re.fullmatch(r"#taxon=(Animalia|Plantae)/[\w/]+/Ammophila", found["taxon"][0])
    assert found["taxonAgain"] == found["taxon"]
    assert found["taxonBack"] == found["birds"]


def test_two_leaves_meet_where_the_library_says(of_explorers):
    leaves = wordnet.read_list("imagenet21k")
    by_level, names = wordnet.levels(leaves, 12), wordnet.nouns().names
    for pair, found in of_explorers[1]["pairs"].items():
        one, other = (leaves.index(leaf) for leaf in pair.split(","))
        shared = [level[one] & level[other] for level in by_level]
        assert found["shared"] == [len(some) for some in shared]
        first = next((level for level, some in enumerate(shared) if some), None)
        if first is None:
            assert "They share no class at any level from 0 to 12." in found["text"]
        else:
            told = re.search(r"They first share a class at level (\d+): ([^.]+)\.", found["text"])
            assert int(told[1]) == first
            wanted = {names[label].replace("_", " ") for label in shared[first]}
            assert set(told[2].split(", ")) == wanted
    apart = of_explorers[1]["pairs"][f"{ROBIN},{TROUT}"]["text"]
    assert "Both come to vertebrate, but robin at level 5 and trout at level 4" in apart


@pytest.mark.parametrize("how", ["pasted", "file"])
def test_an_own_list_is_labelled_as_the_library_labels_it(of_explorers, how):
    found = of_explorers[1][how]
    mine, names = [CORGI, "n02084071", "n04524313", ROBIN], wordnet.nouns().names
    expected = [
        f"{synset},{names[synset]},{level},{label},{names[label]}".replace("_", " ")
        for level, sets in enumerate(wordnet.levels(mine, 12))
        for synset, labels in zip(mine, sets, strict=True)
        for label in labels
    ]
    head, *rows = found["csv"].splitlines()
    assert (found["name"], head) == ("labels.csv", "synset,name,level,label,label_name")
    assert sorted(rows) == sorted(expected)
    left = f"Left out, 3: rabbit (line 3), n99999999 (line 5), {CORGI} again (line 6)."
    assert found["said"] == f"4 synsets labelled. {left}"


def test_dials_of_the_theory_stand_in_the_address(of_explorers):
    _, found = of_explorers
    assert found["invited"]
    assert found["theory"]["outputs"] == ["2", "0.3", "0.05", "20"]
    assert found["theory"]["title"].startswith("Hard sample 3 of 20")
    assert "After 20 steps, of 20 hard samples wrong" in found["theory"]["said"]
    assert found["moved"][0] == "#k=2&alpha=0.2&sigma=0.05&step=20&seed=0&sample=3"
    assert found["moved"][1] == ["2", "0.2", "0.05", "20"]
    assert found["next"].startswith("Hard sample 4 of 20")
    before = "#k=2&alpha=0.3&sigma=0.05&step=20&sample=3"
    assert found["theoryBack"] == [before, found["theory"]["outputs"], found["theory"]["title"]]


# ---------------------------------------------------------------------------------- the book


@pytest.fixture(scope="module")
def site(look):
    if not (SITE / "index.html").exists():
        pytest.skip("no book was built here: make book")
    return SITE


@pytest.mark.parametrize("mode", MODES)
def test_every_page_of_the_book(look, site, mode):
    report = look(site, REPORTS / f"{mode}.json", "--modes", mode)
    told = "\n".join("{page}: {kind}: {what}".format(**fault) for fault in report["faults"])
    assert not report["faults"], told


def test_the_search_finds_pages_served_and_from_a_folder(site):
    made("search.mjs", site, REPORTS / "search.json", "hypernym", "supercategory", "zzzqq")
    found = json.loads((REPORTS / "search.json").read_text(encoding="utf-8"))
    for how in ("served", "folder"):
        assert "book/chapters/imagenet/hierarchy.html" in found["hypernym"][how]
        assert "book/chapters/inaturalist/taxonomy.html" in found["supercategory"][how]
        assert found["zzzqq"][how] == []
        assert all((site / page).is_file() for word in found.values() for page in word[how])


def test_what_is_asked_for_most_finds_its_page_first(site):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    first = config["sphinx"]["config"]["search_first"]
    assert {"granularity", "hard samples", "level 9", "instance labels"} <= set(first)
    made("search.mjs", site, REPORTS / "first.json", *first)
    found = json.loads((REPORTS / "first.json").read_text(encoding="utf-8"))
    for word, page in first.items():
        for how in ("served", "folder"):
            assert found[word][how][0] == f"{page}.html", (word, how)
            assert "book/api.html" not in found[word][how]


def test_every_page_of_the_book_is_printed(site, monkeypatch):
    monkeypatch.chdir(ROOT)
    pdf = made("print.mjs", site, REPORTS / "book.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", pdf)) > 2 * len(sizes.contents())
    assert b"http://127.0.0.1" not in pdf


def test_a_printed_book_lies_beside_its_pages_and_each_leads_to_it(look, tmp_path):
    link = '<a class="internal" href="{0}.html">{0}</a> '
    links = link.format("index") + link.format("other")
    contents = f'<div class="bd-sidebar-primary"><nav>{links}</nav></div>'
    (tmp_path / "site" / "book" / "chapters").mkdir(parents=True)
    home = '<meta http-equiv="Refresh" content="0; url=book/chapters/index.html" />'
    (tmp_path / "site" / "index.html").write_text(home)
    for name in ("index", "other"):
        body = contents + pages.PDF + "<script>katex_options = {}</script>"
        page = PAGE.format(name=name, body=body)
        (tmp_path / "site" / "book" / "chapters" / f"{name}.html").write_text(page)
    made("print.mjs", tmp_path / "site", tmp_path / "book.pdf", "--publish")
    report = look(tmp_path / "site", tmp_path / "report.json", "--modes", "desktop-light")
    assert [fault for fault in report["faults"] if fault["kind"] == "link"] == []
    for name in ("index", "other"):
        page = (tmp_path / "site" / "book" / "chapters" / f"{name}.html").read_text()
        assert '<a href="../../book.pdf">' in page
        assert pages.PDF not in page
    copy = (tmp_path / "site" / "book.pdf").read_bytes()
    assert copy == (tmp_path / "book.pdf").read_bytes()


# ------------------------------------------------------------------------------------- figures

DRAWN = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 358 200" width="358pt">
<g id="figure_1"><g id="axes_1"><g id="patch_1"><path d="M 0 0 H 300 V 150 H 0 z"/></g>
<g id="matplotlib.axis_1">{ticks}{label}</g>{inside}</g></g></svg>"""
TICKS = "".join(
    f'<g id="xtick_{n}"><g id="text_{n}"><!-- {n} -->'
    f'<g transform="translate({60 * n} 170) scale(0.12 -0.12)">'
    '<path d="M 0 0 H 60 V 70 z"/></g></g></g>'
    for n in (1, 2, 3)
)
LABEL = (
    TICKS.partition("</g></g></g>")[0].partition(">")[2].replace("text_1", "text_9") + "</g></g>"
)
LINE = '<g id="line2d_9"><path d="M 9 9 H 90"/></g>'
SPOILT = {  # how a drawing is spoilt, and what is to be said of it
    "nothing": ({}, []),
    "no label": ({"label": ""}, ["numbers without a label"]),
    "nothing drawn": ({"inside": ""}, ["nothing drawn"]),
    "small letters": ({"ticks": TICKS.replace("0.12 -0.12", "0.08 -0.08")}, ["small letters"] * 3),
    "one word over another": (
        {"ticks": TICKS.replace("translate(120", "translate(62")},
        ["over each other"],
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_wrong_in_a_drawing_is_found(look, tmp_path, spoilt):
    changes, wanted = SPOILT[spoilt]
    parts = {"ticks": TICKS, "label": LABEL.replace("(60 170)", "(60 190)"), "inside": LINE}
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images/a.svg").write_text(DRAWN.format(**parts | changes), "utf-8")
    report = json.loads(made("figures.mjs", tmp_path, tmp_path / "report.json").read_text())
    assert [found["kind"] for found in report["faults"]] == wanted, report["faults"]


def test_every_drawing_of_the_book_is_legible_on_a_phone(look):
    if not (SITE / "_images").exists():
        pytest.skip("no book was built here: make book")
    report = json.loads(made("figures.mjs", SITE, REPORTS / "figures.json").read_text())
    assert report["files"] > 30
    assert report["faults"] == []
