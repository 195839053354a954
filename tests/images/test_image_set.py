"""Image sets: what is listed, what is refused by name, what decodes, how sets are split."""

import io
import os
import pickle
import random
import shutil
import struct
import sys
import tarfile
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import CLASSES, contents, encoded, laid_out, packed, settled
from PIL import Image

from granularity.commands import check
from granularity.experiments import sets
from granularity.hierarchies import wordnet
from granularity.images import decoding, image_set, layouts, listing
from granularity.training import loading


def names_of(found: image_set.ImageSet) -> list[str]:
    return [name.decode() for name in found.names]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    return laid_out(tmp_path / "set")


@pytest.fixture
def opened(cache):
    """`open_set` with a cache of the test's own."""
    return lambda *words, **options: image_set.open_set(*words, cache=cache, **options)


# --- What is listed -------------------------------------------------------------------------------


def test_a_small_set_by_hand(root, opened):
    (root / CLASSES[0] / "notes.txt").touch()
    (root / CLASSES[0] / "._hidden.JPEG").touch()
    (root / "wnids.txt").touch()
    found = opened(root)
    assert found.name == "set" and found.classes == CLASSES and len(found) == 9
    assert names_of(found)[:4] == [
        *(f"{CLASSES[0]}/{CLASSES[0]}_{n}.JPEG" for n in range(3)),
        f"{CLASSES[1]}/{CLASSES[1]}_0.JPEG",
    ]
    assert found.leaf.dtype == np.int32 and found.leaf.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.counts.tolist() == [3, 3, 3] and found.others == 1 and found.skipped == ()
    assert found.read(4).size == (9, 6) and found.read(4).mode == "RGB"
    assert str(root) not in repr(found) and "9 images of 3 classes" in repr(found)


names = st.text("ab-._ 0é", min_size=1, max_size=4).filter(lambda name: name[0] != ".")
trees = st.dictionaries(names, st.sets(names, min_size=1, max_size=4), min_size=1, max_size=4)


@settings(deadline=None, max_examples=30)
@given(trees, st.randoms())
def test_order_and_fingerprint_do_not_depend_on_the_file_systems_order(tmp_path_factory, tree, rng):
    folder = tmp_path_factory.mktemp("drawn")
    for copy, shuffled in (
        ("one", sorted),
        ("two", lambda them: rng.sample(sorted(them), len(them))),
    ):
        for label in shuffled(tree):
            (folder / copy / label).mkdir(parents=True)
            for file in shuffled(tree[label]):
                content = f"{label}/{file}".encode()
                (folder / copy / label / f"{file}.png").write_bytes(content)
    one, two = (
        image_set.open_set(folder / copy, cache=folder / "cache") for copy in ("one", "two")
    )
    assert one.fingerprint == two.fingerprint and names_of(one) == names_of(two)
    assert one.classes == tuple(sorted(tree)) and len(one) == sum(map(len, tree.values()))
    for i in range(len(one)):
        assert names_of(one)[i] == two.content(i).decode() + ".png"
        assert names_of(one)[i].startswith(f"{one.classes[one.leaf[i]]}/")


def test_the_order_of_scandir_changes_nothing(root, opened, tmp_path, monkeypatch):
    found = opened(root)
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = list(entries)
            random.Random(3).shuffle(self.entries)

        def __enter__(self):
            return self.entries

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(layouts.os, "scandir", Shuffled)
    again = image_set.open_set(root, cache=tmp_path / "another")
    assert again.fingerprint == found.fingerprint and names_of(again) == names_of(found)


