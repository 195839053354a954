"""Label levels of a synset list: WordNet 3.0's nouns, and k steps up their hypernyms.

A synset is written as in ImageNet, `n` and its offset in WordNet's noun file: n02084071 is *dog*.
From the shell, `granularity levels imagenet21k` counts the classes of every level.
"""

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from granularity.inputs.nearest import hint

Hypernyms = Mapping[str, tuple[str, ...]]

SYNSETS = 82_115  # nouns of WordNet 3.0, by its own statistics (wnstats)
HEADER = re.compile(
    r"#hypernyms format=1 wordnet=3\.0 synsets=(?P<synsets>\d+)"
    r" nouns=[0-9a-f]{64} rows=(?P<rows>[0-9a-f]{64})"
)

# Lists that timm ships, by the names this book uses: file and number of synsets.
LISTS = {
    "imagenet21k": ("imagenet21k_goog_synsets.txt", 21_843),  # Google's, the paper's
    "imagenet22k": ("imagenet22k_synsets.txt", 21_841),  # the public release of fall 2011
    "imagenet12k": ("imagenet12k_synsets.txt", 11_821),
    "imagenet21k-p": ("imagenet21k_miil_synsets.txt", 11_221),
    "imagenet21k-p-winter21": ("imagenet21k_miil_w21_synsets.txt", 10_450),
    "imagenet1k": ("imagenet_synsets.txt", 1_000),
}

READINGS = {
    "every": "every hypernym; a synset that has none stays (the book's rule)",
    "first": "the first hypernym listed only; a synset that has none stays",
    "instances": "every hypernym, instance hypernyms too; a synset that has none stays",
    "ended": "every hypernym; a path that has ended gives no label",
}


# --- The table of nouns ---------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Nouns:
    """WordNet's noun synsets: first lemmas and hypernyms.

    `hypernyms` holds the plain pointers only (`@`: a corgi is a kind of dog), `with_instances` the
    instance hypernyms too (`@i`: Loch Ness is an instance of lake). The order is the noun file's,
    unless `ordered` is False.
    """

    names: Mapping[str, str]
    hypernyms: Hypernyms
    with_instances: Hypernyms
    ordered: bool = True


@cache
def nouns() -> Nouns:
    """The nouns of WordNet 3.0 from the table inside this package."""
    return read_nouns(resources.files("granularity.hierarchies") / "tables" / "hypernyms.txt.gz")


def read_nouns(path: Traversable) -> Nouns:
    """The nouns in a table made by `scripts/make_hypernyms.py`.

    Raises ValueError, naming the file, unless every row that was written is there unchanged.
    """
    names, hypernyms, with_instances = {}, {}, {}
    for row in _intact_rows(path):
        synset, name, *marked = row.split(" ")
        names[synset] = name
        with_instances[synset] = tuple(pointer.lstrip("~") for pointer in marked)
        hypernyms[synset] = tuple(pointer for pointer in marked if pointer[0] != "~")
    return Nouns(names, hypernyms, with_instances)


def _intact_rows(path: Traversable) -> list[str]:
    remedy = "make it again with scripts/make_hypernyms.py"
    try:
        text = gzip.decompress(path.read_bytes()).decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no readable hypernym table ({error}); {remedy}") from error
    header, _, body = text.partition("\n")
    found = HEADER.fullmatch(header)
    if not found:
        raise ValueError(f"{path}: no hypernym table, it starts with {header[:60]!r}; {remedy}")
    rows = body.splitlines()
    if len(rows) != int(found["synsets"]):
        raise ValueError(f"{path}: {len(rows):,} of {found['synsets']} synsets; {remedy}")
    if hashlib.sha256(body.encode()).hexdigest() != found["rows"]:
        raise ValueError(f"{path}: rows differ from the digest in the header; {remedy}")
    return rows


def nltk_nouns() -> Nouns:
    """The nouns of NLTK's corpus `wordnet`, for comparison: slow, and sorted by offset.

    NLTK keeps pointers in a set, so the noun file's order is lost there. Raises LookupError where
    the corpus is not installed, ValueError where it is not WordNet 3.0 with all its nouns (NLTK
    itself loads an empty noun file without a word).
    """
    from nltk.corpus import wordnet

    def ids(synsets: Iterable) -> tuple[str, ...]:
        return tuple(sorted(f"n{synset.offset():08d}" for synset in synsets))

    names, hypernyms, with_instances = {}, {}, {}
    for noun in wordnet.all_synsets("n"):
        (synset,) = ids([noun])
        names[synset] = noun.lemma_names()[0]
        hypernyms[synset] = ids(noun.hypernyms())
        with_instances[synset] = ids(noun.hypernyms() + noun.instance_hypernyms())
    if wordnet.get_version() != "3.0" or len(names) != SYNSETS:
        raise ValueError(
            f"{wordnet.root}: WordNet {wordnet.get_version()} with {len(names):,} nouns,"
            f" wanted 3.0 with {SYNSETS:,}"
        )
    return Nouns(names, hypernyms, with_instances, ordered=False)


def name(synset: str) -> str:
    """The first lemma, as a reader wants it: `name("n02084071")` is `dog`. Not unique."""
    return nouns().names[synset].replace("_", " ")


# --- Levels ---------------------------------------------------------------------------------------


