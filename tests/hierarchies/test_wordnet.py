"""The table of nouns, the levels, and the lists: counts as published or measured, and laws."""

import gzip
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from itertools import pairwise
from pathlib import Path

import pytest
from faults_seen import saw_end
from hypothesis import given
from hypothesis import strategies as st

from granularity.hierarchies import wordnet

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "lib/granularity/hierarchies/tables/hypernyms.txt.gz"
NOUN_FILE = Path(os.environ.get("WORDNET_NOUNS", "/usr/share/wordnet/data.noun"))

# The paper's Table 1 (levels 0, 1, 2, 4, 6, 9); the levels between were measured with the rule that
# gives them.
PAPER = {0: 21_843, 1: 5_995, 2: 2_281, 4: 519, 6: 160, 9: 38}
COUNTS = [21_843, 5_995, 2_281, 1_038, 519, 285, 160, 92, 58, 38, 26, 19, 13]
SEVERAL = [0, 453, 1_560, 2_676, 3_999, 4_914, 5_324, 5_226, 4_584, 3_361, 1_976, 990, 504]


@pytest.fixture(scope="module")
def imagenet21k():
    return wordnet.read_list("imagenet21k")


# --- Counts ---------------------------------------------------------------------------------------


def test_the_rule_gives_the_papers_class_counts(imagenet21k):
    counts = wordnet.class_counts(imagenet21k)
    assert counts == COUNTS
    assert {level: counts[level] for level in PAPER} == PAPER


def test_leaves_with_several_labels(imagenet21k):
    by_level = wordnet.levels(imagenet21k, 12)
    assert [sum(len(labels) > 1 for labels in sets) for sets in by_level] == SEVERAL


@pytest.mark.parametrize(
    ("reading", "counts"),
    [
        ("first", [21_843, 5_894, 2_167]),
        ("instances", [21_843, 5_991, 2_277]),
        ("ended", [21_843, 5_991, 2_277]),
    ],
)
def test_other_readings_do_not_give_the_papers_counts(imagenet21k, reading, counts):
    assert wordnet.class_counts(imagenet21k, 2, reading) == counts


def test_imagenet1k_and_the_other_lists():
    counts = wordnet.class_counts(wordnet.read_list("imagenet1k"), 9)
    assert counts == [1_000, 578, 325, 205, 130, 84, 54, 35, 22, 16]
    for name, (_, length) in wordnet.LISTS.items():
        assert len(wordnet.read_list(name)) == length


def test_tiny_imagenet(real_data, tmp_path):
    wnids = tmp_path / "wnids.txt"
    with tarfile.open(real_data / "tiny-imagenet-200/val.tar.xz") as archive:
        wnids.write_bytes(archive.extractfile("tiny-imagenet-200/wnids.txt").read())
    assert wordnet.class_counts(wordnet.read_list(wnids), 4) == [200, 170, 128, 92, 71]


def test_persons_are_all_that_the_winter_release_took_from_21k_p():
    public = wordnet.read_list("imagenet22k")
    before, after = (wordnet.read_list(f"imagenet21k-p{end}") for end in ("", "-winter21"))
    assert len(wordnet.subtree("n00007846", public)) == 2_836
    assert len(wordnet.subtree("n00007846", after)) == 105
    gone = sorted(set(before) - set(after))
    assert wordnet.subtree("n00007846", gone) == gone and set(after) < set(before)


# --- Brute force, laws ----------------------------------------------------------------------------


def walk(synset, level):
    """The rule as one would say it."""
    above = wordnet.nouns().hypernyms[synset]
    if level == 0 or not above:
        return {synset}
    return {found for parent in above for found in walk(parent, level - 1)}


def test_levels_are_what_a_plain_walk_finds(imagenet21k):
    by_level = wordnet.levels(imagenet21k, 12)
    for level in range(13):
        sample = range(level, len(imagenet21k), 1 if level == 3 else 37)
        assert all(by_level[level][i] == walk(imagenet21k[i], level) for i in sample)


