"""Gains by hardness: by hand, and in a simulated world where an unfair judge sees an effect."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from granularity.analysis import hardness, selection
from granularity.analysis.located import standing
from granularity.analysis.selection import select
from granularity.analysis.statistics import Unfit, interval
from granularity.claims import judging, rules
from granularity.records import record, tables

ROOT = Path(__file__).resolve().parents[2]


def run(losses, wrong=()):
    rank = np.zeros(len(losses), int)
    rank[list(wrong)] = 3
    return {"loss": np.array(losses, float), "rank": rank}


# ------------------------------------------------------------------------------------ by hand


def test_standings_share_a_place_where_losses_are_equal():
    found = standing(np.array([0.5, 0.1, 0.5, 2.0]))
    assert found.tolist() == [0.5, 0.125, 0.5, 0.875]


@given(arrays(float, st.integers(1, 40), elements=st.floats(0, 50)))
def test_standings_lie_around_a_half_and_keep_the_order(losses):
    found = standing(losses)
    assert found.mean() == pytest.approx(0.5)
    assert (np.diff(found[np.argsort(losses, kind="stable")]) >= 0).all()


@given(arrays(float, st.integers(5, 60), elements=st.floats(0, 1)))
def test_fifths_are_equal_in_size_and_rising(values):
    group = hardness.fifths(values)
    sizes = np.bincount(group, minlength=5)
    assert sizes.max() - sizes.min() <= 1
    assert max(values[group == 0]) <= min(values[group == 4])


# Ten images, hardest last: every judge agrees on the order, so the fifths are pairs of images.
ORDER = np.arange(10.0)
TABLE = {
    "baseline": {0: run(ORDER, (6, 8, 9)), 1: run(ORDER, (7, 8, 9)), 2: run(ORDER, (8, 9))},
    "leaf": {0: run(ORDER, (9,)), 1: run(ORDER, (0, 9)), 2: run(ORDER)},
    "random": {0: run(ORDER, (1, 6, 8, 9)), 1: run(ORDER, (7, 8, 9)), 2: run(ORDER, (8, 9))},
}


def test_a_table_computed_by_hand():
    leaf = hardness.split(TABLE, "leaf")
    assert leaf["seed"].tolist() == [0, 1, 2]
    profile = leaf[[f"gain_{n}" for n in range(1, 6)]].to_numpy()
    # seed 0: image 6 gained, and 8; seed 1: image 0 lost, 7 and 8 gained; seed 2: 8 and 9 gained
    wanted = [[0, 0, 0, 0.5, 0.5], [-0.5, 0, 0, 0.5, 0.5], [0, 0, 0, 0, 1]]
    assert profile.tolist() == wanted
    assert leaf["extra_gain_on_hard"].tolist() == [0.5, 0.75, 0.5]
    assert leaf["gain"].tolist() == pytest.approx([0.2, 0.1, 0.2])
    assert leaf[["error_4", "error_5"]].to_numpy().tolist() == [[0.5, 1], [0.5, 1], [0, 1]]
    placebo = hardness.split(TABLE, "random")["extra_gain_on_hard"]
    assert placebo.tolist() == [0.25, 0, 0]  # in seed 0 it loses an easy image
    null = hardness.split(TABLE, "baseline")  # seed 0 against 1, 1 against 2, 2 against 0
    assert null["extra_gain_on_hard"].tolist() == [0, -0.25, 0.25]


def test_a_judge_is_of_other_seeds_and_equally_many_of_each_arm():
    flipped = run(-ORDER)
    runs = {
        "baseline": {0: flipped, 1: flipped, 2: run(ORDER), 3: flipped},
        "leaf": {0: flipped, 1: flipped, 2: run(ORDER)},
    }
    # of the seeds besides 0 and 1 only 2 has both arms: baseline's seed 3 has no voice
    found = hardness.hardness(runs, ("baseline", "leaf"), {0, 1})
    assert found.tolist() == standing(ORDER).tolist()
    with pytest.raises(Unfit, match="no further seed of baseline and leaf"):
        hardness.hardness(runs, ("baseline", "leaf"), {0, 1, 2})


def test_two_seeds_are_too_few():
    two = {arm: {s: seeds[s] for s in (0, 1)} for arm, seeds in TABLE.items()}
    with pytest.raises(Unfit, match="2 seeds"):
        hardness.split(two, "leaf")


def test_one_seed_has_the_same_judges_in_every_comparison():
    """Also where an arm lacks seeds: else the effect and its placebo see two orders of images."""
    runs = simulated(("baseline", "leaf", "random"), seeds=5)
    del runs["random"][1]
    wanted = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]
    assert hardness.circle(runs, "leaf", "baseline") == wanted
    assert hardness.circle(runs, "random", "baseline") == [wanted[0], *wanted[2:]]
    assert hardness.circle(runs, "baseline", "baseline") == wanted


def test_gains_of_classes_by_hand():
    labelled = {"label": np.arange(10) % 2, "classes": np.array(["n01", "n02", "n03"])}
    runs = {arm: {s: r | labelled for s, r in seeds.items()} for arm, seeds in TABLE.items()}
    found = hardness.class_gains(runs, "leaf")
    assert list(found.index) == ["n01", "n02", "n03"] and list(found.columns) == [0, 1, 2]
    assert found[0].tolist()[:2] == pytest.approx([0.4, 0.0])  # 6 and 8 are of the first class
    assert found.loc["n03"].isna().all()  # a class without images
    null = hardness.class_gains(runs, "baseline")
    # seed 1 errs on 7 where seed 0 errs on 6
    assert null[0].tolist()[:2] == pytest.approx([-0.2, 0.2])
    one = {arm: {0: seeds[0]} for arm, seeds in runs.items()}
    with pytest.raises(Unfit, match="baseline against baseline: 1 seeds"):
        hardness.class_gains(one, "baseline")  # it would be compared with itself


# ---------------------------------------------------------------------- regression to the mean


def simulated(arms, seeds=8, images=1500, seed=0):
    """Arms that are equally good: each has images that are hard to its kind, and runs have luck."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 1, images)
    runs = {}
    for arm in arms:
        own = rng.normal(0, 0.7, images)
        runs[arm] = {}
        for s in range(seeds):
            score = difficulty + own + rng.normal(0, 0.7, images)
            runs[arm][s] = {
                "loss": np.exp(score),
                "rank": (score > 0.5).astype(int),
                "label": np.arange(images) % 2,
            }
    return runs


