"""Sets that are not what they should be: refused or shown before training, or skipped."""

import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from image_files import CLASSES, SEEN, contents, encoded, laid_out, packed
from small_datasets import larger_source, same_images, small_toy

from granularity.commands import check
from granularity.experiments import imagenet, inaturalist, sets
from granularity.images import huggingface, image_set, listing, sources
from granularity.records import runner

SHORT = {"preset": "resnet_toy", "image_size": 16, "epochs": 0, "steps": 2, "warmup": 1}
ONE_RUN = [
    {
        "dataset": "imagenet",
        "labels": "level",
        "level": 0,
        "pretraining": SHORT,
        "finetuning": SHORT,
        "seed": 0,
    }
]
REAL = ("imagenet21k", "imagenet1k", "inaturalist")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The drawn datasets, which lie as the real ones do."""
    return small_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def roots(drawn, tmp_path, monkeypatch):
    """The drawn sets under the real ones' names, to be changed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sets.opened.cache_clear()
    dataset = shutil.copytree(drawn["toy"], tmp_path / "dataset")
    return {name: str(dataset / name) for name in REAL}


@pytest.fixture
def root(tmp_path):
    return laid_out(tmp_path / "set")


@pytest.fixture
def opened(tmp_path):
    return lambda *words, **options: image_set.open_set(*words, cache=tmp_path / "cache", **options)


def folder(roots, name, part="train") -> Path:
    return Path(roots[name], part)


# ------------------------------------------------------------------------ sets that do not fit


def more_evaluated(roots):
    shutil.rmtree(folder(roots, "imagenet1k") / imagenet_class(roots))


def fewer_evaluated(roots):
    shutil.rmtree(folder(roots, "imagenet1k", "val") / imagenet_class(roots))


def imagenet_class(roots):
    return sorted(path.name for path in folder(roots, "imagenet1k").iterdir())[3]


def linked(roots):
    shutil.rmtree(folder(roots, "imagenet1k", "val"))
    folder(roots, "imagenet1k", "val").symlink_to(folder(roots, "imagenet1k"))


def copied(roots):
    shutil.rmtree(folder(roots, "imagenet1k", "val"))
    shutil.copytree(folder(roots, "imagenet1k"), folder(roots, "imagenet1k", "val"))


def swapped(roots):
    """As many as in the real sets: 26 of a class to train on for one to evaluate on."""
    for path in folder(roots, "imagenet1k").iterdir():
        for image in sorted(path.iterdir())[1:]:
            image.unlink()


def numbered(roots):
    for number, path in enumerate(sorted(folder(roots, "imagenet21k").iterdir())):
        path.rename(path.with_name(f"{number:03d}"))


def renamed(roots):
    for path in folder(roots, "imagenet1k").rglob("*.JPEG"):
        path.rename(path.with_stem(f"other-{path.stem}"))


def copied_by_another_ending(roots):
    copied(roots)
    for path in folder(roots, "imagenet1k", "val").rglob("*.JPEG"):
        path.rename(path.with_suffix(".jpg"))


WRONG = {
    "classes to evaluate on that are not trained on": (
        more_evaluated,
        "19 classes .* is not trained on",
    ),
    "classes that are not evaluated on": (fewer_evaluated, "19: .* is not evaluated on"),
    "val is a link to train": (linked, "both hold the image .*160 of 160 names"),
    "val is a copy of train": (copied, "both hold the image .*160 of 160 names"),
    "val is a copy of train, with other endings of its files": (
        copied_by_another_ending,
        "both hold the image .*160 of 160 names",
    ),
    "train and val swapped": (swapped, "are the two swapped"),
    "folders 000 … in the source": (numbered, "'000': not a noun of WordNet, and 59 more"),
    "images that are called otherwise in the source": (
        renamed,
        "no image of imagenet1k/train is in",
    ),
}


@pytest.mark.fault("the target's images end in .jpg, the source's in .JPEG", "known for the same")
def test_an_image_is_the_same_whatever_its_file_ends_in(roots):
    (before,) = imagenet.looked_over(ONE_RUN, roots)
    for part in ("train", "val"):
        for path in folder(roots, "imagenet1k", part).rglob("*.JPEG"):
            path.rename(path.with_suffix(".jpg"))
    sets.opened.cache_clear()
    (after,) = imagenet.looked_over(ONE_RUN, roots)
    assert before == after
    apart = [run | {"overlap": "disjoint"} for run in ONE_RUN]
    (without,) = imagenet.looked_over(apart, roots)
    assert without["target's images in the source"] == 0
    assert without["images of the source"] == before["images of the source"] - 160


