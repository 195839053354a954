"""Images on their way to the device: from files through workers, or from memory in whole batches.

Files are decoded by the workers, or where the network is. All give, for each micro-batch of a plan,
normalised images (n, 3, size, size) and leaves (n,).
What chance does to an image depends on the seed, the epoch and the image (from files) or its place
in the step's batch (from memory): never on workers, processes, or where a run was taken up again.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import timm.data
import torch
import torchvision
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from granularity.training.recipe import Recipe
from granularity.training.sampling import MicroBatch


@dataclass(frozen=True)
class Memory:
    """Decoded images, all where the network is: uint8 `pixels` (M, 3, size, size), `leaf` (M,).

    `rows` (N,) are the images that belong to this set, all where None: runs share the pixels.
    """

    pixels: Tensor
    leaf: Tensor
    recipe: Recipe
    rows: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where the images are not of the recipe's size, or it wants more."""
        size, wanted = tuple(self.pixels.shape[-2:]), self.recipe.image_size
        if size != (wanted, wanted):
            raise ValueError(f"images of {size} pixels in memory, the recipe wants {wanted}")
        if self.recipe.randaugment:
            raise ValueError("RandAugment works on files; images in memory are cropped or shifted")
        if self.recipe.decoder != "pillow":
            raise ValueError(f"decoder {self.recipe.decoder!r} is for files; these are in memory")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.leaf if self.rows is None else self.rows)

    def batches(
        self, plan: Iterator[MicroBatch], train: bool, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and leaves of each micro-batch."""
        stored, leaf = self.pixels.to(device), self.leaf.to(device)  # once: no copy a step
        for batch in plan:
            samples = batch.samples if self.rows is None else self.rows[batch.samples]
            index = torch.from_numpy(samples).to(device)
            pixels = stored[index]
            if train:
                pixels = augmented(pixels, self.recipe, batch)
            yield normalised(pixels), leaf[index]


def normalised(pixels: Tensor) -> Tensor:
    """From 0 to 255 to -1 to 1, as Inception and the ViT code have it (L)."""
    return pixels.float().div_(127.5).sub_(1.0)


def augmented(pixels: Tensor, recipe: Recipe, batch: MicroBatch) -> Tensor:
    """A whole batch, each image with a shift or a crop of its own, half of them mirrored.

    The numbers are drawn for the step's whole batch and each place takes its own, so that
    micro-batches and processes share one draw.
    """
    if recipe.augmentation == "none":
        return pixels
    rng = np.random.default_rng([*batch.seed, 2])
    draw = torch.from_numpy(rng.random((5, recipe.batch_size))[:, batch.places]).to(pixels.device)
    if recipe.augmentation == "pad":
        return shifted(pixels, draw)
    return cropped(pixels, draw)


def shifted(pixels: Tensor, draw: Tensor) -> Tensor:
    """Shifts by up to an eighth of the size, the border mirrored; half of the images mirrored."""
    size = pixels.shape[-1]
    reach = size // 8
    padded = functional.pad(pixels.float(), [reach] * 4, mode="reflect").to(pixels.dtype)
    start = (draw[:2] * (2 * reach + 1)).long()  # (2, n)
    steps = torch.arange(size, device=pixels.device)
    rows, columns = start[0, :, None] + steps, start[1, :, None] + steps
    columns = torch.where(draw[2, :, None] < 0.5, columns, columns.flip(1))
    image = torch.arange(len(pixels), device=pixels.device)[:, None, None, None]
    channel = torch.arange(pixels.shape[1], device=pixels.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def cropped(pixels: Tensor, draw: Tensor) -> Tensor:
    """Inception's crop: an area share of 0.08 to 1, an aspect of 3/4 to 4/3, mirrored by half."""
    area = 0.08 + 0.92 * draw[0]
    aspect = torch.exp((2 * draw[1] - 1) * np.log(4 / 3))
    wide, high = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    theta = torch.zeros(len(pixels), 2, 3, device=pixels.device)
    theta[:, 0, 0] = wide * torch.where(draw[2] < 0.5, 1.0, -1.0)
    theta[:, 1, 1] = high
    theta[:, 0, 2] = (2 * draw[3] - 1) * (1 - wide)
    theta[:, 1, 2] = (2 * draw[4] - 1) * (1 - high)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(
        pixels.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


class Seeded(Dataset):
    """Images by (index, seed, epoch): what chance does to an image is a function of the three."""

    def __init__(self, images, leaf: np.ndarray, transform: Callable):
        """`images` has `read(index)`, `leaf` one number for each; `transform` is timm's."""
        self.images, self.leaf, self.transform = images, leaf, transform

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, int]:
        """The transformed image and its leaf."""
        index = key[0]
        draw_by(*key)
        return self.transform(self.images.read(index)), int(self.leaf[index])


def draw_by(index: int, seed: int, epoch: int) -> None:
    """Sets what chance draws for an image in an epoch."""
    state = np.random.SeedSequence([seed, epoch, index]).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))  # noqa: NPY002  timm's RandAugment draws from this state
    torch.default_generator.manual_seed(int(state[2]))  # torch.manual_seed takes 0.5 ms


