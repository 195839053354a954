"""The toy datasets: their levels, their files, and that the features are in the images."""

import csv
import hashlib
import io
import json
import multiprocessing

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import INaturalist

from granularity import labels
from granularity.commands import toy
from granularity.hierarchies import wordnet
from granularity.images import image_set
from granularity.images.toy import drawing, species_drawing

IMAGENET = [part for part in drawing.PARTS if part[0].startswith("imagenet")]
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
SPECIES = species_drawing.SPECIES


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return drawing.draw(tmp_path_factory.mktemp("toy") / "dataset")


def test_the_levels_differ_and_some_leaves_have_several_parents():
    levels = labels.levels(drawing.SYNSETS, [0, 1, 2, 4, 6, 9])
    counts = [levels[level].num_classes for level in levels]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 6
    assert counts[0] == 60 == len(set(drawing.SYNSETS))
    assert all((levels[level].num_labels > 1).any() for level in (1, 2, 4, 6, 9))
    assert set(drawing.TARGET) < set(drawing.SYNSETS) <= set(wordnet.read_list("imagenet1k"))
    assert set(drawing.SYNSETS) <= set(wordnet.read_list("imagenet21k"))


def test_every_feature_finds_a_cell():
    assert max(len(drawing.nodes(synset)) for synset in drawing.SYNSETS) <= drawing.CELLS**2
    every = {node for synset in drawing.SYNSETS for node in drawing.nodes(synset)}
    assert len({drawing.feature(node, 0).tobytes() for node in every}) == len(every)


def test_rarer_features_show_less_often():
    for synset in drawing.SYNSETS:
        for above in wordnet.nouns().hypernyms[synset]:
            assert drawing.presence(synset) <= drawing.presence(above)
    images = [(s, n) for s in drawing.SYNSETS for n in range(100)]
    for node in ("n00001740", "n02083346", drawing.TARGET[0]):  # entity, canine, a leaf
        below = [place for place in images if node in drawing.nodes(place[0])]
        share = np.mean([node in drawing.shown(*place, 0) for place in below])
        assert abs(share - drawing.presence(node)) < 4 * (0.25 / len(below)) ** 0.5
    assert (
        drawing.presence("n00001740")
        == 1
        > drawing.presence("n02083346")
        > drawing.presence(drawing.TARGET[0])
    )


def test_the_files_lie_as_in_imagenet(dataset, tmp_path):
    for part, synsets, _, count in IMAGENET:
        found = image_set.open_set(dataset / part, classes=synsets, cache=tmp_path)
        assert found.classes == synsets and (found.counts == count).all() and found.others == 0
        assert found.read(0).size == (drawing.SIDE, drawing.SIDE)
    assert json.loads((dataset / drawing.MARK).read_text())["seed"] == 0


def test_the_target_is_contained_in_the_source_and_validation_is_not(dataset):
    source = {path.read_bytes() for path in (dataset / "imagenet21k").rglob("*.JPEG")}
    train = {path.read_bytes() for path in (dataset / "imagenet1k" / "train").rglob("*.JPEG")}
    val = {path.read_bytes() for path in (dataset / "imagenet1k" / "val").rglob("*.JPEG")}
    assert train < source and not val & source


def test_imagenet_is_drawn_as_it_always_was():
    """Before JPEG, whose bytes are Pillow's own; the digest is that of the first version."""
    digest = hashlib.sha256()
    for _, synsets, first, count in IMAGENET:
        for synset in synsets:
            for number in range(first, first + count, 7):
                digest.update(drawing.image(synset, number, 0))
    assert digest.hexdigest() == (
        "797edda6c4bec66ef22415799b1fff0024c359297dbd0df6ff9ac270e024d096"
    )


