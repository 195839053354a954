"""Label functions: what they hold, how they are numbered, what their files refuse."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granularity import labels
from granularity.hierarchies import wordnet

names = st.text("abcé 字", min_size=1, max_size=3)
tables = st.dictionaries(names, st.sets(names, min_size=1, max_size=4), min_size=1, max_size=12)


def made_of(table, name="drawn"):
    return labels.from_sets(name, list(table), list(table.values()))


@pytest.fixture(scope="module")
def by_level():
    return labels.levels(wordnet.read_list("imagenet21k"), range(13))


@pytest.fixture
def pets():
    return labels.from_sets("pets", ["tabby", "corgi"], [{"cat"}, {"pet", "dog"}])


def test_a_small_one_by_hand(pets):
    assert pets.classes == ("cat", "dog", "pet") and pets.num_classes == 3
    assert pets.indices.tolist() == [[0, -1], [1, 2]]
    assert pets.classes_of("corgi") == ("dog", "pet")
    assert pets.num_labels.tolist() == [1, 2]
    assert pets.sizes().tolist() == [1, 1, 1]
    assert pets.sizes(images=[500, 20]).tolist() == [500, 20, 20]
    assert repr(pets) == ("LabelFunction('pets': 2 leaves → 3 classes, several for 1, at most 2)")


@given(tables)
def test_every_item_has_its_classes_and_every_class_its_size(table):
    function = made_of(table)
    for item, classes in table.items():
        assert set(function.classes_of(item)) == classes
    for label, size in zip(function.classes, function.sizes(), strict=True):
        assert size == sum(label in classes for classes in table.values())


@given(tables, st.randoms())
def test_the_order_of_the_items_moves_rows_and_nothing_else(table, random):
    function = made_of(table)
    shuffled = made_of({item: table[item] for item in random.sample(list(table), len(table))})
    assert shuffled.classes == function.classes
    rows = dict(zip(function.items, function.indices.tolist(), strict=True))
    assert rows == dict(zip(shuffled.items, shuffled.indices.tolist(), strict=True))


def test_the_hash_seed_changes_nothing():
    code = (
        "from granularity import labels; from granularity.hierarchies import wordnet;"
        "print(labels.levels(wordnet.read_list('imagenet1k'), [4])[4].fingerprint)"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(prints) == 1


def test_imagenet21k(by_level):
    counts = [by_level[level].num_classes for level in range(13)]
    assert counts == wordnet.class_counts(wordnet.read_list("imagenet21k"))
    assert (by_level[0].indices[:, 0] == np.argsort(np.argsort(by_level[0].items))).all()
    sets = wordnet.levels(by_level[4].items, 4)[4]
    assert [set(by_level[4].classes_of(leaf)) for leaf in by_level[4].items] == sets
    assert by_level[4].indices.nbytes < 500_000  # not leaves × classes
    assert repr(by_level[4]) == (
        "LabelFunction('level 4': 21,843 leaves → 519 classes, several for 3,999, at most 5)"
    )


def test_samples_instead_of_leaves():
    function = labels.from_sets("random", ["a/1.jpg", "a/2.jpg"], [["7"], ["3"]], domain="sample")
    assert function.indices.tolist() == [[1], [0]]
    assert "2 samples → 2 classes" in repr(function)


@pytest.mark.fault(
    "a label function whose indices, classes or items do not fit ({change})",
    "refused by name, with the place",
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": np.array([[0, -1], [1, 3]], np.int32)}, "outside -1 … 2"),
        ({"indices": np.array([[0, -2], [1, 2]], np.int32)}, "outside -1 … 2"),
        ({"indices": np.array([[0, -1], [1, 2]])}, "type int64"),
        ({"indices": np.array([[0, -1]], np.int32)}, r"shape \(1, 2\)"),
        ({"indices": np.array([0, 1], np.int32)}, r"shape \(2,\)"),
        ({"indices": np.array([[-1, -1], [1, 2]], np.int32)}, "items without class: 1.*'tabby'"),
        ({"indices": np.array([[-1, 0], [1, 2]], np.int32)}, "padding is not at its end"),
        ({"indices": np.array([[0, -1], [2, 1]], np.int32)}, "not rising"),
        ({"indices": np.array([[0, -1], [1, 1]], np.int32)}, "not rising"),
        ({"indices": np.array([[0, 1, -1], [1, 2, -1]], np.int32)}, "nothing but padding"),
        ({"indices": np.array([[0, -1], [0, 1]], np.int32)}, "classes without item: 1.*'pet'"),
        ({"classes": ("dog", "cat", "pet")}, "not sorted"),
        ({"items": ("tabby", "tabby")}, "twice"),
        ({"domain": "image"}, "domain 'image'"),
    ],
)
def test_what_is_no_label_function_is_refused(pets, change, message):
    with pytest.raises(ValueError, match=f"(?s)'pets'.*{message}"):
        replace(pets, **change)


def test_bad_arguments(pets):
    with pytest.raises(ValueError, match="2 items, 1 sets"):
        labels.from_sets("x", ["a", "b"], [{"c"}])
    with pytest.raises(ValueError, match=r"without class.*'b'"):
        labels.from_sets("x", ["a", "b"], [{"c"}, set()])
    with pytest.raises(ValueError, match="no items"):
        labels.from_sets("x", [], [])
    with pytest.raises(ValueError, match="1 image counts for 2 leaves"):
        pets.sizes(images=[1])
    with pytest.raises(KeyError, match="'pets' has no leaf 'lion'"):
        pets.classes_of("lion")
    with pytest.raises(ValueError, match="level -1"):
        labels.levels(["n02084071"], [1, -1])
    with pytest.raises(ValueError, match="read-only"):
        pets.indices[0, 0] = 2


# --- Files ----------------------------------------------------------------------------------------


@settings(deadline=None)  # it writes and syncs files
@given(tables)
def test_what_was_saved_is_loaded(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("labels") / "drawn.npz"
    function = made_of(table)
    labels.save(function, path)
    loaded = labels.load(path)
    assert loaded.fingerprint == function.fingerprint
    assert (loaded.name, loaded.domain) == (function.name, function.domain)
    assert (loaded.items, loaded.classes) == (function.items, function.classes)
    assert loaded.indices.dtype == np.int32 and (loaded.indices == function.indices).all()
    assert [file.name for file in path.parent.iterdir()] == ["drawn.npz"]


def test_fingerprints_tell_functions_apart(pets):
    others = [
        replace(pets, name="other"),
        replace(pets, domain="sample"),
        replace(pets, items=("tabby", "Pembroke")),
        replace(pets, classes=("cat", "dog", "puppy")),
        replace(pets, indices=np.array([[0, -1], [1, 2]], np.int32)[::-1]),
    ]
    assert len({function.fingerprint for function in [pets, *others]}) == 6


def test_the_same_function_is_the_same_file(by_level, tmp_path):
    for name in ("a", "b"):
        labels.save(by_level[4], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size < 300_000


@pytest.mark.fault("a file of labels, cut at every length", "refused by name")
def test_any_truncated_file_is_refused(pets, tmp_path):
    path = tmp_path / "pets.npz"
    labels.save(pets, path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"pets\.npz"):
            labels.load(path)


def tampered(path, pets, **changes):
    """The file with some of its arrays changed."""
    labels.save(pets, path)
    with np.load(path) as arrays:
        content = dict(arrays) | changes
    with path.open("wb") as file:
        np.savez(file, **content)


@pytest.mark.fault("a file of labels that was changed ({changes})", "refused by name")
@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.array([[1, -1], [0, 2]], np.int32)},  # a valid function, another one
        {"indices": np.array([[9, -1], [0, 2]], np.int32)},
        {"indices": np.array([{"an": "object"}], dtype=object)},
        {"items": np.frombuffer(b'["tabby", "poodle"]', np.uint8)},
        {"items": np.frombuffer(b"[1, 2]", np.uint8)},
        {"classes": np.frombuffer(b"not JSON", np.uint8)},
        {"header": np.frombuffer(b'{"format": "something else"}', np.uint8)},
        {"header": np.frombuffer(b"{}", np.uint8)},
    ],
)
def test_a_tampered_file_is_refused(pets, tmp_path, changes):
    tampered(tmp_path / "pets.npz", pets, **changes)
    with pytest.raises(ValueError, match=r"pets\.npz: no whole label function"):
        labels.load(tmp_path / "pets.npz")


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


@pytest.mark.fault(
    "a file of labels that is empty, foreign, or holds pickled code", "refused; the code is not run"
)
def test_a_foreign_file_is_refused_and_nothing_in_it_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, content in enumerate([b"", b"text", pickle.dumps(Bomb()), b"PK\x03\x04" * 9]):
        Path(f"{number}.npz").write_bytes(content)
    with Path("4.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    np.savez("5.npz", header=np.array([Bomb()], dtype=object))
    for number in range(6):
        with pytest.raises(ValueError, match=rf"{number}\.npz: no whole label function"):
            labels.load(f"{number}.npz")
    assert not Path("exploded").exists()
    with pytest.raises(FileNotFoundError, match="absent"):
        labels.load("absent.npz")


@pytest.mark.fault("disk full while labels are written", "an error; the earlier file is intact")
def test_a_save_that_fails_leaves_the_old_file(pets, tmp_path, monkeypatch):
    path = tmp_path / "pets.npz"
    labels.save(pets, path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        labels.save(replace(pets, name="other"), path)
    assert path.read_bytes() == before
