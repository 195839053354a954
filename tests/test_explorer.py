"""What the explorer's page element carries: the whole tree, little weight, no other host."""

import json
import re

import pytest
from conftest import ROOT

from granularity import explorer, taxonomy

PROGRAM = (ROOT / "book/_static/taxonomy.js").read_text(encoding="utf-8")
COLOURS = dict.fromkeys([*(name for _, _, name in taxonomy.SUPERCATEGORIES), "Animalia"], "#000")


def data(element):
    return json.loads(re.search(r'id="taxonomy-names">(.*?)</script>', element)[1])


def test_the_nested_tree_holds_every_path_once():
    def paths(tree, above=()):
        if isinstance(tree, list):
            return [(*above, epithet) for epithet in tree]
        return [path for name, below in tree.items() for path in paths(below, (*above, name))]

    shipped = taxonomy.shipped()
    assert sorted(paths(explorer.nested(shipped))) == sorted(shipped.names)
    worms = {"Haplotaxida": {"Lumbricidae": {"Lumbricus": ["terrestris"]}}}
    one = explorer.nested(taxonomy.read(shipped.folders[:1]))
    assert one == {"Animalia": {"Annelida": {"Clitellata": worms}}}


def test_the_element_carries_tree_rules_and_colours():
    shipped = taxonomy.shipped()
    found = data(explorer.element(shipped, COLOURS, PROGRAM))
    assert found["tree"] == explorer.nested(shipped)
    assert found["rules"] == [list(rule) for rule in taxonomy.SUPERCATEGORIES]
    assert set(shipped.classes("supercategory")) <= set(found["colours"])
    assert len(found["plurals"]) == len(found["ranks"]) == 7


def test_it_is_light_and_asks_no_other_host():
    element = explorer.element(taxonomy.shipped(), COLOURS, PROGRAM)
    assert len(element.encode()) < 300_000
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|\bsrc=", element)
    assert element.count("</script>") == 2  # neither names nor program end their element early


def test_markup_in_a_colour_stays_text():
    colours = COLOURS | {"Animalia": "</script><b>"}
    element = explorer.element(taxonomy.shipped(), colours, PROGRAM)
    assert data(element)["colours"]["Animalia"] == "</script><b>"


def test_a_supercategory_without_colour_is_named():
    colours = {kind: colour for kind, colour in COLOURS.items() if kind != "Birds"}
    with pytest.raises(ValueError, match="no colour for supercategory 'Birds'"):
        explorer.element(taxonomy.shipped(), colours, PROGRAM)
