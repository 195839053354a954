"""Images on their way: chance depends on seed, epoch, step and image, and labels stay with them."""

import gc
import io
import math
import os
import time

import numpy as np
import pytest
import tiny_run as runs
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from granularity.images import decoding
from granularity.training import loading, sampling

CPU = torch.device("cpu")
IMAGES = 24


def pieces(batch_size=8, steps=range(6), micro_batch=8, rank=0, world_size=1, seed=5):
    return sampling.plan(
        IMAGES, batch_size, seed, steps, micro_batch=micro_batch, rank=rank, world_size=world_size
    )


def told(images, train=True, **split):
    """(step, place) → image and leaf, over all processes of a split."""
    found = {}
    for rank in range(split.get("world_size", 1)):
        plan = list(pieces(**split | {"rank": rank}))
        batches = images.batches(iter(plan), train, CPU)
        for piece, (x, leaf) in zip(plan, batches, strict=True):
            for row, place in enumerate(piece.places):
                assert (piece.step, place) not in found
                found[piece.step, place] = (x[row], int(leaf[row]), int(piece.samples[row]))
    return found


def same(ours, theirs):
    assert set(ours) == set(theirs)
    for key, (x, leaf, sample) in ours.items():
        assert torch.equal(x, theirs[key][0])
        assert (leaf, sample) == theirs[key][1:]


# ----------------------------------------------------------------------------------- in memory


def in_memory(augmentation, size=16, flat=False):
    """Random pixels, or images of one shade that says which image it is; leaf is 100 + image."""
    recipe = runs.recipe(image_size=size, batch_size=8, augmentation=augmentation)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (IMAGES, 3, size, size), generator=generator, dtype=torch.uint8)
    if flat:
        pixels = (10 * torch.arange(IMAGES, dtype=torch.uint8))[:, None, None, None]
        pixels = pixels.expand(IMAGES, 3, size, size).contiguous()
    return loading.Memory(pixels, 100 + torch.arange(IMAGES), recipe)


def drawn(step, place, epoch=None):
    """The five numbers that chance gives to a place of a step, as the module says it draws them."""
    epoch = step // (IMAGES // 8) if epoch is None else epoch
    return np.random.default_rng([5, epoch, step, 2]).random((5, 8))[:, place]


def by_hand_shifted(image, numbers):
    """One image at a time: the border mirrored, a window, a mirror."""
    size = image.shape[-1]
    reach = size // 8
    wide = np.pad(image, [(0, 0), (reach, reach), (reach, reach)], mode="reflect")
    top, left = (int(number * (2 * reach + 1)) for number in numbers[:2])
    window = wide[:, top : top + size, left : left + size]
    return window if numbers[2] < 0.5 else window[:, :, ::-1]


def by_hand_cropped(image, numbers):
    """One pixel at a time: the crop's corners, and between four pixels a bilinear mean."""
    size = image.shape[-1]
    area, aspect = 0.08 + 0.92 * numbers[0], (4 / 3) ** (2 * numbers[1] - 1)
    wide, high = min(1, math.sqrt(area * aspect)), min(1, math.sqrt(area / aspect))
    left = (1 + (2 * numbers[3] - 1)) * (1 - wide) / 2  # as shares of the image's side
    top = (1 + (2 * numbers[4] - 1)) * (1 - high) / 2
    crop = np.empty(image.shape)
    for row in range(size):
        for column in range(size):
            across = (column + 0.5) / size if numbers[2] < 0.5 else 1 - (column + 0.5) / size
            x = np.clip((left + wide * across) * size - 0.5, 0, size - 1)
            y = np.clip((top + high * (row + 0.5) / size) * size - 0.5, 0, size - 1)
            x0, y0 = int(x), int(y)
            x1, y1 = min(x0 + 1, size - 1), min(y0 + 1, size - 1)
            upper = image[:, y0, x0] * (1 - x + x0) + image[:, y0, x1] * (x - x0)
            lower = image[:, y1, x0] * (1 - x + x0) + image[:, y1, x1] * (x - x0)
            crop[:, row, column] = upper * (1 - y + y0) + lower * (y - y0)
    return crop


