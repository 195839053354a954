"""English names of iNaturalist's species and classes, as far as WordNet 3.0 has them.

For readers who search: nothing is trained or judged by them.
"""

import gzip
import hashlib
import zlib
from importlib import resources
from importlib.resources.abc import Traversable

HEADER = "#english-names format=1 wordnet=3.0 rows="


def shipped() -> dict[tuple[str, str, str], list[str]]:
    """Kingdom, rank and Latin name → English names, from the table inside this package.

    Not all have one: some 2,000 of the 10,000 species do.
    """
    tables = resources.files("granularity.hierarchies") / "tables"
    return read_table(tables / "english_names.txt.gz")


def read_table(path: Traversable) -> dict[tuple[str, str, str], list[str]]:
    """The names in a table made by `scripts/make_english_names.py`.

    Raises ValueError, naming the file, unless every row that was written is there unchanged.
    """
    remedy = "make it again with scripts/make_english_names.py"
    try:
        header, _, body = gzip.decompress(path.read_bytes()).decode("utf-8").partition("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}; {remedy}") from None
    if header != HEADER + hashlib.sha256(body.encode()).hexdigest():
        raise ValueError(f"{path}: rows differ from the digest in the header; {remedy}")
    rows = (line.split("\t") for line in body.splitlines())
    return {(kingdom, rank, latin): names for kingdom, rank, latin, *names in rows}
