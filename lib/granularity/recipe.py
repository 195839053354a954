"""A training run on one page: every number of it, and where each comes from.

Marks: P the paper's text, L lineage (the ViT paper for ImageNet, the usual large-batch ImageNet
recipe for ResNets), O ours. The paper calls its ImageNet pretraining "almost identical" to the ViT
paper's (P); the numbers behind these words are that paper's (L).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from granularity.nearest import nearest
from granularity.strict import Misfit, checked

Number = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, the data and the labels apart.

    Lengths are in steps of `batch` images, or in epochs where `steps` is 0. Raises TypeError or
    ValueError naming the field, the value found and the values allowed.
    """

    model: str = "resnet18"  # any name that timm knows
    model_options: Mapping[str, Any] = field(default_factory=dict)
    image_size: Positive = 224  # pixels, square
    head: Literal["linear", "tanh"] = "linear"  # tanh: with a hidden layer as wide as the features
    head_start: Literal["zero", "prior"] = "zero"  # prior: bias -ln K, so every class is unlikely
    loss: Literal["sigmoid", "softmax"] = "sigmoid"
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"  # sgd: with momentum; adamw: decoupled decay
    rate: Number = 0.1  # peak learning rate
    momentum: Number = 0.9
    beta2: Number = 0.999
    weight_decay: Number = 0.0
    batch: Positive = 256  # images of a step, over all processes
    piece: Count = 0  # of them share batch norm's statistics, dropout, mixup; 0: all
    epochs: Number = 0.0
    steps: Count = 0
    warmup: Count = 0  # steps of linear warm-up
    # thirds: ×0.1 at 1/3, 2/3 and 8/9
    schedule: Literal["cosine", "linear", "constant", "thirds"] = "cosine"
    clip: Number = 0.0  # largest global norm of the gradient; 0: no clipping
    # crop: Inception's; pad: a shift by 1/8; either with a flip
    augmentation: Literal["crop", "pad", "none"] = "crop"
    randaugment: str = ""  # as timm spells it, "rand-m9-n2"; an option only, not in the lineage
    mixup: Number = 0.0  # α of the Beta distribution; an option only
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Checks every field; an int given for a float becomes one."""
        try:
            found = checked(type(self), vars(self))
        except Misfit as fault:
            name, value, wanted = fault.field, fault.value, " or ".join(fault.wanted)
            if fault.kind == "choice":
                near = nearest(value, fault.wanted, cutoff=0) or fault.wanted[0]
                raise ValueError(f"{name} is {value!r}; of {wanted} {near!r} is nearest") from None
            error = ValueError if fault.kind == "range" else TypeError
            raise error(f"{name} must be {wanted}, not {value!r}") from None
        for name, value in found.items():
            object.__setattr__(self, name, dict(value) if isinstance(value, Mapping) else value)
        if bool(self.epochs) == bool(self.steps):
            raise ValueError(f"one of epochs ({self.epochs}) and steps ({self.steps}) must be 0")

    def length(self, images: int) -> int:
        """Gradient steps of the run on so many images; the last, partial batch is left out.

        Raises ValueError, with images, batch and epochs, where there would be none.
        """
        each = images // self.batch
        if not each:
            raise ValueError(f"a batch of {self.batch} is more than the {images} images there are")
        found = self.steps or round(self.epochs * each)
        if not found:
            raise ValueError(
                f"{self.epochs:g} epochs of {images} images in batches of {self.batch}, {each} an"
                f" epoch, are no step at all: take epochs of at least {1 / each:.3g}, or steps"
            )
        return found

    def plain(self) -> dict:
        """JSON-plain fields, for records and checkpoints; `piece` only where it is said."""
        found = asdict(self)
        return found if self.piece else {name: v for name, v in found.items() if name != "piece"}


def changed(recipe: Recipe, **overrides: object) -> Recipe:
    """The recipe with other values. Raises TypeError, with the nearest name, for an unknown one."""
    known = [item.name for item in fields(Recipe)]
    for name in overrides:
        if name not in known:
            near = nearest(name, known, cutoff=0)
            raise TypeError(f"a recipe has no field {name!r}; the nearest one is {near!r}")
    return replace(recipe, **overrides)


def preset(name: str, **overrides: object) -> Recipe:
    """A recipe by its name in `PRESETS`, with some values changed. KeyError names the nearest."""
    if name not in PRESETS:
        near = nearest(name, PRESETS, cutoff=0)
        raise KeyError(f"no recipe is called {name!r}; the nearest one is {near!r}")
    return changed(PRESETS[name], **overrides)


# ViT-B/16 on ImageNet-21k: Adam, 90 epochs, batch 4096, decay 0.03, dropout 0.1, no clipping
# stated (L). Its code decouples the decay, and starts the head's bias at -10 for 21,843 classes,
# which is -ln K (L).
VIT_B16_I21K = Recipe(
    model="vit_base_patch16_224",
    model_options={"pos_drop_rate": 0.1, "proj_drop_rate": 0.1},
    image_size=224,
    head="tanh",
    head_start="prior",
    loss="sigmoid",
    optimiser="adamw",
    rate=1e-3,
    weight_decay=0.03,
    batch=4096,
    piece=128,  # share a draw of dropout: what a GPU holds at once (O)
    epochs=90,
    warmup=10_000,
    schedule="linear",
    augmentation="crop",
    precision="bf16",
)

# The baseline, ImageNet-1k from scratch: 300 epochs, rate 3e-3, decay 0.3, cosine, clipping (L).
VIT_B16_I1K_SCRATCH = replace(
    VIT_B16_I21K, rate=3e-3, weight_decay=0.3, epochs=300, schedule="cosine", clip=1.0
)

# Finetuning at 384 pixels: SGD, batch 512, 20,000 steps, one new linear layer from zero (L). The
# rate is the best of 0.003, 0.01, 0.03 and 0.06 (L): one of them stands here.
VIT_B16_I1K_FINETUNE = Recipe(
    model="vit_base_patch16_224",
    image_size=384,
    head="linear",
    head_start="zero",
    loss="softmax",
    optimiser="sgd",
    rate=0.03,
    batch=512,
    steps=20_000,
    warmup=500,
    schedule="cosine",
    clip=1.0,
    augmentation="crop",
    precision="bf16",
)

# ResNet-34 for 90 epochs: momentum 0.9, decay 1e-4, rate 0.1 for each 256 images with warm-up (L).
RESNET34 = Recipe(
    model="resnet34",
    loss="softmax",
    optimiser="sgd",
    rate=0.4,
    weight_decay=1e-4,
    batch=1024,
    epochs=90,
    warmup=2_400,
    schedule="cosine",
    augmentation="crop",
    precision="bf16",
    channels_last=True,
)

# Its finetuning on the target: 90 epochs of the whole network, batch and rate "smaller" (P); how
# much smaller is ours, and the rate is to be chosen on held-out images.
RESNET34_FINETUNE = replace(RESNET34, rate=0.01, batch=256, warmup=1_000)

# Small ones, all ours. Three blocks, width 32, for 32 pixels: 1,600 images/s on one core.
RESNET_SMALL = Recipe(
    model="resnet10t",
    model_options={"channels": [32, 64, 128, 128], "stem_type": "", "stem_width": 32},
    image_size=32,
    loss="sigmoid",
    head_start="prior",
    rate=0.1,
    weight_decay=5e-4,
    batch=128,
    epochs=15,
    warmup=50,
    augmentation="pad",
)

# For the toy world: narrower still, 3,000 images/s on one core.
RESNET_TOY = replace(
    RESNET_SMALL,
    model_options={"channels": [16, 32, 64, 64], "stem_type": "deep", "stem_width": 8},
    batch=32,
    epochs=4,
    warmup=20,
    channels_last=True,
)
RESNET_TOY_FINETUNE = replace(
    RESNET_TOY,
    loss="softmax",
    head_start="zero",
    epochs=8,
    rate=0.04,
    warmup=10,
)
RESNET_TOY_SCRATCH = replace(RESNET_TOY_FINETUNE, epochs=24, rate=0.1, warmup=20)

PRESETS = {
    "vit_b16_i21k": VIT_B16_I21K,
    "vit_b16_i1k_scratch": VIT_B16_I1K_SCRATCH,
    "vit_b16_i1k_finetune": VIT_B16_I1K_FINETUNE,
    "resnet34": RESNET34,
    "resnet34_finetune": RESNET34_FINETUNE,
    "resnet_small": RESNET_SMALL,
    "resnet_toy": RESNET_TOY,
    "resnet_toy_finetune": RESNET_TOY_FINETUNE,
    "resnet_toy_scratch": RESNET_TOY_SCRATCH,
}
