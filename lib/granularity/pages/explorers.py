"""The explorers of label functions: page elements with all names in them, which ask no server."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from granularity import theory
from granularity.hierarchies import english_names, taxonomy, wordnet

PLURALS = ("kingdoms", "phyla", "classes", "orders", "families", "genera", "species")

KINDS = ("coarse", "fine")  # of labels, which the theory's explorer compares

# What the theory's explorer can train with other values than the library's defaults.
FREE = ("d", "patches", "feature_patches", "opposing_patches", "amplitude_spread", "noise", "width")
FREE += ("threshold", "initial_scale", "learning_rate", "steps", "batch_size", "logged")


def of_taxonomy(species: taxonomy.Taxonomy, colours: Mapping[str, str], program: str) -> str:
    """HTML: a place for the taxonomy's explorer, its data as JSON, and its program.

    `colours` gives each supercategory its colour, as CSS writes one; `program` is `explorer.js`
    and `taxonomy.js`. Raises ValueError for a supercategory without a colour.
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
        "english": in_english(),
    }
    return element("taxonomy-explorer", content, program)


def of_levels(leaves: Sequence[str], examples: Sequence[str], program: str, last: int = 12) -> str:
    """HTML: a place for the explorer of the levels 0 to `last`, its data as JSON, its program.

    `examples` are leaves to start with; `program` is `explorer.js` and `levels.js`. Raises
    ValueError for an example that is no leaf, and as `wordnet.levels` does for the leaves.
    """
    known = set(leaves)
    strange = [example for example in examples if example not in known]
    if strange:
        raise ValueError(f"{strange[0]!r} is none of the {len(leaves):,} leaves")
    counts = wordnet.class_counts(leaves, last)
    content = {"counts": counts, "examples": list(examples), "rows": rows(leaves)}
    return element("levels-explorer", content, program)


def of_theory(
    setting: theory.Setting,
    dials: Mapping[str, Sequence],
    colours: Mapping[str, str],
    program: str,
    tests: int = 200,
) -> str:
    """HTML: a place for the theory's explorer, its setting and dials as JSON, and its program.

    `dials` are the values to choose from of k, opposing_amplitude and strong_noise; `colours` those
    of coarse and fine labels; `tests` how many samples errors are counted on. `program` is
    `explorer.js`, `theory_model.js` and `theory.js`. Raises ValueError for a setting that they do
    not train, for one whose value is on none of its dials, and as `Setting` does for a dial's.
    """
    plain = theory.Setting()
    for name, value in asdict(setting).items():
        fixed = name not in ("k", "opposing_amplitude", "strong_noise", *FREE)
        if fixed and value != getattr(plain, name):
            raise ValueError(f"the explorer trains with {name} {getattr(plain, name)!r} alone")
    for name, values in dials.items():
        if getattr(setting, name) not in values:
            raise ValueError(f"{name} {getattr(setting, name)} is not on its dial: {list(values)}")
        for value in values:
            replace(setting, **{name: value})
    content = {
        "setting": asdict(setting),
        "dials": {name: list(values) for name, values in dials.items()},
        "colours": {labels: colours[labels] for labels in KINDS},
        "tests": tests,
    }
    return element("theory-explorer", content, program)


def element(name: str, content: Mapping[str, object], program: str) -> str:
    """An explorer's place, called `name`, with its data in `name-data`."""
    compact = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return (
        f'<div id="{name}" class="book-explorer"><p>The explorer needs JavaScript.</p></div>'
        f'<script type="application/json" id="{name}-data">'
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


def in_english() -> dict[str, dict[str, dict[str, list[str]]]]:
    """English names, by kingdom, rank and Latin name."""
    found: dict = {}
    for (kingdom, rank, latin), names in english_names.shipped().items():
        found.setdefault(kingdom, {}).setdefault(rank, {})[latin] = names
    return found


def rows(leaves: Sequence[str]) -> str:
    """The leaves and all that is above them, sorted, as rows between commas.

    A row has its synset's number, less that of the row before; its first lemma, after a star where
    it is no leaf; and of each hypernym how many rows it lies back. Numbers are in base 36. So all
    of ImageNet-21k takes some 0.4 MB. Raises ValueError for a name that would break a row.
    """
    table, given = wordnet.nouns(), set(leaves)
    synsets = sorted(wordnet.closure(leaves, table.hypernyms))
    places = {synset: place for place, synset in enumerate(synsets)}
    found, last = [], 0
    for place, synset in enumerate(synsets):
        name, number = table.names[synset], int(synset[1:])
        if set(" ,*") & set(name):
            raise ValueError(f"{synset}: the name {name!r} holds what parts a row")
        above = [np.base_repr(place - places[up], 36) for up in table.hypernyms[synset]]
        found.append(
            " ".join([np.base_repr(number - last, 36), "*" * (synset not in given) + name, *above])
        )
        last = number
    return ",".join(found)
