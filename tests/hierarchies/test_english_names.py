"""English names: of species and classes that are there, of the right kingdom, and no Latin ones."""

import importlib.util
from pathlib import Path

import pytest
from conftest import ROOT

from granularity.hierarchies import english_names, taxonomy

TABLE = ROOT / "lib/granularity/hierarchies/tables/english_names.txt.gz"


@pytest.fixture(scope="module")
def names():
    return english_names.shipped()


def test_each_is_a_species_or_class_of_the_dataset(names):
    species = taxonomy.shipped()
    there = set()
    for row in species.names:
        there |= {(row[0], taxonomy.RANKS[i], row[i]) for i in range(6)}
        there.add((row[0], "species", f"{row[5]} {row[6]}"))
    assert set(names) <= there
    assert len({key for key in names if key[1] == "species"}) > 1_900


@pytest.mark.parametrize(
    ("taxon", "name"),
    [
        ("Animalia/species/Turdus migratorius", "robin"),
        ("Animalia/species/Vulpes vulpes", "red fox"),
        ("Animalia/family/Carcharhinidae", "requiem shark"),
        ("Animalia/order/Araneae", "spider"),
        ("Animalia/class/Aves", "bird"),
        ("Plantae/genus/Quercus", "oak"),
        ("Animalia/genus/Oenanthe", "wheatear"),
        ("Plantae/species/Oenanthe aquatica", "water fennel"),
    ],
)
def test_names_that_everybody_knows(names, taxon, name):
    assert name in names[tuple(taxon.split("/"))]


def test_no_animal_has_the_name_of_a_plant_that_shares_its_latin_one(names):
    assert names[("Animalia", "genus", "Oenanthe")] == ["wheatear"]


def test_none_repeats_the_latin_name_and_none_is_empty(names):
    for (_, _, latin), english in names.items():
        assert english and latin not in english
        assert not any("_" in name or name != name.strip() for name in english)


def test_the_maker_gives_the_shipped_table_again():
    pytest.importorskip("nltk")
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        pytest.skip("NLTK has no WordNet here")
    spec = importlib.util.spec_from_file_location("maker", ROOT / "scripts/make_english_names.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    _, _, body = maker.text(taxonomy.shipped()).partition("\n")
    rows = (line.split("\t") for line in body.splitlines())
    assert {tuple(row[:3]): row[3:] for row in rows} == english_names.shipped()


@pytest.mark.fault("the table of English names, {broken}", "refused, with the script that makes it")
@pytest.mark.parametrize("broken", ["cut off", "a byte changed", "no gzip"])
def test_a_spoilt_table_is_refused(tmp_path, broken):
    content = TABLE.read_bytes()
    spoilt = {
        "cut off": content[: len(content) // 2],
        "a byte changed": content[:5_000] + bytes([content[5_000] ^ 1]) + content[5_001:],
        "no gzip": b"#english-names",
    }
    path = Path(tmp_path, "spoilt.gz")
    path.write_bytes(spoilt[broken])
    with pytest.raises(ValueError, match=r"spoilt\.gz: .*make_english_names\.py"):
        english_names.read_table(path)
