"""What the pages of the book have beside Sphinx's own: a Sphinx extension, named in `_config.yml`.

- Under a figure of a notebook stands one line: its code, its numbers as CSV where its output
  carries them, its picture as SVG, and the command that makes it again with the time that it took.
- At the end of a chapter stand the notebook behind it, for download and, where the repository's
  address is known, for Colab with the lines that install the book there.
- Each page leads to how to cite the book and, where the address is known, to a form for problems,
  and has room for a link to the book as a PDF, which `tests/browser/print.mjs` fills.
- Each page says in its head what it is about, for searches and for cards where its address is
  shared; its foot names the repository, the commit and the commit's date, as far as they are known.
- The search knows what is written, and no code: neither cells nor a page with `no-search` at its
  top, nor the names that such a page documents.
- Icons come as a font alone, not as a large script too.
- Docstrings, written as Markdown's plainest part, become what autodoc reads; signatures are short.

The address is GRANULARITY_REPOSITORY, or git's remote where that is at a public forge; no page
names it where there is none. GRANULARITY_SITE is where the pages will lie on the web: a card shows
a picture by its whole address alone, so without it there is none.
"""

import json
import os
import re
import subprocess
import typing
from html import escape
from pathlib import Path
from urllib.parse import quote, urlsplit

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config

from granularity import surroundings

NEEDLESS = re.compile(
    r'<link rel="preload" as="font"[^>]*>\n?|<script src="[^"]*/fontawesome/[^"]*"></script>\n?'
)
CHAPTERS = "book/chapters/"  # docnames of executed notebooks begin so
REFERENCES, CITE = "book/references.md", "how-to-cite"  # the page that says so, and its label
PDF = "<!-- the book as a PDF -->"
# Forges that anyone can reach, and where each takes reports.
FORGES = {
    "github.com": "issues/new",
    "gitlab.com": "-/issues/new",
    "codeberg.org": "issues/new",
    "bitbucket.org": "issues/new",
}
COMMITS = {"gitlab.com": "-/commit", "bitbucket.org": "commits"}  # "commit" at the others
CARD = "_static/card.png"  # what a card shows: scripts/make_story.py draws it
IN_SHORT = "In short. "  # what begins the answer of a page
LONGEST = 200  # letters of a description: searches and cards show no more


# ------------------------------------------------------------------------------- the address


def normal(remote: str) -> str | None:
    """A git remote at a public forge as a web address; None for any other."""
    found = re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", remote.strip())
    host, path = found.groups() if found else (urlsplit(remote).hostname, urlsplit(remote).path)
    path = path.strip().strip("/").removesuffix(".git")
    return f"https://{host}/{path}" if host in FORGES and path.count("/") else None


def address(folder: Path) -> str | None:
    """Where this repository stands on the web, as far as the environment or git knows."""
    if given := os.environ.get("GRANULARITY_REPOSITORY"):
        return given.rstrip("/").removesuffix(".git")
    command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return normal(told.stdout) if told.returncode == 0 else None


def report_form(repository: str, page: str) -> str:
    """The address of a form for a problem with a page."""
    form = FORGES.get(urlsplit(repository).hostname, "issues/new")
    return f"{repository}/{form}?title={quote(f'Page {page}')}"


def colab(repository: str, notebook: str) -> str | None:
    """Colab's address for a notebook of the repository; it opens those at GitHub only."""
    parts = urlsplit(repository)
    at_github = parts.hostname == "github.com"
    opened = f"https://colab.research.google.com/github{parts.path}/blob/main/{notebook}"
    return opened if at_github else None


def install_lines(repository: str) -> str:
    """What a fresh Colab runs before the notebook's first cell."""
    return f"!git clone -q --depth 1 {repository} book && pip install -q ./book\n%cd book"


# ------------------------------------------------------------------------------ head and foot