@pytest.mark.parametrize(
    ("augmentation", "by_hand", "tolerance"),
    [("pad", by_hand_shifted, 1e-6), ("crop", by_hand_cropped, 1e-4)],
)
def test_a_batch_in_memory_is_augmented_image_by_image(augmentation, by_hand, tolerance):
    images = in_memory(augmentation)
    mirrored = 0
    for (step, place), (x, _, sample) in told(images).items():
        numbers = drawn(step, place)
        wanted = by_hand(images.pixels[sample].numpy().astype(float), numbers) / 127.5 - 1
        np.testing.assert_allclose(x.numpy(), wanted, atol=tolerance)
        mirrored += numbers[2] >= 0.5
    assert 12 < mirrored < 36  # of 48


def test_without_chance_the_pixels_are_only_normalised():
    for images, train in ((in_memory("none"), True), (in_memory("crop"), False)):
        for x, _, sample in told(images, train).values():
            torch.testing.assert_close(x, images.pixels[sample] / 127.5 - 1)
            assert x.dtype == torch.float32
            assert x.min() >= -1 and x.max() <= 1


@pytest.mark.parametrize("augmentation", ["pad", "crop", "none"])
@given(micro_batch=st.integers(1, 8), world_size=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_micro_batches_in_memory_change_nothing(augmentation, micro_batch, world_size):
    images = in_memory(augmentation)
    same(told(images, micro_batch=micro_batch, world_size=world_size), told(images))


@pytest.mark.parametrize("augmentation", ["pad", "crop"])
def test_in_memory_every_step_draws_anew(augmentation):
    images = in_memory(augmentation)
    seen = {}
    for (step, _), (x, _, sample) in told(images).items():
        seen.setdefault(sample, {})[step] = x
    assert all(len(times) == 2 for times in seen.values())  # two epochs
    assert sum(torch.equal(*times.values()) for times in seen.values()) < 4


@pytest.mark.parametrize("augmentation", ["pad", "crop", "none"])
@pytest.mark.parametrize("train", [True, False])
def test_in_memory_leaves_stay_with_their_images(augmentation, train):
    for x, leaf, sample in told(in_memory(augmentation, flat=True), train).values():
        shade = ((x + 1) * 12.75).mean().round()
        assert leaf == 100 + sample == 100 + shade


def test_a_subset_in_memory_holds_its_own_rows():
    whole = in_memory("none", flat=True)
    rows = np.array([20, 3, 7, 11, 2, 23, 5, 13])
    some = loading.Memory(whole.pixels, whole.leaf, whole.recipe, rows=rows)
    assert len(some) == 8
    plan = sampling.MicroBatch(0, np.array([0, 5, 2]), np.array([0, 1, 2]), (0, 0, 0))
    ((x, leaf),) = some.batches(iter([plan]), train=False, device=CPU)
    assert leaf.tolist() == [120, 123, 107]
    assert ((x[:, 0, 0, 0] + 1) * 12.75).round().tolist() == [20, 23, 7]


@pytest.mark.fault("images of another size than the recipe's", "refused with both sizes")
def test_memory_refuses_another_size_and_randaugment():
    images = in_memory("pad")
    with pytest.raises(ValueError, match=r"\(16, 16\) pixels in memory, the recipe wants 8"):
        loading.Memory(images.pixels, images.leaf, runs.recipe(image_size=8))
    with pytest.raises(ValueError, match="RandAugment"):
        loading.Memory(
            images.pixels, images.leaf, runs.recipe(image_size=16, randaugment="rand-m9-n2")
        )


# ---------------------------------------------------------------------------------- from files


class Drawn:
    """Images that are drawn when read: noise, or one shade that says which image it is."""

    def __init__(self, flat=False):
        self.flat, self.leaf = flat, 100 + np.arange(IMAGES)

    def __len__(self):
        return IMAGES

    def read(self, index):
        pixels = np.random.default_rng(int(index)).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        if self.flat:
            pixels[:] = 10 * index
        return Image.fromarray(pixels)


def from_files(flat=False, workers=0, **changes):
    recipe = runs.recipe(image_size=16, batch_size=8, augmentation="crop", **changes)
    return loading.Files(Drawn(flat), recipe, workers=workers)


@pytest.mark.parametrize("randaugment", ["", "rand-m9-n2"])
def test_from_files_workers_micro_batches_and_processes_change_nothing(randaugment):
    plain = told(from_files(randaugment=randaugment))
    same(told(from_files(randaugment=randaugment, workers=2)), plain)
    same(told(from_files(randaugment=randaugment), micro_batch=3, world_size=2), plain)
    torch.manual_seed(99)
    same(told(from_files(randaugment=randaugment)), plain)


def test_from_files_a_run_taken_up_again_sees_the_same_images():
    whole = told(from_files())
    rest = told(from_files(), steps=range(4, 6))
    same(rest, {key: value for key, value in whole.items() if key[0] >= 4})


def test_from_files_every_epoch_draws_anew():
    seen = {}
    for (step, _), (x, _, sample) in told(from_files()).items():
        seen.setdefault(sample, {})[step] = x
    assert not any(torch.equal(*times.values()) for times in seen.values())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("train", [True, False])
def test_from_files_leaves_stay_with_their_images(train, workers):
    found = told(from_files(flat=True, workers=workers), train)
    for x, leaf, sample in found.values():
        assert x.shape == (3, 16, 16)
        shade = ((x + 1) * 12.75).mean().round()
        assert leaf == 100 + sample == 100 + shade


def test_a_subset_of_files_holds_its_own_rows_and_leaves():
    recipe = runs.recipe(image_size=16)
    rows = np.array([20, 3, 7, 11, 2, 23, 5, 13])
    leaf = np.full(IMAGES, -1)
    leaf[rows] = np.arange(8)
    some = loading.Files(Drawn(flat=True), recipe, rows=rows, leaf=leaf)
    assert len(some) == 8
    plan = sampling.MicroBatch(0, np.array([0, 5, 2]), np.array([0, 1, 2]), (0, 0, 0))
    ((x, found),) = some.batches(iter([plan]), train=False, device=CPU)
    assert found.tolist() == [0, 5, 2]
    assert ((x[:, 0, 0, 0] + 1) * 12.75).round().tolist() == [20, 23, 7]


def test_evaluation_from_files_takes_the_middle_and_no_chance():
    recipe = runs.recipe(image_size=20, batch_size=8)  # images are 20 high and 30 wide
    found = told(loading.Files(Drawn(), recipe), train=False)
    for x, _, sample in found.values():
        middle = np.asarray(Drawn().read(sample))[:, 5:25].transpose(2, 0, 1)
        np.testing.assert_allclose(x.numpy(), middle / 127.5 - 1, atol=1e-5)


@pytest.mark.fault(
    "an image that cannot be read, in the middle of training",
    "stops; names the image; no worker is waited for",
)
def test_an_image_that_cannot_be_read_stops_the_run_with_its_name():
    class Broken(Drawn):
        def read(self, index):
            if index == 17:
                raise ValueError("n0001/17.JPEG: no whole image")
            return super().read(index)

    for workers in (0, 2):
        recipe = runs.recipe(image_size=16, batch_size=8)
        with pytest.raises(ValueError, match=r"17\.JPEG"):
            told(loading.Files(Broken(), recipe, workers=workers))
        begun = time.monotonic()
        gc.collect()
        assert time.monotonic() - begun < 4  # no worker is waited for


def test_shifts_are_for_images_in_memory():
    with pytest.raises(ValueError, match="use 'crop'"):
        told(loading.Files(Drawn(), runs.recipe(image_size=16, augmentation="pad", batch_size=8)))


# ----------------------------------------------------------------- decoded where the network is


class Encoded:
    """Images as files' bytes: smooth JPEGs of several sizes; one is grey, one a PNG."""

    pad = False

    def __init__(self, broken=None):
        self.leaf, self.broken = 100 + np.arange(IMAGES), broken
        self.names = np.array([f"n0001/{i}.JPEG".encode() for i in range(IMAGES)])

    def __len__(self):
        return IMAGES

    def content(self, index):
        if index == self.broken:
            return b"\xff\xd8 no more of it"
        rng = np.random.default_rng(int(index))
        image = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        image = image.resize((60 + int(index), 48), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        (image.convert("L") if index == 3 else image).save(file, "PNG" if index == 5 else "JPEG")
        return file.getvalue()

    def read(self, index):
        return decoding.rgb(self.content(index), os.fsdecode(self.names[index]))


def there(decoder="device", workers=0, images=None, **changes):
    recipe = runs.recipe(image_size=32, batch_size=8, decoder=decoder, **changes)
    return loading.Files(images or Encoded(), recipe, workers=workers)


@pytest.mark.parametrize("train", [True, False])
def test_the_device_decodes_and_crops_as_pillow_does(train):
    """The same regions, mirrored alike; only the resampling rounds otherwise."""
    ours, pillow = told(there(), train), told(there("pillow"), train)
    assert set(ours) == set(pillow)
    for key, (x, leaf, sample) in ours.items():
        assert (leaf, sample) == pillow[key][1:]
        apart = 127.5 * (x - pillow[key][0]).abs()
        assert apart.mean() < 1.5 and apart.max() < 12, (key, float(apart.mean()))


def test_on_the_device_workers_micro_batches_and_processes_change_nothing():
    plain = told(there())
    same(told(there(workers=2)), plain)
    same(told(there(), micro_batch=3, world_size=2), plain)


def test_a_png_in_a_batch_is_pillow_s_and_the_rest_is_not_changed_by_it():
    images = Encoded()
    rows = [4, 5, 6]
    contents = [torch.frombuffer(bytearray(images.content(i)), dtype=torch.uint8) for i in rows]
    found = loading.decoded(contents, rows, images.read, CPU)
    for row, pixels in zip(rows, found, strict=True):
        assert torch.equal(pixels.permute(1, 2, 0), torch.tensor(np.asarray(images.read(row))))


@pytest.mark.fault("a broken image that the device is to decode", "stops; names the image")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named_where_the_device_decodes(workers):
    with pytest.raises(decoding.ImageError, match=r"n0001/17\.JPEG: no whole image"):
        told(there(images=Encoded(broken=17), workers=workers))


@pytest.mark.fault("decoding on the device together with {what}", "refused, with the reason")
@pytest.mark.parametrize("what", ["RandAugment", "images in memory", "images padded to squares"])
def test_what_the_device_cannot_decode_is_refused(what):
    with pytest.raises(ValueError, match=r"'pillow'|these are in memory"):
        if what == "RandAugment":
            there(randaugment="rand-m9-n2")
        elif what == "images in memory":
            pixels = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
            recipe = runs.recipe(image_size=16, decoder="device")
            loading.Memory(pixels, torch.zeros(4), recipe)
        else:
            images = Encoded()
            images.pad = True
            told(there(images=images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: nvJPEG was not tried")
def test_a_gpu_decodes_nearly_as_pillow_does():
    plan = [sampling.MicroBatch(0, np.arange(8), np.arange(8), (0, 0, 0))]
    ((ours, _),) = there().batches(iter(plan), False, torch.device("cuda"))
    ((pillow, _),) = there("pillow").batches(iter(plan), False, CPU)
    assert 127.5 * (ours.cpu() - pillow).abs().mean() < 3
