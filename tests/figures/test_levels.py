"""Studies of label levels and what their figures draw, against numbers calculated by hand."""

import dataclasses
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from granularity.analysis import level_runs, selection, statistics
from granularity.figures import levels
from granularity.records import record

ARMS = {"baseline": ("target", 0), "leaf": ("level", 0), "level 4": ("level", 4)}
ARMS |= {"level 9": ("level", 9), "random": ("random", 0)}
ERROR = {"baseline": 0.4, "leaf": 0.1, "level 4": 0.2, "level 9": 0.5, "random": 0.6}
CLASSES = {"baseline": 5, "leaf": 20, "level 4": 8, "level 9": 2, "random": 20}


@pytest.fixture
def published(tmp_path):
    """Two seeds of every arm with 100 images of a class, and of two arms with 50 as well."""
    more = itertools.product(("baseline", "leaf"), (50,), range(2))
    keys = []
    for arm, images, seed in [*itertools.product(ARMS, (100,), range(2)), *more]:
        keys.append(f"{arm}-{images}-{seed}".replace(" ", "_"))
        labels, level = ARMS[arm]
        place = {"dataset": "toy", "overlap": "contained", "source_images": 9, "held_out": False}
        record.write(
            tmp_path / keys[-1] / "record.json",
            kind="imagenet.finetune",
            fingerprint=keys[-1],
            arguments={"labels": labels, "level": level, "seed": seed, "target_images": images}
            | place,
            metrics={"error": ERROR[arm] + 0.02 * seed + (images == 50) / 10, "training_error": 0}
            | {"classes": CLASSES[arm]},
            curves={"step": [1, 2], "loss": [3.0, 1.0 + seed]},
        )
    record.write(tmp_path / "record.json", kind="contents of x", metrics={}, runs=keys)
    return tmp_path


def test_a_study_is_the_largest_choice_of_sets(published):
    found = level_runs.study(published, "this build")
    assert (found.title, found.toy) == ("Toy images, this build", True)
    assert len(found.runs) == 10 and set(found.runs["target_images"]) == {100}
    assert (found.levels, found.rungs) == ([0, 4, 9], ["leaf", "level 4", "level 9"])
    assert found.coarsest == "level 9"
    mean, low, high = found.of("leaf")  # accuracies of 90 and 88: half is 12.706 · 1.414 / √2
    assert (mean, low, high) == pytest.approx((89, 76.294, 101.706), abs=1e-3)
    assert found.said("leaf") == "89.0% (76.3–100.0)"
    assert found.of("level 1")[0] != found.of("level 1")[0]  # no such run


def test_a_toy_is_shown_where_there_is_no_photograph(published, tmp_path):
    (toy,) = level_runs.studies(published, tmp_path / "none.jsonl")
    photographs = dataclasses.replace(toy, toy=False)
    assert selection.on_photographs([photographs, toy]) == [photographs]
    assert selection.on_photographs([toy]) == [toy]
    with pytest.raises(statistics.Unfit, match="no finetuned run"):
        level_runs.studies(tmp_path / "none", tmp_path / "none.jsonl")


@pytest.mark.fault("a folder without a finetuned run of the arm", "refused by name")
def test_a_study_of_nothing_is_refused(tmp_path):
    record.write(tmp_path / "a" / "record.json", kind="x.y", fingerprint="a", metrics={})
    record.write(tmp_path / "record.json", kind="contents of x", metrics={}, runs=["a"])
    with pytest.raises(statistics.Unfit, match="no run"):
        level_runs.study(tmp_path, "this build")
    assert level_runs.by_choice(tmp_path, "target_images") == {}


def test_sizes_of_the_target_are_those_that_the_baseline_has(published):
    found = level_runs.by_choice(published, "target_images")
    assert list(found) == ["leaf", "baseline"]  # the others have one size
    assert found["leaf"][50].tolist() == pytest.approx([0.2, 0.22])
    assert found["leaf"][100].tolist() == pytest.approx([0.1, 0.12])
    classes = level_runs.by_choice(published, "target_images", "classes")
    assert classes["baseline"][50].tolist() == [5, 5]


