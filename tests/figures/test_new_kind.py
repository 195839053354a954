"""A kind of label function that one file declares: tables, figures, checks and the laws know it."""

import re
import textwrap

import pytest
from conftest import ROOT
from small_datasets import PLAIN, dataset_of, shuffled
from test_transfer import axis, study, texts  # noqa: F401  two fixtures

from granularity import labels
from granularity.analysis import transfer_runs
from granularity.experiments import datasets
from granularity.figures import house_style, transfer
from granularity.hierarchies import taxonomy
from granularity.images.toy import species_drawing
from granularity.labels import kinds, specification
from granularity.labels.function import from_sets
from granularity.labels.kind import Given, Kind
from granularity.planning import plan


def initial(given):
    """Leaves by the first letter of their name."""
    leaves = given.tree.leaves
    return from_sets("initial", leaves, [{leaf[0].lower()} for leaf in leaves])


NEW = Kind("initial", initial, "first letter", "first letters", "instances")


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "initial", NEW)


def test_the_check_of_parameters_knows_it():
    assert specification.parse("initial") == ("initial", [])
    with pytest.raises(ValueError, match="nearest: initial"):
        specification.parse("initail")
    with pytest.raises(ValueError, match="wanted initial"):
        specification.parse("initial:3")
    assert not specification.needs_embeddings("initial")
    toy = plan.Size(60, 60, 20, 12, 3)
    assert plan.classes_of("initial", "toy", 60, toy) == toy.leaves  # no more than that


def test_the_laws_hold_for_it():
    tree, images, embeddings = dataset_of(PLAIN)
    function = labels.make("initial", tree, images, 1)
    assert function.name == "initial"
    assert function.fingerprint == labels.make("initial", tree, images, 2).fingerprint
    other_tree, other_images, _ = shuffled(tree, images, embeddings, seed=5)
    other = labels.make("initial", other_tree, other_images, 1)
    assert dict(zip(function.items, function.indices[:, 0], strict=True)) == dict(
        zip(other.items, other.indices[:, 0], strict=True)
    )


def test_a_table_and_a_figure_show_it(axis, study):  # noqa: F811
    assert transfer_runs.name_of("initial") == "first letter"
    runs = study.runs
    arm = runs["arm"].replace("instance", "initial")
    runs = runs.assign(arm=arm, kind_of_arm=[transfer_runs.kind_of(one) for one in arm])
    assert transfer_runs.ordered(runs)[-1] == "initial"
    runs["bits"] = runs["classes"] / 64
    shown = transfer_runs.Study(study.title, study.size, runs, {})
    transfer.draw_measure(axis, shown, "bits", "a measure")
    assert "first letters" in map(str.strip, texts(axis))


def test_it_has_a_look_of_its_own():
    looks = [tuple(house_style.look(kind).values()) for kind in transfer_runs.kinds()]
    assert len(set(looks)) == len(looks) == len(kinds.KINDS) + 1
    assert house_style.look("initial")["color"] == house_style.look("instance")["color"]


def test_the_example_of_the_contributing_page_labels_what_runs_read():
    """Its code as it stands there: more than one class of the toy's species, and of synsets."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```python\n(   \"\"\"Labels by .*?)```", page, re.DOTALL)
    declared = {}
    exec(textwrap.dedent("   " + text.strip()), declared)
    (kind,) = declared["KINDS"].values()
    species = labels.tree_of_taxonomy(taxonomy.read(species_drawing.SPECIES))
    synsets = labels.tree_of_cuts(
        datasets.TINY_SYNSETS.read_text(encoding="utf-8").split(), "balanced"
    )
    for tree in (species, synsets):
        function = kind.make(Given([], tree, None, 0, None))
        assert 5 < function.num_classes < len(tree.leaves) / 2