def effects(compared, judges, reference="baseline", worlds=12):
    arms = ("baseline", "leaf", "random", "level 4")
    found = [
        hardness.split(simulated(arms, seed=s), compared, reference, judges) for s in range(worlds)
    ]
    return [table["extra_gain_on_hard"].mean() for table in found]


def test_an_even_judge_sees_no_effect_where_there_is_none():
    for compared, judges in (
        ("leaf", hardness.JUDGES),
        ("baseline", hardness.JUDGES),  # the null
        ("leaf", ("level 4",)),  # a judge of a third kind
        ("random", ("baseline", "random")),  # the placebo under its own even judge
    ):
        mean, low, high = interval(effects(compared, judges))
        assert abs(mean) < 0.015 and low < 0.005 and high > -0.005, (compared, judges)


def test_a_judge_of_one_arm_makes_an_effect_by_itself():
    """Why the rule is as it is: the same worlds, hardness judged by baseline runs alone."""
    assert min(effects("leaf", ("baseline",))) > 0.05
    assert max(effects("leaf", ("leaf",))) < -0.05


def test_the_placebo_is_not_helped_by_the_claims_judge():
    """Half of the voices are the baseline's and none the placebo's: it errs against the claim."""
    assert (
        0.01
        < np.mean(effects("random", hardness.JUDGES))
        < np.mean(effects("random", ("baseline",)))
    )


def test_a_run_must_not_judge_itself():
    """The null with a judge that contains one of the two: a large effect out of nothing."""
    runs = simulated(("baseline",))["baseline"]
    found = []
    for seed in range(8):
        following = (seed + 1) % 8
        group = hardness.fifths(standing(runs[following]["loss"]))
        found.append(hardness.gains_by_fifth(runs[following], runs[seed], group)[1])
    assert min(found) > 0.1


def test_a_true_effect_is_seen():
    runs = simulated(("baseline", "leaf"))
    for arrays_ in runs["leaf"].values():
        hard = np.flatnonzero(arrays_["rank"])
        arrays_["rank"][hard[::3]] = 0  # a third of what it got wrong is right now
    mean, low, _ = interval(hardness.split(runs, "leaf")["extra_gain_on_hard"])
    assert low > 0.05 and mean > 0.1


# ----------------------------------------------------------------------------- records, claims


def written(folder, seeds=8, gain=0.0, **changes):
    """Records and arrays as finetuned runs leave them."""
    arms = {"baseline": ("target", 0), "leaf": ("level", 0), "random": ("random", 0)}
    arms["level 9"] = ("level", 9)
    runs, keys = simulated(arms, seeds=seeds, images=300), []
    for arm, (labels, level) in arms.items():
        for seed in range(seeds):
            found, key = runs[arm][seed], f"{arm} {seed}".replace(" ", "-")
            if arm == "leaf":
                wrong = np.flatnonzero(found["rank"])
                found["rank"][wrong[: int(gain * len(wrong))]] = 0
            place = {"dataset": "tiny-imagenet-200", "overlap": "contained", "held_out": False}
            place |= {"source_images": 0, "target_images": 100} | changes
            record.write(
                folder / key / "record.json",
                kind="imagenet.finetune",
                fingerprint=key,
                arguments={"labels": labels, "level": level, "seed": seed, **place},
                metrics={"error": float((found["rank"] > 0).mean()), "training_error": 0.01},
            )
            np.savez(folder / key / "evaluation.npz", **found)
            keys.append(key)
    record.write(folder / "record.json", kind="contents of x", metrics={}, runs=keys)


