"""The table of layouts: every row is read as a run reads it, or says the one command it needs."""

import contextlib
import io
import json
import sys
import tarfile
from pathlib import Path

import datasets as hub
import numpy as np
import pyarrow as arrow
import pytest
from image_files import encoded, laid_out, packed, settled
from pyarrow import parquet

from granularity.commands import check
from granularity.experiments import datasets, sets
from granularity.images import image_set, known_layouts, layouts

SYNSETS = ("n01440764", "n01751748", "n02084071")
SPECIES = ("00000_Animalia_P_C_O_F_G_a", "00001_Plantae_P_C_O_F_G_b")
SMALL = {f"{label}/{label}_{n}.JPEG": encoded(seed=9 * i + n) for i, label in enumerate(SYNSETS)
         for n in range(2)}  # fmt: skip
# Three images of the validation set, by the ground truth of its development kit.
VALIDATION = {
    "n01751748/ILSVRC2012_val_00000001.JPEG": encoded(seed=1),
    "n09193705/ILSVRC2012_val_00000002.JPEG": encoded(seed=2),
    "n02437616/ILSVRC2012_val_00050000.JPEG": encoded(seed=3),
}


def written(root: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return settled(root)


def flat(members: dict[str, bytes]) -> dict[str, bytes]:
    return {name.rpartition("/")[2]: content for name, content in members.items()}


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def by_class() -> dict[str, bytes]:
    """A tar file for each class."""
    return {
        f"{label}.tar": archive(flat({n: c for n, c in SMALL.items() if n.startswith(label)}))
        for label in SYNSETS
    }


def shards(**beside) -> dict[str, bytes]:
    """Two WebDataset shards of the images, with what `beside` makes of each class and file."""
    made = {}
    for shard in range(2):
        members = {}
        for name in [*SMALL][shard::2]:
            label, file = name.split("/")
            key = file.removesuffix(".JPEG")
            members[f"{key}.JPEG"] = SMALL[name]
            members |= {f"{key}.{kind}": make(label, file) for kind, make in beside.items()}
        made[f"train-{shard:04d}.tar"] = archive(members)
    return made


ONE_K = sorted(set(known_layouts.validation_synsets()))


def fields(**of) -> bytes:
    return json.dumps(of).encode()


# Row → (root's name, part, what lies below the root, what is to be found) of each form that it has.
KAGGLE = "ILSVRC/Data/CLS-LOC/"
IN_1K = {
    f"{ONE_K[i]}/{ONE_K[i]}_{n}.JPEG": encoded(seed=7 * i + n) for i in range(2) for n in range(2)
}


def prefixed(prefix: str, members: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{prefix}{name}": content for name, content in members.items()}


def species(folder: str) -> dict[str, bytes]:
    return {f"{folder}{label}/{n}.jpg": encoded(seed=n) for label in SPECIES for n in range(2)}


TEXT = {"cls": lambda label, file: label.encode()}
FORMS = {
    "ImageNet, a folder a class": [
        ("imagenet1k", "train", prefixed("train/", SMALL), SMALL),
        ("imagenet1k", "val", prefixed("val/", VALIDATION), VALIDATION),
        ("imagenet1k", "val", prefixed("validation/", VALIDATION), VALIDATION),
        ("imagenet1k", "val", prefixed("valid/", VALIDATION), VALIDATION),
        ("imagenet21k", "train", SMALL, SMALL),
    ],
    "ImageNet-21k, a tar file a class": [
        ("imagenet21k", "train", prefixed("winter21_whole/", by_class()), SMALL),
        ("imagenet21k", "train", prefixed("fall11_whole/", by_class()), SMALL),
        ("imagenet21k", "train", prefixed("train/", by_class()), SMALL),
        ("imagenet21k", "train", by_class(), SMALL),
        ("winter21_whole", "train", by_class(), SMALL),
    ],
    "ImageNet-21k, a tar file of tar files": [
        ("imagenet21k", "train", {"fall11_whole.tar": archive(by_class())}, SMALL),
        (
            "imagenet21k",
            "train",
            {"winter21_whole.tar": archive(prefixed("winter21_whole/", by_class()))},
            SMALL,
        ),
    ],
    "ImageNet-21k-P, unpacked": [
        ("imagenet21k", "train", prefixed("imagenet21k_train/", SMALL), SMALL),
        ("imagenet21k", "val", prefixed("imagenet21k_val/", SMALL), SMALL),
    ],
    "ImageNet-1k, a tar file of tar files": [
        ("imagenet1k", "train", {"ILSVRC2012_img_train.tar": archive(by_class())}, SMALL),
        ("imagenet1k", "train", prefixed("ILSVRC2012_img_train/", by_class()), SMALL),
    ],
    "ImageNet-1k, validation images without folders": [
        ("imagenet1k", "val", {"ILSVRC2012_img_val.tar": archive(flat(VALIDATION))}, VALIDATION),
        (
            "imagenet1k",
            "val",
            {"ILSVRC2012_img_val.tar": archive(prefixed("ILSVRC2012_img_val/", flat(VALIDATION)))},
            VALIDATION,
        ),
        ("imagenet1k", "val", prefixed("ILSVRC2012_img_val/", flat(VALIDATION)), VALIDATION),
        ("imagenet1k", "val", prefixed("val/", flat(VALIDATION)), VALIDATION),
    ],
    "ImageNet-1k, as Kaggle has it": [
        ("imagenet1k", "train", prefixed(f"{KAGGLE}train/", SMALL), SMALL),
        ("imagenet1k", "val", prefixed(f"{KAGGLE}val/", flat(VALIDATION)), VALIDATION),
        ("imagenet1k", "train", prefixed("Data/CLS-LOC/train/", SMALL), SMALL),
        ("imagenet1k", "train", prefixed("CLS-LOC/train/", SMALL), SMALL),
    ],
    "Tiny-ImageNet": [
        (
            "tiny-imagenet-200",
            "train",
            {f"train/{n.replace('/', '/images/')}": c for n, c in SMALL.items()},
            SMALL,
        ),
        (
            "tiny-imagenet-200",
            "val",
            prefixed("val/images/", flat(SMALL))
            | {
                "val/val_annotations.txt": "".join(
                    f"{n.split('/')[1]}\t{n.split('/')[0]}\t0\n" for n in SMALL
                ).encode()
            },
            SMALL,
        ),
    ],
    "iNaturalist 2021, unpacked": [
        ("inaturalist", "2021_train_mini", species("train_mini/"), species("")),
        ("inaturalist", "2021_train", species("train/"), species("")),
        ("inaturalist", "2021_valid", species("val/"), species("")),
        ("inaturalist", "2021_valid", species("2021_valid/"), species("")),
    ],
    "WebDataset shards": [
        ("imagenet21k", "train", shards(**TEXT), SMALL),
        ("imagenet21k", "train", prefixed("imagenet22k-", shards(**TEXT)), SMALL),
        (
            "imagenet21k",
            "train",
            shards(cls=lambda label, _: str(SYNSETS[::-1].index(label)).encode())
            | {"classes.txt": "\n".join(SYNSETS[::-1]).encode()},
            SMALL,
        ),
        (
            "imagenet21k",
            "train",
            shards(json=lambda label, file: fields(label=7, filename=f"{label}/{file}")),
            SMALL,
        ),
        ("imagenet21k", "train", shards(json=lambda label, _: fields(wnid=label)), SMALL),
    ],
}


def laid(tmp_path: Path, form: tuple) -> tuple[Path, str, dict[str, bytes]]:
    name, part, members, wanted = form
    return written(tmp_path / "disk" / name, members), part, wanted


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sets.opened.cache_clear()


CASES = [(what, form) for what, forms in FORMS.items() for form in forms]


@pytest.mark.parametrize(("what", "form"), CASES, ids=[what for what, _ in CASES])
def test_a_run_reads_every_layout_and_so_does_check(tmp_path, capsys, what, form):
    root, part, wanted = laid(tmp_path, form)
    called = root.name if root.name != "winter21_whole" else "imagenet21k"
    found = sets.opened(str(root), part, called)
    assert {n.decode(): found.content(i) for i, n in enumerate(found.names)} == wanted
    by_folders = image_set.open_set(written(tmp_path / "plain" / "x", wanted))
    assert found.fingerprint == by_folders.fingerprint and found.name == f"{called}/{part}"
    with contextlib.suppress(SystemExit):  # a sample is not the whole set, and it says so
        check.main(["check", str(root), "--part", part])
    told = capsys.readouterr().out
    assert f"fingerprint  {found.fingerprint}" in told and f"set          {found.name}" in told
    assert f"opened       {len(wanted)};" in told and "broken" not in told


def test_check_and_runs_open_a_set_through_one_function():
    assert check.sets.opened is datasets.opened is sets.opened


# --- What needs a command ------------------------------------------------------------------------


@pytest.mark.fault(
    "an archive that can only be read from its beginning", "the command to unpack it"
)
@pytest.mark.parametrize(
    ("root", "part", "file"),
    [
        ("imagenet21k", "train", "winter21_whole.tar.gz"),
        ("inaturalist", "2021_train_mini", "train_mini.tar.gz"),
        ("inaturalist", "2021_valid", "val.tar.gz"),
    ],
)
def test_large_archives_name_their_command(tmp_path, monkeypatch, root, part, file):
    monkeypatch.setattr(layouts, "IN_MEMORY", 100)
    packed(tmp_path / root / file, SMALL)
    with pytest.raises(image_set.DataError, match=f"tar -xf {file}"):
        sets.opened(str(tmp_path / root), part, root)
    rows = [row for row in known_layouts.LAYOUTS if file in row.parts.get(part, ())]
    assert [row.then.split()[0] for row in rows] == ["tar"]


@pytest.mark.fault(
    "a hub's set or a parquet export without `datasets`", "the command to install it"
)
@pytest.mark.parametrize("root", ["hfds/owner/imagenet-1k", "export"])
def test_the_hub_and_exports_name_their_command(tmp_path, monkeypatch, root):
    monkeypatch.setitem(sys.modules, "timm.data.readers.reader_hfds", None)
    written(tmp_path / "export", {"data/train-00000-of-00001.parquet": b"PAR1"})
    where = root if root.startswith("hfds") else str(tmp_path / root)
    with pytest.raises(image_set.DataError, match="pip install datasets"):
        sets.opened(where, "train", "imagenet1k")
    rows = [row for row in known_layouts.LAYOUTS if row.then == "pip install datasets"]
    assert [row.what for row in rows] == ["Hugging Face hub", "Parquet export"]


def exported(root: Path, nested: str, names: list[str]) -> Path:
    """A set in two parquet files as the hub exports them; class numbers are places in `ONE_K`."""
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    label = {"names": names, "_type": "ClassLabel"}
    told = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    schema = arrow.schema(
        [("image", image), ("label", arrow.int64())], {"huggingface": json.dumps(told)}
    )
    rows = [
        {"image": {"bytes": content, "path": None}, "label": ONE_K.index(name.split("/")[0])}
        for name, content in IN_1K.items()
    ]
    for split in ("train", "validation"):
        table = arrow.Table.from_pylist(rows, schema)
        place = root / nested.format(split=split)
        place.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, place)
    return root


FILE = "{split}-00000-of-00001.parquet"  # of an export as the hub has it
NESTED = [FILE, f"data/{FILE}", "default/{split}/0000.parquet", "{split}/0000.parquet"]


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("part", ["train", "val"])
def test_a_parquet_export_is_read_by_a_run(tmp_path, monkeypatch, nested, part):
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    root = exported(tmp_path / "imagenet1k", nested, ["tench, Tinca tinca", "goldfish"])
    monkeypatch.setattr(sets.synset_lists, "read", lambda name: ONE_K[:2])  # else all have images
    found = sets.opened(str(root), part, "imagenet1k")
    assert found.classes == tuple(ONE_K[:2]) and found.name == f"imagenet1k/{part}"
    theirs = {(found.classes[k], found.content(i)) for i, k in enumerate(found.leaf)}
    assert theirs == {(name.split("/")[0], content) for name, content in IN_1K.items()}


def test_classes_of_an_export_that_are_no_synsets_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    root = exported(tmp_path / "imagenet21k", FILE, ["tench, Tinca tinca", "goldfish"])
    with pytest.raises(image_set.DataError, match="'tench, Tinca tinca', not a noun of WordNet"):
        sets.opened(str(root), "train", "imagenet21k")


# --- The table, and what is odd ------------------------------------------------------------------


def test_every_row_of_the_table_is_tested(capsys):
    told = {row.what for row in known_layouts.LAYOUTS}
    elsewhere = {  # in the tests above, and of `pack`
        "ImageNet-21k, the archive of winter 2021",
        "iNaturalist 2021, the archives",
        "Hugging Face hub",
        "Parquet export",
        "An archive that can be read only from its beginning",
        "Packed images",
    }
    assert told == set(FORMS) | elsewhere
    with pytest.raises(SystemExit):
        check.main(["check", "--help"])
    shown = capsys.readouterr().out
    assert all(row.what in shown and row.lies in shown for row in known_layouts.LAYOUTS)


def test_the_validation_sets_synsets():
    """Fifty of each of timm's thousand synsets, and right where many people looked again.

    timm has the labels of a second look at every image (ReaL). Nine in ten of the first are among
    them; of a list that is off by one, one in a thousand would be.
    """
    import timm.data

    found = known_layouts.validation_synsets()
    synsets = Path(timm.data.__file__).parent / "_info" / "imagenet_synsets.txt"
    order = {synset: i for i, synset in enumerate(synsets.read_text().split())}
    numbers = np.array([order[synset] for synset in found])
    assert np.bincount(numbers).tolist() == [50] * 1000
    again = json.loads((synsets.parent / "imagenet_real_labels.json").read_text())
    agree = np.mean([numbers[i] in some for i, some in enumerate(again) if some])
    assert 0.88 < agree < 0.93


def test_numbers_of_imagenet_1k_need_no_list(tmp_path):
    made = {}
    for name, content in IN_1K.items():
        label, file = name.split("/")
        key = file.removesuffix(".JPEG")
        made |= {f"{key}.JPEG": content, f"{key}.cls": str(ONE_K.index(label)).encode()}
    written(tmp_path / "imagenet1k", {"train-0.tar": archive(made)})
    found = sets.opened(str(tmp_path / "imagenet1k"), "train", "imagenet1k")
    assert {n.decode(): found.content(i) for i, n in enumerate(found.names)} == IN_1K


@pytest.mark.fault("a set that is still a .zip or a .tgz", "the command to unpack it")
@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("tiny-imagenet-200.zip", "unzip tiny-imagenet-200.zip"),
        ("train.tgz", "tar -xf train.tgz"),
    ],
)
def test_an_archive_to_unpack_names_its_command(tmp_path, file, command):
    root = written(tmp_path / "imagenet1k", {file: b"PK"})
    with pytest.raises(FileNotFoundError, match=f"unpack it first: {command}"):
        sets.opened(str(root), "train", "imagenet1k")


