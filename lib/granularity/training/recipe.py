"""A training run on one page: every number of it, and where each comes from.

Marks: P the paper's text, L lineage (the ViT paper for ImageNet, the usual large-batch ImageNet
recipe for ResNets), O ours. The paper calls its ImageNet pretraining "almost identical" to the ViT
paper's (P); the numbers behind these words are that paper's (L).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from granularity.inputs.nearest import nearest
from granularity.inputs.strict import Misfit, checked

Number = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
PLAIN = ("sgd", "adam", "adamw")  # optimisers that are known without asking timm


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, the data and the labels apart.

    Lengths are in steps of `batch_size` images, or in epochs where `steps` is 0. Raises TypeError
    or ValueError naming the field, the value found and the values allowed.
    """

    model: str = "resnet18"  # any name that timm knows
    model_options: Mapping[str, Any] = field(default_factory=dict)
    image_size: Positive = 224  # pixels, square
    head: Literal["linear", "tanh"] = "linear"  # tanh: with a hidden layer as wide as the features
    head_init: Literal["zero", "prior"] = "zero"  # prior: bias -ln K, so every class is unlikely
    loss: Literal["sigmoid", "softmax"] = "sigmoid"
    # sgd: with momentum; adamw: decoupled decay; or another that timm knows. One of two betas has
    # `momentum` and `beta2` for them, any other its own.
    optimiser: str = "sgd"
    learning_rate: Number = 0.1  # peak learning rate
    momentum: Number = 0.9
    beta2: Number = 0.999
    weight_decay: Number = 0.0
    batch_size: Positive = 256  # images of a step, over all processes
    ghost_batch: Count = 0  # of them share batch norm's statistics, dropout, mixup; 0: all
    epochs: Number = 0.0
    steps: Count = 0
    warmup: Count = 0  # steps of linear warm-up
    # step: ×0.1 at 1/3, 2/3 and 8/9
    schedule: Literal["cosine", "linear", "constant", "step"] = "cosine"
    clip_grad_norm: Number = 0.0  # largest global norm of the gradient; 0: no clipping
    # crop: Inception's; pad: a shift by 1/8; either with a flip
    augmentation: Literal["crop", "pad", "none"] = "crop"
    randaugment: str = ""  # as timm spells it, "rand-m9-n2"; an option only, not in the lineage
    mixup: Number = 0.0  # α of the Beta distribution; an option only
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    # Options only, none in the lineage, and timm's:
    label_smoothing: Share = 0.0  # of the softmax loss
    ema: Share = 0.0  # decay of the weights' moving average, which the run ends with; 0: none
    layer_decay: Part = 1.0  # factor of the learning rate for each layer away from the head
    grad_checkpointing: bool = False  # activations are made again for the gradient: less memory
    # Early stopping: a tenth of the images is held out and looked at every so many steps; the run
    # ends after so many looks in a row without a lower error, with the weights of the lowest.
    early_stopping: Count = 0  # looks; 0: none
    evaluate_every: Count = 0  # steps
    # device: JPEG is decoded and cropped where the network is, by torchvision, not in the workers
    decoder: Literal["pillow", "device"] = "pillow"

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
        self.check_optimiser()
        if self.label_smoothing and self.loss != "softmax":
            raise ValueError(
                f"label_smoothing is {self.label_smoothing:g} and loss is {self.loss!r}: only the"
                f" softmax loss has a probability to share among the other classes"
            )
        if bool(self.early_stopping) != bool(self.evaluate_every):
            raise ValueError(
                f"early_stopping ({self.early_stopping}) and evaluate_every"
                f" ({self.evaluate_every}) go together: looks to wait for, and steps between two"
            )
        if self.decoder == "device" and self.randaugment:
            raise ValueError("randaugment is Pillow's work: with it, decoder is 'pillow'")
        if bool(self.epochs) == bool(self.steps):
            raise ValueError(f"one of epochs ({self.epochs}) and steps ({self.steps}) must be 0")

    def check_optimiser(self) -> None:
        """Raises ValueError, with the nearest name, for an optimiser that timm lacks."""
        if self.optimiser in PLAIN:
            return
        from timm.optim import list_optimizers  # which loads torch: seconds

        if self.optimiser not in (known := list_optimizers()):
            near = nearest(self.optimiser, [*PLAIN, *known], cutoff=0)
            raise ValueError(f"optimiser is {self.optimiser!r}; of timm's {near!r} is nearest")

    def length(self, images: int) -> int:
        """Gradient steps of the run on so many images; the last, partial batch is left out.

        Raises ValueError, with images, batch and epochs, where there would be none.
        """
        each = images // self.batch_size
        if not each:
            raise ValueError(
                f"a batch of {self.batch_size} is more than the {images} images there are"
            )
        found = self.steps or round(self.epochs * each)
        if not found:
            raise ValueError(
                f"{self.epochs:g} epochs of {images} images in batches of {self.batch_size},"
                f" {each} an epoch, are no step at all: take epochs of at least {1 / each:.3g}, or"
                f" steps"
            )
        return found

    def plain(self) -> dict:
        """JSON-plain fields, for records and checkpoints; those of `LATER` only where they say."""
        found = asdict(self)
        return {n: v for n, v in found.items() if not (n in LATER and v == DEFAULTS[n])}


# Fields that came after the first records: one that says nothing leaves a fingerprint as it was.
LATER = {"ghost_batch", "label_smoothing", "ema", "layer_decay", "grad_checkpointing"}
LATER |= {"early_stopping", "evaluate_every", "decoder"}
DEFAULTS = {item.name: item.default for item in fields(Recipe)}


def changed(recipe: Recipe, **overrides: object) -> Recipe:
    """The recipe with other values. Raises TypeError, with the nearest name, for an unknown one."""
    known = [item.name for item in fields(Recipe)]
    for name in overrides:
        if name not in known:
            near = nearest(name, known, cutoff=0)
            raise TypeError(f"a recipe has no field {name!r}; the nearest one is {near!r}")
    return replace(recipe, **overrides)
