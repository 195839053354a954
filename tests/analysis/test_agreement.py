"""What a build's own runs must say, against differences made by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from granularity.analysis import agreement
from granularity.analysis.level_runs import Study as Levels
from granularity.analysis.transfer_runs import Study
from granularity.fingerprints import equivalence


def simulations(error=0.0, response=1.0, code="this code", seeds=3) -> pd.DataFrame:
    """Runs of two label functions, all with these errors and responses."""
    rows = [
        {"labels": labels, "k": 8, "seed": seed, "hard_error": 0.3 + error, "easy_error": 0.0}
        | {"response_common": 2 * response, "response_fine": 0.5, "standing": code}
        for labels in ("coarse", "fine")
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("here", "wanted"),
    [
        (simulations(), (6, 0.0, 0.0, True)),
        (simulations(error=0.009, response=1.009, seeds=2), (4, 0.009, 0.009, True)),
        (simulations(error=-0.011), (6, 0.011, 0.0, False)),
        (simulations(response=0.98), (6, 0.0, 0.02, False)),
        (simulations().assign(k=2), (0, np.nan, np.nan, False)),
        (simulations()[:0], (0, np.nan, np.nan, False)),
    ],
)
def test_a_run_repeats_its_archived_twin_to_a_hundredth(here, wanted):
    found = agreement.repeated(here, simulations())
    numbers = (found.runs, found.error_gap, found.response_gap)
    assert numbers == pytest.approx(wanted[:3], nan_ok=True)
    assert found.agrees == wanted[3]


def test_other_code_is_told_of():
    assert agreement.repeated(simulations(), simulations()).same_code
    assert agreement.repeated(simulations(), simulations(code=equivalence.PROVEN)).same_code
    assert not agreement.repeated(simulations(), simulations(code=equivalence.OLDER)).same_code


def rows(**errors) -> pd.DataFrame:
    """Three seeds of each arm, with these errors and a little more from seed to seed."""
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "error": error + 0.001 * seed}
            for arm, error in errors.items()
            for seed in range(3)
        ]
    )


def levels(**errors) -> Levels:
    runs = rows(**{arm.replace("_", " "): error for arm, error in errors.items()})
    return Levels("Toy images", True, runs, {}, pd.DataFrame(), [0, 9])


def test_fine_labels_must_beat_what_is_coarse_and_what_means_nothing():
    found = [*agreement.of_levels(levels(leaf=0.1, level_9=0.3, baseline=0.2, random=0.05))]
    assert [check.gain.mean() for check in found] == pytest.approx([0.2, 0.1, -0.05])
    assert [check.holds for check in found] == [True, True, False]
    assert found[0].what == "leaf labels beat level 9"
    assert [c.what for c in agreement.of_levels(levels(leaf=0.1, random=0.2))] == [
        "leaf labels beat as many random ids"
    ]


def test_an_effect_that_one_seed_makes_is_not_clear():
    study = levels(leaf=0.1, level_9=0.1)
    study.runs.loc[study.runs["seed"].eq(2) & study.runs["arm"].eq("level 9"), "error"] += 0.1
    (check,) = agreement.of_levels(study)
    assert check.holds and not check.clear


def test_the_finest_rank_must_gain_and_most_on_hard_images():
    errors = {"baseline": (0.20, 0.10, 0.60), "rank:family": (0.15, 0.09, 0.40)}
    errors |= {"rank:species": (0.12, 0.09, 0.30), "random-free:34": (0.50, 0.50, 0.50)}
    runs = rows(**{arm: error for arm, (error, _, _) in errors.items()})
    for n, kind in ((1, "easy_error"), (2, "hard_error")):
        runs[kind] = [errors[arm][n] + 0.001 * seed for arm, seed in runs[["arm", "seed"]].values]
    runs["kind_of_arm"] = runs["arm"].str.partition(":")[0]
    runs["classes"] = runs["arm"].map({arm: 2 + n for n, arm in enumerate(errors)})
    study = Study("Toy species", "smoke", runs.assign(dataset="toy", target_classes=2), {})
    found = [*agreement.of_label_functions(study)]
    assert [check.what for check in found] == [
        "species labels beat the baseline",
        "species labels gain more on hard images than on easy ones",
        "species labels beat random over all, 34",
    ]
    assert [check.gain.mean() for check in found] == pytest.approx([0.08, 0.29, 0.38])
    assert all(check.holds and check.clear for check in found)
    alone = dataclasses.replace(study, runs=study.runs[study.runs["arm"] != "baseline"])
    assert [check.what for check in agreement.of_label_functions(alone)] == [found[2].what]
