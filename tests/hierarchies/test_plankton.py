"""The plankton's tree: counts as published, laws of the ranks, and tables that are refused."""

import csv
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from granularity.hierarchies import plankton
from granularity.hierarchies.plankton import RANKS, TARGET, UNNAMED
from granularity.labels.function import from_sets
from granularity.labels.tree import Tree


def counts(table):
    return [len(set(table.nodes(rank))) for rank in RANKS]


def test_the_published_counts():
    table = plankton.shipped(unnamed=True)
    assert counts(table) == [14, 48, 69, 117, 121]
    assert sum(table.images) == 30_336 and (min(table.images), max(table.images)) == (9, 1_979)
    assert list(table.classes) == sorted(set(table.classes))
    assert repr(table) == "Plankton(121 classes in 14, 48, 69, 117, 121 nodes, 30,336 images)"


def test_the_target_is_the_twelve_groups_of_what_is_known():
    table, whole = plankton.shipped(), plankton.shipped(unnamed=True)
    assert set(whole.nodes(TARGET)) - set(table.nodes(TARGET)) == set(UNNAMED)
    assert counts(table) == [12, 43, 64, 112, 116]
    gone = dict(zip(whole.classes, whole.images, strict=True)).keys() - set(table.classes)
    assert len(gone) == 5 and all("unknown" in name or "artifact" in name for name in gone)


def test_the_table_is_of_the_published_list(real_data):
    with (real_data / "plankton/classes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = plankton.shipped(unnamed=True)
    assert list(table.classes) == [row["class"] for row in rows]
    assert list(table.images) == [int(row["images"]) for row in rows]
    assert ["/".join(path) for path in table.paths] == [row["path"] for row in rows]
    assert list(table.nodes(TARGET)) == [row["group"] for row in rows]


def test_a_class_is_told_from_the_inner_node_of_its_name():
    table = plankton.shipped()
    for name, below in (("decapods", 4), ("euphausiids", 2)):
        at = dict(zip(table.classes, table.nodes("depth3"), strict=True))
        inner = f"crustaceans/shrimp_like/{name}*"
        assert at[name] == inner and list(at.values()).count(inner) == below
        leaf = dict(zip(table.classes, table.nodes("depth4"), strict=True))[name]
        assert leaf == f"{inner}/{name}" and table.nodes("depth4").count(leaf) == 1
    at = dict(zip(table.classes, table.nodes("depth5"), strict=True))
    assert at["polychaete"] == "polychaete"  # a group of its own at every depth


def is_nested(fine, coarse):
    """Brute force: no two classes that are one in the fine rank are two in the coarse one."""
    pairs = list(zip(fine, coarse, strict=True))
    return all(b == d for a, b in pairs for c, d in pairs if a == c)


@pytest.mark.parametrize("unnamed", [False, True])
def test_the_ranks_nest_and_make_a_tree_of_label_functions(unnamed):
    table = plankton.shipped(unnamed)
    by_rank = {rank: table.nodes(rank) for rank in RANKS}
    assert all(is_nested(by_rank[fine], by_rank[coarse]) for coarse, fine in pairwise(RANKS))
    functions = {
        rank: from_sets(rank, table.classes, [{node} for node in nodes])
        for rank, nodes in by_rank.items()
    }
    tree = Tree(table.classes, functions[TARGET], functions)
    assert all(tree.inside(rank).num_classes == len(set(by_rank[rank])) for rank in RANKS)


node = st.sampled_from(["a", "b", "c"])
trees = st.lists(st.lists(node, max_size=4), min_size=1, max_size=12).map(
    lambda ways: [(*way, f"class{i}") for i, way in enumerate(ways)]
)


@given(trees)
def test_ranks_of_any_tree_nest_and_end_in_its_classes(paths):
    names = tuple(path[-1] for path in paths)
    table = plankton.Plankton(names, (1,) * len(paths), tuple(paths))
    by_rank = [table.nodes(rank) for rank in RANKS]
    assert all(is_nested(fine, coarse) for coarse, fine in pairwise(by_rank))
    assert len(set(by_rank[-1])) == len(paths)
    for depth, nodes in enumerate(by_rank, 1):
        for found, path in zip(nodes, paths, strict=True):
            assert found == "/".join(path[:depth])
            assert (found == "/".join(path)) == (depth >= len(path))


@pytest.mark.fault("a table of plankton with a faulty row", "refused, with file, line and class")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a/b,0\n", r":3: 'b' has '0' images"),
        ("a/b\n", r":3: 'b' has '' images"),
        ("a/b,1\n\na/b/c,1\n", r":3: 'b' is a class, and other classes lie below it"),
        ("a/b,1\nc/b,1\n", r":4: 'b' stands in the table twice"),
        ("a/b/c/d/e/f,1\n", r":3: 'f' lies at depth 6, 5 at most"),
    ],
)
def test_a_faulty_table_is_refused(tmp_path, rows, message):
    (tmp_path / "plankton.csv").write_text("# names\npath,images\n" + rows)
    with pytest.raises(ValueError, match=rf"plankton\.csv{message}"):
        plankton.read_table(tmp_path / "plankton.csv")


@pytest.mark.fault("unknown ranks and groups of plankton", "refused, with the nearest name")
def test_unknown_names_come_with_the_nearest():
    table = plankton.shipped()
    with pytest.raises(ValueError, match="'dept3'; nearest: depth3"):
        table.nodes("dept3")
    with pytest.raises(ValueError, match="'protist'; nearest: protists"):
        table.without(["protist"])
