"""What the explorers' page elements carry: whole hierarchies, little weight, no other host."""

import dataclasses
import json
import random
import re

import pytest
from conftest import ROOT

from granularity import theory
from granularity.figures import house_style
from granularity.hierarchies import taxonomy, wordnet
from granularity.labels import levels as label_levels
from granularity.pages import explorers

SHARED, TAXONOMY, LEVELS, *PARTS = (
    (ROOT / "book/_static" / name).read_text(encoding="utf-8")
    for name in ("explorer.js", "taxonomy.js", "levels.js", "theory_model.js", "theory.js")
)
MODEL = SHARED + "".join(PARTS)
COLOURS = dict.fromkeys([*(name for _, _, name in taxonomy.SUPERCATEGORIES), "Animalia"], "#000")
EXAMPLES = ["n02113023", "n03792782"]


def data(element):
    return json.loads(re.search(r'-explorer-data">(.*?)</script>', element)[1])


@pytest.fixture(scope="module")
def leaves():
    return wordnet.read_list("imagenet21k")


@pytest.fixture(scope="module")
def of_levels(leaves):
    return explorers.of_levels(leaves, EXAMPLES, SHARED + LEVELS)


def synsets(rows):
    """Rows read as the page's program reads them: synset → name, whether a leaf, hypernyms."""
    found, number = [], 0
    for row in rows.split(","):
        step, name, *back = row.split(" ")
        number += int(step, 36)
        found.append((f"n{number:08d}", name, [len(found) - int(text, 36) for text in back]))
    names = [synset for synset, _, _ in found]
    return {
        synset: (name.lstrip("*"), name[0] != "*", [names[place] for place in above])
        for synset, name, above in found
    }


# ---------------------------------------------------------------------------------- the levels


def test_the_rows_hold_names_leaves_and_hypernyms(of_levels, leaves):
    found, table = synsets(data(of_levels)["rows"]), wordnet.nouns()
    assert {synset for synset, (_, leaf, _) in found.items() if leaf} == set(leaves)
    for synset, (name, _, above) in found.items():
        assert name == table.names[synset]
        assert above == list(table.hypernyms[synset])


def test_climbing_the_rows_by_brute_force_gives_the_library_s_labels_and_sizes(of_levels, leaves):
    content = data(of_levels)
    hypernyms = {synset: above for synset, (_, _, above) in synsets(content["rows"]).items()}

    def climbed(synset, level):
        reached = {synset}
        for _ in range(level):
            reached = {above for one in reached for above in hypernyms[one] or [one]}
        return reached

    functions = label_levels(leaves, range(13))
    assert content["counts"] == [functions[level].num_classes for level in range(13)]
    sample = random.Random(0).sample(range(len(leaves)), 60)
    by_level = wordnet.levels(leaves, 12)
    for level in range(13):
        assert [climbed(leaves[i], level) for i in sample] == [by_level[level][i] for i in sample]
    of_dog = [leaf for leaf in leaves if "n02084071" in climbed(leaf, 2)]
    sizes = dict(zip(functions[2].classes, functions[2].sizes(), strict=True))
    assert len(of_dog) == sizes["n02084071"]


def test_an_example_that_is_no_leaf_is_named():
    with pytest.raises(ValueError, match="'n00001740' is none of the 1 leaves"):
        explorers.of_levels(["n02113023"], ["n00001740"], LEVELS)


def test_a_name_that_would_break_a_row_is_refused(monkeypatch):
    names = wordnet.nouns().names | {"n02113023": "Pembroke,_Welsh"}
    odd = dataclasses.replace(wordnet.nouns(), names=names)
    monkeypatch.setattr(wordnet, "nouns", lambda: odd)
    with pytest.raises(ValueError, match="n02113023: the name 'Pembroke,_Welsh'"):
        explorers.rows(["n02113023"])


# -------------------------------------------------------------------------------- the taxonomy


def test_the_nested_tree_holds_every_path_once():
    def paths(tree, above=()):
        if isinstance(tree, list):
            return [(*above, epithet) for epithet in tree]
        return [path for name, below in tree.items() for path in paths(below, (*above, name))]

    shipped = taxonomy.shipped()
    assert sorted(paths(explorers.nested(shipped))) == sorted(shipped.names)
    worms = {"Haplotaxida": {"Lumbricidae": {"Lumbricus": ["terrestris"]}}}
    one = explorers.nested(taxonomy.read(shipped.folders[:1]))
    assert one == {"Animalia": {"Annelida": {"Clitellata": worms}}}


def test_the_element_carries_tree_rules_and_colours():
    shipped = taxonomy.shipped()
    found = data(explorers.of_taxonomy(shipped, COLOURS, SHARED + TAXONOMY))
    assert found["tree"] == explorers.nested(shipped)
    assert found["rules"] == [list(rule) for rule in taxonomy.SUPERCATEGORIES]
    assert set(shipped.classes("supercategory")) <= set(found["colours"])
    assert len(found["plurals"]) == len(found["ranks"]) == 7
    assert "oak" in found["english"]["Plantae"]["genus"]["Quercus"]


def test_markup_in_a_colour_stays_text():
    colours = COLOURS | {"Animalia": "</script><b>"}
    element = explorers.of_taxonomy(taxonomy.shipped(), colours, SHARED + TAXONOMY)
    assert data(element)["colours"]["Animalia"] == "</script><b>"


def test_a_supercategory_without_colour_is_named():
    colours = {kind: colour for kind, colour in COLOURS.items() if kind != "Birds"}
    with pytest.raises(ValueError, match="no colour for supercategory 'Birds'"):
        explorers.of_taxonomy(taxonomy.shipped(), colours, SHARED + TAXONOMY)


# ---------------------------------------------------------------------------------- the theory

DIALS = {"k": [2, 8], "opposing_amplitude": [0.1], "strong_noise": [0.5]}


def test_the_theory_s_element_carries_the_setting_in_the_library_s_names():
    setting = theory.Setting(batch_size=32, logged=16)
    found = data(explorers.of_theory(setting, DIALS, house_style.COLOURS, MODEL))
    assert theory.Setting(**found["setting"]) == setting
    assert found["dials"] == DIALS
    assert set(found["colours"]) == {"coarse", "fine"}


@pytest.mark.parametrize(
    ("values", "dials", "told"),
    [
        ({"optimiser": "adam"}, DIALS, "trains with optimiser 'sgd' alone"),
        ({"superclasses": 3}, DIALS, "trains with superclasses 2 alone"),
        ({"k": 4}, DIALS, r"k 4 is not on its dial: \[2, 8\]"),
        ({}, DIALS | {"k": [8, 80]}, "d must be at least 162"),
    ],
)
def test_a_setting_that_the_page_cannot_train_is_refused(values, dials, told):
    with pytest.raises(ValueError, match=told):
        explorers.of_theory(theory.Setting(**values), dials, house_style.COLOURS, MODEL)


# ---------------------------------------------------------------------------------------- all


def test_they_are_light_and_ask_no_other_host(of_levels):
    of_taxonomy = explorers.of_taxonomy(taxonomy.shipped(), COLOURS, SHARED + TAXONOMY)
    of_theory = explorers.of_theory(theory.Setting(), DIALS, house_style.COLOURS, MODEL)
    elements = ((of_taxonomy, 450_000), (of_levels, 450_000), (of_theory, 50_000))
    for element, most in elements:
        assert len(element.encode()) < most
        asked = element.replace("http://www.w3.org/2000/svg", "")  # a name, which is not visited
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|\bsrc=", asked)
        assert element.count("</script>") == 2  # neither names nor program end their element early
