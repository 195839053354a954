"""Experiment B: the images, the labels that training sees, what a run measures."""

import hashlib
import os

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from small_datasets import same_images

from granularity import labels
from granularity.experiments import inaturalist, two_stages
from granularity.images.toy import drawing, species_drawing
from granularity.records import launch, runner, tables
from granularity.training import checkpoints, embeddings, loading, networks, one_stage, presets

torch.set_num_threads(1)
SHORT = {"preset": "resnet_toy", "loss": "softmax", "image_size": 16, "steps": 3, "epochs": 0}
TUNED = {**SHORT, "head_init": "zero", "warmup": 1}
KINDS = [
    "target",
    "rank:family",
    "random:34",
    "random-free:20",
    "cluster:12",
    "cluster-free:9",
    "cluster-crossed:20",
    "cross:7",
    "misaligned:family:0.5",
    "mixed:class,species",
    "instance",
]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A drawn world, smaller than the toy's own."""
    folder = tmp_path_factory.mktemp("toy")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    parts = [(part, species, first, min(n, 5)) for part, species, first, n in species_drawing.PARTS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "PARTS", tuple(parts))
        yield {"toy": str(drawing.draw(folder / "dataset"))}


@pytest.fixture(scope="module")
def dataset(roots):
    return same_images("toy", roots)


def names(part):
    return set(part.names.tolist())


# ---------------------------------------------------------------------------------------- images


def test_source_and_target_are_the_same_images(dataset):
    assert names(dataset.sets.source) == names(dataset.sets.target)
    assert not names(dataset.sets.source) & names(dataset.sets.evaluation)
    assert len(dataset.sets.source) == 60 * 5 and len(dataset.sets.evaluation) == 60 * 5
    assert dataset.tree.leaves == species_drawing.SPECIES


def test_fewer_images_and_held_out_ones(roots, dataset):
    few = same_images("toy", roots, images=3)
    assert (np.bincount(few.sets.source.leaf) == 3).all()
    held = same_images("toy", roots, held_out=True)
    assert names(held.sets.source) == names(held.sets.target)
    assert names(held.sets.source) | names(held.sets.evaluation) == names(dataset.sets.source)
    assert not names(held.sets.source) & names(held.sets.evaluation)


@pytest.mark.fault("iNaturalist runs on sets that are not there", "an error that names them")
def test_what_is_not_there_is_named(roots):
    with pytest.raises(KeyError, match="42 GB"):
        same_images("inaturalist", roots)
    with pytest.raises(KeyError, match="there are toy"):
        same_images("inat", roots)
    with pytest.raises(ValueError, match="it is 'supercategory'"):
        same_images("toy", roots, target="balanced")
    with pytest.raises(FileNotFoundError, match="2022_train"):
        same_images("toy", roots, training="2022_train")


