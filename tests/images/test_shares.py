"""A split by a share of every class: laws, brute force, and names that are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from granularity.hierarchies import plankton
from granularity.images.layouts import DataError
from granularity.images.shares import by_share

sizes = st.lists(st.integers(2, 40), min_size=1, max_size=6)


def named(sizes):
    return [f"class{c}/{i}.jpg".encode() for c, size in enumerate(sizes) for i in range(size)]


def evaluated(names, **given):
    return {names[i] for i in by_share(names, **given)["evaluation"]}


@given(sizes, st.floats(0.01, 0.99), st.randoms())
def test_a_share_of_every_class_whatever_the_order(sizes, share, random):
    names = named(sizes)
    shuffled = random.sample(names, len(names))
    parts = by_share(names, share)
    assert sorted([*parts["train"], *parts["evaluation"]]) == list(range(len(names)))
    assert all(list(rows) == sorted(rows) for rows in parts.values())
    assert evaluated(names, share=share) == evaluated(shuffled, share=share)
    for c, size in enumerate(sizes):
        found = sum(name.startswith(b"class%d/" % c) for name in evaluated(names, share=share))
        assert found == min(max(1, round(share * size)), size - 1)


@given(sizes, st.floats(0.01, 0.5), st.floats(0.5, 0.99))
def test_a_larger_share_holds_the_smaller_one(sizes, low, high):
    names = named(sizes)
    assert evaluated(names, share=low) <= evaluated(names, share=high)


@given(sizes, sizes)
def test_a_class_is_split_the_same_whatever_other_classes_there_are(sizes, others):
    names = named(sizes)
    more = [b"other" + name for name in named(others)]
    assert evaluated(names) == evaluated(names + more) & set(names)


def test_the_split_is_the_same_on_every_machine():
    names = [f"copepod/{i}.jpg".encode() for i in range(20)]
    assert sorted(evaluated(names)) == [b"copepod/%d.jpg" % i for i in (12, 13, 8, 9)]


def test_plankton_is_split_at_eighty_to_twenty():
    table = plankton.shipped(unnamed=True)
    names = [
        f"{label}/{i}.jpg".encode()
        for label, images in zip(table.classes, table.images, strict=True)
        for i in range(images)
    ]
    assert len(evaluated(names)) == sum(round(0.2 * images) for images in table.images) == 6_071


@pytest.mark.fault("names that cannot be split", "refused, by name")
def test_names_that_cannot_be_split_are_refused():
    for names, message in (
        ([b"a/1.jpg", b"1.jpg"], "'1.jpg' is no name"),
        ([b"a/1.jpg", b"a/1.jpg"], "a/1.jpg is there twice"),
        ([b"a/1.jpg", b"a/2.jpg", b"b/1.jpg"], "class b has a single image"),
    ):
        with pytest.raises(DataError, match=message):
            by_share(names)
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        by_share([b"a/1.jpg", b"a/2.jpg"], 1.5)