@pytest.mark.fault("a root above the set's own folder", "the folder that is meant, by name")
def test_a_root_above_its_set_is_told(tmp_path):
    inside = prefixed("tiny-imagenet-200/train/", SMALL)
    root = written(tmp_path / "tiny-imagenet-200", inside)
    with pytest.raises(FileNotFoundError, match=r"is \S+/tiny-imagenet-200/tiny-imagenet-200 the"):
        sets.opened(str(root), "train", "tiny-imagenet-200")


@pytest.mark.fault(
    "shards whose class numbers no list explains", "an error that says where to put one"
)
def test_numbers_without_a_list_are_refused(tmp_path):
    written(tmp_path / "imagenet21k", shards(cls=lambda label, _: b"5"))
    with pytest.raises(image_set.DataError, match=r"number 5, given no list .*classes\.txt beside"):
        sets.opened(str(tmp_path / "imagenet21k"), "train", "imagenet21k")


@pytest.mark.fault("a tar file without an image", "refused by name, with where to look")
def test_a_tar_file_without_images_is_named(tmp_path):
    packed(tmp_path / "x" / "train.tar", {"words.txt": b"none"})
    with pytest.raises(image_set.DataError, match=r"no image in train\.tar.*check --help"):
        image_set.open_set(tmp_path / "x", "train")