def described(doctree: nodes.document) -> str:
    """What a page says in short, or else its first paragraph; cut at a word where it is long."""
    said = [" ".join(p.astext().split()) for p in doctree.findall(nodes.paragraph)]
    answers = [text.removeprefix(IN_SHORT) for text in said if text.startswith(IN_SHORT)]
    text = next(filter(None, [*answers, *said]), "")
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(' ')[0]} …"


def tags(title: str, text: str, project: str, site: str) -> str:
    """What a page's head says of it, for searches and for cards; the card where `site` is known."""
    said = {"description": text} if text else {}
    shared = {"title": title, "type": "article", "site_name": project}
    shared |= {"description": text} if text else {}
    shared |= {"image": f"{site.rstrip('/')}/{CARD}"} if site else {}
    lines = [f'<meta name="{name}" content="{escape(value)}" />' for name, value in said.items()]
    lines += [
        f'<meta property="og:{name}" content="{escape(value)}" />' for name, value in shared.items()
    ]
    return "".join(f"\n    {line}" for line in lines)


def add_tags(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document) -> None:
    """Puts a page's tags into its head."""
    if doctree is not None:
        title = re.sub("<[^>]*>", "", context["title"])
        site = os.environ.get("GRANULARITY_SITE", "")
        context["metatags"] += tags(title, described(doctree), app.config.html_title, site)