def test_tiny_imagenet_has_a_balanced_target(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given = {"tiny-imagenet-200": str(real_data / "tiny-imagenet-200")}
    dataset = same_images("tiny-imagenet-200", given, target="balanced", images=20)
    sets, target = dataset.sets, dataset.tree.target
    assert len(dataset.tree.leaves) == 83 and target.num_classes == 9
    assert abs(len(sets.source) - 83 * 20) <= 7 and len(sets.evaluation) == 83 * 50
    classes = dataset.rows_of(target, sets.evaluation)[sets.evaluation.leaf, 0]
    assert classes.min() == 0
    assert np.bincount(classes).max() / len(classes) == pytest.approx(12 / 83)
    lopsided = same_images("tiny-imagenet-200", given, target="depth5").tree.target
    assert lopsided.num_classes == 18 and lopsided.sizes().max() == 76


# ---------------------------------------------------------------------------------------- labels


@pytest.fixture(scope="module")
def vectors(dataset):
    """Stands for embeddings: anything will do."""
    return np.random.default_rng(0).normal(size=(len(dataset.sets.source), 6)).astype(np.float32)


def function_of(spec, dataset, vectors):
    images = inaturalist.labelled(dataset.sets.source, dataset.tree)
    return labels.make(spec, dataset.tree, images, 0, vectors)


@pytest.mark.parametrize("spec", KINDS)
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_training_sees_the_labels_that_the_function_states(spec, kind, dataset, vectors):
    """Image by image: through shuffling, worker processes, and the shares of two processes."""
    function = function_of(spec, dataset, vectors)
    lookup, table = inaturalist.lookup_of(function, dataset)
    recipe, part = presets.recipe_of(SHORT | {"augmentation": "crop"}), dataset.sets.source
    images = two_stages.loaded(part, recipe, lookup)
    if kind == "files":
        leaf = part.images.leaf if lookup is None else lookup
        images = loading.Files(part.images, recipe, part.rows, leaf, workers=2)
    seen = 0
    for rank in range(2):
        pieces = list(
            one_stage.engine.plan(
                len(images), recipe.batch_size, 1, range(3), micro_batch=7, rank=rank, world_size=2
            )
        )
        shown = images.batches(iter(pieces), train=True, device=torch.device("cpu"))
        for piece, (_, index) in zip(pieces, shown, strict=True):
            found = torch.tensor(table)[index.long()].numpy()  # as the engine looks them up
            for row, sample in zip(found, piece.samples, strict=True):
                name = part.names[sample].decode()
                item = name.partition("/")[0] if function.domain == "leaf" else name
                assert tuple(function.classes[k] for k in row) == function.classes_of(item)
                seen += 1
    assert seen == 3 * recipe.batch_size


@pytest.mark.parametrize("spec", KINDS)
def test_the_target_class_of_an_output_is_that_of_most_of_its_images(spec, dataset, vectors):
    function, source = function_of(spec, dataset, vectors), dataset.sets.source
    found = inaturalist.target_of_outputs(function, dataset)
    for k in range(function.num_classes):
        counts = {}
        for name in source.names:
            leaf = name.decode().partition("/")[0]
            item = leaf if function.domain == "leaf" else name.decode()
            if function.classes_of(item) == (function.classes[k],):
                (of_target,) = dataset.tree.target.classes_of(leaf)
                counts[of_target] = counts.get(of_target, 0) + 1
        assert counts[dataset.tree.target.classes[found[k]]] == max(counts.values())


# ------------------------------------------------------------------------------------------ runs


def test_arms_are_all_combinations_and_one_pass_has_one_stage():
    made = inaturalist.arms(
        labels=["target", "instance"], finetuning=TUNED, one_pass=True, seed=[0, 1], dataset="toy"
    )
    assert len(made) == 2 * 3
    assert [a["labels"] for a in made if not a["finetuning"]] == ["target"] * 2


@pytest.mark.fault(
    "a misspelt label function or recipe of a size file",
    "refused before any work, with the nearest name",
)
def test_sets_labels_and_recipes_are_looked_over_before_any_work(roots):
    common = {"dataset": "toy", "pretraining": SHORT, "finetuning": TUNED, "seed": 0}
    rows = inaturalist.looked_over(inaturalist.arms(labels=KINDS, **common), roots)
    found = {row["labels"]: row["its classes"] for row in rows}
    assert found["rank:family"] == 34 and found["instance"] == 300 and found["cluster:12"] == 12
    for wrong, told in (
        ("cluster:7", "8"),
        ("cluster-free:301", "300"),
        ("rank:familie", "family"),
        ("clusters:8", "cluster:<K>"),
    ):
        with pytest.raises(ValueError, match=told):
            inaturalist.looked_over(inaturalist.arms(labels=wrong, **common), roots)
    with pytest.raises(TypeError, match="'epochs'"):
        inaturalist.looked_over(
            inaturalist.arms(labels="target", **common | {"finetuning": {"epoch": 1}}), roots
        )


@pytest.fixture(scope="module")
def study(roots, tmp_path_factory):
    """Three arms and the single pass, three steps each, and which batches were shown."""
    folder = tmp_path_factory.mktemp("runs")
    shown, batches = [], loading.Memory.batches
    stage = one_stage.stage

    def watched(recipe, images, table, num_classes, **options):
        shown.append({"recipe": recipe, "table": table, "pieces": [], **options})
        return stage(recipe, images, table, num_classes, **options)

    def seen(self, plan, train, device):
        for image, leaf in batches(self, plan, train, device):
            if train:
                shown[-1]["pieces"].append(image.clone())
            yield image, leaf

    settings = inaturalist.arms(
        labels=["target", "instance", "cluster:12"], one_pass=True, dataset="toy", seed=0,
        pretraining=SHORT, finetuning=TUNED,
    )  # fmt: skip
    places = {"roots": roots, "stages": str(folder / "stages")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_stage, "stage", watched)
        patch.setattr(loading.Memory, "batches", seen)
        made = runner.complete(folder / "runs", inaturalist.transfer, settings, places=places)
    return folder, settings, places, made, shown


def test_arms_differ_in_the_label_function_alone(study):
    shown = [stage for stage in study[-1] if stage["pieces"]]  # what was done before shows nothing
    assert len(shown) == 6  # target, instance, clusters: both stages each; no stage is made twice
    for first, second in ((0, 2), (0, 4), (1, 3), (1, 5)):
        assert shown[first]["recipe"] == shown[second]["recipe"]
        assert shown[first]["seed"] == shown[second]["seed"]
        pairs = zip(shown[first]["pieces"], shown[second]["pieces"], strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    assert torch.equal(shown[1]["table"], shown[5]["table"])
    assert not torch.equal(shown[0]["table"], shown[2]["table"])


def test_the_single_pass_is_the_baseline_before_finetuning(study):
    baseline, _, _, once = (record["metrics"] for record in study[3])
    assert once["error"] == once["error_before"] == baseline["error_before"]
    assert once["classes"] == baseline["classes"] == 8


def answered(stage, function, dataset, part):
    """Wrong or right for each image of a part, by a plain loop over a stage's network."""
    recipe = stage["recipe"]
    model = networks.build(recipe, function.num_classes, 0)
    kept = one_stage.finished(stage["folder"] / stage["key"])
    model.load_state_dict(checkpoints.weights(checkpoints.load(kept)[0]))
    every = np.arange(len(part))
    shown = two_stages.loaded(part, recipe).batches(
        iter([one_stage.engine.MicroBatch(0, every, every, (0, 0, 0))]), False, torch.device("cpu")
    )
    with torch.no_grad():
        probabilities = model.eval()(next(shown)[0]).softmax(1).numpy()
    scores = np.zeros((len(part), dataset.tree.target.num_classes))
    np.add.at(scores.T, inaturalist.target_of_outputs(function, dataset), probabilities.T)
    return scores.argmax(1) != dataset.rows_of(dataset.tree.target, part)[part.leaf, 0]


@pytest.mark.fault(
    "the errors before finetuning, taken from another evaluation",
    "they are those of the pretrained network on the evaluation images, by a loop of its own",
)
def test_errors_before_finetuning_are_of_the_pretrained_network(
    tmp_path, roots, dataset, monkeypatch
):
    """Trained for long enough that no two of the four evaluations agree."""
    made, stage = [], one_stage.stage

    def watched(recipe, *given, **options):
        made.append({"recipe": recipe, **options})
        return stage(recipe, *given, **options)

    monkeypatch.setattr(one_stage, "stage", watched)
    metrics = inaturalist.transfer(
        labels="rank:class",
        pretraining=SHORT | {"steps": 90},
        finetuning=TUNED | {"steps": 60, "learning_rate": 0.1},
        run_folder=tmp_path,
        roots=roots,
        stages=tmp_path / "stages",
    )["metrics"]
    function = labels.load(tmp_path / "labels.npz")
    wrong = answered(made[0], function, dataset, dataset.sets.evaluation)
    learnt = answered(made[0], function, dataset, dataset.sets.source).mean()
    hard = np.array([b"_hard" in name for name in dataset.sets.evaluation.names])
    others = [metrics["error"], metrics["training_error"], learnt]
    assert wrong.mean() not in others, "else another could be mistaken for it"
    assert metrics["error_before"] == pytest.approx(wrong.mean())
    assert metrics["hard_error_before"] == pytest.approx(wrong[hard].mean())
    assert metrics["easy_error_before"] == pytest.approx(wrong[~hard].mean())


@pytest.mark.fault(
    "weights of an embedding from another file under the same name",
    "an embedding of their own, in a folder of its own; the hub's keeps its name",
)
def test_an_embedding_is_named_after_its_weights(tmp_path, roots, dataset):
    """A network of the wrong size would never be shown images: a small one is enough."""
    found = {}
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = timm.create_model("test_vit")
        path = tmp_path / f"{seed}.safetensors"
        save_file(made.state_dict(), path)
        machine = two_stages.Machine(roots=roots, stages=tmp_path, weights=path)
        found[seed] = inaturalist.embed(dataset, "test_vit", SHORT, machine, 0).copy()
        assert inaturalist.weights_of("test_vit", machine) == [embeddings.weights_fingerprint(path)]
        assert inaturalist.weights_of("instance", machine) == []
    assert len(list((tmp_path / "embeddings").iterdir())) == 2
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert inaturalist.weights_of("test_vit", two_stages.Machine()) == []
    path.write_bytes(b"other")
    assert embeddings.weights_fingerprint(path) == hashlib.sha256(b"other").hexdigest()
    with pytest.raises(FileNotFoundError, match="a file of weights: no such file"):
        embeddings.weights_fingerprint(tmp_path / "none")


WIDE = {"stem_type": "deep", "stem_width": 8}
SECOND = {
    "no steps": (TUNED | {"steps": 0, "epochs": 0.001}, "no step at all"),
    "more images a batch than there are": (
        TUNED | {"batch_size": 5000},
        "more than the 300 images",
    ),
    "another network": (TUNED | {"model": "resnet18", "model_options": {}}, "in one only"),
    "a network of other shapes": (
        TUNED
        | {"model_options": {"channels": [16, 32, 64, 48], "stem_type": "deep", "stem_width": 8}},
        "is \\(",
    ),
}


@pytest.mark.fault(
    "a finetuning that cannot follow its pretraining: {what}", "refused before the pretraining"
)
@pytest.mark.parametrize("what", SECOND)
def test_a_second_stage_that_cannot_be_is_refused_before_the_first(tmp_path, roots, what):
    finetuning, told = SECOND[what]
    given = {"pretraining": SHORT, "finetuning": finetuning, "roots": roots, "stages": tmp_path}
    with pytest.raises(ValueError, match=told):
        inaturalist.transfer(labels="instance", **given)
    assert not list(tmp_path.iterdir())


def test_what_a_run_measures_and_keeps(study, dataset):
    folder, settings, _, made, _ = study
    arrays = tables.arrays(folder / "runs")
    hard = np.array([b"_hard" in name for name in dataset.sets.evaluation.names])
    of_leaf = dict(zip(dataset.tree.leaves, dataset.tree.target.indices[:, 0], strict=True))
    classes = [of_leaf[name.decode().partition("/")[0]] for name in dataset.sets.evaluation.names]
    for setting, record in zip(settings, made, strict=True):
        metrics, found = record["metrics"], arrays[record["fingerprint"]]
        wrong = found["rank"] > 0
        assert found["label"].tolist() == classes
        assert np.array_equal(found["prediction"] != found["label"], wrong)
        assert metrics["error"] == pytest.approx(wrong.mean())
        assert metrics["hard_error"] == pytest.approx(wrong[hard].mean())
        assert metrics["easy_error"] == pytest.approx(wrong[~hard].mean())
        of_class = [wrong[found["label"] == k].mean() for k in range(8)]
        assert metrics["balanced_error"] == pytest.approx(np.mean(of_class))
        assert metrics["foreign_embedding"] == (setting["labels"] == "cluster:12")
        kept = labels.load(folder / "runs" / record["fingerprint"] / "labels.npz")
        assert kept.num_classes == metrics["classes"]


VIT = {
    "model": "vit_tiny_patch16_224",
    "model_options": {"patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2},
}


@pytest.mark.faults
def test_two_processes_make_the_same_clusters_and_runs(roots, tmp_path):
    made = []
    for processes in (1, 2):
        folder, places = run_by(processes, roots, tmp_path, VIT)
        (record,) = runner.complete(folder, **places)
        made.append(labels.load(folder / record["fingerprint"] / "labels.npz"))
        assert len(list((folder / "stages" / "embeddings").iterdir())) == 1
        assert len(list((folder / "stages").glob("*/done"))) == 3
    same = made[0].indices == made[1].indices
    assert same.mean() > 0.95  # the networks agree to rounding


@pytest.mark.fault("two processes for a network with batch norm", "refused before any training")
@pytest.mark.faults
def test_two_processes_refuse_batch_norm(roots, tmp_path):
    """Its statistics would be each process's own, and the numbers others."""
    with pytest.raises(RuntimeError, match="has batch norm"):
        run_by(2, roots, tmp_path, {})
    assert not list((tmp_path / "2").glob("stages/*"))


def run_by(processes, roots, tmp_path, network):
    """Clusters and their run, made by so many processes: the folder, and what `complete` takes."""
    recipes = {"pretraining": SHORT | network, "finetuning": TUNED | network}
    settings = inaturalist.arms(labels="cluster:12", dataset="toy", seed=0, **recipes)
    folder = tmp_path / str(processes)
    places = {"roots": roots, "stages": str(folder / "stages")}
    run = {"entry": inaturalist.transfer, "settings": settings, "places": places}
    launch.launch(folder, **run, processes=processes)
    return folder, run