def test_steps_lead_from_level_to_level():
    synsets = ["n02113023", "n09450163", "n07753592"]  # a corgi, the sun (a root), a banana
    for synset in synsets:
        by_level = wordnet.levels([synset], 9)
        for level, pairs in enumerate(wordnet.steps(synset, 9)):
            assert {below for below, _ in pairs} == by_level[level][0]
            assert {above for _, above in pairs} == by_level[level + 1][0]
    assert wordnet.steps("n02084071", 1) == [
        [("n02084071", "n01317541"), ("n02084071", "n02083346")]
    ]


# Synset i has hypernyms with smaller numbers only, so that every draw is a hierarchy; `~` marks an
# instance hypernym. n0 is a root, others may be.
def above(i):
    return st.lists(
        st.tuples(st.integers(0, i - 1).map("n{}".format), st.booleans()),
        max_size=3,
        unique_by=lambda pointer: pointer[0],
    )


hierarchies = st.integers(1, 25).flatmap(
    lambda size: st.tuples(st.just([]), *(above(i) for i in range(1, size)))
)


def nouns_of(hierarchy):
    return wordnet.Nouns(
        names={f"n{i}": f"synset {i}" for i in range(len(hierarchy))},
        hypernyms={
            f"n{i}": tuple(synset for synset, instance in above if not instance)
            for i, above in enumerate(hierarchy)
        },
        with_instances={
            f"n{i}": tuple(synset for synset, _ in above) for i, above in enumerate(hierarchy)
        },
    )


@given(hierarchies, st.integers(0, 6), st.integers(0, 6), st.sampled_from(list(wordnet.READINGS)))
def test_climbing_in_two_stages_is_climbing_at_once(hierarchy, first, second, reading):
    table = nouns_of(hierarchy)
    synsets = list(table.names)
    by_level = wordnet.levels(synsets, first + second, reading, table)
    once, low, high = by_level[first + second], by_level[first], by_level[second]
    above = dict(zip(synsets, high, strict=True))
    staged = [frozenset().union(*(above[label] for label in labels)) for labels in low]
    assert staged == once


@given(hierarchies, st.integers(0, 8))
def test_how_the_readings_are_related(hierarchy, level):
    table = nouns_of(hierarchy)
    synsets = list(table.names)
    every, first, instances, ended = (
        wordnet.levels(synsets, level, reading, table)[level] for reading in wordnet.READINGS
    )
    for i in range(len(synsets)):
        assert len(first[i]) == 1 and first[i] <= every[i]
        assert ended[i] <= every[i] and every[i]
        # Where a path can end, instance hypernyms lead on; they never take a plain path away.
        assert ended[i] <= instances[i]


@given(hierarchies, st.integers(0, 8), st.randoms())
def test_the_order_of_the_list_does_not_matter(hierarchy, level, random):
    table = nouns_of(hierarchy)
    synsets = list(table.names)
    shuffled = random.sample(synsets, len(synsets))
    found = dict(zip(shuffled, wordnet.levels(shuffled, level, table=table)[level], strict=True))
    expected = wordnet.levels(synsets, level, table=table)[level]
    assert [found[synset] for synset in synsets] == expected


@given(hierarchies)
def test_without_forks_a_level_never_has_more_classes_than_the_one_below(hierarchy):
    counts = wordnet.class_counts(list(nouns_of(hierarchy).names), 8, "first", nouns_of(hierarchy))
    assert all(finer >= coarser for finer, coarser in pairwise(counts))


# --- The table ------------------------------------------------------------------------------------


