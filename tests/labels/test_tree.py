"""Trees: of a taxonomy, of WordNet's cuts; what is no tree is refused."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from granularity import labels
from granularity.hierarchies import taxonomy, wordnet

TINY = Path(__file__).parents[1] / "tiny-imagenet-wnids.txt"
TARGETS = ("depth5", "balanced", "balanced6")


@pytest.fixture(scope="module")
def tiny():
    return wordnet.read_list(TINY)


def pairs_nested(fine, coarse):
    """Whether each class of `fine` lies in one of `coarse`, leaf by leaf."""
    found = {}
    return all(
        found.setdefault(fine.classes_of(leaf), coarse.classes_of(leaf)) == coarse.classes_of(leaf)
        for leaf in fine.items
    )


@pytest.mark.parametrize("target", TARGETS)
def test_ranks_are_nested_in_the_target_and_in_each_other(tiny, target):
    tree = labels.tree_of_cuts(tiny, target)
    for coarse, fine in pairwise([tree.target, *tree.ranks.values()]):
        assert pairs_nested(fine, coarse) and fine.num_classes > coarse.num_classes
        assert labels.nested(fine, coarse) and not labels.nested(coarse, fine)
    assert tree.rank("leaf").classes == tuple(sorted(tree.leaves))


def test_the_lopsided_tree_of_tiny_imagenet(tiny):
    tree = labels.tree_of_cuts(tiny, "depth5")
    assert tree.leaves == tuple(tiny) and tree.target.num_classes == 18
    assert [tree.ranks[f"depth{depth}"].num_classes for depth in (6, 7, 8)] == [41, 83, 120]
    assert tree.target.sizes().max() == 76
    assert repr(tree).startswith("Tree(200 leaves, target 18, depth6 41, depth7 83, depth8 120,")


def test_the_balanced_trees_of_tiny_imagenet(tiny):
    tree, equal = (labels.tree_of_cuts(tiny, target) for target in ("balanced", "balanced6"))
    assert sorted(tree.target.sizes().tolist()) == [6, 8, 9, 9, 9, 10, 10, 10, 12]
    assert tree.leaves == tuple(leaf for leaf in tiny if leaf in set(tree.leaves))
    assert equal.target.sizes().tolist() == [6] * 9 and len(equal.leaves) == 54
    assert equal.target.classes == tree.target.classes
    for leaf in equal.leaves:
        assert equal.target.classes_of(leaf) == tree.target.classes_of(leaf)
    assert [rank.num_classes for rank in tree.ranks.values()] == [
        *(17, 22, 41, 58, 69, 75, 78, 80),
        83,
    ]


def test_the_order_of_the_list_moves_leaves_and_nothing_else(tiny):
    for target in TARGETS:
        one, other = (labels.tree_of_cuts(synsets, target) for synsets in (tiny, sorted(tiny)))
        assert set(one.leaves) == set(other.leaves) and list(one.ranks) == list(other.ranks)
        for leaf in one.leaves:
            assert one.target.classes_of(leaf) == other.target.classes_of(leaf)
            for rank in one.ranks:
                assert one.rank(rank).classes_of(leaf) == other.rank(rank).classes_of(leaf)


def test_the_tree_of_inaturalist():
    tree = labels.tree_of_taxonomy(taxonomy.shipped())
    assert tree.target.num_classes == 11 and tree.target.sizes().max() == 4271
    counts = {rank: function.num_classes for rank, function in tree.ranks.items()}
    assert counts == taxonomy.shipped().counts()
    # Kingdoms and phyla cut the target: Chordata are birds, and reptiles, and more.
    assert [rank for rank in counts if labels.nested(tree.rank(rank), tree.target)] == [
        *("class", "order", "family", "genus", "species")
    ]
    with pytest.raises(ValueError, match=r"'phylum' has classes in several .*: class, order"):
        tree.inside("phylum")


@pytest.mark.fault("leaves that make no tree", "refused by name")
def test_what_is_no_tree_is_refused(tiny):
    tree = labels.tree_of_cuts(tiny, "balanced6")
    other = labels.tree_of_cuts(tiny, "balanced")
    double = replace(tree.target, indices=np.array([[0, 1]] * 54, np.int32), classes=("a", "b"))
    leaf, depth8 = tree.rank("leaf"), tree.rank("depth8")
    for changes, message in (
        ({"target": other.target}, "target is not a function of the tree's leaves"),
        ({"target": replace(tree.target, domain="sample")}, "target is not a function"),
        ({"target": double}, "several classes"),
        ({"ranks": {}}, "last rank"),
        ({"ranks": {"depth8": depth8}}, "last rank wants one class for each leaf"),
        ({"ranks": {"leaf": leaf, "depth8": depth8}}, "a class of depth8 lies in several"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(tree, **changes)
    with pytest.raises(ValueError, match="no target named 'balancd'; nearest: balanced"):
        labels.tree_of_cuts(tiny, "balancd")
    with pytest.raises(ValueError, match="no rank named 'dpth8'; nearest: depth8"):
        tree.rank("dpth8")
    with pytest.raises(ValueError, match="'cat' is no noun"):
        labels.tree_of_cuts(["cat"])