class Encoded(Dataset):
    """The files' bytes by (index, seed, epoch), for a device that decodes them."""

    def __init__(self, images, leaf: np.ndarray):
        """`images` has `content(index)`, `leaf` one number for each."""
        self.images, self.leaf = images, leaf

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, int, tuple[int, int, int]]:
        """The bytes (n,), the leaf, and the key that chance depends on."""
        content = np.frombuffer(self.images.content(key[0]), np.uint8)
        return torch.from_numpy(content.copy()), int(self.leaf[key[0]]), key


def decoded(
    encoded: list[Tensor], rows: list[int], read: Callable[[int], Image], device: torch.device
) -> list[Tensor]:
    """RGB images (3, height, width), uint8 on the device, of the bytes of some rows' files.

    JPEG by torchvision in one call; a file that it refuses, and any other kind, by `read`, which is
    Pillow's and raises an error that names what it refuses too.
    """
    mode = torchvision.io.ImageReadMode.RGB
    try:
        return torchvision.io.decode_jpeg(encoded, mode, device=device)
    except RuntimeError:
        if len(encoded) > 1:
            each = zip(encoded, rows, strict=True)
            return [decoded([content], [row], read, device)[0] for content, row in each]
        pixels = np.asarray(read(rows[0]))
        return [torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(device)]


@dataclass(frozen=True)
class Files:
    """Images decoded and transformed by `workers` processes as they are needed, as timm does it."""

    images: object
    recipe: Recipe
    rows: np.ndarray | None = None
    leaf: np.ndarray | None = None  # for each image of the set, where not its own
    workers: int = 0

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images if self.rows is None else self.rows)

    def transform(self, train: bool) -> Callable:
        """timm's transform for the recipe."""
        recipe = self.recipe
        plain = {"interpolation": "bicubic", "use_prefetcher": True}  # bytes; the device normalises
        if not train or recipe.augmentation == "none":
            return timm.data.create_transform(recipe.image_size, crop_pct=1.0, **plain)
        if recipe.augmentation == "pad":
            raise ValueError("shifts of a padded image are for images in memory; use 'crop'")
        return timm.data.create_transform(
            recipe.image_size,
            is_training=True,
            color_jitter=0.0,
            scale=(0.08, 1.0),
            auto_augment=recipe.randaugment or None,
            **plain,
        )

    def batches(
        self, plan: Iterator[MicroBatch], train: bool, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and leaves of each micro-batch, loaded ahead."""
        if self.recipe.decoder == "device":
            yield from self.decoded_there(plan, train, device)
            return
        loader = DataLoader(
            Seeded(self.images, self.leaves(), self.transform(train)),
            batch_sampler=self.keys(plan),
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
        )
        try:
            for pixels, leaf in loader:
                moved = pixels.to(device, non_blocking=True)
                yield normalised(moved), leaf.to(device, non_blocking=True)
        except Exception as error:
            # Its traceback would hold torch's iterator, and each worker then takes 5 s to end.
            raise error.with_traceback(None)  # noqa: B904

    def keys(self, plan: Iterator[MicroBatch]) -> Iterator[list[tuple[int, int, int]]]:
        """What chance depends on, for each image of each micro-batch: (index, seed, epoch)."""
        rows = np.arange(len(self.images)) if self.rows is None else self.rows
        return ([(int(s), *batch.seed[:2]) for s in rows[batch.samples]] for batch in plan)

    def leaves(self) -> np.ndarray:
        """The leaf of each image of the whole set."""
        return self.images.leaf if self.leaf is None else self.leaf

    def decoded_there(
        self, plan: Iterator[MicroBatch], train: bool, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The same, where workers only read: the device decodes, and crops with the same draws."""
        if self.images.pad:
            raise ValueError(
                "images that are padded to squares are Pillow's work: decoder 'pillow'"
            )
        loader = DataLoader(
            Encoded(self.images, self.leaves()),
            batch_sampler=self.keys(plan),
            num_workers=self.workers,
            collate_fn=list,  # the bytes of an image are as many as they are
        )
        transform = self.transform(train)
        try:
            for items in loader:
                encoded, leaf, keys = zip(*items, strict=True)
                rows, found = [key[0] for key in keys], []
                there = decoded([*encoded], rows, self.images.read, device)
                for key, image in zip(keys, there, strict=True):
                    draw_by(*key)
                    found.append(transform(image))
                yield normalised(torch.stack(found)), torch.tensor(leaf, device=device)
        except Exception as error:
            raise error.with_traceback(None)  # noqa: B904  as above
