"""Publishes the executed chapters and builds the web book from them, all or nothing.

    python scripts/book.py smoke

papermill marks the cells of a dead kernel as completed and ends with status 0 on `sys.exit(0)`; an
incremental Jupyter Book reports success with a page missing and leaves the old one. So every code
cell must have run and left its record, and the book is built into an empty folder and swapped in
when all of its pages are there. A machine's own settings must not reach a page: a figure's cell has
to show an image, a table all of its rows, and no cell a warning.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from granularity import files, surroundings
from granularity.planning import sizes
from granularity.records import record

SITE = Path("_build/html")
FRESH = Path("_build/fresh")
LOG = Path("_build/jupyter-book.log")


# As Python prints a warning: the file, its line, the kind.
WARNING = re.compile(r"^.*:\d+: \w*Warning: .*$", re.MULTILINE)
# pandas' line under a table that it shows a part of; or of every table, by an option.
EXTENT = re.compile(r"<p>(\d+) rows × (\d+) columns</p>")
DOTS = {"...", "…", "..", "⋮"}


def check_executed(path: Path) -> None:
    """Raises ValueError, naming the cell, where an executed notebook did not run to its end.

    Also where a cell would show what it should not, or less than it should: see `lacks`.
    """
    try:
        every = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cells = [cell for cell in every if cell["cell_type"] == "code"]
        ran = [cell["execution_count"] is not None for cell in cells]
        kinds = [{output["output_type"] for output in cell["outputs"]} for cell in cells]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        kind = type(error).__name__
        raise ValueError(f"{path} is no executed notebook ({kind}: {error})") from error
    if not cells:
        raise ValueError(f"{path}: no code cell")
    for number, (cell, done, found) in enumerate(zip(cells, ran, kinds, strict=True), 1):
        if not done:
            raise ValueError(f"{path}: code cell {number} was not run")
        if "error" in found:
            raise ValueError(f"{path}: code cell {number} raised an error")
        if lack := lacks(cell):
            raise ValueError(f"{path}: code cell {number} {lack}")


def lacks(cell: dict) -> str | None:
    """What is wrong with a code cell's output as a page shows it, in words; None for nothing."""
    metadata = cell.get("metadata", {})
    tags = {*metadata.get("tags", ())}
    if "remove-cell" in tags:
        return None
    outputs = [] if tags & {"remove-output", "remove_output"} else cell["outputs"]
    data = [output.get("data", {}) for output in outputs]
    if "figure" in metadata.get("mystnb", {}) and not any(map(holds_image, data)):
        return "has a figure's caption and shows no image"
    for output in outputs:
        name, text = output.get("name"), "".join(output.get("text", "")).strip()
        warned = re.search(".*", text) if name == "stderr" else WARNING.search(text)
        if text and warned and f"remove-{name}" not in tags:
            return f"shows a warning: {warned.group():.120}"
    for shown in data:
        if "text/html" in shown:
            missing = rows_missing("".join(shown["text/html"]))
        else:
            missing = lines_missing("".join(shown.get("text/plain", "")))
        if missing:
            return f"shows a table without all of its rows and columns: {missing}"
    return None


def holds_image(data: dict) -> bool:
    """Whether an output is an image, or HTML that draws one."""
    html = "".join(data.get("text/html", ""))
    return any(kind.startswith("image/") for kind in data) or "<svg" in html or "<img" in html


def rows_missing(html: str) -> str | None:
    """Where the tables of an HTML output say that they are cut: a row or column of dots, or counts.

    Merged index cells span rows, so that rows are counted, not cells.
    """
    for table in re.findall(r"<table.*?</table>\s*(?:<p>[^<]*</p>)?", html, re.DOTALL):
        rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        for row in rows:
            cells = re.findall(r"<t[dh][^>]*>\s*(.*?)\s*</t[dh]>", row, re.DOTALL)
            named = {cell for cell in cells if cell}
            if named and named <= DOTS:
                return "a row of dots"
            if "<thead" in table and row == rows[0] and DOTS & named:
                return "a column of dots"
        body = table.partition("<tbody")[2].count("<tr")
        extent = EXTENT.search(table)
        if extent and body < int(extent[1]):
            return f"{body} of {extent[1]} rows"
    return None


def lines_missing(text: str) -> str | None:
    """Where a table in plain text, as a series is shown, has a line of nothing but dots."""
    for line in text.splitlines():
        if line.split() and {*line.split()} <= DOTS:
            return "a line of dots"
    return None


def publish(size: str) -> None:
    """Copies the chapters of a size, each checked, into an emptied `book/chapters/`."""
    shutil.rmtree(sizes.PUBLISHED, ignore_errors=True)
    for chapter in sizes.chapters():
        folder = Path("runs", size, "chapters", chapter)
        check_executed(folder / "notebook.ipynb")
        record.read(folder / "record.json")
        target = sizes.PUBLISHED / f"{chapter}.ipynb"
        files.write(target, (folder / "notebook.ipynb").read_text(encoding="utf-8"))


def render() -> None:
    """Builds the book into an empty folder, any warning an error.

    Raises RuntimeError with the lines of the log that tell.
    """
    shutil.rmtree(FRESH, ignore_errors=True)
    command = [
        "jupyter-book",
        "build",
        ".",
        "--path-output",
        str(FRESH),
        "-W",
        "-n",
        "--keep-going",
    ]
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w") as log:
        status = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    if status:
        lines = LOG.read_text().splitlines()
        # Sphinx fails to print some of its warnings: their names are then an error of logging.
        signs = ("WARNING", "ERROR", "Message: ", "Arguments: ")
        told = [line for line in lines if any(sign in line for sign in signs)] or lines[-20:]
        raise RuntimeError("\n".join([f"jupyter-book failed, see {LOG}:", *told]))


def check_pages(site: Path) -> None:
    """Raises FileNotFoundError, naming it, where a page of the table of contents was not built."""
    for page in ["index", *sizes.contents()]:
        if not (site / f"{page}.html").is_file():
            raise FileNotFoundError(f"the book has no page {page}.html; the old book stays")


def swap(site: Path) -> None:
    """Puts the new book in the place of the old one."""
    old = SITE.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if SITE.exists():
        SITE.rename(old)
    site.rename(SITE)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(FRESH, ignore_errors=True)


def main(size: str) -> None:
    """Publishes, builds, checks, swaps, and then says so in the stamp."""
    publish(size)
    render()
    check_pages(FRESH / "_build/html")
    for stamp in Path("_build").glob("*.json"):
        stamp.unlink()  # the book of another size is about to go
    swap(FRESH / "_build/html")
    stamp = {"size": size, "pages": sizes.contents()}
    stamp |= {"without": json.loads(os.environ.get(surroundings.WITHOUT, "[]"))}
    files.write(Path(f"_build/{size}.json"), json.dumps(stamp) + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")