@pytest.mark.fault("a tar file of tar files of which one was cut", "refused by name")
@pytest.mark.parametrize("left", [700, 512, 1100, 3000])
def test_a_cut_archive_inside_an_archive_is_refused(tmp_path, left):
    inner = by_class()
    first = min(inner)
    written(
        tmp_path / "imagenet1k",
        {"ILSVRC2012_img_train.tar": archive({**inner, first: inner[first][:left]})},
    )
    with pytest.raises(
        image_set.DataError, match=r"img_train\.tar: n01440764\.tar in it is no whole"
    ):
        sets.opened(str(tmp_path / "imagenet1k"), "train", "imagenet1k")


@pytest.mark.fault("a stranger among validation images without folders", "refused by name")
@pytest.mark.parametrize("stranger", ["x.JPEG", "ILSVRC2012_val_00050001.JPEG"])
def test_a_stranger_among_validation_images_is_named(tmp_path, stranger):
    members = flat(VALIDATION) | {stranger: encoded()}
    root = written(tmp_path / "imagenet1k", prefixed("val/", members))
    with pytest.raises(image_set.DataError, match=stranger):
        sets.opened(str(root), "val", "imagenet1k")


def test_images_of_a_set_without_parts_are_no_validation_images(tmp_path):
    root = written(tmp_path / "imagenet1k", SMALL)
    with pytest.raises(FileNotFoundError, match=r"no val .*check --help"):
        sets.opened(str(root), "val", "imagenet1k")
    laid_out(root / "val")
    with pytest.raises(FileNotFoundError, match="no train"):  # `val` is no class
        sets.opened(str(root), "train", "imagenet1k")


def test_webdataset_on_the_hub_is_read_by_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setattr(sets.synset_lists, "read", lambda name: ONE_K[:2])
    made = {}
    for i, (name, content) in enumerate(IN_1K.items()):
        made |= {f"{i}.jpg": content, f"{i}.cls": str(ONE_K.index(name.split("/")[0])).encode()}
    root = written(tmp_path / "wds", {"train-0000.tar": archive(made)})
    found = sets.opened(f"hfds/{root}", "train", "imagenet1k")
    assert found.classes == tuple(ONE_K[:2])
    assert {found.content(i) for i in range(4)} == set(IN_1K.values())
