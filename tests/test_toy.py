"""The toy image world: its levels, its files, and that the features are in the images."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from granularity import data, labels, toy, wordnet


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return toy.draw(tmp_path_factory.mktemp("toy") / "world")


def test_the_levels_differ_and_some_leaves_have_several_parents():
    levels = labels.levels(toy.SYNSETS, [0, 1, 2, 4, 6, 9])
    counts = [levels[level].num_classes for level in levels]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 6
    assert counts[0] == 60 == len(set(toy.SYNSETS))
    assert all((levels[level].num_labels > 1).any() for level in (1, 2, 4, 6, 9))
    assert set(toy.TARGET) < set(toy.SYNSETS) <= set(wordnet.read_list("imagenet1k"))
    assert set(toy.SYNSETS) <= set(wordnet.read_list("imagenet21k"))


def test_every_feature_finds_a_cell():
    assert max(len(toy.nodes(synset)) for synset in toy.SYNSETS) <= toy.CELLS**2
    every = {node for synset in toy.SYNSETS for node in toy.nodes(synset)}
    assert len({toy.feature(node, 0).tobytes() for node in every}) == len(every)


def test_rarer_features_show_less_often():
    for synset in toy.SYNSETS:
        for above in wordnet.nouns().hypernyms[synset]:
            assert toy.presence(synset) <= toy.presence(above)
    images = [(s, n) for s in toy.SYNSETS for n in range(100)]
    for node in ("n00001740", "n02083346", toy.TARGET[0]):  # entity, canine, a leaf
        below = [place for place in images if node in toy.nodes(place[0])]
        share = np.mean([node in toy.shown(*place, 0) for place in below])
        assert abs(share - toy.presence(node)) < 4 * (0.25 / len(below)) ** 0.5
    assert toy.presence("n00001740") == 1 > toy.presence("n02083346") > toy.presence(toy.TARGET[0])


def test_the_files_lie_as_in_imagenet(world, tmp_path):
    for part, synsets, _, count in toy.PARTS:
        found = data.open_set(world / part, classes=synsets, cache=tmp_path)
        assert found.classes == synsets and (found.counts == count).all() and found.others == 0
        assert found.read(0).size == (toy.SIDE, toy.SIDE)
    assert json.loads((world / toy.MARK).read_text())["seed"] == 0


def test_the_target_is_contained_in_the_source_and_validation_is_not(world):
    source = {path.read_bytes() for path in (world / "imagenet21k").rglob("*.JPEG")}
    train = {path.read_bytes() for path in (world / "imagenet1k" / "train").rglob("*.JPEG")}
    val = {path.read_bytes() for path in (world / "imagenet1k" / "val").rglob("*.JPEG")}
    assert train < source and not val & source


def everything(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_seed_gives_the_same_bytes_and_another_gives_others(world, tmp_path):
    assert everything(toy.draw(tmp_path / "again")) == everything(world)
    one, other = toy.image(toy.TARGET[0], 0, 0), toy.image(toy.TARGET[0], 0, 1)
    assert (one != other).mean() > 0.9
    assert (toy.image(toy.TARGET[0], 0, 0) == one).all()
    assert (toy.image(toy.TARGET[0], 1, 0) != one).mean() > 0.9


def test_the_features_are_in_the_images(world):
    """A cell with a node's feature differs from a cell without by that feature, on the mean."""
    every = {node for synset in toy.SYNSETS for node in toy.nodes(synset)}
    sums = {node: [] for node in every}
    for synset in toy.SYNSETS:
        for number in range(40):
            path = world / "imagenet21k" / "train" / synset / f"{synset}_{number:05d}.JPEG"
            pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())), float)
            grid = pixels.reshape(toy.CELLS, toy.CELL, toy.CELLS, toy.CELL, 3).swapaxes(1, 2)
            cells = grid.reshape(-1, toy.CELL, toy.CELL, 3)
            for node, cell in toy.shown(synset, number, 0).items():
                sums[node].append(cells[cell])
    for node, found in sums.items():
        mean, wanted = np.mean(found, axis=0) - 128, toy.feature(node, 0)
        assert np.corrcoef(mean.ravel(), wanted.ravel())[0, 1] > 0.9, node


def test_a_world_is_drawn_once_and_nothing_else_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "PARTS", (("imagenet1k/val", toy.TARGET[:2], 0, 2),))
    world = toy.draw(tmp_path / "world")
    file = next(world.rglob("*.JPEG"))
    file.write_bytes(b"mine")
    toy.draw(world)
    assert file.read_bytes() == b"mine"  # found, so not drawn again
    toy.draw(world, seed=1)
    assert file.read_bytes() != b"mine" and json.loads((world / toy.MARK).read_text())["seed"] == 1
    (world / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="something else than a toy world"):
        toy.draw(world)
    (tmp_path / "data" / "imagenet1k").mkdir(parents=True)  # somebody's real images
    with pytest.raises(FileExistsError, match=r"data holds .*: imagenet1k"):
        toy.draw(tmp_path / "data")
    assert (tmp_path / "data" / "imagenet1k").exists()


def test_a_world_that_was_stopped_is_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "PARTS", (("imagenet1k/val", toy.TARGET[:2], 0, 2),))
    monkeypatch.setattr(toy.files, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.draw(tmp_path / "world")
    assert not (tmp_path / "world").exists()
    monkeypatch.undo()
    monkeypatch.setattr(toy, "PARTS", (("imagenet1k/val", toy.TARGET[:2], 0, 2),))
    assert len(list(toy.draw(tmp_path / "world").rglob("*.JPEG"))) == 4


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toy, "PARTS", (("imagenet1k/val", toy.TARGET[:2], 0, 2),))
    toy.main([str(tmp_path / "world"), "--seed", "3"])
    assert capsys.readouterr().out == f"{tmp_path / 'world'}\n"
    with pytest.raises(SystemExit) as stop:
        toy.main([str(tmp_path)])
    assert stop.value.code == 1 and "something else" in capsys.readouterr().err
