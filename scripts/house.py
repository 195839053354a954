"""The plan of the house: the library's packages, and which of them import which.

`python scripts/house.py` draws it anew into CONTRIBUTING.md, as a picture that is made from the
imports. An arrow that others imply is left out.
"""

import ast
from pathlib import Path

import networkx

from granularity.fingerprints import source

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
START, END = "<!-- the plan: scripts/house.py -->\n", "<!-- the end of the plan -->\n"

# From the ground up; a package imports from floors below its own alone.
FLOORS = (
    ("files", "surroundings", "inputs", "fingerprints"),
    ("hierarchies", "training", "theory", "notebook"),
    ("labels", "images", "records"),
    ("experiments", "analysis"),
    ("benchmarks", "claims", "figures", "proofs"),
    ("pages", "planning"),
    ("commands",),
)
DOORS = ("wordnet", "data", "toy", "train")  # `python -m granularity.…`: two lines each


def imports(library: Path = source.LIBRARY) -> dict[tuple[str, str], list[str]]:
    """Which package imports from which, with the files that do: (from, of) → files.

    What a script's start imports is left out (see `source.is_start`), and so are the doors.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for file in sorted(library.rglob("*.py")):
        own = file.relative_to(library).with_suffix("").parts
        if own[0] in DOORS or own[-1] == "__main__" or own == ("__init__",):
            continue
        for module in source.imported(ast.parse(file.read_text(encoding="utf-8")), library):
            other = module.split(".")[1]
            if other != own[0]:
                found.setdefault((own[0], other), []).append("/".join(own))
    return found


def drawn(arrows: dict[tuple[str, str], list[str]]) -> str:
    """The picture as a Mermaid chart, floors from the ground up."""
    graph = networkx.transitive_reduction(networkx.DiGraph([*arrows]))
    lines = ["```mermaid", "flowchart TB"]
    for number, floor in enumerate(FLOORS):
        lines += [f"  subgraph floor{number}[ ]", *(f"    {name}" for name in floor), "  end"]
    lines += [f"  {above} --> {below}" for above, below in sorted(graph.edges)]
    return "\n".join([*lines, "```"]) + "\n"


def put(page: str, picture: str) -> str:
    """The page with the picture between its marks. Raises ValueError where it has none."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"no place for the plan: {START.strip()} … {END.strip()}")
    return f"{before}{start}{picture}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), drawn(imports())), encoding="utf-8")
