"""What the theory's chapters choose from their runs, and say of them."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from granularity import theory
from granularity.analysis import theory_runs as view
from granularity.claims import chapter_rows, outcome, rules
from granularity.figures import simulations
from granularity.pages import markup
from granularity.records.record import RecordError

mpl.use("agg")
BOOK = Path(__file__).parents[2] / "book"
PUBLISHED = BOOK / "results/theory/simulate.jsonl"
RULES = rules.read((BOOK / "claims.yml").read_text(encoding="utf-8")).claims


def runs(error=lambda row: 0.1 * row["seed"], place="here", **values):
    """A table of made-up runs of a grid."""
    rows = theory.grid(**{"batch_size": 256} | values)
    steps = {"step": [0, 300]}
    return pd.DataFrame(
        row
        | {"hard_error": error(row), "fingerprint": json.dumps(row), "place": place}
        | {"seconds": 30.0, "curves": steps | {"hard_error": [0.5, error(row)]}}
        for row in rows
    )


def test_a_table_keeps_symbols_to_be_typeset():
    rows = [
        {"parameter": simulations.SYMBOLS["noise"], "value": 0.1},
        {"parameter": "steps", "value": 3},
    ]
    assert markup.table(rows).split("\n") == [
        "| parameter | value |",
        "| --- | --- |",
        r"| noise $\sigma_\zeta$ | 0.1 |",
        "| steps | 3 |",
    ]


def test_numbers_between_dollars_have_no_gap():
    assert [markup.maths(number) for number in (128, 1024)] == ["128", "1{,}024"]


def test_a_study_is_what_differs_from_the_base_in_what_is_named_only():
    table = pd.concat(
        [
            runs(labels=["coarse", "fine"], k=[4, 8], seed=[0, 1]),
            runs(noise=[0.1, 0.2], seed=[0, 1]),
            runs(labels="merged", classes=[4, 8]),
            runs(batch_size=512, k=4),
        ]
    )
    assert len(view.study(table, "k")) == 8 + 2  # other labels at the base too
    assert set(view.study(table, "noise")["noise"]) == {0.05, 0.1, 0.2}
    assert len(view.study(table, labels="merged")) == 2
    assert len(view.study(table, k=4, batch_size=512)) == 1
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
    with pytest.raises((FileNotFoundError, RecordError)):
        view.read(tmp_path, "none.jsonl")
    with pytest.raises(FileNotFoundError, match="runs/missing: nothing ran yet"):
        view.read(tmp_path, "runs/missing")


def test_a_panel_shows_every_seed_and_marks_the_base():
    axis = mpl.figure.Figure().subplots()
    table = runs(labels=["coarse", "fine"], noise=[0.1, 0.05], seed=[0, 1, 2])
    last = simulations.along(axis, table, "noise", "hard_error", 0.05)
    assert last == {"coarse": pytest.approx(0.1), "fine": pytest.approx(0.1)}
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.05", "0.1"]
    shown = [line for line in axis.lines if line.get_marker() == "."]
    assert sum(len(line.get_xdata()) for line in shown) == 12


def test_a_map_has_a_number_in_every_cell_that_was_run():
    axis = mpl.figure.Figure().subplots()
    table = runs(error=lambda row: row["k"] / 20, k=[2, 4], noise=[0.1, 0.2])
    table = table[(table["k"] == 2) | (table["noise"] == 0.1)]
    simulations.map_of(axis, table, "k", "noise", "hard_error", "coarse")
    assert sorted(text.get_text() for text in axis.texts) == ["10", "10", "20"]


def test_reaches_stand_widest_first_and_hold_both_labels():
    axis = mpl.figure.Figure().subplots()
    found = {
        "coarse": {"k": (0.1, 0.3), "noise": (0.2, 0.6), "d": (0.4, 0.4)},
        "fine": {"k": (0.0, 0.5), "noise": (0.0, 0.1)},
    }
    assert simulations.reaches(axis, found) == ["k", "noise", "d"]
    drawn = {
        lines.get_label(): [
            segment[:, 0].round(2).tolist() for segment in lines.get_segments() if len(segment)
        ]
        for lines in axis.collections
    }
    assert drawn["coarse"] == [[0.1, 0.3], [0.2, 0.6], [0.4, 0.4]]
    assert drawn["fine"][:2] == [[0.0, 0.5], [0.0, 0.1]]


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
    assert text.startswith("4 runs, 2 core-minutes in total, 4 seeds per setting")
    assert text.endswith("3 of them archived, 1 made by this build.")
    uneven = pd.concat([runs(seed=[0, 1, 2]), runs(k=4, seed=[0, 1])])
    assert "total, 2 to 3 seeds per setting" in view.made_of(uneven, "runs/smoke")


# --- The sweep over d


def swept(dims=(128, 256, 512, 1024), seeds=10, coarse=0.4, fine=0.001, end=1000):
    """Made-up runs of the sweep; the coarse error may be a function of d and the step."""
    error = coarse if callable(coarse) else lambda d, step: coarse
    steps = [0, 10, 50, 500, end]
    made = []
    for d in dims:
        arms = (("coarse", 1, 1000), ("fine", 1, 200), ("coarse", view.SWEEP[d]["k"], 1000))
        for labels, wider, count in arms:
            values = view.SWEEP[d] | {"width": view.SWEEP[d]["width"] * wider, "steps": count}
            for row in theory.grid(labels=labels, seed=list(range(seeds)), **values):
                hard = [error(d, step) if labels == "coarse" else fine for step in steps]
                hard = [value + 0.001 * row["seed"] for value in hard]
                loss = [0.7, 0.1, 0.009, 0.001, 0.0005]
                curves = {"step": steps, "hard_error": hard, "training_loss": loss}
                made.append(
                    row
                    | {"kind": "theory.simulate", "fingerprint": json.dumps(row), "curves": curves}
                    | {"hard_error": hard[-1], "training_loss": loss[-1], "easy_error": 0.0}
                )
    return pd.DataFrame(made)


def test_the_sweep_s_settings_are_those_of_the_rules():
    for name in ("C3", "C4"):
        rule = RULES[name].rule("published")
        for wanted, ours in zip(rule.settings, view.SWEEP.values(), strict=True):
            assert ours == pytest.approx(dict(wanted), rel=1e-4)


def test_the_sweep_s_rows_are_told_apart():
    table = pd.concat([swept(dims=(128, 256), seeds=3), runs(labels=["coarse", "fine"], k=6)])
    for row, labels, width in (
        ("coarse", "coarse", 64),
        ("wide", "coarse", 576),
        ("fine", "fine", 64),
    ):
        found = view.dimension(table, row)
        assert set(found["labels"]) == {labels}
        assert found.groupby("d")["seed"].nunique().to_dict() == {128: 3, 256: 3}
        assert set(found.loc[found["d"] == 256, "width"]) == {width}
        assert set(found["batch_size"]) == {512}


def test_the_loss_has_vanished_when_it_has_in_every_run():
    table = swept(dims=(128,), seeds=3)
    assert view.met(view.dimension(table, "coarse")) == 50
    assert view.met(view.dimension(table, "coarse"), 0.2) == 10
    assert view.met(view.dimension(table, "coarse"), 1e-9) is None


def test_a_trace_shows_every_seed_and_their_mean():
    axis = mpl.figure.Figure().subplots()
    steps, middle = simulations.traced(
        axis, swept(dims=(128,), seeds=5).iloc[:5], "hard_error", "red"
    )
    assert steps == [0, 10, 50, 500, 1000]
    np.testing.assert_allclose(middle, [0.402] * 5)
    assert len(axis.lines) == 6


def test_each_demand_of_a_rule_is_judged_by_the_scoreboard_s_code():
    def words(name, table):
        return {
            what: found.word
            for what, found in chapter_rows.by_condition(
                RULES[name].rule("published"), table, "published"
            )
        }

    good, bad = outcome.REPRODUCED, outcome.NOT_REPRODUCED
    found = words("C3", swept())
    assert len(found) == 5
    assert set(found.values()) == {good}
    assert set(words("C4", swept()).values()) == {good}
    dips = words("C3", swept(coarse=lambda d, step: 0.05 if step == 500 and d == 1024 else 0.4))
    assert dips.pop("the claim") == bad
    (failed,) = (what for what, word in dips.items() if word == bad)
    assert "10 times the step" in failed
    falls = words("C3", swept(coarse=lambda d, step: 0.4 - d / 1e4))
    assert [what for what, word in falls.items() if word == bad] == [
        "the claim",
        "hard_error not falling",
    ]
    assert set(words("C4", swept(fine=0.1)).values()) == {good, bad}
    assert set(words("C3", swept(dims=(128, 256))).values()) == {outcome.UNDECIDED}
    short = words("C3", swept(end=501).assign(steps=1000))
    assert short["the claim"] == good  # 50 steps, and ten times as many: 500
