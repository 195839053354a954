"""A kind of label function that one file declares: tables, figures, checks and the laws know it."""

import pytest
from small_datasets import PLAIN, dataset_of, shuffled
from test_transfer import axis, study, texts  # noqa: F401  two fixtures

from granularity import labels
from granularity.analysis import transfer_runs
from granularity.figures import house_style, transfer
from granularity.labels import kinds, specification
from granularity.labels.function import from_sets
from granularity.labels.kind import Kind
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
