"""Makes the package's hypernym table from WordNet 3.0's noun file (`data.noun`).

    python scripts/make_hypernyms.py /usr/share/wordnet/data.noun

The table is text under gzip: a header line with the digests of the noun file and of the rows, then
for each noun synset, in the noun file's order, `synset first_lemma hypernym…`. An instance
hypernym (`@i` in WordNet: Loch Ness is an instance of lake) is marked by a leading `~`. The format
of WordNet's files is described in its manual page wndb(5WN).
"""

import argparse
import gzip
import hashlib
import os
from pathlib import Path

TABLE = Path(__file__).parents[1] / "lib/granularity/hierarchies/tables/hypernyms.txt.gz"
MARKS = {"@": "", "@i": "~"}
SYNSETS = 82_115  # nouns of WordNet 3.0, by its own statistics (wnstats)


def row(line: str) -> str:
    """One line of the noun file as a row of the table."""
    words = line.split(" | ", 1)[0].split()
    offset, num_lemmas, first_lemma = words[0], int(words[3], 16), words[4]
    # After the lemmas, each with its lexical id, stands the number of pointers; a pointer is four
    # words: symbol, offset, part of speech, and the numbers of the two words that it joins.
    pointers = words[5 + 2 * num_lemmas :]
    hypernyms = [
        f"{MARKS[symbol]}n{target}"
        for symbol, target in zip(pointers[::4], pointers[1::4], strict=False)
        if symbol in MARKS
    ]
    return " ".join([f"n{offset}", first_lemma, *hypernyms])


def text(nouns: Path) -> str:
    """The whole table, uncompressed; ValueError where `nouns` is not WordNet 3.0's noun file."""
    content = nouns.read_bytes()
    lines = content.decode("utf-8").splitlines()
    rows = [row(line) for line in lines if not line.startswith("  ")]  # the others: the licence
    if len(rows) != SYNSETS:
        raise ValueError(f"{nouns}: {len(rows):,} synsets, WordNet 3.0 has {SYNSETS:,} nouns")
    body = "".join(f"{row}\n" for row in rows)
    header = (
        f"#hypernyms format=1 wordnet=3.0 synsets={len(rows)}"
        f" nouns={hashlib.sha256(content).hexdigest()}"
        f" rows={hashlib.sha256(body.encode()).hexdigest()}"
    )
    return f"{header}\n{body}"


def write(nouns: Path, table: Path) -> None:
    """Writes the table, whole or not at all; the same noun file gives the same text."""
    part = table.with_name(table.name + ".part")
    with part.open("wb") as file:
        file.write(gzip.compress(text(nouns).encode(), compresslevel=9, mtime=0))
        file.flush()
        os.fsync(file.fileno())
    part.replace(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("nouns", type=Path, help="WordNet 3.0's data.noun")
    parser.add_argument("--table", type=Path, default=TABLE, help="default: the package's")
    arguments = parser.parse_args()
    write(arguments.nouns, arguments.table)