def everything(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_seed_gives_the_same_bytes_and_another_gives_others(dataset, tmp_path):
    assert everything(drawing.draw(tmp_path / "again")) == everything(dataset)
    one, other = drawing.image(drawing.TARGET[0], 0, 0), drawing.image(drawing.TARGET[0], 0, 1)
    assert (one != other).mean() > 0.9
    assert (drawing.image(drawing.TARGET[0], 0, 0) == one).all()
    assert (drawing.image(drawing.TARGET[0], 1, 0) != one).mean() > 0.9


def test_the_features_are_in_the_images(dataset):
    """A cell with a node's feature differs from a cell without by that feature, on the mean."""
    every = {node for synset in drawing.SYNSETS for node in drawing.nodes(synset)}
    sums = {node: [] for node in every}
    for synset in drawing.SYNSETS:
        for number in range(40):
            path = dataset / "imagenet21k" / "train" / synset / f"{synset}_{number:05d}.JPEG"
            pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())), float)
            grid = pixels.reshape(
                drawing.CELLS, drawing.CELL, drawing.CELLS, drawing.CELL, 3
            ).swapaxes(1, 2)
            cells = grid.reshape(-1, drawing.CELL, drawing.CELL, 3)
            for node, cell in drawing.shown(synset, number, 0).items():
                sums[node].append(cells[cell])
    for node, found in sums.items():
        mean, wanted = np.mean(found, axis=0) - 128, drawing.feature(node, 0)
        assert np.corrcoef(mean.ravel(), wanted.ravel())[0, 1] > 0.9, node


@pytest.mark.fault(
    "somebody's real images where toy images would be drawn", "refused; they are not touched"
)
def test_a_dataset_is_drawn_once_and_nothing_else_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "PARTS", (("imagenet1k/val", drawing.TARGET[:2], 0, 2),))
    dataset = drawing.draw(tmp_path / "dataset")
    file = next(dataset.rglob("*.JPEG"))
    file.write_bytes(b"mine")
    drawing.draw(dataset)
    assert file.read_bytes() == b"mine"  # found, so not drawn again
    drawing.draw(dataset, seed=1)
    assert (
        file.read_bytes() != b"mine"
        and json.loads((dataset / drawing.MARK).read_text())["seed"] == 1
    )
    (dataset / drawing.MARK).write_text("{}")  # an older dataset's
    drawing.draw(dataset, seed=1)
    assert json.loads((dataset / drawing.MARK).read_text())["seed"] == 1
    (dataset / "notes.txt").touch()
    with pytest.raises(FileExistsError, match=r"something else than a toy dataset: notes\.txt"):
        drawing.draw(dataset)
    (tmp_path / "data" / "imagenet1k").mkdir(parents=True)  # somebody's real images
    with pytest.raises(FileExistsError, match=r"data holds .*: imagenet1k"):
        drawing.draw(tmp_path / "data")
    assert (tmp_path / "data" / "imagenet1k").exists()


def test_a_dataset_of_older_code_without_an_inaturalist_is_drawn_anew(tmp_path, monkeypatch):
    small = [(part, classes[:2], first, 2) for part, classes, first, _ in drawing.PARTS]
    monkeypatch.setattr(drawing, "PARTS", small[:3])
    dataset = drawing.draw(tmp_path / "dataset")
    (dataset / drawing.MARK).write_text(json.dumps({"seed": 0, "code": "0" * 16}))
    monkeypatch.setattr(drawing, "PARTS", small)
    assert len(list((drawing.draw(dataset) / "inaturalist").rglob("*.jpg"))) == 12


def draw_at(out, parts, ready, told):
    """Draws when all are there, in a process of its own; tells what it found."""
    drawing.PARTS = parts
    ready.wait()
    try:
        drawing.draw(out)
        told.put(sorted(everything(out)))
    except Exception as error:
        told.put(repr(error))


@pytest.mark.fault(
    "{count} processes draw the toy datasets into one folder at once",
    "all find them whole; they are drawn once",
)
@pytest.mark.parametrize("count", [2, 6])
def test_processes_that_draw_at_once_all_find_the_datasets(tmp_path, count):
    parts = [(part, classes[:3], first, 4) for part, classes, first, _ in drawing.PARTS]
    context = multiprocessing.get_context("fork")
    for turn in range(3):
        ready, told, out = context.Barrier(count), context.Queue(), tmp_path / f"dataset{turn}"
        given = (out, parts, ready, told)
        started = [context.Process(target=draw_at, args=given) for _ in range(count)]
        for process in started:
            process.start()
        found = [told.get(timeout=60) for _ in started]
        for process in started:
            process.join(60)
        assert [process.exitcode for process in started] == [0] * count
        assert all(names == found[0] for names in found), found
        assert len(found[0]) == 6 * 3 * 4 + 1
        assert sorted(p.name for p in tmp_path.glob("*.part")) == []


