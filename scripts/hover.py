"""What a reader sees on pointing at a mark or a word: a Sphinx extension, named in `_config.yml`.

- A mark in brackets, as in "21,843 classes (P)", becomes a superscript that says what it means.
- The first use of a word of the glossary on a page leads there, and shows its definition. Words
  of every day that the glossary narrows, as `run`, stay as they are: they would be found in every
  other line.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from granularity.claims.rules import MARKS

GLOSSARY = "book/glossary"
MARK = re.compile(r"(?:^|\s)\(((?:P1|P|L|R|O)(?:, (?:P1|P|L|R|O))*)((?:, [^()]+)?)\)")
# "term", a line of its own, and its definition, indented by two, in the glossary's directive.
ENTRY = re.compile(r"^(\S.*)\n {2}(\S.*)$", re.MULTILINE)
ROLE = re.compile(r"\{\w+\}`([^<`]*?)(?: <[^>]*>)?`|[*`$]")
EVERYDAY = {
    *("cell", "chapter", "claim", "class", "cut", "gate", "leaf", "level", "nested", "null"),
    *("rank", "record", "response", "run", "seed", "size", "source", "target", "toy", "verdict"),
    *("winner", "arm", "granularity", "finetuning", "pretraining", "baseline"),
}
# Nothing is looked for inside these: a link, a heading, code, or what is a mark already.
CLOSED = (
    *(nodes.reference, nodes.title, nodes.literal, nodes.literal_block, nodes.raw, nodes.math),
    *(nodes.abbreviation, nodes.superscript, nodes.term, nodes.field_name, nodes.math_block),
)


def open_texts(within: nodes.Node) -> Iterator[nodes.Text]:
    """The texts of a page in which something may be marked."""
    for text in [*within.findall(nodes.Text)]:
        above, closed = text.parent, False
        while above is not None and not closed:
            closed, above = isinstance(above, CLOSED), above.parent
        if not closed:
            yield text


def marked(text: str) -> list[nodes.Node]:
    """A text whose marks are superscripts; the text alone where it has none."""
    made, end = [], 0
    for found in MARK.finditer(text):
        meaning = "; ".join(MARKS[mark] for mark in found[1].split(", "))
        told = nodes.abbreviation("", f"{found[1]}{found[2]}", explanation=meaning)
        made += [nodes.Text(text[end : found.start()])]
        made += [nodes.superscript("", "", told, classes=["gb-mark"])]
        end = found.end()
    return [*made, nodes.Text(text[end:])]


def mark(app: Sphinx, doctree: nodes.document) -> None:
    """Makes superscripts of a page's marks."""
    for text in open_texts(doctree):
        if len(made := marked(text.astext())) > 1:
            text.parent.replace(text, made)


def words_of(glossary: str) -> dict[str, str]:
    """The words of a glossary's text, less those of every day, with their definitions."""
    body = glossary.partition("```{glossary}\n")[2].partition("```")[0]
    found = {word: ROLE.sub(r"\1", told) for word, told in ENTRY.findall(body)}
    return {word: told for word, told in found.items() if word not in EVERYDAY}


def explain(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Makes links of the first use of each word of the glossary on a page of the book."""
    glossary = Path(app.srcdir) / f"{GLOSSARY}.md"
    own = page.startswith("book/") and page not in (GLOSSARY, "book/api")
    if not own or not glossary.exists():
        return
    words = words_of(glossary.read_text(encoding="utf-8"))
    address = app.builder.get_relative_uri(page, GLOSSARY)
    for paragraph in [*doctree.findall(nodes.paragraph)]:
        if not isinstance(paragraph.parent, nodes.entry):  # a table's
            for text in open_texts(paragraph):
                linked(text, words, address)


def linked(text: nodes.Text, words: dict[str, str], address: str) -> None:
    """Links the words in a text that no text before had, and takes them from `words`."""
    if not words:
        return
    spelled = {word.lower(): word for word in sorted(words, key=len, reverse=True)}
    pattern = rf"\b({'|'.join(map(re.escape, spelled))})s?\b"
    whole, made, end = text.astext(), [], 0
    for found in re.finditer(pattern, whole, re.IGNORECASE):
        word = spelled[found[1].lower()]
        if word in words:  # its first use
            link = {
                "refuri": f"{address}#term-{word.replace(' ', '-')}",
                "reftitle": words.pop(word),
                "classes": ["gb-word"],
            }
            made += [nodes.Text(whole[end : found.start()])]
            made += [nodes.reference("", found[0], internal=True, **link)]
            end = found.end()
    if made:
        text.parent.replace(text, [*made, nodes.Text(whole[end:])])


def setup(app: Sphinx) -> dict:
    """Joins this to a build."""
    app.connect("doctree-read", mark)
    app.connect("doctree-resolved", explain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
