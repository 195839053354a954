"""The figures that answer the book's question hold the numbers of the paper and of the records."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from granularity.analysis import level_runs, selection, theory_runs
from granularity.claims import rules
from granularity.figures import answer

SOURCE = ROOT / "book/results/tiny/imagenet.jsonl"


@pytest.fixture(scope="module")
def study():
    return level_runs.study(SOURCE, "our runs")


@pytest.fixture(scope="module")
def table1():
    book = rules.read((ROOT / "book/claims.yml").read_text(encoding="utf-8"))
    return pd.DataFrame(book.tables["table1"].rows, columns=book.tables["table1"].columns)


def overlapping(axis):
    """Pairs of texts of a drawn axes whose boxes overlap."""
    axis.figure.canvas.draw()
    texts = [text for text in [*axis.texts, *axis.get_xticklabels()] if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    return [
        (one.get_text(), other.get_text())
        for at, one in enumerate(texts)
        for beside, other in enumerate(texts[:at])
        if boxes[at].overlaps(boxes[beside])
    ]


def test_the_paper_s_gains_are_those_of_its_table(table1):
    gains = answer.paper_gains(table1)
    assert gains[0] == pytest.approx(82.51 - 77.91)
    assert gains[9] == pytest.approx(72.75 - 77.91)
    assert len(gains) == 6


def test_table_1_is_drawn_with_all_its_numbers(table1):
    _, axis = plt.subplots(figsize=(4.8, 3.8))
    answer.of_paper(axis, table1)
    curve, baseline = axis.lines
    assert list(curve.get_ydata()) == [72.75, 75.53, 77.53, 80.26, 81.28, 82.51]
    assert baseline.get_ydata() == [77.91, 77.91]
    assert axis.get_xticklabels()[-1].get_text() == "leaf\n21,843"
    assert overlapping(axis) == []


def test_both_curves_stand_on_one_axis(study, table1):
    _, axis = plt.subplots(figsize=(4.8, 4.2))
    answer.paper_beside_ours(axis, study, table1)
    drawn = {len(line.get_xdata()): line.get_ydata() for line in axis.lines}
    assert np.allclose(
        drawn[6], [gain for _, gain in sorted(answer.paper_gains(table1).items())][::-1]
    )
    ours = answer.our_gains(study)
    assert np.allclose(drawn[7], [ours[level].mean() for level in sorted(ours, reverse=True)])
    by_hand = study.of("leaf")[0] - study.of("baseline")[0]
    assert ours[0].mean() == pytest.approx(by_hand)
    assert overlapping(axis) == []


def test_the_crossover_goes_from_a_gain_to_a_loss(study):
    _, axis = plt.subplots(figsize=(4.8, 4.2))
    sizes = level_runs.by_choice(SOURCE, "target_images")
    answer.crossover(axis, sizes, study)
    leaf = next(
        line.get_ydata() for line in axis.lines if len(line.get_ydata()) == len(sizes["leaf"])
    )
    assert leaf[0] > 0 > leaf[-1]
    assert overlapping(axis) == []


def test_each_way_to_be_hard_has_both_labels():
    runs = theory_runs.read(ROOT, "book/results/theory/simulate.jsonl")
    wanted = {n: v for n, v in theory_runs.defaults().items() if n not in ("labels", "k")}
    runs = selection.select(runs, wanted | {"k": 8})
    _, axis = plt.subplots(figsize=(4.8, 4))
    answer.distractors(axis, runs)
    means = [box.lines[0].get_xdata()[0] for box in axis.containers]
    assert len(means) == 2 * len(answer.PARTS)
    assert means[3] == pytest.approx(100 * runs["hard_error"][runs["labels"] == "coarse"].mean())
    assert overlapping(axis) == []