def make_hypernyms():
    spec = importlib.util.spec_from_file_location("maker", ROOT / "scripts/make_hypernyms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_the_script_makes_of_wordnets_noun_file(tmp_path):
    if not NOUN_FILE.exists():
        pytest.skip(f"no noun file of WordNet 3.0: {NOUN_FILE} (WORDNET_NOUNS names another)")
    text = gzip.decompress(TABLE.read_bytes())
    digest = hashlib.sha256(NOUN_FILE.read_bytes()).hexdigest()
    assert f"nouns={digest} ".encode() in text.splitlines()[0]
    first, second = tmp_path / "first", tmp_path / "second"
    for table in (first, second):
        make_hypernyms().write(NOUN_FILE, table)
    assert first.read_bytes() == second.read_bytes()
    # The text, since releases of zlib may pack the same text into other bytes.
    assert gzip.decompress(first.read_bytes()) == text


def test_the_script_refuses_another_noun_file(tmp_path):
    other = tmp_path / "data.noun"
    other.write_text("  1 licence\n00001740 03 n 01 entity 0 000 | that which is\n")
    with pytest.raises(ValueError, match=r"data\.noun: 1 synsets"):
        make_hypernyms().write(other, tmp_path / "table")
    assert not (tmp_path / "table").exists()


def test_the_table_is_small_whole_and_beside_its_licence():
    nouns = wordnet.nouns()
    assert len(nouns.names) == len(nouns.hypernyms) == len(nouns.with_instances) == wordnet.SYNSETS
    assert TABLE.stat().st_size < 1_000_000
    assert "Princeton University" in TABLE.with_name("LICENSE-WordNet").read_text()
    assert wordnet.name("n02121808") == "domestic cat"
    for synset, above in nouns.with_instances.items():
        assert set(nouns.hypernyms[synset]) <= set(above) <= nouns.names.keys()


def test_the_order_of_hypernyms_is_the_noun_files():
    # dog is listed under canine, then under domestic animal: not in the order of the offsets.
    assert wordnet.nouns().hypernyms["n02084071"] == ("n02083346", "n01317541")
    assert wordnet.nouns().with_instances["n01269360"] == ("n01075117", "n00223983")  # the Alamo
    assert wordnet.nouns().hypernyms["n01269360"] == ()


def repacked(text):
    return gzip.compress(text, mtime=0)


@pytest.mark.fault("a spoilt hypernym table", "refused, with how to make it again")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: b"",
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:-1],
        lambda packed: packed[:5000] + b"?" + packed[5001:],
        lambda packed: b"n00001740 entity\n",
        lambda packed: repacked(b""),
        lambda packed: repacked(b"n00001740 entity\n"),
        lambda packed: repacked(gzip.decompress(packed)[:-1]),
        lambda packed: repacked(gzip.decompress(packed).split(b"\n")[0]),
        lambda packed: repacked(gzip.decompress(packed).replace(b" canine ", b" cat ", 1)),
        lambda packed: repacked(gzip.decompress(packed).replace(b"n00001930", b"n00001931", 1)),
    ],
)
def test_a_spoilt_table_is_an_error_that_names_it(tmp_path, spoil):
    table = tmp_path / "spoilt.gz"
    table.write_bytes(spoil(TABLE.read_bytes()))
    with pytest.raises(ValueError, match=r"spoilt\.gz: .*make_hypernyms\.py"):
        wordnet.read_nouns(table)


# --- NLTK -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nltk_nouns():
    try:
        return wordnet.nltk_nouns()
    except LookupError:
        pytest.skip("NLTK's corpus wordnet is not installed (NLTK_DATA names its folder)")


def test_nltk_has_the_same_hypernyms_synset_by_synset(nltk_nouns):
    ours = wordnet.nouns()
    assert nltk_nouns.names == ours.names
    for theirs, mine in (
        (nltk_nouns.hypernyms, ours.hypernyms),
        (nltk_nouns.with_instances, ours.with_instances),
    ):
        assert theirs == {synset: tuple(sorted(above)) for synset, above in mine.items()}


def test_nltk_gives_the_same_labels_at_every_level(nltk_nouns, imagenet21k):
    for reading in ("every", "instances", "ended"):
        ours = wordnet.levels(imagenet21k, 12, reading)
        assert wordnet.levels(imagenet21k, 12, reading, nltk_nouns) == ours
    with pytest.raises(ValueError, match="order"):
        wordnet.levels(imagenet21k, 1, "first", nltk_nouns)


