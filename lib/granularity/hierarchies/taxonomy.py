"""The tree of life as iNaturalist 2021 writes it: folder names, their ranks, the supercategories.

A folder of the dataset is `NNNNN_Kingdom_Phylum_Class_Order_Family_Genus_epithet`, one for each
species. The names of all 10,000 stand in a table inside this package, so nothing here needs images.
"""

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from granularity.inputs.nearest import hint, nearest

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
KINGDOMS = ("Animalia", "Fungi", "Plantae")
FORM = "NNNNN_Kingdom_Phylum_Class_Order_Family_Genus_epithet"

# The target's 11 classes, by the first rule that holds; what is left is a class "Animalia", which
# is thus not the kingdom. The rule is not the dataset's own text, but it meets all its counts.
SUPERCATEGORIES = (
    ("kingdom", "Plantae", "Plants"),
    ("kingdom", "Fungi", "Fungi"),
    ("class", "Insecta", "Insects"),
    ("class", "Aves", "Birds"),
    ("class", "Reptilia", "Reptiles"),
    ("class", "Mammalia", "Mammals"),
    ("class", "Actinopterygii", "Ray-finned Fishes"),
    ("class", "Amphibia", "Amphibians"),
    ("class", "Arachnida", "Arachnids"),
    ("phylum", "Mollusca", "Mollusks"),
)
REST = "Animalia"

# How sure the table is of a species' ranks: mark in the table, and what it means.
EVIDENCE = {
    "": "source",  # animals and plants: as in the sources
    "d": "dir_name_seen",  # fungi, from here on: the folder's name was seen
    "f": "family_seen",  # the family was seen, what is above it follows
    "c": "by_constraint",  # phylum to family filled in to fit the known grouping
    "u": "uncertain",  # so too, but a name may differ from the dataset's
}

# Letters of any alphabet; hyphens inside, as in x-notata; a hybrid sign in front, as in ×Citrofort.
_WORD = r"[^\W\d_]+(?:-[^\W\d_]+)*"
_NAME = rf"×?{_WORD}"
_EPITHET = rf"(?:×[ _]?)?{_WORD}\.?(?:[ _](?:×[ _]?)?{_WORD}\.?)*"
FOLDER = re.compile(
    rf"(?P<id>[0-9]{{5}})_(?P<ranks>{_NAME}(?:_{_NAME}){{5}})_(?P<epithet>{_EPITHET})"
)
HEADER = re.compile(
    r"#species format=1 species=(?P<species>\d+)"
    r" csv=[0-9a-f]{64} body=(?P<body>[0-9a-f]{64})"
)


@dataclass(frozen=True, repr=False)
class Taxonomy:
    """Species with their ranks, in the order in which their folders were given.

    `names[i]` holds the seven names of `folders[i]`, from kingdom to epithet; `evidence[i]` how
    sure they are (a value of `EVIDENCE`), where that is known, else `evidence` is empty.
    """

    folders: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    evidence: tuple[str, ...] = ()

    def classes(self, rank: str, by_name: bool = False) -> tuple[str, ...]:
        """The class of every folder at a rank of `RANKS`, or its "supercategory".

        A class is named by its full path, `Animalia/Chordata/Aves`, because names repeat:
        Ammophila is a grass and a wasp. With `by_name` it is named as torchvision and the published
        counts do, by the bare name, and such classes fall together. A species' bare name has two
        words, `Passer domesticus`.

        Raises ValueError for an unknown rank.
        """
        if rank == "supercategory":
            return tuple(supercategory(names) for names in self.names)
        if rank not in RANKS:
            raise ValueError(f"no rank named {rank!r}{hint(rank, (*RANKS, 'supercategory'))}")
        depth = RANKS.index(rank) + 1
        if not by_name:
            return tuple("/".join(names[:depth]) for names in self.names)
        start = depth - (2 if rank == "species" else 1)
        return tuple(" ".join(names[start:depth]) for names in self.names)

    def counts(self, by_name: bool = False) -> dict[str, int]:
        """The number of classes at each rank, from kingdom to species."""
        return {rank: len(set(self.classes(rank, by_name))) for rank in RANKS}

    def __repr__(self) -> str:
        """One line: Taxonomy(10,000 species in 3 kingdoms, 13 phyla, … 4,900 genera)."""
        plurals = ("kingdoms", "phyla", "classes", "orders", "families", "genera")
        counts = list(self.counts().values())
        above = ", ".join(f"{n:,} {rank}" for n, rank in zip(counts, plurals, strict=False))
        return f"Taxonomy({counts[-1]:,} species in {above})"


def supercategory(names: Sequence[str]) -> str:
    """The supercategory of a species, from its seven names or its first three.

    The first rule of `SUPERCATEGORIES` that holds decides; an animal that none fits is "Animalia".
    """
    for rank, name, found in SUPERCATEGORIES:
        if names[RANKS.index(rank)] == name:
            return found
    return REST


# --- Folders --------------------------------------------------------------------------------------


