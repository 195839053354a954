"""Alignment: against brute force, scikit-learn, and cases by hand."""

from math import log2

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score
from small_datasets import PLAIN, dataset_of, tables

from granularity import labels


def brute(label, target):
    """The measures from the definitions, image by image."""
    images = list(zip(label, target, strict=True))
    n = len(images)

    def share(of, value):
        return sum(one == value for one in of) / n

    def entropy(of):
        return -sum(share(of, value) * log2(share(of, value)) for value in set(of))

    inside = [k for k in set(label) if len({t for one, t in images if one == k}) == 1]
    sizes = [list(label).count(k) for k in set(label)]
    return {
        "num_classes": len(set(label)),
        "target_entropy": entropy(target),
        "label_entropy": entropy(label),
        "target_entropy_given_label": entropy(images) - entropy(label),
        "classes_inside": len(inside) / len(set(label)),
        "images_inside": sum(one in inside for one in label) / n,
        "largest_over_mean": max(sizes) / (n / len(sizes)),
        "evenness": entropy(label) / log2(len(sizes)) if len(sizes) > 1 else 1.0,
        "majority_rate": max(list(target).count(t) for t in set(target)) / n,
    }


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40))
def test_it_is_what_brute_force_and_scikit_learn_find(pairs):
    label, target = zip(*pairs, strict=True)
    leaves = [str(i) for i in range(len(pairs))]
    function = labels.from_sets("drawn", leaves, [{str(one)} for one in label])
    aim = labels.from_sets("target", leaves, [{str(one)} for one in target])
    found = labels.alignment(function, aim, np.arange(len(pairs)))
    mutual = found.pop("normalised_mutual_information")
    assert mutual == pytest.approx(normalized_mutual_info_score(target, label), abs=1e-9)
    assert found == pytest.approx(brute(label, target), abs=1e-9)


@settings(deadline=None)
@given(tables, st.integers(0, 9))
def test_nested_labels_leave_exactly_nothing_open(table, seed):
    tree, images, _ = dataset_of(table)
    present = len(set(tree.target.indices[images.leaf, 0]))
    for spec in ("target", "rank:group", "rank:leaf", "instance", f"random:{present}"):
        found = labels.alignment(labels.make(spec, tree, images, seed), tree.target, images.leaf)
        assert found["target_entropy_given_label"] == 0.0
        assert found["classes_inside"] == found["images_inside"] == 1.0


@settings(deadline=None)
@given(tables, st.integers(0, 9))
def test_images_count_and_leaves_without_images_do_not(table, seed):
    tree, images, _ = dataset_of(table)
    assume(len(tree.leaves) > 2)
    function = labels.make("cross:2", tree, images, seed)
    label = function.indices[images.leaf, 0].tolist()
    target = tree.target.indices[images.leaf, 0].tolist()
    found = labels.alignment(function, tree.target, images.leaf)
    expected = brute(label, target)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_a_case_by_hand():
    aim = labels.from_sets("target", ["a", "b", "c", "d"], [{"x"}, {"x"}, {"y"}, {"y"}])
    function = labels.from_sets("k", ["a", "b", "c", "d"], [{"1"}, {"1"}, {"1"}, {"2"}])
    found = labels.alignment(function, aim, np.array([0, 0, 1, 2, 3, 3, 3, 3]))
    assert found["num_classes"] == 2 and found["majority_rate"] == 5 / 8
    # Class 1 has three images of x and one of y, class 2 four of y: 1/2 · H(1/4) + 1/2 · 0.
    half = 0.5 * (0.75 * log2(4 / 3) + 0.25 * 2)
    assert found["target_entropy_given_label"] == pytest.approx(half)
    assert found["classes_inside"] == found["images_inside"] == 0.5
    assert found["largest_over_mean"] == found["evenness"] == 1.0


def test_the_dial_turns():
    tree, images, _ = dataset_of(PLAIN)
    given = [
        labels.alignment(labels.make(f"misaligned:group:{p}", tree, images, 0), tree.target, leaf)[
            "target_entropy_given_label"
        ]
        for p, leaf in ((0, images.leaf), (0.1, images.leaf), (0.4, images.leaf))
    ]
    assert given[0] == 0 < given[1] < given[2]


def test_what_cannot_be_measured_is_refused():
    tree, images, _ = dataset_of(PLAIN)
    several = labels.from_sets("two", tree.leaves, [{"a", "b"}] * len(tree.leaves))
    other = labels.from_sets("other", ["a"], [{"b"}])
    instance = labels.make("instance", tree, images, 0)
    for function, target, leaf, message in (
        (several, tree.target, images.leaf, "'two' gives several labels"),
        (tree.target, several, images.leaf, "'two' gives several labels"),
        (other, tree.target, images.leaf, "'other' and 'target' are of different leaves"),
        (instance, tree.target, images.leaf[1:], "samples, .* images given"),
        (tree.target, instance, images.leaf, "'instance' is a function of samples"),
        (tree.target, tree.target, images.leaf[:0], "no images"),
    ):
        with pytest.raises(ValueError, match=message):
            labels.alignment(function, target, leaf)
