"""The 10,000 species: counts as published, names that repeat, folders that do and do not parse."""

import csv
import gzip
import importlib.util
import random
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from granularity.hierarchies import taxonomy

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "lib/granularity/hierarchies/tables/species.txt.gz"

# As published with the dataset: bare names at genus, binomials at species.
PUBLISHED = {
    "kingdom": 3,
    "phylum": 13,
    "class": 51,
    "order": 273,
    "family": 1_103,
    "genus": 4_884,
    "species": 10_000,
}
SPECIES = {
    "Plants": 4_271,
    "Insects": 2_526,
    "Birds": 1_486,
    "Fungi": 341,
    "Reptiles": 313,
    "Mammals": 246,
    "Ray-finned Fishes": 183,
    "Amphibians": 170,
    "Mollusks": 169,
    "Arachnids": 153,
    "Animalia": 142,
}
HOMONYMS = [
    "Ammophila",
    "Amorpha",
    "Anticlea",
    "Arenaria",
    "Baileya",
    "Brunia",
    "Chloris",
    "Colocasia",
    "Dryas",
    "Dysphania",
    "Iris",
    "Linaria",
    "Morus",
    "Oenanthe",
    "Prunella",
    "Scoparia",
]


@pytest.fixture(scope="module")
def shipped():
    return taxonomy.shipped()


@pytest.fixture(scope="module")
def rows(real_data):
    with (real_data / "inat2021_categories.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def make_species():
    path = ROOT / "scripts/make_species.py"
    spec = importlib.util.spec_from_file_location("make_species", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def occurrences(names):
    return {name: names.count(name) for name in set(names)}


# --- Counts ---------------------------------------------------------------------------------------


def test_every_rank_has_the_published_number_of_classes(shipped):
    assert shipped.counts(by_name=True) == PUBLISHED
    assert tuple(shipped.counts()) == taxonomy.RANKS
    assert shipped.counts() == PUBLISHED | {"genus": 4_900}


def test_every_supercategory_has_the_published_number_of_species(shipped):
    assert occurrences(shipped.classes("supercategory")) == SPECIES


def test_the_list_of_the_data_folder_gives_the_same(shipped, rows):
    read = taxonomy.read([row["image_dir_name"] for row in rows])
    assert read.counts(by_name=True) == PUBLISHED and read.counts()["genus"] == 4_900
    assert occurrences(read.classes("supercategory")) == SPECIES
    assert read.classes("supercategory") == tuple(row["supercategory"] for row in rows)
    assert (read.folders, read.names) == (shipped.folders, shipped.names)
    assert shipped.evidence == tuple(row["evidence"] for row in rows)


def test_the_shipped_folders_read_as_the_shipped_names(shipped):
    assert taxonomy.read(shipped.folders).names == shipped.names


def test_fungi_alone_carry_doubts(shipped):
    doubtful = [
        names[0]
        for names, how in zip(shipped.names, shipped.evidence, strict=True)
        if how != "source"
    ]
    assert doubtful == ["Fungi"] * SPECIES["Fungi"]
    assert shipped.evidence.count("uncertain") == 30
    assert set(shipped.evidence) == set(taxonomy.EVIDENCE.values())


def test_the_repr_is_one_line(shipped):
    assert repr(shipped) == (
        "Taxonomy(10,000 species in 3 kingdoms, 13 phyla, 51 classes, 273 orders,"
        " 1,103 families, 4,900 genera)"
    )


# --- Names that repeat ----------------------------------------------------------------------------


def test_sixteen_genera_share_their_name(shipped):
    found = taxonomy.homonyms(shipped)
    assert list(found) == HOMONYMS
    assert found["Ammophila"] == (
        "Animalia/Arthropoda/Insecta/Hymenoptera/Sphecidae/Ammophila",
        "Plantae/Tracheophyta/Liliopsida/Poales/Poaceae/Ammophila",
    )
    for rank in taxonomy.RANKS:
        assert rank == "genus" or not taxonomy.homonyms(shipped, rank)


def test_by_name_sixteen_classes_straddle_supercategories_and_by_path_none(shipped):
    assert taxonomy.straddling(shipped, "genus") == {}
    by_name = taxonomy.straddling(shipped, "genus", by_name=True)
    assert list(by_name) == HOMONYMS
    assert by_name["Ammophila"] == ("Insects", "Plants") and by_name["Morus"] == ("Birds", "Plants")


def test_only_kingdom_and_phylum_cross_the_target(shipped):
    crossing = {rank: list(taxonomy.straddling(shipped, rank)) for rank in taxonomy.RANKS}
    assert crossing == {rank: [] for rank in taxonomy.RANKS} | {
        "kingdom": ["Animalia"],
        "phylum": ["Animalia/Arthropoda", "Animalia/Chordata"],
    }


def test_a_finer_rank_splits_a_coarser_one(shipped):
    for coarse, fine in zip(taxonomy.RANKS, taxonomy.RANKS[1:], strict=False):
        pairs = set(zip(shipped.classes(fine), shipped.classes(coarse), strict=True))
        assert len(pairs) == len(set(shipped.classes(fine)))


def test_a_species_bare_name_has_two_words():
    read = taxonomy.read(
        ["00001_Animalia_Chordata_Aves_Passeriformes_Passeridae_Passer_domesticus"]
    )
    assert read.classes("species", by_name=True) == ("Passer domesticus",)
    assert read.classes("class", by_name=True) == ("Aves",)
    assert read.classes("class") == ("Animalia/Chordata/Aves",)
    assert read.classes("species")[0].endswith("/Passer/domesticus")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("Animalia Chordata Aves", "Birds"),
        ("Animalia Chordata Elasmobranchii", "Animalia"),  # sharks are no ray-finned fishes
        ("Animalia Arthropoda Malacostraca", "Animalia"),
        ("Animalia Mollusca Cephalopoda", "Mollusks"),
        ("Fungi Ascomycota Lecanoromycetes", "Fungi"),
        ("Plantae Bryophyta Bryopsida", "Plants"),
    ],
)
def test_the_first_rule_that_holds_decides(names, expected):
    assert taxonomy.supercategory(names.split()) == expected


