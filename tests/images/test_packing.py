"""Packed images: smaller, all there, the same set by name, the same bytes after a kill."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from image_files import CLASSES, encoded, laid_out, settled
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation

from granularity.commands import check, pack
from granularity.experiments import sets
from granularity.images import image_set, subset
from granularity.images.packing import index, shrinking


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sets.opened.cache_clear()


@pytest.fixture
def root(tmp_path):
    """Large images of several kinds, and small ones."""
    root = laid_out(tmp_path / "set")
    kinds = {
        "wide.JPEG": encoded(size=(90, 48)),
        "high.png": encoded("PNG", size=(40, 100)),
        "grey.JPEG": encoded(mode="L", size=(64, 64)),
        "print.JPEG": encoded(mode="CMYK", size=(50, 70)),
    }
    for name, content in kinds.items():
        (root / CLASSES[0] / name).write_bytes(content)
    return settled(root)


def names_of(images) -> list[str]:
    return [os.fsdecode(name) for name in images.names]


def test_a_packed_set_is_the_same_set_in_smaller_images(root, tmp_path):
    images = image_set.open_set(root)
    packed = shrinking.pack(images, tmp_path / "out", size=32, per_shard=4)
    found = image_set.open_set(tmp_path / "out")
    assert names_of(found) == names_of(images) and found.classes == images.classes
    assert packed.images == len(images) == 13 and [s.images for s in packed.shards] == [4, 4, 4, 1]
    assert sum(shard.kept for shard in packed.shards) == 9 and packed.broken == ()
    sides = {}
    for i, name in enumerate(names_of(images)):
        before, after = images.read(i), found.read(i)
        sides[name.rpartition("/")[2]] = after.size
        if min(before.size) <= 32:
            assert found.content(i) == images.content(i)
        else:
            assert min(after.size) == 32
            wanted = np.asarray(before.resize(after.size, Image.Resampling.BICUBIC), float)
            assert np.abs(np.asarray(after, float) - wanted).mean() < 4  # of 255
            with Image.open(io.BytesIO(found.content(i))) as kind:
                assert kind.format == "JPEG"
    assert sides["wide.JPEG"] == (60, 32) and sides["high.png"] == (32, 80)


def test_a_record_says_packed_and_at_which_size(root, tmp_path):
    images = image_set.open_set(root)
    plain = subset.whole(images)
    assert "edition" not in plain.stated()
    prints = {plain.fingerprint}
    for size in (32, 1000):  # with 1000 every byte is as it was
        shrinking.pack(images, tmp_path / f"{size}", size=size)
        part = subset.whole(image_set.open_set(tmp_path / f"{size}"))
        told = part.stated()["edition"]
        assert told == f"packed at {size} (shorter side; JPEG, quality 90)"
        prints.add(part.fingerprint)
    assert len(prints) == 3


@pytest.mark.fault("broken images in a set that is packed", "listed and counted; runs ask for them")
def test_every_image_is_accounted_for(root, tmp_path, capsys):
    (root / CLASSES[1] / "a.JPEG").write_bytes(b"no image")
    (root / CLASSES[2] / "b.JPEG").write_bytes(encoded(size=(60, 60))[:-200])
    pack.main(["pack", str(root), str(tmp_path / "out"), "--size", "32"])
    told = capsys.readouterr().out
    assert "13 images in 1 tar files" in told and "2 are broken, listed in packed.json" in told
    held = json.loads((tmp_path / "out" / "packed.json").read_text())
    assert held["source"]["images"] == 15
    broken = [name for name, _ in held["shards"][0]["broken"]]
    assert broken == [f"{CLASSES[1]}/a.JPEG", f"{CLASSES[2]}/b.JPEG"]
    with pytest.raises(image_set.DataError, match=r"a\.JPEG': no whole image.*, and 1 more"):
        image_set.open_set(tmp_path / "out")
    found = image_set.open_set(tmp_path / "out", skip_broken=True)
    assert len(found) == 13 and found.left_out == {"broken": 2}
    with pytest.raises(SystemExit):
        check.main(["check", str(tmp_path / "out")])
    assert "skip_broken" in capsys.readouterr().err
    check.main(["check", str(tmp_path / "out"), "--skip-broken"])
    assert "edition      packed at 32" in capsys.readouterr().out


@pytest.mark.fault("empty files in a set that is packed", "refused by name; or listed, where asked")
def test_empty_files_are_listed_too(root, tmp_path, capsys):
    (root / CLASSES[1] / "empty.JPEG").touch()
    with pytest.raises(SystemExit):
        pack.main(["pack", str(root), str(tmp_path / "out")])
    assert "an empty file" in capsys.readouterr().err and not (tmp_path / "out").exists()
    pack.main(["pack", str(root), str(tmp_path / "out"), "--skip-broken"])
    assert "1 are broken" in capsys.readouterr().out
    found = image_set.open_set(tmp_path / "out", skip_broken=True)
    assert len(found) == 13 and dict(found.skipped) == {f"{CLASSES[1]}/empty.JPEG": "an empty file"}


SLOWLY = """
import sys, time
from pathlib import Path
from granularity.images import image_set
from granularity.images.packing import shrinking
images, calls, real = image_set.open_set(sys.argv[1]), [], shrinking.shard
def slow(path, found):
    def each():
        for image in found:
            yield image
            if path.name == "00002.tar":
                Path(sys.argv[3]).touch()
                time.sleep(60)
    return real(path, each())
