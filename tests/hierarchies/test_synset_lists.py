"""The winter 2021 release of ImageNet-21k: its names, and its levels by brute force."""

import subprocess
import sys

import pytest

from granularity.hierarchies import synset_lists, wordnet

COUNTS = [19_167, 5_090, 1_948, 904, 464, 262, 153, 91, 58, 38]
PERSON, PICTURE = "n00007846", "n03931044"


@pytest.fixture(scope="module")
def winter():
    return synset_lists.read("imagenet21k-winter21")


def test_all_of_the_release_are_of_the_papers_and_of_the_targets_only_one_is_missing(winter):
    paper = set(wordnet.read_list("imagenet21k"))
    assert len(winter) == len(set(winter)) == 19_167 and set(winter) < paper
    assert winter == sorted(winter)
    assert set(wordnet.read_list("imagenet1k")) - set(winter) == {"n04399382"}
    assert set(wordnet.read_list("imagenet21k-p-winter21")) < set(winter)
    gone = sorted(paper - set(winter))
    assert len(gone) == 2_676
    assert set(gone) - set(wordnet.subtree(PERSON, gone)) == {PICTURE}


def test_the_table_is_of_the_published_list(winter, real_data):
    published = (real_data / "imagenet21k-winter2021-synsets.txt").read_text().split()
    assert winter == sorted(published)


def test_its_levels_are_what_a_walk_from_every_leaf_finds(winter):
    hypernyms = wordnet.nouns().hypernyms
    reached = [{synset} for synset in winter]
    for level, sets in enumerate(wordnet.levels(winter, 9)):
        assert sets == reached
        assert len(set().union(*reached)) == COUNTS[level]
        reached = [
            {above for synset in labels for above in hypernyms[synset] or [synset]}
            for labels in reached
        ]


def test_its_levels_are_nltks(winter):
    try:
        table = wordnet.nltk_nouns()
    except LookupError:
        pytest.skip("NLTK's corpus wordnet is not installed (NLTK_DATA names its folder)")
    assert wordnet.class_counts(winter, 9, table=table) == COUNTS


def test_other_lists_are_read_as_before(tmp_path):
    assert synset_lists.read("imagenet1k") == wordnet.read_list("imagenet1k")
    (tmp_path / "list.txt").write_text("n02084071\n")
    assert synset_lists.read(tmp_path / "list.txt") == ["n02084071"]


@pytest.mark.fault("a spoilt table of winter 2021's synsets", "refused, with how many it leaves")
@pytest.mark.parametrize(
    ("content", "left"), [("", "21,843"), ("# only this\nn03931044\n", "21,842")]
)
def test_a_spoilt_table_is_an_error_that_names_it(tmp_path, content, left):
    (tmp_path / "gone.txt").write_text(content)
    with pytest.raises(ValueError, match=rf"gone\.txt: leaves {left} synsets"):
        synset_lists.winter_2021(tmp_path / "gone.txt")


@pytest.mark.fault("a misspelt name of a synset list", "refused, with the nearest of all names")
def test_a_misspelt_list_comes_with_the_nearest():
    with pytest.raises(FileNotFoundError, match=r"winer21: .*nearest: imagenet21k-winter21"):
        synset_lists.read("imagenet21k-winer21")


def test_the_command_prints_the_papers_counts_beside_those_of_a_release():
    def printed(name):
        words = [sys.executable, "-m", "granularity", "levels", name, "--last", "4"]
        lines = subprocess.run(
            words, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return [line.split() for line in lines[1:]]

    assert [row[1] for row in printed(synset_lists.WINTER_2021)] == [f"{n:,}" for n in COUNTS[:5]]
    assert printed(synset_lists.WINTER_2021)[2] == ["2", "1,948", "1,191", "2,281"]
    assert [len(row) for row in printed(synset_lists.WINTER_2021)] == [4, 4, 4, 3, 4]
    assert {len(row) for row in printed("imagenet1k")} == {3}