def read(folders: Iterable[str]) -> Taxonomy:
    """The taxonomy that folder names spell out, in the order given.

    Hyphens, hybrid signs (`×`) and epithets of several words (apart by `_` or a space) are kept as
    they stand. Raises ValueError, naming the folders, the form wanted and the nearest folder of the
    dataset, for names that do not parse; also for none at all, for a kingdom that iNaturalist 2021
    does not have (its supercategory would be a guess), and for a species that stands there twice.
    """
    folders = tuple(folders)
    if not folders:
        raise ValueError(f"no folders; wanted at least one, named like {FORM}")
    parsed = [parse(folder) for folder in folders]
    faulty = [folder for folder, names in zip(folders, parsed, strict=True) if names is None]
    if faulty:
        raise ValueError(_not_parsed(faulty))
    first: dict[tuple[str, ...], str] = {}
    for folder, names in zip(folders, parsed, strict=True):
        if names[0] not in KINGDOMS:
            near = hint(names[0], KINGDOMS)
            raise ValueError(
                f"folder {folder!r}: iNaturalist 2021 has no kingdom {names[0]!r}{near}"
            )
        if names in first:
            raise ValueError(f"folders {first[names]!r} and {folder!r} are the same species")
        first[names] = folder
    return Taxonomy(folders, tuple(parsed))


def parse(folder: str) -> tuple[str, ...] | None:
    """The seven names in a folder's name, from kingdom to epithet; None where it has another form.

    Names above the epithet start with a capital and the epithet has none: so a folder with a rank
    too many (a subfamily, say) is refused rather than read one rank askew.
    """
    found = FOLDER.fullmatch(folder)
    if not found:
        return None
    ranks, epithet = found["ranks"].split("_"), found["epithet"]
    capitals = all(name.lstrip("×")[0].isupper() for name in ranks) and epithet == epithet.lower()
    letters = all(letter.isalpha() or letter in "-×_. " for letter in folder[5:])  # \w takes ² too
    return (*ranks, epithet) if capitals and letters else None


def _not_parsed(faulty: Sequence[str], shown: int = 5) -> str:
    """What to say about folders that do not parse: the first few by name."""
    lines = [f"  {folder!r}{_near_folder(folder)}" for folder in faulty[:shown]]
    more = [f"  … and {len(faulty) - shown:,} more"] if len(faulty) > shown else []
    plural = "folders are" if len(faulty) > 1 else "folder is"
    return "\n".join([f"{len(faulty):,} {plural} not named like {FORM}:", *lines, *more])


def _near_folder(folder: str) -> str:
    near = nearest(folder, shipped().folders, cutoff=0.8)
    return f"; nearest: {near}" if near else ""


# --- What names hide ------------------------------------------------------------------------------


def homonyms(taxonomy: Taxonomy, rank: str = "genus") -> dict[str, tuple[str, ...]]:
    """Bare names that stand for more than one class of a rank, each with its classes' paths.

    Sorted. Of the 10,000 species' genera sixteen; of the ranks above none.
    """
    paths: dict[str, set[str]] = {}
    for name, path in zip(
        taxonomy.classes(rank, by_name=True), taxonomy.classes(rank), strict=True
    ):
        paths.setdefault(name, set()).add(path)
    return {name: tuple(sorted(found)) for name, found in sorted(paths.items()) if len(found) > 1}


def straddling(taxonomy: Taxonomy, rank: str, by_name: bool = False) -> dict[str, tuple[str, ...]]:
    """Classes of a rank with species in more than one supercategory, and which these are. Sorted.

    A rank is nested in the target where there are none.
    """
    found: dict[str, set[str]] = {}
    for label, target in zip(
        taxonomy.classes(rank, by_name), taxonomy.classes("supercategory"), strict=True
    ):
        found.setdefault(label, set()).add(target)
    return {label: tuple(sorted(kinds)) for label, kinds in sorted(found.items()) if len(kinds) > 1}


# --- The shipped table ----------------------------------------------------------------------------


@cache
def shipped() -> Taxonomy:
    """The 10,000 species of iNaturalist 2021, by number, from the table inside this package.

    Fungi carry how their names of phylum to family are known (`EVIDENCE`): rest no statement on the
    name of a fungus' family.
    """
    return read_table(resources.files("granularity.hierarchies") / "tables" / "species.txt.gz")


def read_table(path: Traversable) -> Taxonomy:
    """The taxonomy in a table made by `scripts/make_species.py`.

    Raises ValueError, naming the file, unless every row that was written is there unchanged.
    """
    names: list[tuple[str, ...]] = []
    evidence = []
    above = ("",) * len(RANKS)
    for row in _intact_rows(path):
        *fields, mark = row.split("\t")
        above = tuple(new or old for new, old in zip(fields, above, strict=True))
        names.append(above)
        evidence.append(EVIDENCE[mark])
    folders = tuple(f"{number:05}_{'_'.join(row)}" for number, row in enumerate(names))
    return Taxonomy(folders, tuple(names), tuple(evidence))


def _intact_rows(path: Traversable) -> list[str]:
    remedy = "make it again with scripts/make_species.py"
    try:
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no readable table of species ({error}); {remedy}") from error
    header, _, body = text.partition("\n")
    found = HEADER.fullmatch(header)
    if not found:
        raise ValueError(f"{path}: no table of species, it starts with {header[:60]!r}; {remedy}")
    rows = [line for line in body.splitlines() if not line.startswith("#")]
    if len(rows) != int(found["species"]):
        raise ValueError(f"{path}: {len(rows):,} of {found['species']} species; {remedy}")
    if hashlib.sha256(body.encode()).hexdigest() != found["body"]:
        raise ValueError(f"{path}: rows differ from the digest in the header; {remedy}")
    return rows