def test_fingerprints_tell_sets_apart(root, opened, tmp_path):
    prints = {opened(root).fingerprint}
    changes = {
        "renamed": lambda file: file.rename(file.with_name("other.JPEG")),
        "smaller": lambda file: file.write_bytes(file.read_bytes()[:-1]),
        "moved": lambda file: file.rename(file.parent.parent / CLASSES[1] / file.name),
        "removed": Path.unlink,
    }
    for name, change in changes.items():
        change(shutil.copytree(root, tmp_path / name) / CLASSES[0] / f"{CLASSES[0]}_0.JPEG")
        prints.add(opened(tmp_path / name).fingerprint)
    assert len(prints) == 1 + len(changes)
    assert opened(shutil.copytree(root, tmp_path / "elsewhere")).fingerprint in prints


def test_inaturalist_is_what_torchvision_sees(tmp_path, opened):
    species = ["00000_Animalia_P_C_O_F_G_a", "00001_Plantae_P_C_O_F_G_b"]
    laid_out(tmp_path / "2021_valid", classes=species)
    found = opened(tmp_path / "2021_valid")
    theirs = torchvision.datasets.INaturalist(tmp_path, version="2021_valid")
    assert list(found.classes) == theirs.all_categories
    assert set(zip(found.leaf.tolist(), names_of(found), strict=True)) == {
        (label, f"{species[label]}/{file}") for label, file in theirs.index
    }


# --- The index file -------------------------------------------------------------------------------


@pytest.fixture
def listings(monkeypatch):
    """How often a folder was walked."""
    calls, find = [], layouts.find
    monkeypatch.setattr(layouts, "find", lambda *words: calls.append(1) or find(*words))
    return calls


def test_a_set_is_listed_once(root, opened, listings):
    first = opened(root)
    assert opened(root).fingerprint == first.fingerprint
    assert len(listings) == 1


@pytest.mark.fault("an index file older than its folder ({change})", "the index is made anew")
@pytest.mark.parametrize(
    ("change", "images"),
    [
        (lambda root: (root / CLASSES[1] / "new.JPEG").write_bytes(encoded()), 10),
        (lambda root: (root / CLASSES[1] / f"{CLASSES[1]}_0.JPEG").unlink(), 8),
        (lambda root: shutil.rmtree(root / CLASSES[1]), 6),
        (lambda root: shutil.copytree(root / CLASSES[1], root / "n1"), 12),
    ],
)
def test_what_was_added_or_removed_is_seen(root, opened, listings, change, images):
    opened(root)
    change(root)
    assert len(opened(root)) == images
    assert len(listings) == 2


@pytest.mark.fault(
    "an index file older than a folder images/ below its classes", "the index is made anew"
)
def test_a_change_in_images_folders_is_seen(tmp_path, opened):
    root = laid_out(tmp_path / "tiny", "images")
    assert len(opened(root)) == 9
    (root / CLASSES[2] / "images" / "new.JPEG").write_bytes(encoded())
    assert len(opened(root)) == 10


@pytest.mark.fault("two changes of a folder within one tick of its clock", "both are seen")
def test_two_changes_within_one_tick_are_seen(root, opened):
    """A folder that was changed a moment ago is not trusted: its time may stay the same."""
    now = time.time()
    os.utime(root / CLASSES[0], (now, now))
    opened(root)
    (root / CLASSES[0] / "new.JPEG").write_bytes(encoded())
    os.utime(root / CLASSES[0], (now, now))
    assert len(opened(root)) == 10


@pytest.mark.fault("an index file that is truncated, changed or foreign", "made anew")
def test_any_truncated_index_is_made_anew(root, cache, opened, listings):
    whole = opened(root)
    (index,) = cache.iterdir()
    content = index.read_bytes()
    lengths = [*range(0, len(content), 97), len(content) - 1]
    for length in lengths:
        index.write_bytes(content[:length])
        assert opened(root).fingerprint == whole.fingerprint
    assert len(listings) == 1 + len(lengths)
    index.write_bytes(content.replace(b"_1.JPEG", b"_9.JPEG"))
    assert opened(root).fingerprint == whole.fingerprint
    index.write_bytes(b"not an index\n")
    assert opened(root).fingerprint == whole.fingerprint
    assert [path.name for path in cache.iterdir()] == [index.name]


