"""Arms of Experiment B: their names, which runs belong together, errors by class."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from granularity.analysis import statistics, transfer_runs
from granularity.labels.kinds import KINDS as SPECIFICATIONS
from granularity.labels.specification import parse

ROOT = Path(__file__).resolve().parents[2]


def run(labels, seed, *, dataset="toy", stages=2, classes=2, error=0.5, **more):
    recipe = {"preset": "resnet_toy_finetune", "epochs": 4}
    return {
        "kind": "inaturalist.transfer",
        "fingerprint": json.dumps([labels, seed, dataset, stages, more], sort_keys=True),
        "dataset": dataset,
        "target": "supercategory",
        "training": "2021_train_mini",
        "images": 0,
        "held_out": False,
        "pretraining": {"preset": "resnet_toy"},
        "finetuning": recipe if stages == 2 else {},
        "labels": labels,
        "seed": seed,
        "stages": stages,
        "classes": classes,
        "target_classes": 2,
        "error": error,
        **more,
    }


@pytest.fixture
def read(monkeypatch):
    """Reads rows instead of a folder of records."""

    def over(rows):
        monkeypatch.setattr(transfer_runs.tables, "table", lambda path: pd.DataFrame(rows))
        return transfer_runs.read(Path("somewhere"))

    return over


def test_the_two_runs_on_the_target_are_told_apart():
    assert transfer_runs.arm_of("target", 2) == "baseline"
    assert transfer_runs.arm_of("target", 1) == "one pass"
    assert transfer_runs.arm_of("rank:family", 2) == "rank:family"


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        ("rank:family", "family"),
        ("rank:leaf", "leaf labels"),
        ("rank:depth8", "cut at depth 8"),
        ("random-free:34", "random over all, 34"),
        ("misaligned:family:0.5", "family, 50% reassigned"),
        ("misaligned:depth8:0.2", "depth 8, 20% reassigned"),
        ("mixed:depth8,leaf", "mixed, depth 8 and leaves"),
        ("instance", "instance labels"),
        ("one pass", "target, one pass"),
    ],
)
def test_names_for_readers(arm, name):
    assert transfer_runs.name_of(arm) == name


def test_every_label_function_has_a_name_and_a_kind():
    for known in SPECIFICATIONS.values():
        spec = known.form.replace("<K>", "7").replace("<p>", "0.5").replace("<rank>", "family")
        kind, _ = parse(spec.replace(",…", ""))
        arm = transfer_runs.arm_of(spec, 2)
        assert transfer_runs.kind_of(arm) == ("baseline" if kind == "target" else kind)
        assert transfer_runs.name_of(arm)
    assert set(transfer_runs.kinds()) - set(SPECIFICATIONS) == {"baseline", "one pass"}
    with pytest.raises(KeyError, match="'ranks'"):
        transfer_runs.kind_of("ranks:family")


def test_runs_of_other_images_or_recipes_are_compared_apart(read):
    rows = [run("target", seed) for seed in (0, 1)] + [run("rank:order", 0, classes=4)]
    rows += [run("target", 0, stages=1), run("target", 0, dataset="tiny-imagenet-200")]
    rows += [run("rank:order", 1, held_out=True), run("target", 0, kind="imagenet.finetune")]
    large, small = read(rows)
    assert large["arm"].tolist() == ["baseline", "baseline", "rank:order", "one pass"]
    assert small["dataset"].tolist() == ["tiny-imagenet-200"]


def test_a_single_pass_stands_beside_every_finetuning_of_its_pretraining(read):
    long = {"preset": "resnet_toy_finetune", "epochs": 8}
    rows = [run("target", 0), run("target", 0, finetuning=long), run("target", 0, stages=1)]
    found = read(rows)
    assert [sorted(one["arm"]) for one in found] == [["baseline", "one pass"]] * 2
    assert sorted(one["finetuning"].iloc[0]["epochs"] for one in found) == [4, 8]


def test_two_studies_in_one_cell_of_a_map_are_refused(monkeypatch):
    def runs(path):
        return pd.DataFrame(
            [
                run(labels, 0, images=50, target=path.name, pretraining={"epochs": 9}, classes=k)
                for labels, k in (("target", 2), ("rank:leaf", 9))
            ]
        )

    monkeypatch.setattr(transfer_runs.tables, "table", runs)
    paths = [ROOT / "book", ROOT / "lib", ROOT / "nowhere"]
    (cell, study), *others = transfer_runs.cells(paths, "rank:leaf", target="lib").items()
    assert (cell, len(study.runs), others) == ((50, 9), 2, [])
    with pytest.raises(statistics.Unfit, match="two studies of 50 images and 9 epochs"):
        transfer_runs.cells(paths, "rank:leaf")


def test_a_single_pass_alone_is_read_too(read):
    (found,) = read([run("target", 0, stages=1)])
    assert found["arm"].tolist() == ["one pass"]


def test_runs_that_started_from_weights_stand_beside_no_other(read):
    rows = [run("target", seed) for seed in range(2)]
    started = [run("target", seed, error=0.1, start="timm:a.b") for seed in range(2)]
    (found,) = read(rows + started)
    assert len(found) == 2 and (found["error"] == 0.5).all()


def test_the_same_run_read_twice_counts_once_and_two_runs_of_a_seed_are_refused(read):
    (found,) = read([run("target", 0), run("target", 0)])
    assert len(found) == 1
    with pytest.raises(statistics.Unfit, match="'cluster:4' has seed 0 twice"):
        read([run("cluster:4", 0, embedding=name) for name in ("instance", "clip")])
    assert read([run("target", 0, kind="imagenet.finetune")]) == []


def test_images_for_each_class(read):
    (found,) = read([run("target", 0), run("instance", 0, classes=60)])
    assert found["per_class"].tolist() == [30, 1]
    (found,) = read([run("target", 0, training_images=80), run("instance", 0, classes=60)])
    assert found["per_class"].tolist()[0] == 40
    (found,) = read([run("target", 0)])
    assert found["per_class"].isna().all()


def test_arms_in_order_and_the_ranks_finer_than_the_target(read):
    rows = [run("instance", 0, classes=60), run("rank:species", 0, classes=9)]
    rows += [run("rank:class", 0, classes=3), run("rank:kingdom", 0, classes=2)]
    rows += [run("random:9", 0, classes=9), run("target", 0), run("random:3", 0, classes=3)]
    (found,) = read(rows)
    ranks = ["rank:kingdom", "rank:class", "rank:species"]
    assert transfer_runs.ordered(found) == ["baseline", *ranks, "random:3", "random:9", "instance"]
    assert transfer_runs.ordered(found, ["random"]) == ["random:3", "random:9"]
    assert transfer_runs.ladder(found) == ranks[1:]


def test_studies_are_the_published_runs_and_then_those_of_the_build(monkeypatch, tmp_path):
    tables = {
        "inaturalist.jsonl": [run("target", seed, dataset="tiny-imagenet-200") for seed in (1, 0)],
        "transfer": [run("target", 0, error=0.25), run("target", 1, error=0.2)],
    }
    monkeypatch.setattr(transfer_runs.tables, "table", lambda p: pd.DataFrame(tables[p.name]))
    monkeypatch.setattr(transfer_runs.tables, "arrays", lambda p: {})
    monkeypatch.setattr(transfer_runs.tables, "any_ran", lambda p: p.name in tables)
    (here,) = transfer_runs.studies(tmp_path / "transfer", tmp_path)
    assert (here.title, here.size, here.toy) == ("Toy images, this build", "smoke", True)
    assert here.of("baseline").tolist() == [0.25, 0.2]
    assert here.of("instance").size == 0
    assert here.mean("baseline") == pytest.approx(0.225)
    assert np.isnan(here.mean("instance"))
    (tmp_path / "inaturalist.jsonl").touch()
    published, here = transfer_runs.studies(tmp_path / "transfer", tmp_path)
    assert (published.title, published.size) == ("Tiny-ImageNet, our runs", "tiny")
    assert (published.toy, published.seeds) == (False, 2)
    (alone,) = transfer_runs.studies(tmp_path / "nothing ran here", tmp_path)
    assert alone.title == published.title
    tables["transfer"] = [run("target", 0, kind="other")]
    (tmp_path / "inaturalist.jsonl").unlink()
    with pytest.raises(statistics.Unfit, match="no finetuned run"):
        transfer_runs.studies(tmp_path / "transfer", tmp_path)


def test_cells_are_studies_by_images_and_length(monkeypatch, tmp_path):
    recipes = [{"preset": "resnet_toy", "epochs": epochs} for epochs in (20, 60)]
    rows = [
        run(labels, seed, images=images, pretraining=recipe)
        for labels in ("target", "rank:leaf")
        for images, recipe in ((50, recipes[0]), (25, recipes[1]))
        for seed in range(2)
    ]
    tables = {"map": rows, "judged": [run("target", 0, images=5, pretraining=recipes[0])]}
    monkeypatch.setattr(transfer_runs.tables, "table", lambda path: pd.DataFrame(tables[path.name]))
    paths = [tmp_path / name for name in ("map", "judged", "absent")]
    for path in paths[:2]:
        path.touch()
    found = transfer_runs.cells(paths, "rank:leaf")
    assert set(found) == {(50, 20), (25, 60)}
    assert all(study.seeds == 2 for study in found.values())


def test_a_run_is_augmented_unless_its_last_stage_says_otherwise():
    plain = {"preset": "resnet_toy", "augmentation": "none"}
    last = {
        "two stages": ({"preset": "resnet_toy"}, plain),
        "two with shifts": (plain, {"preset": "resnet_toy"}),
        "one stage": ({"preset": "resnet_toy"}, {}),
        "one plain stage": (plain, {}),
    }
    rows = [{"pretraining": first, "finetuning": second} for first, second in last.values()]
    found = transfer_runs.augmented(pd.DataFrame(rows, index=list(last)))
    assert found.to_dict() == {
        "two stages": False,
        "two with shifts": True,
        "one stage": True,
        "one plain stage": False,
    }


def test_studies_are_told_apart_by_what_differs():
    def table(**more):
        recipe = {"preset": "resnet_toy", "epochs": more.pop("epochs", 20)}
        rows = [run("target", 0) | {"target": "balanced", "images": 50, "pretraining": recipe}]
        return pd.DataFrame(rows).assign(**more)

    assert transfer_runs.told_apart([]) == []
    assert transfer_runs.told_apart([table()]) == [[]]
    found = transfer_runs.told_apart([table(), table(images=0), table(target="depth5")])
    assert found[0] == ["target balanced", "50 images per class"]
    assert found[1] == ["target balanced", "all images per class"]
    assert found[2] == ["target depth5", "50 images per class"]
    longer = transfer_runs.told_apart([table(), table(epochs=60)])
    assert longer == [["20 epochs"], ["60 epochs"]]


def test_a_study_compares_within_seeds():
    errors = {
        "baseline": [0.4, 0.5, 0.6],
        "rank:order": [0.3, 0.45, 0.45],
        "rank:genus": [0.4, 0.5],
    }
    rows = [
        {"arm": arm, "kind_of_arm": transfer_runs.kind_of(arm), "seed": seed, "error": error}
        | {"classes": 2 * len(arm), "target_classes": 16}
        for arm, found in errors.items()
        for seed, error in enumerate(found)
    ]
    study = transfer_runs.Study("Title", "smoke", pd.DataFrame(rows), {})
    assert study.best_rank == "rank:order"
    assert study.against("baseline", "rank:order").tolist() == pytest.approx([0.1, 0.05, 0.15])
    assert study.against("rank:order", "rank:genus").tolist() == pytest.approx([-0.1, -0.05])
    assert study.reduction("rank:order").tolist() == pytest.approx([0.2, 0.1, 0.3])


def test_arms_are_sorted_by_what_the_interval_says():
    # differences to the baseline: 0.10 ± 0.01 and its opposite; 0, 0.1, 0.2 holds zero
    errors = {"baseline": [0.4, 0.5, 0.6], "rank:order": [0.3, 0.39, 0.51]}
    errors |= {"random:4": [0.5, 0.61, 0.69], "rank:genus": [0.4, 0.4, 0.4], "instance": [0.1]}
    rows = [
        {"arm": arm, "seed": seed, "error": error}
        for arm, found in errors.items()
        for seed, error in enumerate(found)
    ]
    study = transfer_runs.Study("Title", "smoke", pd.DataFrame(rows), {})
    found = study.sorted_out([arm for arm in errors if arm != "baseline"])
    assert found == {
        "below": ["rank:order"],
        "above": ["random:4"],
        "unclear": ["rank:genus", "instance"],
    }


def test_errors_by_class():
    runs = pd.DataFrame(
        [
            {"arm": "baseline", "seed": 0, "fingerprint": "a"},
            {"arm": "rank:order", "seed": 0, "fingerprint": "b"},
            {"arm": "rank:order", "seed": 1, "fingerprint": "kept none"},
        ]
    )
    names, label = np.array(["Birds", "Plants"]), np.array([0, 0, 1, 1])
    arrays = {
        "a": {"rank": np.array([0, 1, 1, 2]), "label": label, "classes": names},
        "b": {"rank": np.array([0, 0, 0, 1]), "label": label, "classes": names},
    }
    found = transfer_runs.by_class(runs, arrays)
    assert found["baseline"].to_numpy().tolist() == [[0.5], [1]]
    assert found.loc["Plants", ("rank:order", 0)] == 0.5
    assert found.shape == (2, 2)
    assert transfer_runs.by_class(runs, {}).empty
