"""Near copies: what is found, what is not, and the search by brute force."""

import io
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import settled
from PIL import Image

from granularity.images import copies, near_copies, splits
from granularity.images.image_set import open_set

IMAGES = 60  # of different textures


def texture(seed, side=84):
    """An image as a photograph is: the lower a frequency, the stronger."""
    random = np.random.default_rng(seed)
    image = np.zeros((side, side, 3))
    for cells in (2, 4, 8, 16, 32):
        noise = random.integers(0, 256, (cells, cells, 3), np.uint8)
        image += np.asarray(Image.fromarray(noise).resize((side, side), 3), float) / cells
    return Image.fromarray((image * 255 / image.max()).astype(np.uint8))


def again(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return Image.open(file)


def shrunk(image, *sides):
    for side in sides:
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    return image


COPIES = {
    "the same": lambda image: image,
    "coded again": lambda image: again(image, quality=60),
    "shrunk to 64": lambda image: shrunk(image, 64),
    "shrunk to 64, then to 32": lambda image: shrunk(image, 64, 32),
    "shrunk and coded again": lambda image: again(shrunk(image, 64), quality=85),
    "darker": lambda image: image.point(lambda value: 0.7 * value),
    "brighter, with less contrast": lambda image: image.point(lambda value: 60 + 0.6 * value),
    "grey": lambda image: image.convert("L"),
}


def stored(root: Path, images):
    (root / "n02084071").mkdir(parents=True)
    for i, image in enumerate(images):
        image.save(root / "n02084071" / f"{i:02}.png")
    return open_set(settled(root), cache=root.parent / "index")


@pytest.mark.parametrize("change", COPIES)
def test_copies_are_found_and_nothing_else(tmp_path, change):
    originals = [texture(seed) for seed in range(IMAGES)]
    first = stored(tmp_path / "first", originals)
    second = stored(tmp_path / "second", [COPIES[change](image) for image in originals[:9]])
    found = near_copies.near_copies([first, second])
    assert [(pair.first, pair.second) for pair in found] == [
        (f"first/n02084071/{i:02}.png", f"second/n02084071/{i:02}.png") for i in range(9)
    ]
    if change == "the same":
        assert {pair[2:] for pair in found} == {(0, 1.0)}


def test_images_of_one_brightness_are_copies_of_none(tmp_path):
    flat = [Image.new("RGB", (64, 64), (shade,) * 3) for shade in (0, 0, 9, 255)]
    assert near_copies.near_copies([stored(tmp_path / "flat", flat)]) == []


def test_one_set_twice_is_refused(tmp_path):
    images = stored(tmp_path / "one", [texture(0), texture(1)])
    with pytest.raises(ValueError, match="two sets are called one"):
        near_copies.near_copies([images, images])


# A few bits of few hashes are changed, so that there are close ones.
changed = st.tuples(
    st.sampled_from([0, 2**64 - 1, 0x0123456789ABCDEF]), st.sets(st.integers(0, 63), max_size=9)
).map(lambda drawn: drawn[0] ^ sum(1 << bit for bit in drawn[1]))
number = st.integers(0, 2**64 - 1)


@given(st.lists(changed | number, max_size=24), st.integers(0, 64))
def test_the_search_finds_what_brute_force_finds(hashed, within):
    wanted = [
        (i, j, (hashed[i] ^ hashed[j]).bit_count())
        for i, j in combinations(range(len(hashed)), 2)
        if (hashed[i] ^ hashed[j]).bit_count() <= within
    ]
    found = near_copies.close(np.array(hashed, np.uint64), within)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted


@pytest.mark.parametrize("block", [1, 7, 64, 10_000])
def test_the_size_of_a_block_changes_nothing(monkeypatch, block):
    hashed = np.random.default_rng(0).integers(0, 2**64, 50, np.uint64)
    whole = near_copies.close(hashed, 28)
    monkeypatch.setattr(near_copies, "BLOCK", block)
    assert len(whole[0]) and all(map(np.array_equal, whole, near_copies.close(hashed, 28)))


def test_correlations_are_numpys():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32)).astype(np.uint8)
    first, second = np.triu_indices(6)
    wanted = np.corrcoef(pixels.reshape(6, -1))[first, second]
    np.testing.assert_allclose(near_copies.correlations(pixels, first, second), wanted)


def test_the_table_has_the_known_duplicates_and_is_small(tmp_path):
    pairs = copies.known()
    assert len(pairs) == 51 and pairs == sorted(set(pairs))
    by_names = {(pair.first, pair.second): pair for pair in pairs}
    groups = splits.groups(splits.DUPLICATES)
    known = [tuple(sorted(f"tiny-imagenet-200/{p}/{name}" for p, name in g)) for g in groups]
    assert len(known) == 27 and all(by_names[pair][2:] == (0, 1.0) for pair in known)
    form = re.compile(r"(tiny-imagenet-200|mini-imagenet-75)/(train|val)/n\d{8}/\w+\.(JPEG|jpg)")
    for pair in pairs:
        assert form.fullmatch(pair.first) and form.fullmatch(pair.second)
        assert pair.first < pair.second
        assert pair.distance <= near_copies.WITHIN and pair.correlation >= near_copies.ALIKE
    near_copies.write(pairs, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == copies.TABLE.read_bytes()
    assert copies.TABLE.stat().st_size < 100_000
