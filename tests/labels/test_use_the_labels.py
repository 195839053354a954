"""The page *Use the labels in your own code*: its code runs as it stands there, and is right."""

import csv
import re
import shlex

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from granularity import labels
from granularity.commands.main import COMMANDS, main
from granularity.hierarchies import wordnet
from granularity.training.losses import LOSSES

PAGE = (ROOT / "book" / "use_the_labels.md").read_text(encoding="utf-8")
FOLDERS = ("n01440764", "n01795545", "n02084071", "n03792782")  # one with several parents


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What all Python of the page leaves, run in a folder with its files; and that folder."""
    place = tmp_path_factory.mktemp("mine")
    (place / "classes.csv").write_text(blocks("text")[0])
    for number, name in enumerate(FOLDERS):
        (place / "images" / name).mkdir(parents=True)
        pixels = np.full((8, 8, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(place / "images" / name / "a.jpg")
    left = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for code in blocks("python"):
            exec(code, left)
    return left, place


def test_the_numbers_in_its_comments_are_those_of_the_functions(page):
    left, _ = page
    assert [left[name].num_classes for name in ("level", "family", "kinds")] == [519, 1103, 2]
    told = re.findall(r"# ([\d,]+) classes", PAGE)
    assert [int(number.replace(",", "")) for number in told] == [519, 1103, 2]
    assert left["kinds"].classes == ("animal", "vehicle")


def test_each_image_comes_with_the_classes_of_its_folder(page):
    left, place = page
    by_level = wordnet.levels(FOLDERS, 4)[4]
    for made in (left["dataset"], left["again"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            rows = [made[number][1] for number in range(len(FOLDERS))]
        for row, wanted in zip(rows, by_level, strict=True):
            assert {left["level"].classes[index] for index in row if index >= 0} == wanted
    assert any(len(wanted) > 1 for wanted in by_level)


@pytest.mark.parametrize("name", ["loss_of", "plain_loss"])
def test_the_loss_and_its_gradient_are_our_trainer_s(page, name):
    left, _ = page
    rows = left["table"]
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(len(rows), left["level"].num_classes, generator=draw)
    mine, theirs = (logits.clone().requires_grad_() for _ in range(2))
    left[name](mine, rows).backward()
    ours = LOSSES["sigmoid"](theirs, rows, None).sum() / len(rows)  # as `engine.fit` has it
    ours.backward()
    torch.testing.assert_close(left[name](mine, rows), ours)
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_the_file_of_the_command_has_the_same_classes(page, tmp_path, monkeypatch, capsys):
    left, _ = page
    monkeypatch.chdir(tmp_path)
    call = next(code for code in blocks("bash") if code.startswith("granularity levels"))
    main(shlex.split(call)[1:])
    assert "paper's classes" in capsys.readouterr().out
    with (tmp_path / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["synset", "level 0", "level 4", "level 9"]
    assert [row["synset"] for row in rows] == list(left["synsets"])
    for row, indices in zip(rows, left["level"].indices, strict=True):
        assert [int(index) for index in row["level 4"].split(" ")] == indices[indices >= 0].tolist()


def test_the_other_commands_are_known_and_start_is_a_parameter():
    calls = [shlex.split(code) for code in blocks("bash")]
    assert {words[1] for words in calls if words[0] == "granularity"} <= set(COMMANDS)
    (call,) = [words for words in calls if words[0] == "papermill"]
    notebook = (ROOT / call[1]).read_text(encoding="utf-8")
    for name in (call[i + 1].split(":")[0] for i, word in enumerate(call) if word == "-p"):
        assert f'"{name} = ' in notebook


# ----------------------------------------------------------------------------- a tree of one's own


def tree_of(tmp_path, *rows, header="child,parent"):
    (tmp_path / "t.csv").write_text("\n".join([header, *rows, ""]))
    return labels.tree_of_csv(tmp_path / "t.csv")


def test_ranks_are_cuts_from_coarse_to_fine_and_short_paths_end_in_their_leaf(tmp_path):
    tree = tree_of(tmp_path, "a,top", "b,top", "c,a", "d,c", "e,c", "", "f,a")
    assert tree.leaves == ("b", "d", "e", "f")
    assert {name: rank.classes for name, rank in tree.ranks.items()} == {
        "depth1": ("a", "b"),
        "depth2": ("b", "c", "f"),
        "leaf": ("b", "d", "e", "f"),
    }
    assert tree.target.classes == ("a", "b") and tree.target.name == "target"


@pytest.mark.fault("a tree of one's own that is none: {told}", "refused, with file and line")
@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["a,b", "a,c"], r"t\.csv:3: a has the parent b already"),
        (["a,b", "b,"], r"t\.csv:3: .*wanted a child and its parent"),
        (["a,b,c"], r"t\.csv:2: .*wanted a child and its parent"),
        (["c,a", "a,b", "b,a"], r"t\.csv: a lies below itself: c < a < b < a"),
        (["a,a"], r"a lies below itself"),
        (["a,top", "b,top"], "no class lies between"),
        ([], "it has no class"),
    ],
)
def test_what_is_no_tree_is_refused(tmp_path, rows, told):
    with pytest.raises(ValueError, match=told):
        tree_of(tmp_path, *rows)


@pytest.mark.fault("a table of classes with another header", "refused, with the one wanted")
def test_another_header_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"t\.csv:1: .*wanted child,parent"):
        tree_of(tmp_path, "a,b", header="class;super")