def test_an_unknown_rank_is_refused_with_the_nearest(shipped):
    with pytest.raises(ValueError, match="no rank named 'genera'; nearest: genus"):
        shipped.classes("genera")


# --- Folders --------------------------------------------------------------------------------------

lower = st.text("abcdefgilmnorstuvxyzéüø", min_size=1, max_size=8)
words = st.lists(lower, min_size=1, max_size=2).map("-".join)
capitals = st.builds(str.__add__, st.sampled_from("ABCDEOPSTXZÉÖ"), lower)
names = st.builds(
    lambda sign, first, rest: sign + "-".join([first, *rest]),
    st.sampled_from(["", "×"]),
    capitals,
    st.lists(lower, max_size=1),
)
epithets = st.lists(
    st.builds(
        str.__add__,
        st.sampled_from(["", "×", "×_", "× "]),
        st.builds(str.__add__, words, st.sampled_from(["", "."])),
    ),
    min_size=1,
    max_size=3,
).flatmap(lambda parts: st.sampled_from(["_", " "]).map(lambda gap: gap.join(parts)))
ranks = st.tuples(st.sampled_from(taxonomy.KINGDOMS), *[names] * 5, epithets)
numbers = st.integers(0, 99_999).map("{:05}".format)


@given(st.lists(ranks, min_size=1, max_size=8, unique=True), st.data())
def test_names_survive_the_way_through_a_folder(given_names, data):
    folders = [f"{data.draw(numbers)}_{'_'.join(row)}" for row in given_names]
    read = taxonomy.read(folders)
    assert read.folders == tuple(folders)
    assert read.names == tuple(given_names)
    assert read.classes("species") == tuple("/".join(row) for row in given_names)
    assert read.evidence == ()


@given(st.permutations(range(40)), st.integers(0, 9_960))
def test_the_order_given_is_kept(order, start):
    folders = [taxonomy.shipped().folders[start + i] for i in order]
    read = taxonomy.read(folders)
    assert read.folders == tuple(folders)
    assert read.names == tuple(taxonomy.shipped().names[start + i] for i in order)


def drop(pieces, place):
    return "_".join([*pieces[:place], *pieces[place + 1 :]])


# Ways in which people and file systems break names.
BREAKS = {
    "no number": lambda name: name[6:],
    "short number": lambda name: name[1:],
    "no epithet": lambda name: name.rpartition("_")[0],
    "a rank too many": lambda name: re.sub("_([a-z-]+)$", r"_Minor_\1", name),
    "a rank too few": lambda name: drop(name.split("_"), 5),
    "lower case": str.lower,
    "upper case": str.upper,
    "spaces": lambda name: name.replace("_", " "),
    "a folder above": lambda name: f"2021_train/{name}",
    "a slash": lambda name: f"{name}/",
    "a line's end": lambda name: f"{name}\n",
    "an empty rank": lambda name: name.replace("_", "__", 1),
    "a digit": lambda name: f"{name}2",
    "a superscript": lambda name: f"{name}²",
    "hidden": lambda name: f".{name}",
    "an archive": lambda name: f"{name}.tar",
    "a hyphen last": lambda name: f"{name}-",
    "a copy": lambda name: f"{name} (1)",
}


@pytest.mark.fault("a species' folder misnamed: {how}", "refused by name, with the nearest")
@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_name_is_refused_by_name_with_the_nearest(shipped, how):
    bad = BREAKS[how](shipped.folders[4_321])
    whole = list(shipped.folders[:5])
    with pytest.raises(ValueError) as refused:
        taxonomy.read([*whole[:3], bad, *whole[3:]])
    assert repr(bad) in str(refused.value) and taxonomy.FORM in str(refused.value)
    assert not any(folder in str(refused.value) for folder in whole)
    assert how == "upper case" or f"nearest: {shipped.folders[4_321]}" in str(refused.value)


