"""Every kind of label function: classes as asked, seeds, orders, shares, refusals."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_datasets import PLAIN, Images, dataset_of, shuffled, tables, tree_of

from granularity import labels
from granularity.labels import clusters
from granularity.labels.allocation import largest_remainder, shares
from granularity.labels.kind import Kind

# At the middle dataset: 11 groups, 21 leaves, 175 images.
CHANCE = [
    "random:11",
    "random:30",
    "random-free:20",
    "cluster:11",
    "cluster:30",
    "cluster-free:20",
    "cluster-crossed:25",
    "cross:7",
    "misaligned:group:0.4",
]
FIXED = ["target", "rank:group", "rank:leaf", "instance", "mixed:group,leaf"]
NESTED = ("random", "cluster", "cluster-crossed", "rank", "target", "instance", "mixed")

seeds = st.integers(0, 99)


@pytest.fixture(scope="module")
def plain():
    return dataset_of(PLAIN)


def by_image(function, tree, images):
    """image → class name, whatever the domain and the orders."""
    if function.domain == "sample":
        assert function.items == tuple(name.decode() for name in images.names)
        rows = function.indices[:, 0]
    else:
        assert function.items == tree.leaves
        rows = function.indices[images.leaf, 0]
    return dict(zip(images.names.tolist(), (function.classes[row] for row in rows), strict=True))


def targets_of(function, tree, images):
    """class → the target classes of its images."""
    found = {}
    target = by_image(tree.target, tree, images)
    for image, label in by_image(function, tree, images).items():
        found.setdefault(label, Counter())[target[image]] += 1
    return found


# --- All of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", CHANCE + FIXED)
def test_classes_as_asked_each_image_one_and_seeds_matter(plain, spec):
    tree, images, embeddings = plain
    function = labels.make(spec, tree, images, 1, embeddings)
    again = labels.make(spec, tree, images, 1, embeddings)
    other = labels.make(spec, tree, images, 2, embeddings)
    assert function.name == spec and function.indices.shape[1] == 1
    assert function.fingerprint == again.fingerprint
    assert (function.fingerprint == other.fingerprint) == (spec in FIXED)
    kind, _, rest = spec.partition(":")
    if rest.isdigit():
        assert function.num_classes == int(rest)
    if kind in NESTED:
        assert all(len(found) == 1 for found in targets_of(function, tree, images).values())


@pytest.mark.parametrize("spec", CHANCE + FIXED)
def test_the_order_of_files_and_of_leaves_changes_nothing(plain, spec):
    expected = by_image(labels.make(spec, *plain[:2], 1, plain[2]), *plain[:2])
    tree, images, embeddings = shuffled(*plain, seed=5)
    function = labels.make(spec, tree, images, 1, embeddings)
    assert by_image(function, tree, images) == expected


def test_hash_seed_and_number_of_threads_change_nothing():
    code = (
        "from small_datasets import *; from granularity import labels;"
        "tree, images, embeddings = dataset_of(PLAIN);"
        f"specs = {CHANCE + FIXED};"
        "print([labels.make(spec, tree, images, 1, embeddings).fingerprint for spec in specs])"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(prints) == 1


@pytest.mark.fault("misspelt label functions", "refused, with the nearest one or the form wanted")
def test_specifications_that_are_none(plain):
    tree, images, embeddings = plain
    for spec, message in (
        ("randm:5", "no label function named 'randm:5'; nearest: random:<K>"),
        ("", "valid: target, rank:<rank>"),
        ("random", "wanted random:<K>"),
        ("random:", "wanted random:<K>"),
        ("random:many", "wanted random:<K>"),
        ("random:-3", "wanted random:<K>"),
        ("random:3:4", "wanted random:<K>"),
        ("target:3", "wanted target"),
        ("misaligned:group", "wanted misaligned:<rank>:<p>"),
        ("misaligned:group:2", "p from 0 to 1"),
        ("misaligned:group:nan", "p from 0 to 1"),
        ("rank:grop", "'rank:grop': no rank named 'grop'; nearest: group"),
        ("mixed:group,grop", "no rank named 'grop'; nearest: group"),
        ("mixed:group,group", "different ones can be mixed"),
    ):
        with pytest.raises(ValueError, match=message):
            labels.make(spec, tree, images, 0, embeddings)


@pytest.mark.fault(
    "{spec} labels with more or fewer classes than can be", "refused, with the possible range"
)
@pytest.mark.parametrize(
    ("spec", "possible"),
    [
        ("random", "4 (one in each target class) to 175 (one an image)"),
        ("cluster", "4 (one in each target class) to 175 (one an image)"),
        ("cluster-crossed", "4 (one in each target class) to 175 (one an image)"),
        ("random-free", "1 (all in one) to 175 (one an image)"),
        ("cluster-free", "1 (all in one) to 175 (one an image)"),
        ("cross", "1 (all in one) to 21 (one a leaf)"),
    ],
)
@pytest.mark.filterwarnings("ignore:k-means over")
def test_a_count_that_cannot_be_met_is_an_error_with_the_possible_range(plain, spec, possible):
    tree, images, embeddings = plain
    least, most = (int(word) for word in possible.split() if word.isdigit())
    for count in (0, least - 1, most + 1, 10**9):
        with pytest.raises(ValueError) as error:
            labels.make(f"{spec}:{count}", tree, images, 0, embeddings)
        assert possible in str(error.value) and f"'{spec}:{count}'" in str(error.value)
    for count in (least, most):
        function = labels.make(f"{spec}:{count}", tree, images, 0, embeddings)
        assert function.num_classes == count


@pytest.mark.fault("images whose leaves are out of the tree's range", "refused, with both ranges")
def test_images_that_do_not_fit_are_refused(plain):
    tree, images, _ = plain
    for wrong, message in (
        (Images(images.names, images.leaf + 1), "leaves 1 to 21 of images, the tree has 0 to 20"),
        (Images(images.names, images.leaf - 1), "leaves -1 to 19"),
        (Images(images.names[:0], images.leaf[:0]), "0 names"),
        (Images(images.names[1:], images.leaf), "174 names and 175 leaves"),
        (Images(np.full_like(images.names, b"a/1.jpg"), images.leaf), "named 'a/1.jpg'"),
    ):
        for spec in ("instance", "random:11", "random-free:4"):
            with pytest.raises(ValueError, match=message):
                labels.make(spec, tree, wrong, 0)


def test_a_sample_function_is_saved_whole_whatever_the_names_of_its_files(tmp_path):
    tree = tree_of(["t/g/l"])
    images = Images(np.array([b"\xff.jpg", "é 字.jpg".encode(), b"a.jpg"]), np.zeros(3, int))
    function = labels.make("random-free:2", tree, images, 0)
    labels.save(function, tmp_path / "saved.npz")
    loaded = labels.load(tmp_path / "saved.npz")
    assert loaded.fingerprint == function.fingerprint and loaded.items[1] == "é 字.jpg"


# --- Dealt ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(tables, seeds, st.data())
def test_random_classes_stay_inside_the_target_and_are_equally_large(table, seed, data):
    tree, images, _ = dataset_of(table)
    present = len(set(tree.target.indices[images.leaf, 0]))
    count = data.draw(st.integers(present, len(images.leaf)))
    function = labels.make(f"random:{count}", tree, images, seed)
    assert function.num_classes == count
    sizes = {}
    for found in targets_of(function, tree, images).values():
        ((target, size),) = found.items()
        sizes.setdefault(target, []).append(size)
    assert all(max(found) - min(found) <= 1 for found in sizes.values())


@settings(deadline=None)
@given(tables, seeds, st.data())
def test_random_free_classes_are_equally_large(table, seed, data):
    tree, images, _ = dataset_of(table)
    count = data.draw(st.integers(1, len(images.leaf)))
    sizes = labels.make(f"random-free:{count}", tree, images, seed).sizes()
    assert len(sizes) == count and sizes.max() - sizes.min() <= 1


def test_random_free_crosses_the_target_and_random_does_not_follow_leaves(plain):
    tree, images, _ = plain
    found = targets_of(labels.make("random-free:4", tree, images, 0), tree, images)
    assert all(len(targets) > 1 for targets in found.values())
    leaves = {}
    for image, label in by_image(labels.make("random:11", tree, images, 0), tree, images).items():
        leaves.setdefault(label, set()).add(image.rpartition(b"/")[0])
    assert max(map(len, leaves.values())) > 5


def test_instances_are_numbered_in_the_order_of_the_names(plain):
    tree, images, _ = shuffled(*plain, seed=3)
    function = labels.make("instance", tree, images, 0)
    assert function.num_classes == 175 and function.classes[:2] == ("000", "001")
    assert (images.names[np.argsort(function.indices[:, 0])] == np.sort(images.names)).all()


# --- Shares ---------------------------------------------------------------------------------------


def test_a_count_that_a_rank_has_is_shared_as_the_rank_shares_it(plain):
    tree, images, _ = plain
    sizes = np.bincount(tree.target.indices[images.leaf, 0])
    # birds, fungi, mollusks, plants: 3, 2, 1, 4 groups; 6, 2, 1, 12 leaves; 48, 6, 1, 120 images.
    assert sizes.tolist() == [48, 6, 1, 120]
    assert shares(tree, sizes, 4).tolist() == [1, 1, 1, 1]
    assert shares(tree, sizes, 10).tolist() == [3, 2, 1, 4]
    assert shares(tree, sizes, 21).tolist() == [6, 2, 1, 12]
    # No rank has 11: one mollusk and one fungus (their quotas are below 1), then 9 · 48/168 = 2.57
    # birds and 6.43 plants.
    assert shares(tree, sizes, 11).tolist() == [3, 1, 1, 6]


def test_a_target_class_with_fewer_images_than_its_share_hands_the_rest_on(plain):
    tree, images, embeddings = plain
    few = np.isin(images.leaf, [0, 1, 12, 18, 19, 20]) | (np.arange(175) % 9 == 0)
    few &= ~((images.leaf < 12) & (images.leaf > 1))  # two leaves of plants are left
    part = Images(images.names[few], images.leaf[few])
    sizes = np.bincount(tree.target.indices[part.leaf, 0])
    assert shares(tree, sizes, 21).sum() == 21 and (shares(tree, sizes, 21) <= sizes).all()
    lone = Images(images.names[:100:10], images.leaf[:100:10])  # ten plants, nothing else
    assert shares(tree, np.array([0, 0, 0, 10]), 10).tolist() == [0, 0, 0, 10]
    assert labels.make("cluster:10", tree, lone, 0, embeddings[:100:10]).num_classes == 10
    assert labels.make("random:4", tree, lone, 0).num_classes == 4


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.data())
def test_shares_add_up_and_every_target_class_has_one_and_no_more_than_its_images(sizes, data):
    tree = tree_of([f"t{i}/g/{leaf}" for i in range(len(sizes)) for leaf in range(3)])
    sizes = np.array(sizes)
    if not sizes.sum():
        return
    count = data.draw(st.integers((sizes > 0).sum(), sizes.sum()))
    found = shares(tree, sizes, count)
    assert found.sum() == count and (found <= sizes).all()
    if count not in (len(sizes), 3 * len(sizes)):  # not shared as a rank is
        assert ((found > 0) == (sizes > 0)).all()
        # More images never get fewer classes.
        order = np.argsort(sizes)
        assert (np.diff(found[order])[np.diff(sizes[order]) > 0] >= 0).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 100))
def test_largest_remainders_are_within_one_of_the_quota(weights, count):
    weights = np.array(weights)
    if weights.sum():
        found = largest_remainder(weights, count)
        assert found.sum() == count
        assert (np.abs(found - weights * count / weights.sum()) < 1).all()


# --- Regrouped ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(tables, seeds, st.data())
def test_cross_mixes_as_many_classes_as_can_be_mixed(table, seed, data):
    tree, images, _ = dataset_of(table)
    count = data.draw(st.integers(1, len(tree.leaves)))
    function = labels.make(f"cross:{count}", tree, images, seed)
    sizes = function.sizes()
    assert function.num_classes == count and sizes.max() - sizes.min() <= 1
    joint = {(k, t) for (k,), (t,) in zip(function.indices, tree.target.indices, strict=True)}
    mixed = sum(n > 1 for n in Counter(k for k, _ in joint).values())
    # A mixed class holds two leaves or more, and one at least that is not of the largest target.
    others = len(tree.leaves) - tree.target.sizes().max()
    assert mixed == min((sizes > 1).sum(), others)


@settings(deadline=None)
@given(tables, seeds, st.floats(0, 1))
def test_misaligned_leaves_exchange_places_across_the_target(table, seed, share):
    tree, images, _ = dataset_of(table)
    rank, total = tree.rank("group"), len(tree.leaves)
    try:
        function = labels.make(f"misaligned:group:{share:f}", tree, images, seed)
    except ValueError as error:
        assert "is possible" in str(error) or "one leaf a class" in str(error)
        return
    assert (function.sizes() == rank.sizes()).all() and function.classes == rank.classes
    moved = np.flatnonzero((function.indices != rank.indices).any(axis=1))
    assert abs(len(moved) - share * total) <= 1 + 1e-6 * total
    home = {name: name.split("/")[0] for name in rank.classes}
    for row in moved:
        (label,) = function.classes_of(tree.leaves[row])
        assert home[label] != tree.leaves[row].split("/")[0]


def test_the_shares_that_can_be_moved_end_where_a_target_class_has_more_than_half():
    tree, images, _ = dataset_of(
        {**{f"a/g{i % 2}/{i}": 1 for i in range(8)}, "b/g/0": 1, "b/g/1": 1}
    )
    for share in (0, 0.2, 0.4, 0.3, 0.1, 0.5):  # to within one leaf of ten
        labels.make(f"misaligned:group:{share}", tree, images, 0)
    for share in (0.01, 0.51, 1):
        with pytest.raises(ValueError, match=r"of 10 leaves cannot .*: 0 or 0\.2 to 0\.4 is"):
            labels.make(f"misaligned:group:{share}", tree, images, 0)
    alone, images, _ = dataset_of({"a/g/0": 1, "a/g/1": 1})
    with pytest.raises(ValueError, match="other target classes: 0 is possible"):
        labels.make("misaligned:group:0.5", alone, images, 0)


def test_no_share_is_the_rank_itself_and_leaves_have_nothing_to_exchange(plain):
    tree, images, _ = plain
    function = labels.make("misaligned:group:0", tree, images, 0)
    assert (function.indices == tree.rank("group").indices).all()
    with pytest.raises(ValueError, match="'leaf' has one leaf a class"):
        labels.make("misaligned:leaf:0.5", tree, images, 0)


def test_a_larger_share_moves_the_same_leaves_and_more(plain):
    tree, images, _ = plain
    rank, before = tree.rank("group").indices, set()
    for share in (0.2, 0.4, 0.6):
        function = labels.make(f"misaligned:group:{share}", tree, images, 0)
        moved = set(np.flatnonzero((function.indices != rank).any(axis=1)).tolist())
        assert before < moved
        before = moved


def test_mixed_takes_the_ranks_in_turn(plain):
    tree, images, _ = plain
    function = labels.make("mixed:group,leaf", tree, images, 0)
    for leaf in tree.leaves:
        rank = "leaf" if leaf.split("/")[0] in ("fungi", "plants") else "group"
        assert function.classes_of(leaf) == (f"{rank} {tree.rank(rank).classes_of(leaf)[0]}",)
    assert function.num_classes == 3 + 2 + 1 + 12
    both = labels.make("mixed:leaf,group", tree, images, 0)
    assert both.num_classes == 6 + 2 + 1 + 4


def test_a_rank_that_cuts_the_target_can_be_used_as_it_is_and_not_inside_it(plain):
    tree, images, _ = plain
    one = labels.from_sets("one", tree.leaves, [{"life"}] * len(tree.leaves))
    wide = replace(tree, ranks={"one": one, **tree.ranks})
    assert labels.make("rank:one", wide, images, 0).num_classes == 1
    for spec in ("mixed:one,leaf", "misaligned:one:0.2"):
        with pytest.raises(ValueError, match="inside one are: group, leaf"):
            labels.make(spec, wide, images, 0)


# --- Clusters -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(tables, seeds, st.data())
@pytest.mark.filterwarnings("ignore:k-means over")
def test_clusters_are_as_many_as_asked_and_keep_to_the_target(table, seed, data):
    tree, images, embeddings = dataset_of(table)
    present = len(set(tree.target.indices[images.leaf, 0]))
    count = data.draw(st.integers(present, len(images.leaf)))
    for kind in ("cluster", "cluster-crossed", "cluster-free"):
        function = labels.make(f"{kind}:{count}", tree, images, seed, embeddings)
        assert function.num_classes == count
        if kind != "cluster-free":
            assert all(len(found) == 1 for found in targets_of(function, tree, images).values())


def blobs(plain):
    """Embeddings that show the groups, far apart."""
    tree, images, _ = plain
    noise = np.random.default_rng(0).normal(size=(len(images.leaf), 8))
    centre = np.random.default_rng(1).normal(size=(tree.rank("group").num_classes, 8)) * 100
    return centre[tree.rank("group").indices[images.leaf, 0]] + noise


@pytest.mark.parametrize("micro_batch", [20_000, 20])
def test_clusters_find_what_lies_apart_also_in_mini_batches(plain, monkeypatch, micro_batch):
    monkeypatch.setattr(clusters, "AT_ONCE", micro_batch)
    tree, images, _ = plain
    group = tree.rank("group").indices[images.leaf, 0]
    for kind in ("cluster", "cluster-crossed"):
        best = 0.0
        for seed in range(3):  # one start can end in a local optimum
            function = labels.make(f"{kind}:10", tree, images, seed, blobs(plain))
            joint = len(set(zip(group.tolist(), function.indices[:, 0].tolist(), strict=True)))
            best = max(best, 10 / joint)
        assert best == 1.0


@pytest.mark.filterwarnings("ignore:k-means over")  # those of the other target classes
def test_points_that_are_equal_still_give_as_many_clusters_and_a_warning(plain):
    tree, images, embeddings = plain
    same = np.ones_like(embeddings)
    with pytest.warns(UserWarning, match=r"k-means over target class plants: 3 of 4 clusters were"):
        function = labels.make("cluster:10", tree, images, 0, same)
    assert function.num_classes == 10
    with pytest.warns(UserWarning, match="k-means over all images: 6 of 7 clusters were empty"):
        assert labels.make("cluster-free:7", tree, images, 0, same).num_classes == 7
    with pytest.warns(UserWarning, match="all images"):
        assert labels.make("cluster-crossed:9", tree, images, 0, same).num_classes == 9


def test_an_empty_cluster_takes_the_point_furthest_from_its_centre():
    points = np.array([[0.0], [1.0], [9.0], [20.0]], np.float32)
    found, centres = np.array([0, 0, 0, 1]), np.array([[2.0], [20.0], [50.0]])
    clusters._fill(np.array([2]), found, centres, points)
    assert found.tolist() == [0, 0, 2, 1] and centres.tolist() == [[2.0], [20.0], [9.0]]


def test_the_smallest_cell_joins_the_nearest_of_its_target_class():
    # Clusters at 0, 10, 11, two target classes: cell = 2 · cluster + target.
    cells = np.array([0, 0, 0, 1, 2, 4, 4, 4, 5, 5])
    centres = np.array([[0.0], [10.0], [11.0]])
    assert clusters._merged(cells, centres, 2, 5).tolist() == [0, 0, 0, 1, 2, 3, 3, 3, 4, 4]
    # Cell 1 (cluster 0, target 1) and cell 2 (cluster 1, target 0) have one image; 1 is the first.
    four = clusters._merged(cells, centres, 2, 4)
    assert four[3] == four[8] and len(set(four.tolist())) == 4
    three = clusters._merged(cells, centres, 2, 3)  # then 2 joins 4, at 11, not 0
    assert three[4] == three[5] and len(set(three.tolist())) == 3
    assert clusters._merged(cells, centres, 2, 2).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 1, 1]


@pytest.mark.fault("embeddings of other images, or not finite", "refused")
def test_embeddings_that_do_not_fit_are_refused(plain):
    tree, images, embeddings = plain
    spoilt = embeddings.copy()
    spoilt[3, 0] = np.nan
    for kind in ("cluster", "cluster-free", "cluster-crossed"):
        for wrong, message in (
            (None, "image embeddings, and none are given"),
            (embeddings[1:], r"embeddings of shape \(174, 2\), wanted \(175, D\)"),
            (embeddings[:, 0], r"embeddings of shape \(175,\)"),
            (spoilt, "not finite"),
        ):
            with pytest.raises(ValueError, match=message):
                labels.make(f"{kind}:20", tree, images, 0, wrong)
        assert labels.needs_embeddings(f"{kind}:20")
    assert not labels.needs_embeddings("random:20")


def test_a_kind_of_embeddings_counts_as_one_that_needs_none(plain):
    tree, images, embeddings = plain
    for name, kind in labels.KINDS.items():
        assert kind.of_embeddings == name.startswith("cluster")
        if kind.of_embeddings:
            made = labels.make(f"{name}:20", tree, images, 0, embeddings)
            alike = labels.make(f"{kind.counts_as}:20", tree, images, 0)
            assert made.num_classes == alike.num_classes == 20


def test_a_group_that_has_no_colour_is_refused():
    with pytest.raises(ValueError, match=r"made: no group is called 'randon'; nearest: random"):
        Kind("made", lambda given: None, "made", "made", "randon")