def levels(
    synsets: Sequence[str], last: int, reading: str = "every", table: Nouns | None = None
) -> list[list[frozenset[str]]]:
    """The labels of every synset at the levels 0 to `last`: `levels(…)[k][i]` is a set of synsets.

    Level 0 is the synset itself; level k is what k steps up WordNet reach (paper, section 5.1).
    The paper does not say what to do where a synset has several hypernyms. Following all of them
    gives its class counts, so a synset can have several labels. `READINGS` lists this rule and
    three others. Under `ended` a set can be empty.

    Raises ValueError for an unknown or repeated synset, an unknown reading, a negative level, and
    for `first` with a table that has lost the order of hypernyms (NLTK's).
    """
    table = table or nouns()
    _check(synsets, table)
    if last < 0:
        raise ValueError(f"level {last}: levels start at 0")
    upwards = _upwards(reading, table)
    reached = {synset: frozenset([synset]) for synset in closure(synsets, upwards)}
    result = [[reached[synset] for synset in synsets]]
    for _ in range(last):
        # k steps from a synset are k - 1 steps from each synset above it.
        reached = {synset: _union(reached, upwards[synset]) for synset in reached}
        result.append([reached[synset] for synset in synsets])
    return result


def _upwards(reading: str, table: Nouns) -> Hypernyms:
    """For each synset those one step up; a synset that stays where it is points to itself."""
    if reading not in READINGS:
        raise ValueError(f"no reading named {reading!r}{hint(reading, READINGS)}")
    if reading == "ended":
        return table.hypernyms
    if reading == "instances":
        return {synset: above or (synset,) for synset, above in table.with_instances.items()}
    if reading == "first":
        if not table.ordered:
            raise ValueError("reading 'first' needs the noun file's order, which NLTK loses")
        return {synset: above[:1] or (synset,) for synset, above in table.hypernyms.items()}
    return {synset: above or (synset,) for synset, above in table.hypernyms.items()}


def _union(reached: Mapping[str, frozenset[str]], above: tuple[str, ...]) -> frozenset[str]:
    if len(above) == 1:  # nearly all: share the set instead of copying it
        return reached[above[0]]
    return frozenset().union(*(reached[synset] for synset in above))


def closure(synsets: Iterable[str], upwards: Hypernyms) -> set[str]:
    """The synsets and everything above them."""
    found, waiting = set(), list(synsets)
    while waiting:
        synset = waiting.pop()
        if synset not in found:
            found.add(synset)
            waiting.extend(upwards[synset])
    return found


def subtree(root: str, synsets: Sequence[str]) -> list[str]:
    """Those of `synsets` that are `root` or lie below it on any path, instances included.

    Raises ValueError for an unknown or repeated synset.
    """
    _check([root], nouns())
    _check(synsets, nouns())
    upwards = nouns().with_instances
    return [synset for synset in synsets if root in closure([synset], upwards)]


def steps(synset: str, last: int) -> list[list[tuple[str, str]]]:
    """How a synset climbs to level `last`: `steps(…)[k]` leads from level k to level k + 1.

    A step is a pair (from, to), sorted; a synset without hypernyms steps to itself. Raises
    ValueError for an unknown synset or a negative level.
    """
    upwards = nouns().hypernyms
    return [
        sorted((below, above) for below in labels for above in upwards[below] or (below,))
        for (labels,) in levels([synset], last)[:-1]
    ]


def class_counts(
    synsets: Sequence[str], last: int = 12, reading: str = "every", table: Nouns | None = None
) -> list[int]:
    """The number of classes at the levels 0 to `last`; arguments and errors as in `levels`."""
    return [num_classes(sets) for sets in levels(synsets, last, reading, table)]


def num_classes(sets: Iterable[frozenset[str]]) -> int:
    """How many classes the leaves' sets of classes have among them."""
    return len(frozenset().union(*sets))


# --- Lists of synsets -----------------------------------------------------------------------------


def read_list(source: str | Path) -> list[str]:
    """The synsets of a list, in its order: a name in `LISTS`, or a text file with one on each line.

    timm's lists are read without importing timm, since that imports torch (seconds). Raises
    ValueError, naming file and line, for an unknown or repeated synset, and for a list that is
    empty or not as long as it should be; FileNotFoundError for what is neither name nor file.
    """
    path, length = _locate(source)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error})") from error
    places = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    synsets = list(places.values())
    _check(synsets, nouns(), [f"{path}:{number}: " for number in places])
    if not synsets or len(synsets) != (length or len(synsets)):
        raise ValueError(f"{path}: {len(synsets):,} synsets, wanted {length or 'at least one'}")
    return synsets


def _locate(source: str | Path) -> tuple[Path, int | None]:
    if source in LISTS:
        spec = find_spec("timm")  # finds the package, does not run it
        if spec is None:
            raise ModuleNotFoundError(f"list {source!r} is in timm, which is not installed")
        file, length = LISTS[source]
        return Path(spec.submodule_search_locations[0]) / "data" / "_info" / file, length
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"{source}: neither a file nor a list's name{hint(source, LISTS, shown=6)}"
        )
    return Path(source), None


def _check(synsets: Sequence[str], table: Nouns, places: Sequence[str] = ()) -> None:
    """Raises ValueError at the first unknown or repeated synset; `places` are put in front."""
    seen = set()
    for i, synset in enumerate(synsets):
        place = places[i] if places else ""
        if synset not in table.names:
            near = hint(synset, table.names, shown=6)
            raise ValueError(f"{place}{synset!r} is no noun synset of WordNet 3.0{near}")
        if synset in seen:
            raise ValueError(f"{place}{synset} stands in the list twice")
        seen.add(synset)