def commit_of(folder: Path) -> tuple[str, str] | None:
    """The commit that the repository is at, and its date; None where git does not say."""
    command = ["git", "-C", str(folder), "show", "--no-patch", "--format=%H %cs", "HEAD"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return tuple(told.stdout.split()) if told.returncode == 0 else None


def footer(repository: str | None, commit: tuple[str, str] | None) -> str:
    """Where the book's source is, and which of it this is; "" where neither is known."""
    said = f'<a href="{escape(repository)}">The repository</a>' if repository else ""
    if commit:
        name, date = commit
        words = f"commit {name[:7]}"
        if repository:
            place = COMMITS.get(urlsplit(repository).hostname, "commit")
            words = f'<a href="{escape(repository)}/{place}/{name}">{words}</a>'
        words += f" of {date}"
        said = f"{said}, {words}" if said else words.capitalize()
    return f"<br/>{said}." if said else ""


def missing_jobs(jobs: list[str]) -> str:
    """What every page says at its top where jobs of the book's size have no record."""
    if not jobs:
        return ""
    first, more = ", ".join(jobs[:3]), len(jobs) - 3
    told = f"{first} and {more} more" if more > 0 else first
    return f"Not everything ran: there is no record of {escape(told)}. The pages show the others."


def add_warning(app: Sphinx, config: Config) -> None:
    """Puts the jobs that have no record at the top of every page."""
    told = missing_jobs(json.loads(os.environ.get(surroundings.WITHOUT, "[]")))
    if told:
        config.html_theme_options["announcement"] = told


def add_footer(app: Sphinx, config: Config) -> None:
    """Adds the repository, the commit and its date to what stands at the foot of every page."""
    root = Path(app.srcdir)
    config.html_theme_options["extra_footer"] = config.html_theme_options.get(
        "extra_footer", ""
    ) + footer(address(root), commit_of(root))


# ------------------------------------------------------------------------------------- search


def without_code(doctree: nodes.document) -> nodes.document:
    """The same page without what its code cells hold; what they gave stays."""
    found = doctree.deepcopy()
    for cell in list(found.findall(nodes.container)):
        if "cell_input" in cell["classes"]:
            cell.parent.remove(cell)
    return found


def search_words(app: Sphinx) -> None:
    """Lets the search know pages without their code, and nothing of pages with `no-search`.

    Sphinx leaves out such a page's words alone, and would find it by every name that it documents.
    What `search_first` names a page for finds it before any other.
    """
    index_page = getattr(app.builder, "index_page", None)

    def indexed(page: str, doctree: nodes.document, title: str) -> None:
        if "no-search" in app.env.metadata.get(page, {}):
            return
        words = without_code(doctree)
        first = [word for word, its in app.config.search_first.items() if its == page]
        for entry in words.findall(addnodes.index):  # the glossary has some of them too
            entry["entries"] = [e for e in entry["entries"] if e[1] not in app.config.search_first]
        words += addnodes.index(entries=[("single", word, "", "main", None) for word in first])
        index_page(page, words, title)

    if index_page:
        app.builder.index_page = indexed


# ------------------------------------------------------------------------------------- pages


# What a figure's output carries beside what the page shows, by the ending of the file it goes to.
KEPT = {"csv": "text/csv", "svg": "image/svg+xml"}


def figure_tables(notebook: Path, kind: str = "csv") -> dict[str, str]:
    """The CSV, or the SVG, of a notebook's figures by name, as far as their outputs have it."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found = {}
    for cell in cells:
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        for output in cell.get("outputs", ()):
            text = output.get("data", {}).get(KEPT[kind])
            if name and text:
                found[name] = "".join(text)
    return found


def seconds(notebook: Path) -> float | None:
    """How long an executed notebook took, as papermill noted it."""
    noted = json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
    return noted.get("duration")


def write_tables(app: Sphinx) -> None:
    """Writes what figures carry beside their executed notebook, where Sphinx can take it from."""
    for notebook in (Path(app.srcdir) / CHAPTERS).rglob("*.ipynb"):
        for kind in KEPT:
            for name, text in figure_tables(notebook, kind).items():
                (notebook.parent / f"{name}.{kind}").write_text(text, encoding="utf-8")


def download(document: str, target: str, text: str) -> addnodes.download_reference:
    """A link to a file that goes into the book with the page; `/x` lies below the root."""
    words = {"reftype": "download", "refdomain": "", "refexplicit": True, "refwarn": True}
    link = addnodes.download_reference("", "", refdoc=document, reftarget=target, **words)
    link += nodes.literal("", text, classes=["download"])
    return link


def add_links(app: Sphinx, doctree: nodes.document) -> None:
    """Puts the links of a page into it, before Sphinx collects what it has to copy."""
    document = app.env.docname
    for figure in [*doctree.findall(nodes.figure)]:
        if is_drawn(app, document, figure):
            figure["classes"].append("gb-drawn")
        if line := below(app, document, figure):
            figure += nodes.legend("", nodes.container("", *line, classes=["figure-links"]))
    if ending := closing(app, document):
        last = doctree[-1] if len(doctree) and isinstance(doctree[-1], nodes.section) else doctree
        last += nodes.container("", *ending, classes=["page-end"])


def is_drawn(app: Sphinx, document: str, figure: nodes.figure) -> bool:
    """Whether a chapter's figure is lines and letters alone, so that dark can turn its colours.

    One with pixels, as of photographs, cannot.
    """
    place = (Path(app.srcdir) / document).parent
    files = [place / f"{name}.svg" for name in figure["ids"]]
    drawn = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    return document.startswith(CHAPTERS) and bool(drawn) and not any("<image" in d for d in drawn)


def below(app: Sphinx, document: str, figure: nodes.figure) -> list[nodes.Node]:
    """The line under a figure of a chapter: Code · Data (CSV) · SVG · Reproduce."""
    executed = Path(app.srcdir) / f"{document}.ipynb"
    if not document.startswith(CHAPTERS) or not executed.exists():
        return []
    found = folded("Code", code_of(figure))
    for kind, text in (("csv", "Data (CSV)"), ("svg", "SVG")):
        for name in figure["ids"]:
            if executed.with_name(f"{name}.{kind}").exists():
                link = download(document, f"{name}.{kind}", text)
                found.append(nodes.paragraph("", "", link, classes=["figure-data"]))
    took = seconds(executed)
    command = (
        f".venv/bin/papermill --cwd . notebooks/{document.removeprefix(CHAPTERS)}.ipynb out.ipynb"
    )
    command += f"  # took {took:.0f} s here" if took else ""
    return found + folded("Reproduce", [nodes.literal_block(command, command, language="bash")])


def code_of(figure: nodes.figure) -> list[nodes.Node]:
    """Takes the code out of the cell that a figure stands in; nothing where none is shown."""
    cell = figure.parent
    while cell is not None and "cell" not in cell.get("classes", ()):
        cell = cell.parent
    for part in [] if cell is None else [*cell.children]:
        if "cell_input" in part.get("classes", ()):
            cell.remove(part)
            cell["classes"] = [name for name in cell["classes"] if "hide-input" not in name]
            return part.children
    return []


def folded(text: str, inner: list[nodes.Node]) -> list[nodes.Node]:
    """Nodes below a word that opens them; none without any."""
    start = f'<details class="figure-fold"><summary>{text}</summary>'
    wrap = [nodes.raw("", start, format="html"), *inner, nodes.raw("", "</details>", format="html")]
    return wrap if inner else []


def closing(app: Sphinx, document: str) -> list[nodes.Node]:
    """What a page ends with; nothing where there is nothing to lead to."""
    repository = address(Path(app.srcdir))
    notebook = f"notebooks/{document.removeprefix(CHAPTERS)}.ipynb"
    behind = document.startswith(CHAPTERS) and (Path(app.srcdir) / notebook).exists()
    found: list[nodes.Node] = []
    if behind:
        line = nodes.paragraph("", "Notebook: ")
        line += download(document, f"/{notebook}", Path(notebook).name)
        found.append(line)
        if repository and (opened := colab(repository, notebook)):
            line += nodes.Text(", or ")
            line += nodes.reference("", "in Colab", refuri=opened)
            line += nodes.Text(". There, run this first:")
            code = install_lines(repository)
            found.append(nodes.literal_block(code, code, language="ipython"))
    line = nodes.paragraph()
    if (Path(app.srcdir) / REFERENCES).exists():
        words = {"reftype": "ref", "refdomain": "std", "refexplicit": True, "refdoc": document}
        line += addnodes.pending_xref("", reftarget=CITE, refwarn=True, **words)
        line[0] += nodes.inline("", "How to cite this book")
    if repository:
        line += nodes.Text(". Something wrong here? ")
        line += nodes.reference("", "Report it", refuri=report_form(repository, document))
    return [*found, line, nodes.raw("", PDF, format="html")] if len(line) else found


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Takes out of every page what the theme always loads and no page here needs.

    Its icons come twice, as a font and as a script of 1.5 MB; the font is enough, and loads when
    an icon asks for it: preloaded fonts are refused by browsers where a page lies in a folder.
    """
    for page in Path(app.outdir).rglob("*.html") if error is None else ():
        text = page.read_text(encoding="utf-8")
        page.write_text(NEEDLESS.sub("", text), encoding="utf-8")


# -------------------------------------------------------------------------------- docstrings


def as_rst(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list) -> None:
    """Turns a docstring's Markdown code spans into literals, and escapes what is RST's alone."""
    parts = re.split(r"(`[^`]+`)", "\n".join(lines))
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = f"`{part}`"
        else:
            parts[place] = re.sub(r"(?<=\w)_(?=\W|$)|\|", r"\\\g<0>", part)
    lines[:] = "".join(parts).split("\n")


def without_limits(app: Sphinx, thing: object, bound: bool) -> None:
    """A signature shows types alone: a field's limits stand in words, not as pydantic's objects."""
    for name, annotation in getattr(thing, "__annotations__", {}).items():
        if typing.get_origin(annotation) is typing.Annotated:
            thing.__annotations__[name] = annotation.__origin__


def setup(app: Sphinx) -> dict:
    """Joins this to a build."""
    app.add_config_value("search_first", {}, "html", [dict])
    app.connect("config-inited", add_footer)
    app.connect("config-inited", add_warning)
    app.connect("builder-inited", write_tables)
    app.connect("builder-inited", search_words)
    app.connect("html-page-context", add_tags)
    app.connect("doctree-read", add_links, priority=400)  # Sphinx's collectors come at 500
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("autodoc-before-process-signature", without_limits)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
