"""The plan of the house: imports go down, packages stay small, and the picture is of this code."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import house  # noqa: E402

LIBRARY = ROOT / "lib" / "granularity"
FLOOR = {name: number for number, names in enumerate(house.FLOORS) for name in names}


def test_every_package_has_a_floor():
    packages = {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()}
    packages |= {path.stem for path in LIBRARY.glob("*.py")} - {
        "__init__",
        "__main__",
        *house.DOORS,
    }
    assert packages == set(FLOOR)


def test_imports_go_down():
    for (above, below), files in house.imports().items():
        assert FLOOR[above] > FLOOR[below], f"{files[0]} imports from {below}, which is no lower"


def test_an_import_that_goes_up_is_found(tmp_path):
    for package, text in (("files", "from granularity.pages import cards\n"), ("pages", "")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(text)
    (tmp_path / "pages" / "cards.py").write_text("")
    assert house.imports(tmp_path) == {("files", "pages"): ["files/__init__"]}


@pytest.mark.parametrize("door", house.DOORS)
def test_a_door_is_only_a_door(door):
    text = (LIBRARY / f"{door}.py").read_text(encoding="utf-8")
    assert "commands.main import main" in text and len(text.splitlines()) < 10


def test_no_package_is_too_full():
    for package in {path.parent for path in LIBRARY.rglob("*.py")}:
        files = [*package.glob("*.py")]
        assert len(files) <= 15, f"{package.name} has {len(files)} files"  # fourteen and __init__
        for file in files:
            lines = len(file.read_text(encoding="utf-8").splitlines())
            assert lines <= 400, f"{file.name} has {lines} lines"


def test_the_picture_is_of_this_code():
    page = house.PAGE.read_text(encoding="utf-8")
    assert house.put(page, house.drawn(house.imports())) == page, "run scripts/house.py"


def test_a_page_without_a_place_is_refused():
    with pytest.raises(ValueError, match="no place for the plan"):
        house.put("# Contributing\n", "picture")