def test_datasets_in_a_folder_that_cannot_be_written_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "PARTS", (("imagenet1k/val", drawing.TARGET[:2], 0, 2),))
    dataset = drawing.draw(tmp_path / "dataset")
    monkeypatch.setattr(drawing.files, "alone", lambda *_: 1 / 0)
    assert drawing.draw(dataset) == dataset


def test_datasets_can_be_drawn_by_who_works_alone_in_the_folder_above(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "PARTS", (("imagenet1k/val", drawing.TARGET[:2], 0, 2),))
    with drawing.files.alone(tmp_path):
        assert (drawing.draw(tmp_path / "dataset") / drawing.MARK).exists()


@pytest.mark.fault("stopped while toy images are drawn", "nothing half drawn is taken for whole")
def test_a_dataset_that_was_stopped_is_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "PARTS", (("imagenet1k/val", drawing.TARGET[:2], 0, 2),))
    monkeypatch.setattr(drawing.files, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawing.draw(tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()
    monkeypatch.undo()
    monkeypatch.setattr(drawing, "PARTS", (("imagenet1k/val", drawing.TARGET[:2], 0, 2),))
    assert len(list(drawing.draw(tmp_path / "dataset").rglob("*.JPEG"))) == 4


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drawing, "PARTS", (("imagenet1k/val", drawing.TARGET[:2], 0, 2),))
    toy.main(["toy", str(tmp_path / "dataset"), "--seed", "3"])
    assert capsys.readouterr().out == f"{tmp_path / 'dataset'}\n"
    with pytest.raises(SystemExit) as stop:
        toy.main(["toy", str(tmp_path)])
    assert stop.value.code == 1 and "something else" in capsys.readouterr().err


# ---------------------------------------------------------------------------------- iNaturalist


def test_the_species_are_real_and_the_ranks_differ(real_data):
    with (real_data / "inat2021_categories.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["image_dir_name"][6:]: row for row in csv.DictReader(file)}
    found = [rows[species[6:]] for species in SPECIES]
    assert [row["supercategory"] for row in found] == [
        species_drawing.PATHS[species][0] for species in SPECIES
    ]
    assert [int(row["id"]) for row in found] == sorted(int(row["id"]) for row in found)


def test_ranks_are_numbered_without_gaps_and_differ_in_their_classes():
    assert [int(species[:5]) for species in SPECIES] == list(range(60))
    paths = list(species_drawing.PATHS.values())
    counts = [len({path[1 : rank + 2] for path in paths}) for rank in range(7)]
    assert counts[2:] == sorted(set(counts[2:])) and counts[-1] == 60
    assert len({path[0] for path in paths}) == 8 < counts[2]


@pytest.mark.parametrize("part", ["2021_train", "2021_train_mini", "2021_valid"])
def test_torchvision_reads_the_same_inaturalist(dataset, tmp_path, part):
    ours = image_set.open_set(dataset / "inaturalist", part, cache=tmp_path)
    ranks = [*RANKS, "full"]
    theirs = INaturalist(dataset / "inaturalist", part, target_type=ranks)
    assert tuple(theirs.all_categories) == ours.classes == SPECIES
    count = next(count for name, *_, count in drawing.PARTS if name.endswith(f"/{part}"))
    assert len(theirs) == len(ours) == 60 * count and (ours.counts == count).all()
    place = {
        f"{theirs.all_categories[label]}/{file}": i for i, (label, file) in enumerate(theirs.index)
    }
    names = [name.decode() for name in ours.names]
    assert set(names) == set(place)
    for i in range(0, len(ours), 37):
        picture, targets = theirs[place[names[i]]]
        assert np.array_equal(np.asarray(picture), np.asarray(ours.read(i)))
        assert targets[-1] == ours.leaf[i]
        told = [theirs.category_name(*pair) for pair in zip(ranks, targets, strict=True)]
        assert told[:-1] == ours.classes[ours.leaf[i]].split("_")[1:7]
    for rank in ("kingdom", "class", "species"):
        if rank == "species":
            with pytest.raises(ValueError, match="species"):
                INaturalist(dataset / "inaturalist", part, target_type=rank)
        else:
            _, target = INaturalist(dataset / "inaturalist", part, target_type=rank)[0]
            assert isinstance(target, int)


def test_the_mini_set_is_among_the_training_set_and_validation_is_not(dataset):
    parts = {
        name: everything(dataset / "inaturalist" / name)
        for name in ("2021_train", "2021_train_mini", "2021_valid")
    }
    assert parts["2021_train_mini"].items() < parts["2021_train"].items()
    assert not set(parts["2021_valid"].values()) & set(parts["2021_train"].values())


def test_the_stated_share_of_each_species_is_hard_and_no_training_image(dataset, tmp_path):
    some, of = species_drawing.HARD
    for part in ("2021_train", "2021_train_mini", "2021_valid"):
        found = image_set.open_set(dataset / "inaturalist", part, cache=tmp_path)
        hard = np.array([drawing.hard(name) for name in found.names])
        share = some / of if part == "2021_valid" else 0
        assert (np.bincount(found.leaf[hard], minlength=60) == share * found.counts).all()
    assert drawing.hard("a/b/00023_hard.jpg") and not drawing.hard(b"00024_easy.jpg")
    with pytest.raises(ValueError, match=r"n02099601_00001\.JPEG"):
        drawing.hard("n02099601/n02099601_00001.JPEG")


def test_images_show_what_the_data_model_says():
    for species in SPECIES:
        common, *finer = species_drawing.taxa(species)
        assert common == species_drawing.PATHS[species][0] and 3 <= len(finer) <= 6
        for number in range(species_drawing.TRAIN + species_drawing.VALID):
            shown = species_drawing.shown(species, number, 0)
            assert len({cell for _, cell, _ in shown}) == len(shown)
            strong = [taxon for taxon, _, strength in shown if strength > 0.8]
            weak = [taxon for taxon, _, strength in shown if strength < 0.5]
            if drawing.hard(species_drawing.file_name(number)):
                assert sorted(strong) == sorted(finer * species_drawing.FINER)
                assert len(weak) == 1 and weak[0] in set(species_drawing.SUPERCATEGORIES) - {common}
            else:
                places = [common] * species_drawing.COMMON + finer * species_drawing.FINER
                assert sorted(strong) == sorted(places)
                assert not weak


def test_features_of_taxa_are_inherited_and_differ():
    every = {taxon for species in SPECIES for taxon in species_drawing.taxa(species)}
    assert len({species_drawing.feature(taxon, 0).tobytes() for taxon in every}) == len(every)
    vanessa = [species_drawing.taxa(s) for s in SPECIES if "_Vanessa_" in s]
    assert len(vanessa) == 2 and vanessa[0][:-1] == vanessa[1][:-1] and vanessa[0] != vanessa[1]


def test_the_features_are_in_the_images_of_inaturalist(dataset):
    """In its files: each feature where it should be, and a hard image's noise in one cell."""
    sums, loudest = {}, {True: [], False: []}
    for species in SPECIES:
        for number in range(species_drawing.TRAIN, species_drawing.TRAIN + species_drawing.VALID):
            name = species_drawing.file_name(number)
            path = dataset / "inaturalist" / "2021_valid" / species / name
            grid = np.asarray(Image.open(path), float).reshape(
                drawing.CELLS, drawing.CELL, drawing.CELLS, drawing.CELL, 3
            )
            cells = grid.swapaxes(1, 2).reshape(-1, drawing.CELL, drawing.CELL, 3)
            shown = species_drawing.shown(species, number, 0)
            for taxon, cell, strength in shown:
                if strength > 0.5:
                    sums.setdefault(taxon, []).append(cells[cell])
            clear = np.delete(cells, [cell for _, cell, _ in shown], axis=0)
            loudest[drawing.hard(name)].append(clear.std(axis=(1, 2, 3)).max())
    for taxon, found in sums.items():
        mean, wanted = np.mean(found, axis=0) - 128, species_drawing.feature(taxon, 0)
        assert np.corrcoef(mean.ravel(), wanted.ravel())[0, 1] > 0.9, taxon
    assert min(loudest[True]) > max(loudest[False])


def test_seeds_of_inaturalist():
    one, other = (species_drawing.image(SPECIES[0], 0, seed) for seed in (0, 1))
    assert (one != other).mean() > 0.9
    assert (species_drawing.image(SPECIES[0], 0, 0) == one).all()
    assert (species_drawing.image(SPECIES[1], 0, 0) != one).mean() > 0.9