shrinking.shard = slow
shrinking.pack(images, Path(sys.argv[2]), size=32, per_shard=3)
"""


@pytest.mark.fault("packing that is killed in the middle of a tar file", "goes on; the same bytes")
def test_a_killed_packing_goes_on_where_it_was(root, tmp_path, monkeypatch):
    out, seen = tmp_path / "out", tmp_path / "seen"
    child = subprocess.Popen([sys.executable, "-c", SLOWLY, str(root), str(out), str(seen)])
    try:
        while not seen.exists() and child.poll() is None:
            time.sleep(0.05)
        assert child.poll() is None
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    assert sorted(file.name for file in out.glob("*.tar*")) == [
        "00000.tar",
        "00001.tar",
        "00002.tar.part",
    ]
    with pytest.raises(image_set.DataError, match="stopped after 6 of 13 images; the same"):
        image_set.open_set(out)
    read, images = [], image_set.open_set(root)
    real = shrinking.shrunk
    monkeypatch.setattr(
        shrinking, "shrunk", lambda images, i, *more: read.append(i) or real(images, i, *more)
    )
    shrinking.pack(images, out, size=32, per_shard=3)
    assert sorted(read) == list(range(6, 13))
    shrinking.pack(images, tmp_path / "at once", size=32, per_shard=3)
    files = {file.name: file.read_bytes() for file in out.iterdir()}
    assert files == {file.name: file.read_bytes() for file in (tmp_path / "at once").iterdir()}


def test_a_set_that_is_packed_already_is_left_as_it_is(root, tmp_path, monkeypatch):
    images = image_set.open_set(root)
    first = shrinking.pack(images, tmp_path / "out", size=32)
    monkeypatch.setattr(shrinking, "shrunk", None)
    assert shrinking.pack(images, tmp_path / "out", size=32) == first


@pytest.mark.fault("packing into a folder that holds something else", "refused; nothing is changed")
def test_what_lies_there_already_is_not_touched(root, tmp_path):
    images, out = image_set.open_set(root), tmp_path / "out"
    shrinking.pack(images, out, size=32)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(image_set.DataError, match=r"packed at 32 .*another folder.*packed at 48"):
        shrinking.pack(images, out, size=48)
    (root / CLASSES[0] / "more.JPEG").write_bytes(encoded())
    with pytest.raises(image_set.DataError, match=r"13 images.*another folder.*14 images"):
        shrinking.pack(image_set.open_set(root), out, size=32)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    with pytest.raises(image_set.DataError, match=r"holds n01440764, and no packed\.json"):
        shrinking.pack(images, root, size=32)
    with pytest.raises(ValueError, match=r"quality 0: .*1 to 100"):
        shrinking.pack(images, tmp_path / "new", quality=0)


@pytest.mark.fault("a packed set that lost a tar file, or its index", "refused, with the numbers")
def test_a_packed_set_that_lost_something_is_refused(root, tmp_path):
    packed = shrinking.pack(image_set.open_set(root), tmp_path / "out", size=32, per_shard=4)
    (tmp_path / "out" / "00003.tar").unlink()
    with pytest.raises(image_set.DataError, match=r"12 images, 13 by packed\.json: is a tar file"):
        image_set.open_set(tmp_path / "out")
    (packed.folder / index.FILE).write_text('{"shards": 3}')
    with pytest.raises(image_set.DataError, match=r"packed\.json: no index of packed images"):
        image_set.open_set(tmp_path / "out")


def test_parts_are_packed_and_opened_by_the_roots_name(root, tmp_path):
    both = tmp_path / "tiny-imagenet-200"
    both.mkdir()
    root.rename(both / "train")
    laid_out(both / "val")
    out = tmp_path / "tiny-imagenet-200-small"
    pack.main(["pack", str(both), str(out), "--part", "train", "val", "--size", "32"])
    for part, count in (("train", 13), ("val", 9)):
        found = sets.opened(str(out), part, "tiny-imagenet-200")
        assert len(found) == count and found.name == f"tiny-imagenet-200/{part}"


def test_a_crop_means_the_same_region():
    """With one state of chance a crop has the same share of each side, to a pixel.

    But for the few that one of the two images refuses as a pixel too wide, and draws again.
    """
    crop = RandomResizedCropAndInterpolation(224, scale=(0.08, 1.0))
    large, small = Image.new("RGB", (500, 375)), Image.new("RGB", (341, 256))
    apart, shares = [], []
    for seed in range(300):
        drawn = []
        for image in (large, small):
            random.seed(seed)
            top, left, height, width = crop.get_params(image, crop.scale, crop.ratio)
            assert top + height <= image.height and left + width <= image.width
            drawn.append((height / image.height, width / image.width))
        apart.append(np.abs(np.subtract(*drawn)).max())
        shares.append(drawn[1])
    assert np.mean(np.array(apart) < 1 / 256) > 0.98
    assert np.prod(shares, axis=1).min() < 0.12 and np.prod(shares, axis=1).max() > 0.8
