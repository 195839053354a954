"""Makes the package's table of the 10,000 species of iNaturalist 2021 from a list of their ranks.

    python scripts/make_species.py inat2021_categories.csv

The list has a row for each species, in the order of the dataset's numbers, with the columns `id`,
`image_dir_name`, `supercategory`, the ranks from `kingdom` to `genus`, `specific_epithet` and
`evidence`. The table is text under gzip: a header line with digests of the list and of everything
below, lines with the sources, then for each species its seven names and the mark of its evidence,
apart by tabs; a name that repeats the row above is left out, and so is the number, the row's own.
"""

import argparse
import csv
import gzip
import hashlib
from pathlib import Path

from granularity import files
from granularity.hierarchies import taxonomy

TABLE = Path(__file__).parents[1] / "lib/granularity/hierarchies/tables/species.txt.gz"
SPECIES = 10_000
SOURCES = """\
# The species of iNaturalist 2021: kingdom, phylum, class, order, family, genus, epithet, evidence.
# Names are facts. Put together from three public lists:
# github.com/yuanqing-ai/LLM-Hierarchical-Consistency at c86f23af, the label file of
# tensorflow-datasets 4.7.0, github.com/ngocquanai/HiOT at abcdd6f1.
# Evidence: animals and plants as in the sources (no mark). For fungi the names of phylum to family
# were filled in to fit the known grouping: d folder's name seen, f family seen, c by constraint,
# u uncertain.
"""
COLUMNS = (*taxonomy.RANKS[:-1], "specific_epithet")
MARKS = {meaning: mark for mark, meaning in taxonomy.EVIDENCE.items()}


def rows(species: list[dict[str, str]]) -> list[str]:
    """The species as rows of the table.

    Raises ValueError, naming the species, where number, folder, ranks, supercategory do not agree.
    """
    made, above = [], ("",) * len(COLUMNS)
    for number, given in enumerate(species):
        names = tuple(given[column] for column in COLUMNS)
        folder = given["image_dir_name"]
        if int(given["id"]) != number or not folder.startswith(f"{number:05}_"):
            raise ValueError(f"{folder}: number {given['id']} where {number} was wanted")
        if taxonomy.parse(folder) != names:
            raise ValueError(f"{folder}: the ranks beside it say {'_'.join(names)}")
        if taxonomy.supercategory(names) != given["supercategory"]:
            raise ValueError(f"{folder}: supercategory {given['supercategory']} breaks the rule")
        new = ["" if name == old else name for name, old in zip(names, above, strict=True)]
        made.append("\t".join([*new, MARKS[given["evidence"]]]))
        above = names
    return made


def text(path: Path) -> str:
    """The whole table, uncompressed; ValueError where `path` is not the list of all species."""
    content = path.read_bytes()
    species = list(csv.DictReader(content.decode("utf-8").splitlines()))
    if len(species) != SPECIES:
        raise ValueError(f"{path}: {len(species):,} species, iNaturalist 2021 has {SPECIES:,}")
    body = SOURCES + "".join(f"{row}\n" for row in rows(species))
    header = (
        f"#species format=1 species={len(species)}"
        f" csv={hashlib.sha256(content).hexdigest()}"
        f" body={hashlib.sha256(body.encode()).hexdigest()}"
    )
    return f"{header}\n{body}"


def write(path: Path, table: Path) -> None:
    """Writes the table, whole or not at all; the same list gives the same text."""
    with files.whole(table) as part:
        part.write_bytes(gzip.compress(text(path).encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("list", type=Path, help="the list of species, a CSV file")
    parser.add_argument("--table", type=Path, default=TABLE, help="default: the package's")
    arguments = parser.parse_args()
    write(arguments.list, arguments.table)