@pytest.mark.fault(
    "an empty noun file, which NLTK loads without a word", "refused, with both numbers of nouns"
)
def test_nltk_with_an_empty_noun_file_is_refused(nltk_nouns, tmp_path):
    from nltk.corpus import wordnet as corpus

    copy = tmp_path / "corpora/wordnet"
    shutil.copytree(str(corpus.root), copy)  # links would not do: NLTK refuses to leave its root
    (copy / "data.noun").write_bytes(b"")
    result = subprocess.run(
        [sys.executable, "-c", "from granularity.hierarchies import wordnet; wordnet.nltk_nouns()"],
        env=os.environ | {"NLTK_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "ValueError" in result.stderr and "with 0 nouns, wanted 3.0 with 82,115" in result.stderr
    saw_end(result.returncode, result.stderr)


# --- Lists and bad input --------------------------------------------------------------------------


@pytest.mark.fault(
    "a synset list with an unknown or repeated synset, empty, or no text",
    "refused, with line and nearest synset",
)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n02084071\nn02084072\n", r"list\.txt:2: 'n02084072' is no noun .*; nearest: n020"),
        (b"n02084071\ncat\n", r"list\.txt:2: 'cat' is no noun"),
        (b"n02084071\n\nn02084071\n", r"list\.txt:3: n02084071 stands in the list twice"),
        (b"\n\n", r"list\.txt: 0 synsets"),
        (b"\xff\xfe\x00n", r"list\.txt: not a text file"),
    ],
)
def test_a_bad_list_is_an_error_with_its_place(tmp_path, content, message):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        wordnet.read_list(tmp_path / "list.txt")


def test_a_list_may_have_blank_lines_and_windows_line_ends(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfn02084071\r\n\r\n n02121808 \r\n")
    assert wordnet.read_list(str(tmp_path / "list.txt")) == ["n02084071", "n02121808"]


@pytest.mark.fault("a synset list that is cut short", "refused, with both lengths")
def test_a_list_of_timm_that_is_cut_short_is_refused(tmp_path, monkeypatch):
    short = tmp_path / "short.txt"
    short.write_text("n02084071\n")
    monkeypatch.setattr(wordnet, "_locate", lambda source: (short, 21_843))
    with pytest.raises(ValueError, match=r"short\.txt: 1 synsets, wanted 21843"):
        wordnet.read_list("imagenet21k")


@pytest.mark.fault("unknown lists, readings and synsets", "refused, with the nearest name")
def test_unknown_names_come_with_the_nearest():
    with pytest.raises(FileNotFoundError, match=r"imagnet21k: .*nearest: imagenet21k"):
        wordnet.read_list("imagnet21k")
    with pytest.raises(ValueError, match=r"'frist'; nearest: first"):
        wordnet.levels(["n02084071"], 1, "frist")
    with pytest.raises(ValueError, match="twice"):
        wordnet.levels(["n02084071", "n02084071"], 1)
    with pytest.raises(ValueError, match="levels start at 0"):
        wordnet.levels(["n02084071"], -1)
    with pytest.raises(ValueError, match="'n99' is no noun"):
        wordnet.subtree("n99", ["n02084071"])


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "granularity.wordnet", *arguments],
        capture_output=True,
        text=True,
    )


def test_the_command_prints_the_levels_in_about_a_second():
    started = time.perf_counter()
    result = command("imagenet21k", "--json")
    seconds = time.perf_counter() - started
    assert json.loads(result.stdout) == {str(level): count for level, count in enumerate(COUNTS)}
    assert result.stdout.startswith('{"0": 21843, "1": 5995, "2": 2281,')
    assert seconds < 5  # 0.6 s on an idle core; more says that something large was imported


def test_the_command_prints_a_table_and_refuses_by_name():
    lines = command("imagenet1k", "--last", "1").stdout.splitlines()
    assert lines[1].split() == ["0", "1,000", "0"] and lines[2].split()[:2] == ["1", "578"]
    refused = command("imagenet2k")
    assert refused.returncode == 2 and "nearest: imagenet22k" in refused.stderr


def test_reading_timms_lists_does_not_import_timm():
    code = (
        "import sys; from granularity.hierarchies import wordnet; wordnet.read_list('imagenet21k');"
        "print([name for name in ('timm', 'torch', 'numpy', 'nltk') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