@pytest.mark.fault("misnamed species' folders (fuzz)", "never taken for a species")
@given(st.integers(0, 9_999), st.sampled_from(sorted(BREAKS)))
def test_no_broken_name_parses(number, how):
    assert taxonomy.parse(BREAKS[how](taxonomy.shipped().folders[number])) is None


@pytest.mark.fault("any text as a species' folder (fuzz)", "refused by name")
@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
@example("")
@example(".DS_Store")
@example("00001_Animalia_a_B_C_D_E_f")
@example("00001_Animalia_A_B_C_D_E_F")
@example("00001_Animalia_A_B_C_D_E_×")
@example("٠٠٠٠١_Animalia_A_B_C_D_E_f")
def test_garbage_is_refused_by_name(text):
    with pytest.raises(ValueError) as refused:
        taxonomy.read([text])
    assert repr(text) in str(refused.value)


def test_many_broken_names_are_counted_and_the_first_named():
    bad = [f"bad{i}" for i in range(9)]
    with pytest.raises(ValueError) as refused:
        taxonomy.read(bad)
    assert str(refused.value).startswith("9 folders are not named like NNNNN_Kingdom_")
    assert "'bad4'" in str(refused.value) and "'bad5'" not in str(refused.value)
    assert "and 4 more" in str(refused.value)


@pytest.mark.fault("folders of unknown kingdoms, or twice the same species", "refused by name")
def test_what_parses_and_cannot_be_right_is_refused(shipped):
    fifth = shipped.folders[5]
    with pytest.raises(ValueError, match="no kingdom 'Animalea'; nearest: Animalia"):
        taxonomy.read([fifth.replace("Animalia", "Animalea")])
    with pytest.raises(ValueError, match=f"'{fifth}' and '77777{fifth[5:]}' are the same species"):
        taxonomy.read([fifth, f"77777{fifth[5:]}"])
    with pytest.raises(ValueError, match="no folders"):
        taxonomy.read([])


# --- The table ------------------------------------------------------------------------------------


def test_the_script_makes_the_shipped_table(real_data, tmp_path):
    table = tmp_path / "species.txt.gz"
    make_species().write(real_data / "inat2021_categories.csv", table)
    assert gzip.decompress(table.read_bytes()) == gzip.decompress(TABLE.read_bytes())
    assert taxonomy.read_table(table) == taxonomy.shipped()


def test_the_script_refuses_a_row_that_contradicts_itself(rows):
    module = make_species()
    for column, value in [
        ("id", "8"),
        ("family", "Canidae"),
        ("supercategory", "Plants"),
        ("image_dir_name", rows[3]["image_dir_name"]),
    ]:
        changed = [dict(row) for row in rows[:9]]
        changed[4][column] = value
        with pytest.raises(ValueError, match=changed[4]["image_dir_name"]):
            module.rows(changed)


def test_the_script_refuses_a_short_list(real_data, tmp_path):
    part = tmp_path / "part.csv"
    lines = (real_data / "inat2021_categories.csv").read_text(encoding="utf-8").splitlines()
    part.write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(ValueError, match="9,999 species"):
        make_species().text(part)


def test_the_table_says_where_it_comes_from():
    text = gzip.decompress(TABLE.read_bytes()).decode()
    header = [line for line in text.splitlines() if line.startswith("#")]
    for source in ("LLM-Hierarchical-Consistency", "tensorflow-datasets", "HiOT", "fungi"):
        assert any(source in line for line in header), source
    assert TABLE.stat().st_size < 100_000


@pytest.mark.fault(
    "a species table of which [:{length}] is left", "refused, with how to make it again"
)
@pytest.mark.parametrize("length", [0, 1, 20, 5_000, -20, -1])
def test_a_truncated_table_is_refused(tmp_path, length):
    table = tmp_path / "species.txt.gz"
    table.write_bytes(TABLE.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"species\.txt\.gz.*make_species"):
        taxonomy.read_table(table)


@pytest.mark.fault("a species table changed by hand", "refused, with how to make it again")
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("Ammophila", "Ammophilo", 1),
        lambda text: text.replace("\tu\n", "\tc\n", 1),
        lambda text: text.replace("tensorflow", "tensorflaw", 1),
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
        lambda text: text + "\t\t\t\t\t\tnova\t\n",
        lambda text: text.replace("#species format=1", "#species format=2", 1),
        lambda text: "",
    ],
)
def test_a_changed_table_is_refused(tmp_path, change):
    table = tmp_path / "species.txt.gz"
    table.write_bytes(gzip.compress(change(gzip.decompress(TABLE.read_bytes()).decode()).encode()))
    with pytest.raises(ValueError, match=r"species\.txt\.gz.*make_species"):
        taxonomy.read_table(table)


@pytest.mark.fault("a species table with a flipped bit", "refused, with how to make it again")
def test_a_flipped_bit_is_refused(tmp_path):
    content, rng = TABLE.read_bytes(), random.Random(0)
    table = tmp_path / "species.txt.gz"
    for _ in range(20):
        place = rng.randrange(10, len(content))  # gzip's own header holds no content
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        table.write_bytes(bytes(changed))
        with pytest.raises(ValueError, match="make_species"):
            taxonomy.read_table(table)