def rule(arm="ImageNet arm"):
    book = rules.read((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
    return book.claims["C9"].version(3).parts[arm]


def test_the_rule_of_c9_reads_the_table(tmp_path):
    written(tmp_path, gain=0.6)
    table = hardness.table(tmp_path)
    assert set(table["kind"]) == {rule().records}
    assert judging.verdict(rule(), table, "tiny").word == "reproduced"
    beside = pd.concat([tables.table(tmp_path), table], ignore_index=True)  # as on the scoreboard
    assert judging.verdict(rule(), beside, "tiny") == judging.verdict(rule(), table, "tiny")
    assert judging.verdict(rule(), table, "smoke").word == "machinery only"
    none = tmp_path / "none"
    written(none, gain=0.0)
    assert judging.verdict(rule(), hardness.table(none), "tiny").word != "reproduced"
    half = tmp_path / "half"
    written(half, gain=0.6, overlap="disjoint")
    assert judging.verdict(rule(), hardness.table(half), "tiny").word == "not run"


def test_other_columns_of_the_table_are_those_of_the_runs(tmp_path):
    written(tmp_path, seeds=3)
    table = hardness.table(tmp_path)
    assert set(table["target_images"]) == {100}
    judges = {("leaf", "baseline and leaf"), ("leaf", "level 9"), ("random", "baseline and random")}
    assert judges <= set(zip(table["compared"], table["judge"], strict=True))
    assert not table.duplicated(["seed", "compared", "reference", "judge"]).any()


def test_the_largest_cell_selects_its_runs(tmp_path):
    written(tmp_path / "many", seeds=3)
    written(tmp_path / "few", seeds=2, target_images=50)
    runs = pd.concat([tables.table(tmp_path / "few"), tables.table(tmp_path / "many")])
    cell = hardness.largest_cell(runs)
    assert cell["target_images"] == 100 and cell["held_out"] is False
    assert len(selection.select(runs, cell)) == 12


def test_too_few_seeds_give_an_empty_table(tmp_path):
    written(tmp_path, seeds=2)
    assert hardness.table(tmp_path).empty
    assert judging.verdict(rule(), hardness.table(tmp_path), "tiny").word == "not run"
    path = tmp_path / "x" / "a" / "record.json"
    record.write(path, kind="theory.simulate", fingerprint="a", metrics={})
    record.write(tmp_path / "x" / "record.json", kind="contents of x", metrics={}, runs=["a"])
    assert hardness.table(tmp_path / "x").empty  # runs of another study


@pytest.mark.fault("one seed twice in an arm of C9", "refused by name")
def test_a_seed_twice_in_an_arm_is_refused(tmp_path):
    written(tmp_path, seeds=3)
    made = record.read(tmp_path / "leaf-0" / "record.json")
    record.write(
        tmp_path / "other" / "record.json",
        kind=made["kind"],
        metrics=made["metrics"],
        arguments=made["arguments"] | {"finetuning": {"learning_rate": 1}},
        fingerprint="other",
    )
    listed = [*record.read(tmp_path / "record.json")["runs"], "other"]
    record.write(tmp_path / "record.json", kind="contents of x", metrics={}, runs=listed)
    with pytest.raises(Unfit, match="'leaf' has seed 0 twice"):
        hardness.table(tmp_path)


@pytest.mark.fault("runs whose arrays are of other images, or in another order", "refused by name")
def test_runs_of_other_images_are_refused(tmp_path):
    written(tmp_path, seeds=3)
    file = tmp_path / "leaf-1" / "evaluation.npz"
    with np.load(file) as kept:
        arrays_ = dict(kept)
    np.savez(file, **arrays_ | {"label": arrays_["label"][::-1]})
    with pytest.raises(Unfit, match="arm 'leaf', seed 1: other images"):
        hardness.table(tmp_path)


def test_other_recipes_are_no_further_seeds(tmp_path):
    """Beside judged runs may lie lengths and rates that were tried: most runs are of one recipe."""
    arms = {"baseline": ("target", 0), "leaf": ("level", 0)}
    runs, keys = simulated(arms, seeds=4, images=300), []
    place = {"dataset": "tiny-imagenet-200", "overlap": "contained", "held_out": False}
    place |= {"source_images": 0, "target_images": 100}
    for (arm, (labels, level)), seed, steps in itertools.product(
        arms.items(), range(4), (80, 800, 4550)
    ):
        if (steps == 4550) != (arm == "baseline") or (steps == 80 and seed == 3):
            continue
        keys.append(f"{arm}-{seed}-{steps}")
        recipes = {"pretraining": None if arm == "baseline" else {"epochs": 6}}
        recipes["finetuning"] = {"steps": steps}
        record.write(
            tmp_path / keys[-1] / "record.json",
            kind="imagenet.finetune",
            fingerprint=keys[-1],
            arguments={"labels": labels, "level": level, "seed": seed, **place, **recipes},
            metrics={"error": 0.5, "training_error": steps / 10_000},
        )
        np.savez(tmp_path / keys[-1] / "evaluation.npz", **runs[arm][seed])
    record.write(tmp_path / "record.json", kind="contents of x", metrics={}, runs=keys)
    found = select(hardness.table(tmp_path), {"compared": "leaf"})
    assert found["seed"].tolist() == [0, 1, 2, 3] and set(found["training_error"]) == {0.08}
    twice = hardness.table(tmp_path, tmp_path)  # as where published runs lie in a folder as well
    assert len(select(twice, {"compared": "leaf"})) == 4
    judged = hardness.source_runs(tmp_path)
    assert sorted(judged["arm"]) == ["baseline"] * 4 + ["leaf"] * 4
    assert {recipe["steps"] for recipe in judged["finetuning"]} == {800, 4550}
    assert hardness.source_runs(tmp_path, tmp_path)["arm"].value_counts()["baseline"] == 4


def test_arms_have_names():
    named = [("target", 0), ("level", 0), ("level", 4), ("random", 0), ("random", 9)]
    wanted = ["baseline", "leaf", "level 4", "random", "random 9"]
    assert [hardness.arm_of(*arm) for arm in named] == wanted


def test_an_arm_s_name_does_not_depend_on_what_else_is_in_the_table():
    assert hardness.arm_of("level", 4.0) == hardness.arm_of("level", 4) == "level 4"


def test_the_other_arm_is_split_as_well(tmp_path):
    """Its arms by name: the single pass is no baseline, ids are a placebo at the leaves' number."""
    rows = [("target", 2, 9), ("target", 1, 9), ("rank:leaf", 2, 83), ("rank:depth8", 2, 41)]
    rows += [("random:83", 2, 83), ("random:41", 2, 41)]
    table = pd.DataFrame(rows, columns=["labels", "stages", "classes"])
    wanted = ["baseline", "one pass", "leaf", "rank:depth8", "random", "random:41"]
    assert hardness.arms(table) == wanted
    named = {"baseline": ("target", 9), "leaf": ("rank:leaf", 83), "random": ("random:83", 83)}
    runs, keys = simulated(named, seeds=3, images=300), []
    wanted = rule("iNaturalist-style arm").arms["effect"]
    place = {name: wanted[name] for name in ("target", "images", "held_out")}
    place |= {"dataset": "tiny-imagenet-200", "training": ""}
    lengths = {4: {"epochs": 4}, wanted["pretraining"]["epochs"]: wanted["pretraining"]}
    for (arm, (labels, classes)), seed, epochs in itertools.product(
        named.items(), range(3), lengths
    ):
        keys.append(f"{arm}-{seed}-{epochs}")
        asked = {"labels": labels, "seed": seed, "finetuning": {"epochs": 2}}
        record.write(
            tmp_path / keys[-1] / "record.json",
            kind="inaturalist.transfer",
            fingerprint=keys[-1],
            arguments=place | asked | {"pretraining": lengths[epochs]},
            metrics={"training_error": 0.01, "classes": classes, "stages": 2},
        )
        np.savez(tmp_path / keys[-1] / "evaluation.npz", **runs[arm][seed])
    record.write(tmp_path / "record.json", kind="contents of x", metrics={}, runs=keys)
    found = hardness.table(tmp_path)
    assert set(found["study"]) == {"inaturalist.transfer"}
    assert set(found["compared"]) == {"leaf", "random", "baseline"}
    for recipe in lengths.values():  # runs of two lengths are two comparisons
        cell = select(found, {"pretraining": recipe, "compared": "leaf"})
        assert cell["seed"].tolist() == [0, 1, 2]
    judged = judging.verdict(rule("iNaturalist-style arm"), found, "tiny")
    assert (judged.word, judged.reason[:7]) == ("undecided", "3 seeds")  # of one length, not six
    cell = hardness.largest_cell(tables.table(tmp_path))
    assert cell["finetuning"] == {"epochs": 2}
    assert len(select(tables.table(tmp_path), cell)) == 9
