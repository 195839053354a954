"""The measure of packed images: its ratios are those of its rates, and both sets are read."""

import numpy as np
import pytest

from granularity.benchmarks import packing


class Names:
    """A set as far as it is asked here."""

    def __init__(self, names):
        self.names = np.array(names, "S")

    def __len__(self):
        return len(self.names)


def test_ratios_are_of_the_rates_on_the_same_images(monkeypatch):
    """With clocks that say what each set takes; image 1 of three is broken, so not packed."""
    plain, packed = Names([*"abc"]), Names([*"ac"])
    seen = {id(plain): [], id(packed): []}

    def clock(of_plain, of_packed):
        def work(found, rows):
            seen[id(found)].append(found.names[rows].tolist())
            return of_plain if found is plain else of_packed

        return work

    monkeypatch.setattr(packing, "decoded", clock(4.0, 2.0))
    monkeypatch.setattr(packing, "cropped", clock(6.0, 4.0))
    assert packing.decoding(plain, packed, 8, 3) == {
        "decode_per_second": 2.0,
        "decode_packed": 4.0,
        "decode_ratio": 2.0,
        "crop_per_second": pytest.approx(8 / 6),
        "crop_packed": 2.0,
        "crop_ratio": 1.5,
    }
    assert seen[id(plain)] == seen[id(packed)] and len(seen[id(plain)]) == 6
    assert {name for names in seen[id(plain)] for name in names} == {b"a", b"c"}


def test_drawn_images_are_measured_as_a_training_reads_them():
    found = packing.packing(images=3, turns=1)["metrics"]
    assert set(found) == {
        f"{what}_{of}" for what in ("decode", "crop") for of in ("per_second", "packed", "ratio")
    }
    assert min(found.values()) > 0