def test_only_the_ending_of_a_file_is_left_out():
    names = np.array([b"n1/a.JPEG", b"n1/a", b"n1/a.b.jpg", b"n.1/c"])
    assert sets.stems(names).tolist() == [b"n1/a", b"n1/a", b"n1/a.b", b"n.1/c"]


@pytest.mark.fault("ImageNet's sets with {what}", "refused before any work, by name")
@pytest.mark.parametrize("what", WRONG)
def test_sets_that_do_not_fit_are_refused(roots, what):
    change, said = WRONG[what]
    larger_source("imagenet", roots)
    change(roots)
    sets.opened.cache_clear()
    with pytest.raises(image_set.DataError, match=said):
        larger_source("imagenet", roots)


def test_the_same_in_the_other_arm(roots):
    valid = folder(roots, "inaturalist", "2021_valid")
    first = min(valid.iterdir())
    first.rename(valid / "lions")
    with pytest.raises(image_set.DataError, match="'lions': not a species with its ranks"):
        same_images("inaturalist", roots)
    sets.opened.cache_clear()
    with pytest.raises(image_set.DataError, match="is not evaluated on"):
        same_images("inaturalist", roots, skip=["extra"])
    shutil.rmtree(valid)
    valid.symlink_to(folder(roots, "inaturalist", "2021_train_mini"))
    sets.opened.cache_clear()
    with pytest.raises(image_set.DataError, match="both hold the image"):
        same_images("inaturalist", roots)


@pytest.mark.fault(
    "a level above the top of the hierarchy, or one class of everything",
    "refused before any work, with the highest level that is left",
)
@pytest.mark.parametrize("labels", ["level", "random"])
def test_a_level_with_one_class_is_refused(roots, labels):
    setting = {
        "dataset": "imagenet",
        "labels": labels,
        "level": 40,
        "pretraining": SHORT,
        "seed": 0,
    }
    with pytest.raises(
        ValueError, match=r"level 40: all 60 classes .* highest level .* is \d+$"
    ) as e:
        imagenet.looked_over([setting], roots)
    highest = int(str(e.value).rpartition(" ")[2])
    assert imagenet.looked_over([setting | {"level": highest}], roots)
    with pytest.raises(ValueError, match=f"is {highest}"):
        imagenet.pretrain(**setting, roots=roots)
    with pytest.raises(ValueError, match="1 classes cannot be made"):
        inaturalist.looked_over([{"dataset": "inaturalist", "labels": "random:1"}], roots)


def test_what_is_there_is_shown_before_training(roots):
    extra = imagenet_class(roots)
    shutil.rmtree(folder(roots, "imagenet21k") / extra)
    (row,) = imagenet.looked_over([{"dataset": "imagenet", "labels": "level", "level": 0}], roots)
    assert row["classes of the source"] == 59 and row["classes of the target"] == 20
    assert row["target's images in the source"] == 19 * 8
    assert row["target's classes in the source"] == 19
    assert row["images evaluated on"] == 80 and row["classes evaluated on"] == 20


ROOTS = {
    "images/ without its annotations": lambda root: (root / CLASSES[0]).rename(root / "images"),
    "train/ and val/ of images": lambda root: (root / CLASSES[0]).rename(root / "val"),
}


@pytest.mark.fault("a root one level too high or low: {what}", "refused: that is no class")
@pytest.mark.parametrize("what", ROOTS)
def test_a_part_of_a_set_is_no_class(root, opened, what):
    ROOTS[what](root)
    with pytest.raises(image_set.DataError, match="is what a part of a set is called, no class"):
        opened(root)


@pytest.mark.fault("a tar file {what}", "refused by name: a set with fewer images would look whole")
@pytest.mark.parametrize(
    "what", ["cut at a member's border", "with a broken header", "with another behind it"]
)
def test_a_tar_file_has_its_end(root, opened, tmp_path, what):
    path = packed(tmp_path / "bad.tar", contents(root))
    assert len(opened(path)) == 9
    with tarfile.open(path) as archive:
        border = archive.getmembers()[5].offset
    whole = path.read_bytes()
    broken = whole[:border] + b"x" * 512 + whole[border + 512 :]
    path.write_bytes(
        {"cut at a member's border": whole[:border], "with a broken header": broken}.get(
            what, whole + whole
        )
    )
    with pytest.raises(image_set.DataError, match=r"bad\.tar: no whole tar file"):
        opened(path)


