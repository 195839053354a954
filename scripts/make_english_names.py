"""Makes the package's table of English names of species and classes, from WordNet 3.0.

    python scripts/make_english_names.py

WordNet is read by NLTK, from its data. A species has the lemmas of the synset that has its Latin
name. A class of a higher rank has those of the synsets that WordNet calls members of it, species
left out: *oak* is a member of the genus Quercus. A synset must be of the class's kingdom, for a
name may be an animal's and a plant's. The table is text under gzip: a header line with a digest of
the rows, then for each that has one the kingdom, the rank, the Latin name and the English names,
apart by tabs.
"""

import argparse
import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from nltk.corpus import wordnet
from nltk.corpus.reader import Synset

from granularity import files
from granularity.hierarchies import english_names, taxonomy

TABLE = Path(__file__).parents[1] / "lib/granularity/hierarchies/tables/english_names.txt.gz"
KINGDOM = {"Animalia": "noun.animal", "Plantae": "noun.plant", "Fungi": "noun.plant"}


def is_taxon(synset: Synset) -> bool:
    """Whether a synset is a group of a biological system, as "genus Quercus"."""
    above = {found.name() for path in synset.hypernym_paths() for found in path}
    first = {lemma.partition("_")[0] for lemma in synset.lemma_names() if "_" in lemma}
    return "taxonomic_group.n.01" in above or not first.isdisjoint(taxonomy.RANKS)


def is_latin(lemma: str) -> bool:
    """Whether a lemma is a Latin name: that of a group, or one that begins with a genus' name."""
    first = lemma.partition("_")[0]
    groups = wordnet.synsets(first, pos="n") + wordnet.synsets(f"genus_{first}", pos="n")
    return first[0].isupper() and any(map(is_taxon, groups))


def english(synset: Synset) -> list[str]:
    """The lemmas of a synset that are no Latin names, as one writes them."""
    return [lemma.replace("_", " ") for lemma in synset.lemma_names() if not is_latin(lemma)]


def names_of(kingdom: str, rank: str, latin: str) -> list[str]:
    """English names of a species or class, in the order of WordNet."""
    key, lexicographers = latin.replace(" ", "_"), KINGDOM[kingdom]
    found = [synset for synset in wordnet.synsets(key, pos="n") if key in synset.lemma_names()]
    if rank != "species":
        found += wordnet.synsets(f"{rank}_{key}", pos="n")
        members = [below for synset in dict.fromkeys(found) for below in synset.member_meronyms()]
        members += [synset for synset in found if not is_taxon(synset)]
        found = [one for one in members if not is_taxon(one) and not has_species(one)]
    mine = {synset for synset in found if synset.lexname() == lexicographers}
    mine = sorted(mine, key=lambda synset: synset.offset())  # NLTK gives them in no fixed order
    names = dict.fromkeys(name for synset in mine for name in english(synset) if name != latin)
    if rank == "species":
        return list(names)
    return [name for name in names if not re.fullmatch(r"[A-Z][a-z]+( [a-z]+)?", name)]


def has_species(synset: Synset) -> bool:
    """Whether one of a synset's lemmas is a species' Latin name, of two words."""
    return any("_" in lemma and is_latin(lemma) for lemma in synset.lemma_names())


def rows(species: taxonomy.Taxonomy) -> Iterator[str]:
    """A row for each species and class that has an English name, in the order of the dataset."""
    for rank in taxonomy.RANKS:
        for path in dict.fromkeys(species.classes(rank)):
            ranks = path.split("/")
            latin = " ".join(ranks[5:]) if rank == "species" else ranks[-1]
            if names := names_of(ranks[0], rank, latin):
                yield "\t".join([ranks[0], rank, latin, *names])


def text(species: taxonomy.Taxonomy) -> str:
    """The whole table, uncompressed; ValueError where NLTK's WordNet is not 3.0."""
    if wordnet.get_version() != "3.0":
        raise ValueError(f"NLTK reads WordNet {wordnet.get_version()}, 3.0 wanted")
    body = "".join(f"{row}\n" for row in rows(species))
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f"{english_names.HEADER}{digest}\n{body}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", type=Path, default=TABLE, help="default: the package's")
    content = text(taxonomy.shipped()).encode()
    with files.whole(parser.parse_args().table) as part:
        part.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
