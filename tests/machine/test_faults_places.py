"""Where it runs: clocks, decimal commas, odd paths, folders that nobody may write to."""

import errno
import json
import locale
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from faults_seen import saw
from PIL import Image

from granularity import files, labels, notebook
from granularity.claims import rules
from granularity.images import image_set
from granularity.pages import cards
from granularity.records import record, runner, tables

ROOT = Path(__file__).resolve().parents[2]
ODD = "Bilder & Töne (1)/it's a 100% «test» 数据"


def drawn(root: Path, images: int = 3) -> Path:
    """A set of a few images of two classes."""
    for label in ("n1", "n2"):
        (root / label).mkdir(parents=True)
        for number in range(images):
            shade = np.full((8, 8, 3), 20 * number, np.uint8)
            Image.fromarray(shade).save(root / label / f"{number}.png")
    return root


# -------------------------------------------------------------------------------------- the clock


@pytest.mark.fault("the clock set back by an hour during a run", "no negative times; read as any")
def test_a_clock_that_goes_backwards_makes_no_negative_times(tmp_path, monkeypatch):
    started = time.time()
    monkeypatch.setattr(runner.time, "time", lambda: started - 3600)
    path = tmp_path / "record.json"
    made = record.write(path, kind="x.y", metrics={"error": 0.5}, started=started)
    assert made["seconds"] == 0
    assert record.read(path) == made
    saw(f"seconds: {made['seconds']}; started: an hour before, as the clock has it")


@pytest.mark.fault("folders of images from the future", "listed right, and seen when they change")
def test_folders_from_the_future_are_listed_each_time(tmp_path):
    root, later = drawn(tmp_path / "set"), time.time() + 86_400
    for folder in (root, root / "n1", root / "n2"):
        os.utime(folder, (later, later))
    assert len(image_set.open_set(root, cache=tmp_path / "cache")) == 6
    Image.new("RGB", (8, 8)).save(root / "n1" / "new.png")
    os.utime(root / "n1", (later, later))
    found = len(image_set.open_set(root, cache=tmp_path / "cache"))
    assert found == 7
    saw(f"6 images, then {found}, though the folder's time is the same")


# ------------------------------------------------------------------------------------- the locale


@pytest.fixture
def decimal_comma(tmp_path, monkeypatch):
    """German numbers in this process; skips, visibly, where they cannot be had."""
    folder = tmp_path / "locales"
    folder.mkdir()
    command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no localedef with the source of de_DE here: apt-get install locales")
    monkeypatch.setenv("LOCPATH", str(folder))
    before = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    assert locale.localeconv()["decimal_point"] == ","
    assert locale.str(0.5) == "0,5"
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.fault("a locale with a decimal comma", "works: numbers keep their points")
def test_a_decimal_comma_changes_no_number(tmp_path, decimal_comma):
    path = tmp_path / "record.json"
    made = record.write(path, kind="x.y", metrics={"error": 0.125})
    assert '"error": 0.125' in path.read_text()
    assert record.read(path) == made
    assert yaml.safe_load(yaml.safe_dump({"learning_rate": 0.05})) == {"learning_rate": 0.05}
    assert notebook.assignments("learning_rate = 0.05") == {"learning_rate": 0.05}
    book = rules.read((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
    assert book.tables["table1"].rows[0][-1] == 77.91
    shown = cards.number(0.4125, 0.4, 0.425, 8)
    assert shown == "41.2% (40.0–42.5), 8 seeds"
    saw(f"0.125 in the record; {shown} on the scoreboard; 0,5 by the locale")


# -------------------------------------------------------------------------------------- the paths


@pytest.mark.fault("a path with spaces, quotes, accents and percent signs", "works")
def test_an_odd_path_is_a_path(tmp_path):
    root = drawn(tmp_path / ODD / "set")
    found = image_set.open_set(root, cache=tmp_path / ODD / "cache")
    assert image_set.decode(found, 8, progress=False).shape == (6, 3, 8, 8)
    subprocess.run(["tar", "-cf", tmp_path / ODD / "t.tar", "-C", root, "n1", "n2"], check=True)
    packed = image_set.open_set(tmp_path / ODD / "t.tar", cache=tmp_path / ODD / "cache")
    assert packed.fingerprint == found.fingerprint
    made = record.write(tmp_path / ODD / "runs" / "record.json", kind="x.y", metrics={})
    assert record.read(tmp_path / ODD / "runs" / "record.json") == made
    function = labels.from_sets("ä ö/ü", ["é 1"], [{"«x»"}])
    labels.save(function, tmp_path / ODD / "labels.npz")
    assert labels.load(tmp_path / ODD / "labels.npz").fingerprint == function.fingerprint
    with files.alone(tmp_path / ODD / "stage"):
        assert (tmp_path / ODD / "stage" / "lock").exists()
    saw(f"in {ODD}: images from folders and from a tar file, a record, labels, a lock")


@pytest.mark.fault("input folders on a disk mounted read-only", "works; nothing is written")
def test_a_read_only_disk_serves_as_input(tmp_path):
    root, mount = drawn(tmp_path / "set"), tmp_path / "mounted"
    mount.mkdir()
    bind = ["mount", "--bind", str(root), str(mount)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here: that needs root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(mount)], check=True)
        with pytest.raises(OSError) as refused:
            (mount / "x").touch()
        assert refused.value.errno == errno.EROFS
        found = image_set.open_set(mount, cache=tmp_path / "cache", skip_broken=True)
        assert image_set.decode(found, 8, progress=False).shape == (6, 3, 8, 8)
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    assert sorted(path.name for path in root.iterdir()) == ["n1", "n2"]
    saw("all six images decoded; the index file lies in the cache")


@pytest.mark.fault("a cache folder that cannot be written to", "an error that names it")
def test_a_cache_that_is_a_file_is_named(tmp_path):
    root = drawn(tmp_path / "set")
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(OSError, match="cache"):
        image_set.open_set(root, cache=tmp_path / "cache")


@pytest.mark.fault("a record read on another machine, of other versions", "read as any")
def test_a_record_of_another_machine_is_read(tmp_path):
    path = tmp_path / "a" / "record.json"
    made = record.write(path, kind="x.y", fingerprint="a", metrics={"error": 0.5})
    del made["checksum"]
    made["made_by"]["packages"] = {"python": "3.13.0", "torch": "9.9"}
    made["made_by"]["device"] = {"processor": "Größter", "cores": 1, "system": "Darwin arm64"}
    made["checksum"] = runner.digest(made)
    path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    record.write(tmp_path / "record.json", kind="contents of x.y", metrics={}, runs=["a"])
    assert tables.table(tmp_path)["machine"][0]["processor"] == "Größter"
    saw("one row, with the other machine's name")