def test_a_known_set_is_compared_with_its_numbers():
    assert not sources.short_of(1_281_167, 1_000, "train", "/data/ImageNet-1k")
    assert not sources.short_of(13_153_500, 19_167, "train", "x", "imagenet22k")
    assert not sources.short_of(5, 2, "train", "/data/flowers")
    said = sources.short_of(1_281_166, 1_000, "train", "/data/imagenet1k/train")
    assert said.startswith("1,281,166 images of 1,000 classes; imagenet1k/train has 1,281,167")
    assert "500,000" in sources.short_of(7, 3, "2021_train_mini", "inaturalist")


@pytest.mark.fault(
    "a half-downloaded set, looked at from a shell", "status not zero, with both numbers"
)
def test_check_knows_how_large_a_set_is(roots, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        check.main(["check", roots["imagenet1k"], "--part", "val", "--cache", str(tmp_path)])
    assert stop.value.code == 1
    assert "not ok: 80 images of 20 classes; imagenet1k/val has 50,000" in capsys.readouterr().out


# ----------------------------------------------------------------------------- what is skipped


def litter(root: Path) -> dict[str, str]:
    """What systems leave beside and inside classes; what of it is neither hidden nor a file."""
    inside = root / CLASSES[0]
    for place in (root, inside):
        for name in ("__MACOSX", "@eaDir", "lost+found", ".ipynb_checkpoints"):
            (place / name / "x.JPEG").mkdir(parents=True)
            (place / name / "x.JPEG" / "thumb.JPEG").write_bytes(encoded())
        (place / ".DS_Store").write_bytes(b"x")
    (root / "n09").symlink_to(root / "nowhere")
    (inside / "gone.JPEG").symlink_to(root / "nowhere.JPEG")
    (inside / "folder.JPEG").mkdir()
    os.mkfifo(inside / "pipe.JPEG")
    named = [
        f"{place}{name}"
        for place in ("", f"{CLASSES[0]}/")
        for name in ("__MACOSX", "@eaDir", "lost+found")
    ]
    return dict.fromkeys(named, "a folder of the system's, no class") | {
        "n09": "a link to nothing",
        f"{CLASSES[0]}/gone.JPEG": "a link to nothing",
        f"{CLASSES[0]}/folder.JPEG": "named as an image, and no file",
        f"{CLASSES[0]}/pipe.JPEG": "named as an image, and no file",
    }


@pytest.mark.fault(
    "system folders, dangling links, pipes and folders called as images, beside and inside classes",
    "refused by name; or left out and counted, where asked; never a class or an image",
)
def test_litter_is_no_class(root, opened):
    before = opened(root)
    left = litter(root)
    with pytest.raises(image_set.DataError, match=r"and 9 more; skip_extra=True leaves such out"):
        opened(root)
    found = opened(root, skip_extra=True)
    assert dict(found.skipped) == left and found.left_out == {"extra": len(left)}
    assert found.classes == CLASSES and found.fingerprint == before.fingerprint


def test_litter_in_tar_files(root, opened, tmp_path):
    members = contents(root)
    junk = {
        f"set/{place}/x.JPEG/thumb.JPEG": encoded() for place in ("@eaDir", f"{CLASSES[0]}/@eaDir")
    }
    path = packed(tmp_path / "t.tar", members | junk | {".ipynb_checkpoints/y.JPEG": encoded()})
    with pytest.raises(image_set.DataError, match=r"@eaDir.*skip_extra"):
        opened(path)
    found = opened(path, skip_extra=True)
    assert found.classes == CLASSES and len(found) == 9 and found.left_out == {"extra": 2}


@pytest.mark.fault(
    "one broken image, an empty class and system folders in the sets of a run",
    "an error before any work; with `skip` they are left out, and counted in the record",
)
def test_a_run_skips_what_it_is_told_to(roots, tmp_path):
    source = folder(roots, "imagenet21k")
    broken = min(source.rglob("*.JPEG"))
    (source / "n00001740").mkdir()
    (source / "@eaDir").mkdir()
    setting = {
        "dataset": "imagenet",
        "level": 0,
        "labels": "level",
        "pretraining": SHORT,
        "seed": 0,
    }
    with pytest.raises(image_set.DataError, match=r"@eaDir.*n00001740.*without images"):
        imagenet.looked_over([setting], roots)
    with pytest.raises(ValueError, match=r"'brocken'.*'broken' is nearest"):
        imagenet.looked_over([setting | {"skip": ["brocken"]}], roots)
    broken.write_bytes(b"no image")
    os.utime(broken.parent)
    (asked,) = imagenet.arms(
        level=0, dataset="imagenet", pretraining=SHORT, seed=0, skip=["broken", "missing", "extra"]
    )
    assert asked["skip"] == ["broken", "missing", "extra"]
    (row,) = imagenet.looked_over([asked], roots)
    left = {"source": {"broken": 1, "extra": 1, "missing": 1}}
    assert row["left out"] == left and row["images of the source"] == 719
    places = {"roots": roots, "stages": str(tmp_path / "stages")}
    read = imagenet.stated([asked], roots)
    runs = {"entry": imagenet.pretrain, "settings": [asked], "places": places, "data": read}
    (record,) = runner.complete(tmp_path / "runs", **runs)
    assert record["left_out"] == left and record["metrics"]["images"] == 719
    assert record["data"]["source"]["images"] == 719


def test_a_class_that_is_empty_to_evaluate_on_is_skipped_in_both_arms(roots, tmp_path):
    valid = folder(roots, "inaturalist", "2021_valid")
    for image in min(valid.iterdir()).iterdir():
        image.unlink()
    setting = {"dataset": "inaturalist", "labels": "target", "pretraining": SHORT, "seed": 0}
    setting["pretraining"] = SHORT | {"loss": "softmax"}
    with pytest.raises(image_set.DataError, match="a class without images"):
        inaturalist.looked_over([setting], roots)
    found = inaturalist.transfer(**setting, skip=["missing"], roots=roots, stages=str(tmp_path))
    assert found["left_out"] == {"evaluation": {"missing": 1}}


# -------------------------------------------------------------------------------------- listing


@pytest.mark.fault(
    "an image added or renamed while every date of its folder stays ({stamp} s)",
    "the index is made anew: dates alone are not trusted",
)
@pytest.mark.parametrize("stamp", [0, SEEN])
@pytest.mark.parametrize("change", ["added", "renamed"])
def test_equal_dates_are_not_trusted_alone(root, opened, stamp, change):
    def dated():
        for path in (root, *root.rglob("*")):
            os.utime(path, (stamp, stamp))

    dated()
    before = opened(root)
    first = root / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    if change == "added":
        shutil.copy(first, first.with_name("new.JPEG"))
    else:
        first.rename(first.with_name("new.JPEG"))
    dated()
    after = opened(root)
    assert len(after) == 9 + (change == "added") and after.fingerprint != before.fingerprint


def test_an_index_is_used_where_all_dates_are_0(root, opened, monkeypatch):
    for path in (root, *root.rglob("*")):
        os.utime(path, (0, 0))
    opened(root)
    monkeypatch.setattr(listing.layouts, "find", None)
    assert len(opened(root)) == 9


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_an_index_has_the_mode_that_umask_gives(root, opened, tmp_path, mask, mode):
    earlier = os.umask(mask)
    try:
        opened(root)
    finally:
        os.umask(earlier)
    (index,) = (tmp_path / "cache").iterdir()
    assert index.stat().st_mode & 0o777 == mode


@pytest.mark.fault("a cache folder that cannot be written", "an error that names XDG_CACHE_HOME")
def test_a_cache_that_cannot_be_written_is_named(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"file/granularity: .*XDG_CACHE_HOME names another"):
        image_set.open_set(root)
    monkeypatch.delenv("XDG_CACHE_HOME")

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    with monkeypatch.context() as patch:  # what follows may ask for a home itself
        patch.setattr(image_set.Path, "home", nowhere)
        try:
            told = image_set.open_set(root)
        except OSError as error:
            told = error
    assert "set XDG_CACHE_HOME" in str(told)


# ---------------------------------------------------------------------------------------- a hub


@pytest.mark.fault(
    "a hub's split without labels (all are -1)", "an error that names split and cause"
)
def test_a_split_without_labels_is_named(monkeypatch):
    class Reader:
        label_key, class_to_idx = "label", {"a": 0, "b": 1}

        class dataset:
            def __class_getitem__(cls, key):
                return {"label": np.array([-1, -1, -1])}[key]

    monkeypatch.setattr(huggingface, "hub_reader", lambda name, part: Reader)
    with pytest.raises(
        image_set.DataError, match=r"hfds/o/n: its split 'test' is not labelled: 3 of 3"
    ):
        image_set.open_set("hfds/o/n", "test")
