"""How fast training is, as ratios from one run: against timm's loop, and against a dense loss.

Each function measures both sides in turn, in one process, and returns their ratio beside the plain
numbers: on a busy machine the ratio means more than either.
"""

import contextlib
import math
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import timm.data
import timm.loss
import torch
from PIL import Image
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, dispatch_clip_grad
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from granularity.images import image_set
from granularity.training import engine, loading, losses, networks, processes, sampling
from granularity.training.optimisation import optimiser_of
from granularity.training.presets import preset
from granularity.training.recipe import Recipe

# ------------------------------------------------------------------------------------- the loss


def drawn(images: int, classes: int, labels: int, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """Logits as a new head gives them, about -ln K, and so many different labels of each image."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((images, classes), dtype=np.float32) - math.log(classes)
    first = rng.integers(0, classes, (images, 1))
    targets = (first + np.arange(labels) * (classes // labels)) % classes
    return torch.from_numpy(logits).to(device), torch.from_numpy(targets).to(device)


def dense_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """What one writes first: a multi-hot matrix, and torch's binary cross-entropy."""
    wanted = torch.zeros_like(logits).scatter_(1, targets, 1.0)
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)


LOSSES = {"index": losses.sigmoid_cross_entropy, "dense": dense_loss}


def loss_and_gradient(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """One forward and one backward pass; the gradient with respect to the logits."""
    logits = logits.detach().requires_grad_()
    LOSSES[kind](logits, targets).mean().backward()
    return logits.grad


def most_held() -> int:
    """Bytes: the most memory that this process has held so far.

    Linux's `getrusage` starts from what the parent held, so the process's own status is read there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def peak(kind: str, images: int, classes: int, labels: int, device: str) -> float:
    """Most memory that loss and gradient held beside the logits, in units of the logits' size."""
    logits, targets = drawn(images, classes, labels, 0, device)
    loss_and_gradient(kind, logits[:2], targets[:2])  # what is loaded once is not counted
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss_and_gradient(kind, logits, targets)
        used = torch.cuda.max_memory_allocated() - before
    else:
        before = psutil.Process().memory_info().rss
        loss_and_gradient(kind, logits, targets)
        used = most_held() - before
    return used / (logits.numel() * logits.element_size())


def loss(
    *,
    seed: int,
    images: int = 256,
    memory_images: int = 1024,
    classes: int = 21_843,
    labels: int = 2,
    repeats: int = 10,
    threads: int = 1,
    device: str = "cpu",
) -> dict:
    """Time of loss and gradient from given logits and labels, and peak memory, on both ways."""
    torch.set_num_threads(threads)
    logits, targets = drawn(images, classes, labels, seed, device)
    found = {kind: [] for kind in LOSSES}
    for turn in range(repeats + 2):
        for kind in LOSSES:
            with timed(device) as clock:
                loss_and_gradient(kind, logits, targets)
            if turn >= 2:  # the first ones load kernels and grow the heap
                found[kind].append(clock.seconds)
    pairs = zip(found["dense"], found["index"], strict=True)
    metrics = {f"{kind}_ms": 1e3 * statistics.median(found[kind]) for kind in LOSSES}
    metrics["speedup"] = statistics.median(dense / index for dense, index in pairs)
    for kind in LOSSES:
        asked = (kind, memory_images, classes, labels, device)
        metrics[f"{kind}_buffers"] = alone(peak, asked)
    return {"metrics": metrics}


def alone(function: Callable, arguments: tuple) -> float:
    """The result of a call in a fresh process, where nothing else has held memory before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


# ------------------------------------------------------------------------------------- training


class Held:
    """One batch that is there already, again and again: training without loading."""

    def __init__(self, batch: tuple[Tensor, Tensor], images: int):
        """`images` is the length of the set that it stands for."""
        self.batch, self.images = batch, images

    def __len__(self) -> int:
        """The number of images."""
        return self.images

    def batches(
        self, plan: Iterator[sampling.MicroBatch], train: bool, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batch, for each micro-batch."""
        for _ in plan:
            yield self.batch


def training(
    *,
    seed: int,
    preset_name: str = "resnet_small",
    batch_size: int = 64,
    steps: int = 25,
    turns: int = 3,
    classes: int = 10,
    images: int = 256,
    pixels: int = 256,
    workers: int = 0,
    threads: int = 1,
    device: str = "cpu",
) -> dict:
    """Images a second of our step, loader and whole loop, and of timm's, on the same JPEG files.

    A step is training on a batch that is there already. The whole loop is all of a run, from
    setting it up to its end, with our log and last checkpoint. Each number is a median over
    `turns`, in which the two sides take turns in going first. `threads`: of torch on a CPU; where
    other programs work too, one is steadier than all. Raises ValueError for a missing device.
    """
    check_device(device)
    torch.set_num_threads(threads)
    recipe = preset(
        preset_name, batch_size=batch_size, steps=steps, epochs=0, warmup=2, augmentation="crop"
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw_files(folder / "images", images, classes, pixels, seed)
        ours, theirs = (
            side(recipe, folder, classes, workers, device, seed) for side in (Ours, Timms)
        )
        held = next(ours.loader())
        seconds = {f"{side.name}_{kind}": [] for side in (ours, theirs) for kind in KINDS}
        for turn in range(turns + 1):
            for side in (ours, theirs) if turn % 2 else (theirs, ours):
                for kind, call in (
                    ("loader", lambda side=side: sum(len(x) for x, _ in side.loader())),
                    ("step", lambda side=side: side.train(held)),
                    ("loop", lambda side=side: side.train(None)),
                ):
                    with timed(device) as clock:
                        inner = call()
                    if turn:  # the first one warms both up
                        taken = inner if kind == "step" else clock.seconds
                        seconds[f"{side.name}_{kind}"].append(taken)
        images = batch_size * steps
        rates = {name: images / statistics.median(all_) for name, all_ in seconds.items()}
        share = lookup_seconds(ours.labels, held[1]) * rates["ours_step"] / batch_size
        work = 3 * flops(ours.model, recipe.image_size, device)
    rate = matrix_rate(recipe.precision, device)
    ratios = {}
    for kind in KINDS:
        pairs = zip(seconds[f"timm_{kind}"], seconds[f"ours_{kind}"], strict=True)
        ratios[f"{kind}_ratio"] = statistics.median(timm / ours for timm, ours in pairs)
    return {
        "metrics": rates
        | ratios
        | {
            "lookup_share": share,
            "matrix_tflops": rate / 1e12,
            "matrix_share": rates["ours_step"] * work / rate,
        },
        "images_per_second": rates["ours_loop"],
    }


KINDS = ("loader", "step", "loop")


class Ours:
    """The engine of this project, as an arm calls it."""

    name = "ours"

    def __init__(self, recipe: Recipe, folder: Path, classes: int, workers: int, device, seed: int):
        """Opens the files, builds the network."""
        self.recipe, self.folder, self.seed, self.runs = recipe, folder, seed, 0
        self.accelerator = processes.accelerator_of(device)
        self.files = image_set.open_set(folder / "images", cache=folder / "cache")
        self.images = loading.Files(self.files, recipe, workers=workers)
        self.labels = torch.arange(classes, dtype=torch.int32)[:, None].to(device)
        self.model = networks.build(recipe, classes, seed).to(device)

    def loader(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of a run, and nothing else."""
        size, steps = self.recipe.batch_size, range(self.recipe.steps)
        plan = sampling.plan(len(self.images), size, self.seed, steps, micro_batch=size)
        return self.images.batches(plan, train=True, device=self.accelerator.device)

    def train(self, held: tuple[Tensor, Tensor] | None) -> float:
        """A whole run, on one held batch or from files; the seconds of its steps, by its log."""
        self.runs += 1
        images = self.images if held is None else Held(held, len(self.images))
        folder = self.folder / f"run{self.runs}"
        return step_seconds(folder, self.recipe, self.model, images, self.labels, self.seed)


def step_seconds(
    folder: Path,
    recipe: Recipe,
    model: nn.Module,
    images: loading.Files | Held,
    labels: Tensor,
    seed: int,
) -> float:
    """Seconds of the steps of a whole run of the engine, by its log; the run lies in `folder`."""
    accelerator = processes.accelerator_of(labels.device.type)
    parts = accelerator.prepare(model, optimiser_of(model, recipe))
    run = engine.Run(folder, "bench", *parts, accelerator, engine.FinalWeights(recipe, model))
    log = engine.fit(run, recipe, images, labels, seed=seed)
    made = np.diff([0, *log["step"]]) * recipe.batch_size
    return float((made / log["images_per_second"]).sum())


class Timms:
    """The loop that timm's training script runs, from the parts that the package has."""

    name = "timm"

    def __init__(self, recipe: Recipe, folder: Path, classes: int, workers: int, device, seed: int):
        """Opens the files, builds the network."""
        self.recipe, self.device = recipe, torch.device(device)
        self.model = networks.build(recipe, classes, seed).to(device)
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        dataset = timm.data.create_dataset("", str(folder / "images"), is_training=True)
        self.batches = timm.data.create_loader(
            dataset,
            recipe.image_size,
            recipe.batch_size,
            is_training=True,
            scale=(0.08, 1.0),
            color_jitter=0.0,
            interpolation="bicubic",
            mean=timm.data.IMAGENET_INCEPTION_MEAN,
            std=timm.data.IMAGENET_INCEPTION_STD,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device == "cuda",
            device=self.device,
        )

    def loader(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of a run, epoch after epoch."""
        made = 0
        while True:
            for batch in self.batches:
                yield batch
                made += 1
                if made == self.recipe.steps:
                    return

    def train(self, held: tuple[Tensor, Tensor] | None) -> float:
        """A whole run; the seconds of its steps.

        The loss of every step is read back, and its mean kept, as timm does it.
        """
        recipe, model = self.recipe, self.model
        optimiser = create_optimizer_v2(
            model,
            opt={"sgd": "momentum"}.get(recipe.optimiser, recipe.optimiser),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
        )
        schedule, _ = create_scheduler_v2(
            optimiser, "cosine", num_epochs=1, step_on_epochs=False, updates_per_epoch=recipe.steps
        )
        loss_of = nn.CrossEntropyLoss()
        if recipe.loss == "sigmoid":
            loss_of = timm.loss.BinaryCrossEntropy(smoothing=0.0, sum_classes=True)
        mean = AverageMeter()
        model.train()
        begun = time.perf_counter()
        batches = self.loader() if held is None else (held for _ in range(recipe.steps))
        for step, (x, target) in enumerate(batches):
            if recipe.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"
            ):
                loss = loss_of(model(x), target)
            loss.backward()
            if recipe.clip_grad_norm:
                dispatch_clip_grad(model.parameters(), recipe.clip_grad_norm)
            optimiser.step()
            optimiser.zero_grad()
            mean.update(loss.item(), len(x))
            schedule.step_update(step + 1, metric=mean.avg)
        return time.perf_counter() - begun


def draw_files(folder: Path, images: int, classes: int, pixels: int, seed: int) -> None:
    """JPEG files of smooth noise in class folders, as large and as hard to decode as one asks."""
    rng = np.random.default_rng(seed)
    for number in range(images):
        small = rng.integers(0, 256, (max(2, pixels // 8),) * 2 + (3,), dtype=np.uint8)
        path = folder / f"n{number % classes:08d}" / f"{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((pixels, pixels), Image.Resampling.BICUBIC).save(path)


# ------------------------------------------------------------------------------------ measuring


def check_device(device: str) -> None:
    """Raises ValueError where a GPU is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', and torch sees no GPU here")


@contextlib.contextmanager
def timed(device: str) -> Iterator[SimpleNamespace]:
    """Times a block, with all that it asked of a GPU; its `seconds` stand there at the end."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    clock = SimpleNamespace(seconds=0.0)
    wait()
    begun = time.perf_counter()
    yield clock
    wait()
    clock.seconds = time.perf_counter() - begun


def lookup_seconds(labels: Tensor, leaf: Tensor, repeats: int = 200) -> float:
    """Time to look up the labels of a batch."""
    labels[leaf]
    with timed(labels.device.type) as clock:
        for _ in range(repeats):
            labels[leaf]
    return clock.seconds / repeats


def flops(model: nn.Module, image_size: int, device: str) -> float:
    """Floating-point operations of one image's forward pass: two for each multiplication."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    return counter.get_total_flops()


def matrix_rate(precision: str, device: str, repeats: int = 10) -> float:
    """Operations a second of a large matrix product: what the machine can do at best here."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    a @ b
    with timed(device) as clock:
        for _ in range(repeats):
            a @ b
    return 2 * side**3 * repeats / clock.seconds