@pytest.mark.fault("an index file of another folder", "not used")
def test_an_index_of_another_place_is_not_used(root, opened, tmp_path, cache):
    opened(root)
    (index,) = cache.iterdir()
    other = laid_out(tmp_path / "b" / "set", per_class=2)
    assert len(opened(other)) == 6
    (theirs,) = set(cache.iterdir()) - {index}
    shutil.copy(index, theirs)
    assert len(opened(other)) == 6


@pytest.mark.fault(
    "disk full while an index file is written", "an error; the earlier index is intact"
)
def test_an_index_that_cannot_be_written_leaves_the_old_one(root, opened, cache, monkeypatch):
    opened(root)
    (index,) = cache.iterdir()
    content = index.read_bytes()
    (root / CLASSES[0] / "new.JPEG").write_bytes(encoded())

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(listing.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        opened(root)
    assert [path.name for path in cache.iterdir()] == [index.name]
    assert index.read_bytes() == content


@pytest.mark.fault("an input folder without write permission", "works; nothing in it changes")
def test_a_read_only_folder_stays_as_it_is(root, opened, monkeypatch, tmp_path):
    before = sorted(root.rglob("*"))
    folders = [root, *(path for path in before if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(opened(root)) == 9
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert sorted(root.rglob("*")) == before  # root may write anywhere, so look
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    image_set.open_set(root)
    assert len(list((tmp_path / "home" / "granularity").glob("set-*.index"))) == 1


@pytest.mark.fault(
    "an image replaced after it was listed", "an error that names it, with both sizes"
)
def test_a_file_that_changed_in_place_is_named(root, opened):
    found = opened(root)
    (root / names_of(found)[0]).write_bytes(encoded() + b"more")
    with pytest.raises(image_set.DataError, match=rf"{CLASSES[0]}_0\.JPEG: .* when it was listed"):
        found.read(0)


def test_a_set_travels_to_worker_processes(root, opened):
    found = pickle.loads(pickle.dumps(opened(root)))
    assert found.read(3).size == (8, 6)
    items = loading.Seeded(found, found.leaf, torchvision.transforms.functional.pil_to_tensor)
    keys = [(3, 0, 0), (0, 0, 0)]
    loader = torch.utils.data.DataLoader(items, num_workers=1, batch_size=None, sampler=keys)
    assert [(image.shape, leaf) for image, leaf in loader] == [((3, 6, 8), 1), ((3, 6, 8), 0)]


# --- Classes --------------------------------------------------------------------------------------


@pytest.mark.fault(
    "class folders extra, missing and misnamed",
    "an error that names them and the nearest; or left out and counted, where asked",
)
def test_classes_that_are_not_as_listed_are_named(root, opened):
    assert opened(root, classes=CLASSES[::-1]).classes == CLASSES
    with pytest.raises(image_set.DataError, match=r"'n04399382': not in the list.*skip_extra"):
        opened(root, classes=CLASSES[:2])
    with pytest.raises(
        image_set.DataError, match=r"'n09999999': a class that is not there.*_missing"
    ):
        opened(root, classes=[*CLASSES, "n09999999"])
    misnamed = (*CLASSES[:2], "n0439938x")
    with pytest.raises(image_set.DataError) as error:
        opened(root, classes=misnamed)
    assert "'n04399382': not in the list of classes (nearest: n0439938x)" in str(error.value)
    assert "'n0439938x': a class that is not there (nearest: n04399382)" in str(error.value)
    found = opened(root, classes=misnamed, skip_extra=True, skip_missing=True)
    assert found.classes == CLASSES[:2] and len(found) == 6
    assert dict(found.skipped) == {
        "n04399382": "not in the list of classes",
        "n0439938x": "a class that is not there",
    }


@pytest.mark.fault(
    "a class folder without images", "an error that names it; or left out and counted, where asked"
)
def test_a_class_without_images_is_named(root, opened):
    (root / "n03000000").mkdir()
    with pytest.raises(image_set.DataError, match="'n03000000': a class without images"):
        opened(root)
    found = opened(root, skip_missing=True)
    assert found.classes == CLASSES and found.leaf.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.skipped == (("n03000000", "a class without images"),)
    assert found.fingerprint == opened(laid_out(root.parent / "without")).fingerprint


@pytest.mark.fault(
    "a class of which every image is broken",
    "an error that names it; or left out and counted, where asked",
)
def test_a_class_whose_images_are_all_broken_is_a_class_without_images(root, opened):
    for file in (root / CLASSES[0]).iterdir():
        file.write_bytes(b"broken")
    with pytest.raises(image_set.DataError, match=f"'{CLASSES[0]}': a class without images"):
        opened(root, skip_broken=True)
    found = opened(root, skip_broken=True, skip_missing=True)
    assert found.classes == CLASSES[1:] and len(found.skipped) == 4
    with pytest.raises(image_set.DataError, match="no image is left"):
        opened(root, classes=CLASSES[:1], skip_broken=True, skip_missing=True, skip_extra=True)


@pytest.mark.fault(
    "folders in no known layout", "an error that says what was wanted and what is there"
)
def test_what_is_in_no_known_layout_is_named(tmp_path, opened):
    laid_out(tmp_path / "data" / "train")
    with pytest.raises(image_set.DataError, match=r"train: .* holds folders \(n01440764"):
        opened(tmp_path / "data")
    assert opened(tmp_path / "data", "train").name == "data/train"
    with pytest.raises(FileNotFoundError, match=r"no val and no val\*.tar\*; it holds train"):
        opened(tmp_path / "data", "val")
    with pytest.raises(
        FileNotFoundError, match=r"holds no class folders and .* it holds n01440764_0"
    ):
        opened(tmp_path / "data" / "train" / CLASSES[0])
    (tmp_path / "data" / "train" / "stray.JPEG").write_bytes(encoded())
    with pytest.raises(image_set.DataError, match=r"a folder for each class, found images \(stray"):
        opened(tmp_path / "data" / "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="it holds nothing"):
        opened(tmp_path / "empty")


@pytest.mark.fault(
    "a set of images that is not there", "an error that says where to get it, and its size"
)
def test_a_missing_root_says_where_to_get_it(tmp_path, opened):
    for name, words in {
        "imagenet-21k": "image-net.org.*1.1 TB",
        "ImageNet1k": "138 GB",
        "tiny-imagenet-200": "cs231n.*248 MB",
        "inat2021": "inat_comp.*42 GB",
        "sets": "1.1 TB.*138 GB.*248 MB.*42 GB",
    }.items():
        with pytest.raises(FileNotFoundError, match=f"{name}: no such folder.*{words}"):
            opened(tmp_path / name)


# --- Images ---------------------------------------------------------------------------------------


PLAIN = Image.open(io.BytesIO(encoded("PNG", size=(64, 48))))


@pytest.mark.fault("a {kind} image in mode {mode}", "decoded right")
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("JPEG", mode) for mode in ("L", "RGB", "CMYK", "YCbCr")),
        *(("TIFF", mode) for mode in ("1", "L", "P", "PA", "LA", "RGB", "RGBA", "CMYK", "YCbCr")),
        *(("PNG", mode) for mode in ("1", "L", "P", "LA", "RGB", "RGBA")),
    ],
)
def test_modes_are_converted(kind, mode):
    image = decoding.rgb(encoded(kind, mode, size=PLAIN.size), "x")
    wanted = PLAIN.convert(mode).convert("RGB")
    assert image.mode == "RGB" and image.size == PLAIN.size
    assert np.abs(np.asarray(image, int) - np.asarray(wanted, int)).mean() < 4


@pytest.mark.fault("a palette image with transparency", "decoded right")
def test_a_palette_with_transparency_keeps_its_colours():
    content = encoded("PNG", "P", size=PLAIN.size, transparency=b"\x80" * 256)
    assert Image.open(io.BytesIO(content)).mode == "P"
    wanted = PLAIN.convert("P").convert("RGB")
    assert (np.asarray(decoding.rgb(content, "x")) == np.asarray(wanted)).all()


@pytest.mark.fault("a 16-bit {kind} image", "decoded right: scaled, not clipped")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind):
    file = io.BytesIO()
    grey = np.linspace(0, 65_535, 48).astype(np.uint16).reshape(6, 8)
    Image.fromarray(grey).save(file, kind)
    image = np.asarray(decoding.rgb(file.getvalue(), "x"))
    assert (image == (grey // 257)[:, :, None]).all()


@pytest.mark.fault("broken EXIF", "decoded right")
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_and_orientation_are_left_alone():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    whole = exif.tobytes()
    plain = np.asarray(decoding.rgb(encoded(), "x"))
    for block in (whole, whole[:-9], b"Exif\0\0MM\0*" + b"\xff" * 40, b"Exif\0\0"):
        assert (np.asarray(decoding.rgb(encoded(exif=block), "x")) == plain).all()


def bomb() -> bytes:
    """A PNG that says that it is 100,000 pixels on each side."""
    content = bytearray(encoded("PNG"))
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


BROKEN = {
    "an empty file": b"",
    "truncated": encoded(size=(90, 60))[:-200],
    "of no known kind": b"no image at all",
    "DecompressionBomb": bomb(),
    "floating-point": encoded("TIFF", "F"),
    "TruncatedPNG|broken|truncated": encoded("PNG", size=(90, 60))[:-100],
}


@pytest.mark.fault("a file that is no whole image: {reason}", "refused by name")
@pytest.mark.parametrize("reason", BROKEN)
def test_what_is_no_whole_image_is_refused_by_name(reason):
    with pytest.raises(image_set.ImageError, match=f"n01/x.JPEG: .*({reason})"):
        decoding.rgb(BROKEN[reason], "n01/x.JPEG")


@pytest.mark.fault(
    "broken images among sound ones", "refused by name; or skipped and counted, where asked"
)
def test_broken_images_are_refused_or_skipped_and_counted(root, opened):
    for number, content in enumerate(BROKEN.values()):
        (root / CLASSES[number % 3] / f"broken{number}.JPEG").write_bytes(content)
    with pytest.raises(image_set.DataError, match=r"broken0\.JPEG': an empty file; skip_broken"):
        opened(root)
    (root / CLASSES[0] / "broken0.JPEG").write_bytes(b"no image")
    found = opened(root)
    assert len(found) == 9 + len(BROKEN)
    with pytest.raises(image_set.ImageError, match=rf"{CLASSES[0]}/broken0\.JPEG: no whole image"):
        image_set.decode(found, 8, progress=False)
    sound = opened(root, skip_broken=True)
    assert sound.classes == CLASSES and len(sound) == 9
    assert len(sound.skipped) == len(BROKEN)
    assert sorted([*names_of(sound), *dict(sound.skipped)]) == names_of(found)
    assert image_set.decode(sound, 8, progress=False).shape == (9, 3, 8, 8)
    assert sound.fingerprint == opened(laid_out(root.parent / "whole")).fingerprint


def test_all_images_are_looked_at_only_once(root, opened, monkeypatch):
    (root / CLASSES[0] / "broken.JPEG").write_bytes(b"no image")
    settled(root)
    first = opened(root, skip_broken=True)
    monkeypatch.setattr(image_set, "rgb", None)
    again = opened(root, skip_broken=True)
    assert again.skipped == first.skipped and len(again) == 9
    with pytest.raises(image_set.DataError, match=r"broken\.JPEG': no whole image"):
        opened(root)  # known by now, so not left to be met in the middle of a run


# --- Tar files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tar", "tar.xz", "tar.gz"])
def test_tar_files_hold_the_same_set(root, opened, tmp_path, suffix):
    files = contents(root)
    for number, label in enumerate(CLASSES):
        members = {f"./set/train/{n}": c for n, c in files.items() if n.startswith(label)}
        if number == 2:
            members = {n.replace("/n0", "/images/n0"): c for n, c in members.items()}
        packed(tmp_path / "tars" / f"train-{number}.{suffix}", {**members, "train/words.txt": b""})
    packed(tmp_path / "tars" / f"val.{suffix}", {"n1/x.JPEG": encoded()})
    folders = opened(root)
    for found in (
        opened(tmp_path / "tars", "train"),
        opened(tmp_path / "tars" / f"train-*.{suffix}"),
    ):
        assert found.fingerprint == folders.fingerprint and found.classes == folders.classes
        assert all(found.content(i) == folders.content(i) for i in range(9))
        assert found.others == 3
    assert len(opened(tmp_path / "tars" / f"val.{suffix}")) == 1
    assert len(opened(tmp_path / "tars")) == 10


def test_one_tar_file_a_class(root, opened, tmp_path):
    for label in CLASSES:
        members = {file.name: file.read_bytes() for file in (root / label).iterdir()}
        packed(tmp_path / "tars" / f"{label}.tar", members)
    assert opened(tmp_path / "tars").fingerprint == opened(root).fingerprint


def test_webdataset_shards(root, opened, tmp_path):
    files = list(contents(root).items())
    random.Random(1).shuffle(files)
    order = CLASSES[::-1]
    for shard in range(2):
        members = {}
        for name, content in files[shard::2]:
            label, file = name.split("/")
            key = file.removesuffix(".JPEG")
            members[f"{key}.cls"] = str(order.index(label)).encode()
            members[f"{key}.JPEG"] = content
            members[f"{key}.json"] = b"{}"
        packed(tmp_path / "wds" / f"train-{shard:04d}.tar", members)
    found = opened(tmp_path / "wds", "train", classes=order)
    assert found.fingerprint == opened(root).fingerprint and found.others == 9
    with pytest.raises(image_set.DataError, match=r"class number \d, given no list of classes"):
        opened(tmp_path / "wds", "train")
    with pytest.raises(image_set.DataError, match="class number 2, given a list of 2 classes"):
        opened(tmp_path / "wds", "train", classes=order[:2])
    packed(tmp_path / "wds" / "train-0002.tar", members)
    with pytest.raises(image_set.DataError, match=r"JPEG is there twice"):
        opened(tmp_path / "wds", "train", classes=order)


@pytest.mark.fault("a tar file with the member {name}", "refused by name; nothing is unpacked")
@pytest.mark.parametrize("name", ["../x.JPEG", "n1/../../x.JPEG", "/etc/x.JPEG"])
def test_a_member_that_leads_out_is_refused(tmp_path, opened, name):
    packed(tmp_path / "bad.tar", {"n1/fine.JPEG": encoded(), name: encoded()})
    with pytest.raises(image_set.DataError, match=rf"bad\.tar: member '{name}' leads out"):
        opened(tmp_path / "bad.tar")


@pytest.mark.fault("a tar file with a link or a device in it (type {kind})", "refused by name")
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_a_link_is_refused(tmp_path, opened, kind):
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        link = tarfile.TarInfo("n1/link.JPEG")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(image_set.DataError, match=r"'n1/link.JPEG' is a link or a device"):
        opened(tmp_path / "bad.tar")


@pytest.mark.fault("a truncated .{suffix} file", "refused by name")
@pytest.mark.parametrize("suffix", ["tar", "tar.xz"])
def test_a_truncated_tar_file_is_named(root, opened, tmp_path, suffix):
    path = packed(tmp_path / f"bad.{suffix}", contents(root))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(image_set.DataError, match=rf"bad\.{suffix}: no whole tar file"):
        opened(path)


@pytest.mark.fault("compressed tar files larger than memory allows", "refused, with what to do")
def test_large_compressed_tar_files_are_refused(root, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "IN_MEMORY", 100)
    with pytest.raises(image_set.DataError, match="GB of compressed tar files"):
        opened(packed(tmp_path / "large.tar.xz", contents(root)))


def test_the_hub_without_its_package_says_so(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.data.readers.reader_hfds", None)
    with pytest.raises(image_set.DataError, match="pip install datasets"):
        opened("hfds/owner/name")


def test_the_hub_through_timms_reader(root, opened, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    hub, folders = opened(f"hfds/{root}"), opened(root)
    assert hub.classes == folders.classes and (hub.leaf == folders.leaf).all()
    assert {hub.content(i) for i in range(9)} == {folders.content(i) for i in range(9)}


# --- Splits ---------------------------------------------------------------------------------------


def test_splits_go_by_name(tmp_path, opened):
    found = opened(laid_out(tmp_path / "one", per_class=12))
    parts = image_set.split(found, {"source": 7, "target": 3})
    chosen = {part: {names_of(found)[i] for i in rows} for part, rows in parts.items()}
    assert [np.bincount(found.leaf[rows]).tolist() for rows in parts.values()] == [[7] * 3, [3] * 3]
    assert not chosen["source"] & chosen["target"]
    assert all((np.diff(rows) > 0).all() for rows in parts.values())

    # Other classes beside them, another layout and other bytes move nothing.
    laid_out(tmp_path / "two", "images", per_class=12, classes=["n0", *CLASSES])
    for file in (tmp_path / "two").rglob("*.JPEG"):
        file.write_bytes(encoded(seed=99))
    other = opened(tmp_path / "two")
    for part, rows in image_set.split(other, {"source": 7, "target": 3}).items():
        assert chosen[part] == {n for n in map(names_of(other).__getitem__, rows) if n[:3] != "n0/"}
    with pytest.raises(image_set.DataError, match="class n01440764 has 12 images, 13 wanted"):
        image_set.split(found, {"source": 10, "target": 3})


def test_the_same_images_are_chosen_for_ever(root, opened):
    assert [image_set.split(opened(root), {"a": 1})["a"].tolist()] == [[1, 4, 7]]


def test_twins(root, opened, tmp_path):
    table = tmp_path / "twins.csv"
    a, b, c = CLASSES
    table.write_text(
        "group,file\n"
        f"0,tiny/train/{a}/images/{a}_0.JPEG\n0,tiny/val/{b}/images/val_7.JPEG\n"
        f"1,tiny/train/{b}/images/{b}_0.JPEG\n1,tiny/train/{c}/images/{c}_0.JPEG\n"
    )
    assert image_set.twins(table) == [(f"{a}/{a}_0.JPEG", f"{b}/val_7.JPEG")]
    assert image_set.drop_twins(opened(root), table).tolist() == list(range(1, 9))


# --- Pixels ---------------------------------------------------------------------------------------


def test_decoded_pixels_are_those_of_the_images(root, opened):
    found = opened(root)
    pixels = image_set.decode(found, 6, progress=False)
    assert pixels.shape == (9, 3, 6, 6) and pixels.dtype == torch.uint8
    wanted = np.asarray(found.read(2))[:, 2:8]  # 10×6: the middle square, not scaled
    assert (pixels[2].permute(1, 2, 0).numpy() == wanted).all()
    assert (image_set.decode(found, 6, rows=[2, 0], progress=False) == pixels[[2, 0]]).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_squares(width, height, size):
    image = Image.new("RGB", (width, height), (10, 20, 30))
    square = np.asarray(decoding.square(image, size))
    assert square.shape == (size, size, 3) and (square == (10, 20, 30)).all()


@pytest.mark.fault("more pixels than the memory holds", "refused before any image is decoded")
def test_pixels_that_would_not_fit_are_refused(root, opened):
    with pytest.raises(MemoryError, match="9 images of 1000000×1000000 take"):
        image_set.decode(opened(root), 1_000_000)


# --- Command line ---------------------------------------------------------------------------------


@pytest.mark.fault("a broken image, looked for from a shell", "status not zero, and its name")
def test_check(root, cache, capsys):
    check.main(["check", str(root), "--cache", str(cache)])
    told = capsys.readouterr().out
    assert "9 in 3 classes" in told and "3 to 3, median 3" in told and told.endswith("ok\n")
    (root / CLASSES[0] / "broken.JPEG").write_bytes(b"no image")
    sets.opened.cache_clear()  # a shell's next command is another process
    with pytest.raises(SystemExit) as stop:
        check.main(["check", str(root), "--cache", str(cache)])
    told = capsys.readouterr().out
    assert stop.value.code == 1 and "broken.JPEG: no whole image" in told
    assert told.endswith("not ok: 1 of 10 images are broken\n")
    check.main(["check", str(root), "--cache", str(cache), "--skip-broken"])
    assert "left out     1: no whole image" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        check.main(["check", str(root), "--cache", str(cache), "--classes", "imagenet1k"])
    assert stop.value.code == 1 and "'n02084071': not in the list" in capsys.readouterr().err


# --- Real data ------------------------------------------------------------------------------------


def test_imagenet_samples(real_data, opened):
    shard = real_data / "imagenet-1k-samples.tar.xz"
    found = opened(shard, classes=wordnet.read_list("imagenet1k"))
    assert len(found) == 1000 == len(found.classes)
    grey = sum(Image.open(io.BytesIO(found.content(i))).mode == "L" for i in range(1000))
    assert grey == 23
    assert image_set.decode(found, 32, progress=False).shape == (1000, 3, 32, 32)
    source = wordnet.read_list("imagenet21k")
    with pytest.raises(image_set.DataError, match="'n04399382': not in the list of classes"):
        opened(shard, classes=source, skip_missing=True)
    mapped = opened(shard, classes=source, skip_missing=True, skip_extra=True)
    assert len(mapped) == 999 and set(mapped.classes) < set(source)
    reasons = [name for name, reason in mapped.skipped if reason == "not in the list of classes"]
    assert reasons == ["n04399382"] and len(mapped.skipped) == 1 + 21_843 - 999


def test_tiny_imagenet_in_both_layouts(real_data, opened, tmp_path):
    found = opened(real_data / "tiny-imagenet-200", "val")
    assert len(found) == 10_000 and (found.counts == 50).all() and len(found.classes) == 200
    flat = tmp_path / "flat" / "val"
    (flat / "images").mkdir(parents=True)
    lines = []
    for i, name in enumerate(names_of(found)):
        label, file = name.split("/")
        (flat / "images" / file).write_bytes(found.content(i))
        lines.append(f"{file}\t{label}\t0\t0\t1\t1\n")
    (flat / "val_annotations.txt").write_text("".join(sorted(lines)))
    other = opened(tmp_path / "flat", "val")
    assert other.fingerprint == found.fingerprint and other.classes == found.classes
    assert names_of(other) == names_of(found) and (other.leaf == found.leaf).all()
    assert all(other.content(i) == found.content(i) for i in range(0, 10_000, 97))
    (flat / "images" / "val_0.JPEG").unlink()
    with pytest.raises(image_set.DataError, match=r"differ by 1 files \(\['val_0\.JPEG'\]\)"):
        opened(tmp_path / "flat", "val")


def test_real_twins(real_data):
    pairs = image_set.twins(real_data / "tiny-imagenet-duplicates.csv")
    assert len(pairs) == 7
    assert ("n01855672/n01855672_44.JPEG", "n02002724/val_2157.JPEG") in pairs
