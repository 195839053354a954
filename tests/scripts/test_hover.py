"""Marks and words of the glossary explain themselves on a page."""

import sys

import pytest
from conftest import ROOT
from docutils import nodes

from granularity.claims.rules import MARKS

sys.path.insert(0, str(ROOT / "scripts"))
import hover

GLOSSARY = """# Words

```{glossary}
hard sample
  One without its common feature; see {term}`records <record>` and {term}`placebo`.

instance labels
  Every image is a *class*.

run
  A training.
```
"""


@pytest.mark.parametrize(
    ("text", "shown", "told"),
    [
        ("21,843 classes (P).", "21,843 classesP.", [MARKS["P"]]),
        ("as drawn (P1, Figure 4), once", "as drawnP1, Figure 4, once", [MARKS["P1"]]),
        ("ours (O) and a guess (L, O)", "oursO and a guessL, O", [MARKS["O"], None]),
        ("f(P) and (C9), (Perhaps)", "f(P) and (C9), (Perhaps)", []),
    ],
)
def test_a_mark_is_a_superscript_that_says_what_it_means(text, shown, told):
    made = nodes.paragraph("", "", *hover.marked(text))
    if told:
        assert made.astext() == shown
    found = [node["explanation"] for node in made.findall(nodes.abbreviation)]
    assert len(found) == len(told)
    for one, wanted in zip(found, told, strict=True):
        assert one == (wanted or f"{MARKS['L']}; {MARKS['O']}")


def test_a_glossary_is_read_without_its_markup_and_words_of_every_day():
    assert hover.words_of(GLOSSARY) == {
        "hard sample": "One without its common feature; see records and placebo.",
        "instance labels": "Every image is a class.",
    }
    whole = hover.words_of((ROOT / "book/glossary.md").read_text(encoding="utf-8"))
    assert len(whole) > 20 and not {"run", "class"} & set(whole)
    assert not [told for told in whole.values() if "{term}" in told or "`" in told]


def test_the_first_use_of_a_word_leads_to_the_glossary_and_the_second_does_not():
    words = hover.words_of(GLOSSARY)
    link = nodes.reference("", "instance labels", refuri="elsewhere")
    first = nodes.Text("Hard samples, and hard samples again; ")
    paragraph = nodes.paragraph("", "", first, link, nodes.Text(" and instance labels. A run."))
    before = paragraph.astext()
    for text in [*hover.open_texts(paragraph)]:
        hover.linked(text, words, "../glossary.html")
    assert paragraph.astext() == before
    made = [node for node in paragraph.findall(nodes.reference) if node is not link]
    assert [node.astext() for node in made] == ["Hard samples", "instance labels"]
    assert made[0]["refuri"] == "../glossary.html#term-hard-sample"
    assert all(node["classes"] == ["gb-word"] for node in made)
    assert made[1]["reftitle"] == "Every image is a class." and words == {}
