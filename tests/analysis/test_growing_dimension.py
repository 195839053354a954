"""Ways in which d and k grow, of made-up runs, against tables done by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from granularity import theory
from granularity.analysis import growing_dimension, theory_runs
from granularity.analysis.growing_dimension import WITHOUT_DISTRACTORS, Way

SETTINGS = {  # at d = 512, where √4 = 2: what each way has in the place of the sweep's own
    "width_held": {"width": 32},
    "noise_held": {"width": 32, "noise": 0.05, "strong_noise": 0.5},
    "width_as_root": {"width": 64},
}


def runs(d, seeds=2, error=0.5, **changes) -> list[dict]:
    """Runs at the sweep's d and k, but for the changes; the error grows by 0.01 a seed."""
    where = {"labels": "coarse", **theory_runs.SWEEP[d], **changes}
    return [
        row | {"fingerprint": json.dumps(row), WITHOUT_DISTRACTORS: error + 0.01 * row["seed"]}
        for row in theory.grid(seed=list(range(seeds)), **where)
    ]


def test_each_way_has_the_runs_at_its_own_parameters():
    swept = pd.DataFrame(runs(128) + runs(512, error=0.1) + runs(512, labels="fine"))
    others = [row for name in SETTINGS for row in runs(512, batch_size=256, **SETTINGS[name])]
    more = runs(512, **SETTINGS["width_held"])  # of the sweep's batch: of no way
    found = growing_dimension.ways(swept, pd.DataFrame([*others, *more]))
    assert [way.name for way in found] == ["sweep", *SETTINGS]
    assert found[0].runs["d"].tolist() == [128, 128, 512, 512]
    for way in found[1:]:
        assert len(way.runs) == 2 and (way.runs["batch_size"] == 256).all()
        for name, value in SETTINGS[way.name].items():
            assert way.runs[name].tolist() == [value] * 2, way.name
    lengths = {way.name: way.runs["noise"].iloc[-1] for way in found}
    assert lengths["width_held"] == lengths["sweep"] == pytest.approx(0.025)  # 0.05 / √4
    assert found[1].opening == "With the width held at 32"


def way(*rows) -> Way:
    return Way("x", "x", "x", pd.DataFrame(rows, columns=["d", "seed", WITHOUT_DISTRACTORS]))


def test_the_change_is_paired_by_seed_from_the_smallest_to_the_largest_dimension():
    rows = [(8, 0, 0.1), (8, 1, 0.2), (16, 0, 0.9), (32, 0, 0.4), (32, 1, 0.6), (32, 2, 0.7)]
    found = way(*rows)
    assert list(found.by_dimension()) == [8, 16, 32]
    assert found.by_dimension()[32].tolist() == [0.4, 0.6, 0.7]
    assert found.change().to_dict() == pytest.approx({0: 0.3, 1: 0.4})  # seed 2 has no partner
    assert all(values.empty for values in found.by_dimension("another").values())


def test_it_rises_or_falls_where_the_whole_interval_does():
    # three differences: half an interval is 4.303 · deviation / √3
    start = [(8, seed, 0.5) for seed in range(3)]
    for by, word in (([0.2, 0.21, 0.22], "rises"), ([-0.2, -0.21, -0.22], "falls")):
        assert way(*start, *((16, s, 0.5 + x) for s, x in enumerate(by))).moved == word
    wide = [(16, seed, 0.5 + x) for seed, x in enumerate((0.3, 0.01, 0.1))]
    assert way(*start, *wide).moved == "unclear"
    assert way(*start[:1], (16, 0, 0.9)).moved == "unclear"  # one seed has no interval


# ------------------------------------------------------------------------ growth of the responses


def curves() -> pd.DataFrame:
    made = [
        {"response_common": [1.0, 3.0, 9.0], "response_fine": [1.0, 2.0, 5.0]},
        {"response_common": [0.0, 4.0, 4.0], "response_fine": [2.0, 2.5, 4.0]},
    ]
    return pd.DataFrame({"labels": ["coarse"] * 2 + ["fine"], "k": 8, "curves": [*made, made[0]]})


def test_growth_is_the_ratio_of_what_was_added_to_the_responses():
    assert theory_runs.growth(curves(), labels="coarse", k=8).tolist() == [2.0, 8.0]
    assert theory_runs.growth(curves(), -1, labels="coarse", k=8).tolist() == [2.0, 2.0]
    assert theory_runs.growth(curves(), labels="fine", k=8).tolist() == [2.0]
    traces = theory_runs.traces(curves(), "response_fine", labels="coarse")
    np.testing.assert_array_equal(traces, [[1, 2, 5], [2, 2.5, 4]])
    assert theory_runs.traces(curves(), "response_fine", k=9).size == 0


def test_the_growth_that_counting_expects():
    assert [theory_runs.expected_growth("coarse", k) for k in (2, 8)] == [2, 8]
    assert theory_runs.expected_growth("fine", 2) == pytest.approx(2 / 3)  # ½ / (1 - ¼)
    assert math.isclose(theory_runs.expected_growth("fine", 8), 8 / 15)
    with pytest.raises(KeyError, match="random"):
        theory_runs.expected_growth("random", 8)
