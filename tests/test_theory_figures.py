"""What the theory's chapters choose from their runs, and say of them."""

import json
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from granularity import records, theory
from granularity import theory_figures as view

mpl.use("agg")
PUBLISHED = Path(__file__).parents[1] / "book/results/theory/simulate.jsonl"


def runs(error=lambda row: 0.1 * row["seed"], place="here", **values):
    """A table of made-up runs of a grid."""
    rows = theory.grid(**{"batch": 256} | values)
    steps = {"step": [0, 300]}
    return pd.DataFrame(
        row
        | {"hard_error": error(row), "fingerprint": json.dumps(row), "place": place}
        | {"seconds": 30.0, "curves": steps | {"hard_error": [0.5, error(row)]}}
        for row in rows
    )


def test_a_table_keeps_symbols_to_be_typeset():
    rows = [{"parameter": view.SYMBOLS["noise"], "value": 0.1}, {"parameter": "steps", "value": 3}]
    assert view.table(rows).split("\n") == [
        "| parameter | value |",
        "| --- | --- |",
        r"| noise $\sigma_\zeta$ | 0.1 |",
        "| steps | 3 |",
    ]


def test_a_study_is_what_differs_from_the_base_in_what_is_named_only():
    table = pd.concat(
        [
            runs(labels=["coarse", "fine"], k=[4, 8], seed=[0, 1]),
            runs(noise=[0.1, 0.2], seed=[0, 1]),
            runs(labels="merged", classes=[4, 8]),
            runs(batch=512, k=4),
        ]
    )
    assert len(view.study(table, "k")) == 8 + 2  # other labels at the base too
    assert set(view.study(table, "noise")["noise"]) == {0.05, 0.1, 0.2}
    assert len(view.study(table, labels="merged")) == 2
    assert len(view.study(table, k=4, batch=512)) == 1
    assert view.study(table, width=8).empty


def test_of_equal_trainings_a_study_takes_the_one_that_measured_most():
    table = pd.concat([runs(logged=2), runs(logged=30), runs(finetune_steps=300, logged=2)])
    found = view.study(table)
    assert len(found) == 1
    assert found.loc[0, "finetune_steps"] == 300


def test_runs_are_read_once_and_lacking_parameters_have_their_defaults(tmp_path):
    first = view.read(tmp_path, str(PUBLISHED), "runs/missing")
    assert not first[list(theory.grid()[0])].isna().any().any()
    assert set(first["place"]) == {str(PUBLISHED)}
    twice = tmp_path / "again.jsonl"
    twice.write_text(PUBLISHED.read_text(encoding="utf-8"), encoding="utf-8")
    assert len(view.read(tmp_path, str(PUBLISHED), "again.jsonl")) == len(first)
    with pytest.raises((FileNotFoundError, records.RecordError)):
        view.read(tmp_path, "none.jsonl")
    with pytest.raises(FileNotFoundError, match="runs/missing: nothing ran yet"):
        view.read(tmp_path, "runs/missing")


def test_means_and_spans():
    table = runs(seed=[0, 1, 2])
    assert view.mean(table, "hard_error", labels="coarse") == pytest.approx(0.1)
    assert math.isnan(view.mean(table, "hard_error", labels="fine"))
    assert view.span([0.0, 0.0]) == "0"
    assert view.span([]) == "–"
    assert view.span([0.25], 2) == "0.25"
    assert view.span([0.1, 0.2, 0.3], 2) == "0.20 ±\N{NO-BREAK SPACE}0.25"


def test_a_panel_shows_every_seed_and_marks_the_base():
    axis = mpl.figure.Figure().subplots()
    table = runs(labels=["coarse", "fine"], noise=[0.1, 0.05], seed=[0, 1, 2])
    last = view.along(axis, table, "noise", "hard_error", 0.05)
    assert last == {"coarse": pytest.approx(0.1), "fine": pytest.approx(0.1)}
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.05", "0.1"]
    shown = [line for line in axis.lines if line.get_marker() == "."]
    assert sum(len(line.get_xdata()) for line in shown) == 12


def test_a_map_has_a_number_in_every_cell_that_was_run():
    axis = mpl.figure.Figure().subplots()
    table = runs(error=lambda row: row["k"] / 20, k=[2, 4], noise=[0.1, 0.2])
    table = table[(table["k"] == 2) | (table["noise"] == 0.1)]
    view.map_of(axis, table, "k", "noise", "hard_error")
    assert sorted(text.get_text() for text in axis.texts) == ["0.10", "0.10", "0.20"]


def test_a_map_can_be_kept_to_cells_that_were_all_run():
    table = pd.concat(
        [runs(k=[2, 4, 8], noise=[0.1, 0.2]), runs(k=[6], noise=[0.1]), runs(k=[2], noise=[0.3])]
    )
    found = view.whole(table, "k", "noise")
    assert set(found["k"]) == {2, 4, 8}
    assert set(found["noise"]) == {0.1, 0.2}
    assert view.whole(found.iloc[:0], "k", "noise").empty


def test_it_is_said_whose_runs_they_are():
    table = pd.concat([runs(seed=[0, 1, 2]), runs(seed=7, place="runs/smoke")])
    text = view.made_of(table, "runs/smoke")
    assert text.startswith("4 runs, 2 minutes of computing in all, up to 4 seeds")
    assert text.endswith("3 of them published, 1 made by this build.")


def test_what_the_explorer_shows_are_the_means_of_the_runs():
    table = runs(labels=["coarse", "fine"], k=[2, 4], noise=[0.1, 0.2], seed=[0, 1, 2])
    found = view.explored(table, {"k": [2, 4], "noise": [0.1, 0.2]}, ["hard_error"])
    assert json.loads(json.dumps(found)) == found
    assert found["names"] == ["k", "noise"]
    assert found["step"] == [0, 300]
    np.testing.assert_allclose(found["curves"]["fine"]["hard_error"], [[0.5, 0.1]] * 4)
