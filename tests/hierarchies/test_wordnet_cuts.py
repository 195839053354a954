"""WordNet cut at depths and into balanced nodes: measured counts of Tiny-ImageNet, and laws."""

import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granularity.hierarchies import wordnet, wordnet_cuts

TINY = Path(__file__).parents[1] / "tiny-imagenet-wnids.txt"
BALANCED = {
    "vehicle": 12,
    "vessel": 10,
    "substance": 10,
    "insect": 10,
    "instrument": 9,
    "equipment": 9,
    "domestic animal": 9,
    "garment": 8,
    "ungulate": 6,
}


@pytest.fixture(scope="module")
def tiny():
    return wordnet.read_list(TINY)


def test_the_list_is_tiny_imagenets(tiny, real_data):
    with tarfile.open(real_data / "tiny-imagenet-200/val.tar.xz") as archive:
        text = archive.extractfile("tiny-imagenet-200/wnids.txt").read().decode()
    assert tiny == text.split()


def test_depth_cuts_of_tiny_imagenet(tiny):
    assert [len(set(wordnet_cuts.at_depth(tiny, depth))) for depth in range(4, 9)] == [
        8,
        18,
        41,
        83,
        120,
    ]
    sizes = sorted(Counter(wordnet_cuts.at_depth(tiny, 5)).values(), reverse=True)
    assert sizes == [76, 59, 21, 18, 7, 6, 2] + [1] * 11


def every_path(synset):
    """All shortest paths from the root, whatever the order of the hypernyms."""
    above = wordnet.nouns().with_instances[synset]
    paths = [found for hypernym in above for found in every_path(hypernym)] or [()]
    length = min(map(len, paths))
    return [(*found, synset) for found in paths if len(found) == length]


def test_three_leaves_have_several_nodes_at_depth_5_and_take_the_first_listed(tiny):
    several = {leaf: {found[:6][-1] for found in every_path(leaf)} for leaf in tiny}
    tied = [wordnet.name(leaf) for leaf in tiny if len(several[leaf]) > 1]
    assert sorted(tied) == ["comic book", "scoreboard", "wooden spoon"]
    for leaf, node in zip(tiny, wordnet_cuts.at_depth(tiny, 5), strict=True):
        assert node in several[leaf] and wordnet_cuts.path(leaf) in every_path(leaf)


nouns = st.sampled_from(sorted(wordnet.nouns().names))


@settings(deadline=None)
@given(nouns)
def test_a_path_climbs_one_hypernym_at_a_time_to_the_first_of_least_depth(synset):
    path = wordnet_cuts.path(synset)
    assert path[-1] == synset and path[0] == "n00001740"  # entity, the only root of the nouns
    for above, below in pairwise(path):
        listed = wordnet.nouns().with_instances[below]
        least = min(len(wordnet_cuts.path(hypernym)) for hypernym in listed)
        assert above == next(name for name in listed if len(wordnet_cuts.path(name)) == least)


@settings(deadline=None)
@given(st.lists(nouns, unique=True, max_size=8), st.integers(0, 12))
def test_a_cut_is_nested_in_the_next_deeper_one(synsets, depth):
    coarse, fine = wordnet_cuts.at_depth(synsets, depth), wordnet_cuts.at_depth(synsets, depth + 1)
    assert len(set(zip(coarse, fine, strict=True))) == len(set(fine))
    assert wordnet_cuts.at_depth(synsets, 0) == ["n00001740"] * len(synsets)
    assert wordnet_cuts.at_depth(synsets, 30) == synsets


def test_the_balanced_cut_of_tiny_imagenet(tiny):
    found = wordnet_cuts.balanced(tiny)
    assert {wordnet.name(node): len(below) for node, below in found.items()} == BALANCED
    leaves = [leaf for below in found.values() for leaf in below]
    assert len(leaves) == len(set(leaves)) == 83 and round(12 / 83, 2) == 0.14
    for node, below in found.items():
        assert sorted(below) == list(below) == sorted(wordnet.subtree(node, tiny))
    assert wordnet_cuts.balanced(sorted(tiny)) == found


def test_what_cannot_be_cut_is_refused(tiny):
    with pytest.raises(ValueError, match="'n1' is no noun"):
        wordnet_cuts.path("n1")
    with pytest.raises(ValueError, match="twice"):
        wordnet_cuts.at_depth(tiny[:1] * 2, 5)
    with pytest.raises(ValueError, match="depth -1: depths start at 0"):
        wordnet_cuts.at_depth(tiny, -1)
    with pytest.raises(ValueError, match="no node of WordNet has 6 to 12 of the 3 synsets"):
        wordnet_cuts.balanced(tiny[:3])
