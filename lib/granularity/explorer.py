"""The taxonomy's explorer: a page element with all names in it, which asks no server."""

import json
from collections.abc import Mapping

from granularity import taxonomy

PLURALS = ("kingdoms", "phyla", "classes", "orders", "families", "genera", "species")


def element(species: taxonomy.Taxonomy, colours: Mapping[str, str], program: str) -> str:
    """HTML: a place for the explorer, its data as JSON, and its program (`taxonomy.js`).

    `colours` gives each supercategory its colour, as CSS writes one. Raises ValueError for a
    supercategory without one.
    """
    missing = sorted(set(species.classes("supercategory")) - set(colours))
    if missing:
        raise ValueError(f"no colour for supercategory {missing[0]!r}; given: {', '.join(colours)}")
    content = {
        "ranks": taxonomy.RANKS,
        "plurals": PLURALS,
        "rules": taxonomy.SUPERCATEGORIES,
        "rest": taxonomy.REST,
        "colours": dict(colours),
        "tree": nested(species),
    }
    compact = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return (
        '<div id="taxonomy-explorer"><p>The explorer needs JavaScript.</p></div>'
        '<script type="application/json" id="taxonomy-names">'
        + compact.replace("<", "\\u003c")  # no name can end the element
        + f"</script><script>{program}</script>"
    )


def nested(species: taxonomy.Taxonomy) -> dict:
    """The tree as dicts in dicts, kingdom to genus, down to lists of epithets, in folder order."""
    tree: dict = {}
    for *above, genus, epithet in species.names:
        inner = tree
        for name in above:
            inner = inner.setdefault(name, {})
        inner.setdefault(genus, []).append(epithet)
    return tree