def test_accuracy_is_drawn_at_the_number_of_classes(published):
    _, axis = plt.subplots()
    levels.draw_accuracy(axis, level_runs.study(published, "this build"))
    line = axis.lines[0]
    assert line.get_xdata().tolist() == [20, 8, 2]
    assert line.get_ydata() == pytest.approx([89, 79, 49])
    seeds = [x for x in axis.lines if x.get_marker() == "." and x.get_alpha() == 0.35]
    assert sorted(np.concatenate([x.get_ydata() for x in seeds])) == pytest.approx(
        [38, 40, 48, 50, 78, 80, 88, 90]
    )
    (dashed,) = [x for x in axis.lines if x.get_linestyle() == "--"]
    assert dashed.get_ydata()[0] == pytest.approx(59)
    plt.close("all")


def test_target_sizes_are_drawn_arm_by_arm(published):
    _, axis = plt.subplots()
    study = level_runs.study(published, "this build")
    levels.draw_target_sizes(axis, level_runs.by_choice(published, "target_images"), study)
    means = {
        line.get_linestyle(): line.get_ydata() for line in axis.lines if line.get_marker() == "o"
    }
    assert means["-"] == pytest.approx([21, 11]) and means["--"] == pytest.approx([51, 41])
    assert [text.get_text() for text in axis.texts] == ["leaf", "baseline"]
    plt.close("all")


def test_losses_end_with_the_arm_s_name(published):
    _, axis = plt.subplots()
    study = level_runs.study(published, "this build")
    levels.draw_losses(axis, study.runs[study.runs["arm"] == "random"], study, "finetuning")
    (mean,) = [line for line in axis.lines if line.get_marker() == "o"]
    assert mean.get_ydata().tolist() == [3.0, 1.5]
    assert [text.get_text() for text in axis.texts] == ["random ids"]
    plt.close("all")


def test_the_band_holds_95_of_100_classes_without_an_effect():
    rng = np.random.default_rng(0)
    null = pd.DataFrame(rng.normal(0, 3, (4000, 8)))
    band = level_runs.chance_band(null)
    others = rng.normal(0, 3, (4000, 8)).mean(axis=1)
    assert (np.abs(others) < band).mean() == pytest.approx(0.95, abs=0.015)


def test_of_many_classes_the_ends_are_shown():
    gains = pd.DataFrame({0: np.arange(40.0), 1: np.arange(40.0)}, [f"n{i}" for i in range(40)])
    shown = level_runs.few_classes(gains.sample(frac=1, random_state=0))
    assert shown == [f"n{i}" for i in [*range(10), *range(26, 40)]]
    assert len(level_runs.few_classes(gains.iloc[:24])) == 24


def test_rates_are_means_over_the_held_out_runs_of_an_arm(tmp_path):
    made = [
        {"labels": "level", "level": level, "finetuning": {"learning_rate": rate}, "error": error}
        for level, rate, error in ((0, 0.1, 0.5), (0, 0.1, 0.7), (0, 0.2, 0.4), (4, 0.1, 0.3))
    ]
    made.append(
        {"labels": "target", "level": 0, "finetuning": {"learning_rate": 0.1}, "error": 0.9}
    )
    for seed, one in enumerate(made):
        error = {"error": one.pop("error")}
        path, key = tmp_path / f"{seed}" / "record.json", {"fingerprint": f"{seed}"}
        arguments = one | {"seed": seed}
        record.write(path, kind="imagenet.finetune", arguments=arguments, metrics=error, **key)
    keys = [f"{seed}" for seed in range(len(made))]
    record.write(tmp_path / "record.json", kind="contents", metrics={}, runs=keys)
    found = level_runs.rates(tmp_path)
    assert found.loc[0.1, "leaf"] == 0.6 and found.loc[0.2, "leaf"] == 0.4
    assert found.loc[0.1, "level 4"] == 0.3 and list(found.columns) == ["leaf", "level 4"]
