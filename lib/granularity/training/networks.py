"""Networks: timm's, with the heads that the recipes ask for, and pretrained weights put in."""

import contextlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from granularity.inputs.nearest import nearest
from granularity.training.checkpoints import CheckpointError
from granularity.training.recipe import Recipe

# Options that say what other places say: the recipe's own fields, and the labels.
ELSEWHERE = {
    "img_size": "it is the recipe's image_size",
    "num_classes": "the labels say how many classes there are",
    "in_chans": "images have 3 channels",
    "features_only": "a network for classes is wanted",
}
# Options that bring weights. A recipe starts from its seed, and a record names no file of weights.
WEIGHTS = ("pretrained", "checkpoint", "cache_dir", "file", "url", "hf_hub", "state_dict")
FILES = (".pth", ".pt", ".bin", ".safetensors", ".npz", ".ckpt", ".tar", ".pkl", ".msgpack")


def classifiers_of(model: nn.Module) -> tuple[str, ...]:
    """The names of a timm network's last layers: several where it learns from a teacher too."""
    names = model.default_cfg["classifier"]
    return (names,) if isinstance(names, str) else tuple(names)


def build(recipe: Recipe, num_classes: int, seed: int) -> nn.Module:
    """A new network with a head for `num_classes`, its weights a function of the seed alone.

    But for the last layer they do not depend on the number of classes: timm's own head would draw
    numbers for it before the rest is drawn, so every network is made with one class first.
    Raises as `check_name` and `replace_head` do.
    """
    check_name(recipe)
    with torch.random.fork_rng(devices=[]):
        model = created(recipe, seed)
        replace_head(model, recipe, num_classes)
    if recipe.grad_checkpointing:
        forget_activations(model, recipe)
    return model


def created(recipe: Recipe, seed: int) -> nn.Module:
    """timm's network with one class, for images of the recipe's size.

    Networks that fit images of any size take no `img_size`, and say so before they draw a number.
    """
    options = {"num_classes": 1, **recipe.model_options}
    torch.manual_seed(seed)
    try:
        return timm.create_model(recipe.model, img_size=recipe.image_size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    torch.manual_seed(seed)
    return timm.create_model(recipe.model, **options)


def replace_head(model: nn.Module, recipe: Recipe, num_classes: int) -> None:
    """New last layers: zero weights; bias zero or -ln K; behind a tanh layer where asked for.

    Raises ValueError where the network's own last layer is neither a linear one nor a convolution
    of single pixels.
    """
    for name in classifiers_of(model):
        found = model.get_submodule(name)
        like = layer_like(found, recipe)
        last = like(num_classes)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, -math.log(num_classes) if recipe.head_init == "prior" else 0.0)
        width = last.weight.shape[1]
        model.set_submodule(
            name, nn.Sequential(like(width), nn.Tanh(), last) if recipe.head == "tanh" else last
        )


def forget_activations(model: nn.Module, recipe: Recipe) -> None:
    """Lets timm's network make its activations again for the gradient, and keep few of them.

    Raises ValueError where it cannot, and for batch norm, which would count its images twice.
    """
    if normed := batch_norm(model):
        raise ValueError(
            f"grad_checkpointing shows images twice to batch norm ({normed}): its statistics would"
            " be others"
        )
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise ValueError(f"grad_checkpointing: timm has none for this network ({error})") from None


def layer_like(found: nn.Module, recipe: Recipe):
    """What makes a layer of the kind of a network's last one, with so many outputs."""
    if isinstance(found, nn.Linear):
        return lambda outputs: nn.Linear(found.in_features, outputs)
    if isinstance(found, nn.Conv2d) and found.kernel_size == (1, 1) and found.groups == 1:
        return lambda outputs: nn.Conv2d(found.in_channels, outputs, 1)
    raise ValueError(
        f"{recipe.model} ends in a {type(found).__name__}, not in a Linear layer or a convolution"
        " of single pixels: no head can be put there; resnet18 and vit_tiny_patch16_224 have one"
    )


# ------------------------------------------------------------------------- what cannot be built


def check_name(recipe: Recipe) -> None:
    """Raises KeyError or ValueError for a network that timm lacks, and for one with weights."""
    name, _, tag = recipe.model.partition(".")
    if tag or ":" in name or "/" in name:
        raise ValueError(
            f"{recipe.model!r} names pretrained weights, and a recipe starts from its seed:"
            f" take {nearest(name.rpartition('/')[2], known(), cutoff=0)!r}"
        )
    if name not in known():
        near = nearest(name, known(), cutoff=0)
        raise KeyError(f"timm has no network {name!r}; the nearest one is {near!r}")
    for option, value in recipe.model_options.items():
        if option in ELSEWHERE:
            raise ValueError(f"model_options has {option!r}: {ELSEWHERE[option]}")
        if option.startswith(WEIGHTS) or any(map(is_file, words_of(value))):
            raise ValueError(
                f"model_options has {option!r}, {value!r}: a recipe starts from its seed, and not"
                " from weights; a network that was trained here is finetuned by the stage's name"
            )
        if any(isinstance(word, float) and not math.isfinite(word) for word in words_of(value)):
            raise ValueError(f"model_options has {option!r}, {value!r}: no finite number")


@cache
def known() -> tuple[str, ...]:
    """The names of timm's networks."""
    return tuple(timm.list_models())


def words_of(value: object) -> Iterable[object]:
    """A value, or all that stands in a list of values."""
    if isinstance(value, (list, tuple)):
        return [word for item in value for word in words_of(item)]
    return [value]


def is_file(word: object) -> bool:
    """Whether a word is a place of a file."""
    return isinstance(word, str) and ("/" in word or word.lower().endswith(FILES))


def check(recipe: Recipe) -> nn.Module:
    """A recipe's network without numbers. Raises ValueError or KeyError where it cannot be trained.

    It is built with shapes and no numbers, and shown two images: so before any work it is known
    whether it takes images of this size, and answers with one row of numbers for each.
    """
    check_name(recipe)
    try:
        options = json.dumps(recipe.model_options)
        forgets = recipe.grad_checkpointing
        return tried(recipe.model, options, recipe.image_size, recipe.head, forgets)
    except Exception as error:  # of timm and torch: a dozen kinds
        told = f"{type(error).__name__}: {error}".strip(": ")
        size = f"{recipe.image_size} pixels"
        raise ValueError(f"{recipe.model} does not work at {size}: {told}") from error


@cache
def tried(model: str, options: str, image_size: int, head: str, forgets: bool = False) -> nn.Module:
    """A network without numbers that was shown two images. Raises whatever goes wrong."""
    recipe = Recipe(
        model=model,
        model_options=json.loads(options),
        image_size=image_size,
        head=head,
        grad_checkpointing=forgets,
        steps=1,
    )
    with torch.device("meta"), torch.no_grad():
        made = build(recipe, 3, 0)
        found = made.train()(torch.zeros(2, 3, image_size, image_size))
    if not isinstance(found, Tensor) or found.shape != (2, 3):
        raise ValueError("in training it does not answer with one row of numbers for each image")
    return made


def check_both(first: Recipe, second: Recipe) -> None:
    """Raises CheckpointError where a network cannot go on from another's weights.

    Images of another size are no hindrance where timm knows how to bring the weights to it.
    """
    first, second = (replace(recipe, head="linear") for recipe in (first, second))
    given, own = (
        tried(recipe.model, json.dumps(recipe.model_options), recipe.image_size, recipe.head)
        for recipe in (first, second)
    )
    fitting(own, given.state_dict())


def check_weights(recipe: Recipe, weights: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError, naming the tensor, where a recipe's network cannot start from these.

    As in `check_both` the last layers are no hindrance, and neither is another image size.
    """
    fitting(check(replace(recipe, head="linear")), weights)


# ----------------------------------------------------------------- images that are not alone


def check_micro_batches(model: nn.Module, recipe: Recipe, micro_batch: int, processes: int) -> None:
    """Raises ValueError where the machine's micro-batches would change the numbers.

    `micro_batch` images of a batch go through the network together. Batch norm takes its statistics
    of them, dropout and mixup draw once for them: so their number is the recipe's (`ghost_batch`),
    and how many fit on a machine may only change it where images have nothing in common.
    """
    normed, drawn = batch_norm(model), dropout(model)
    if normed and processes > 1:
        raise ValueError(
            f"{recipe.model} has batch norm ({normed}), and its statistics would be of a process's"
            f" own images: {processes} processes give other numbers than one; use 1 process"
        )
    if micro_batch < min(recipe.ghost_batch, recipe.batch_size):
        raise ValueError(
            f"the recipe has a ghost_batch of {recipe.ghost_batch} images, and a process handles"
            f" {micro_batch} at once: take micro_batch 0, fewer than {processes} processes, or"
            f" another ghost_batch"
        )
    because = f"batch norm ({normed})" * bool(normed) or f"dropout ({drawn})" * bool(drawn)
    because = because or "mixup" * bool(recipe.mixup)
    if because and not recipe.ghost_batch and micro_batch < recipe.batch_size:
        raise ValueError(
            f"{recipe.model} has {because}, so {micro_batch} of {recipe.batch_size} images at once,"
            f" with {processes} process(es), give other numbers than all: take micro_batch 0 and"
            f" one process, or make it a part of the recipe: ghost_batch: {micro_batch}"
        )


def batch_norm(model: nn.Module) -> str:
    """The name of the first layer that keeps statistics of the images it sees; "" for none."""
    kept = (name for name, _ in model.named_buffers() if name.endswith(("_mean", "_var")))
    return next((name.rpartition(".")[0] for name in kept), "")


def dropout(model: nn.Module) -> str:
    """The name of the first layer that draws units, paths or places in training; "" for none."""
    for name, module in model.named_modules():
        chances = ["drop_prob", "drop_rate", "prob"]
        chances += ["p"] if isinstance(module, nn.modules.dropout._DropoutNd) else []
        found = [getattr(module, share, 0.0) for share in chances]
        if any(isinstance(value, (int, float)) and value > 0 for value in found):
            return name or type(module).__name__
    return ""


# ------------------------------------------------------------------------------------- transfer


def transfer(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts pretrained weights into all of a network but its head; position embeddings are resized.

    Raises CheckpointError, naming the tensor, where the networks differ.
    """
    own = model.state_dict()
    for name, value in fitting(model, weights).items():
        own[name].copy_(value)


def fitting(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of another network without its head, in the shapes of this one.

    Raises CheckpointError, naming the tensor, where they cannot be brought to them.
    """
    heads = tuple(f"{name}." for name in classifiers_of(model))
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(heads)}
    given = {name: value for name, value in weights.items() if not name.startswith(heads)}
    if set(own) != set(given):
        name = sorted(set(own) ^ set(given))[0]
        whose = "the network" if name in own else "the weights"
        raise CheckpointError(f"another network: {name} in one only, {whose}")
    if "pos_embed" in given and moves(given["pos_embed"], own["pos_embed"], model):
        given["pos_embed"] = resampled(given["pos_embed"], model)
    if any(value.shape != own[name].shape for name, value in given.items()):
        given = timms_own(given, model, own)
    for name, value in given.items():
        if value.shape != own[name].shape:
            raise CheckpointError(f"{name} is {tuple(value.shape)}, not {tuple(own[name].shape)}")
    return given


def moves(given: Tensor, own: Tensor, model: nn.Module) -> bool:
    """Whether position embeddings (1, places, width) are of other places than a network's own."""
    on_grid = hasattr(getattr(model, "patch_embed", None), "grid_size")
    return given.ndim == 3 and on_grid and given.shape[1] != own.shape[1]


def resampled(given: Tensor, model: nn.Module) -> Tensor:
    """Position embeddings (1, places, width) brought to the places of a network.

    Those of a class token stay, where it has any: in DeiT III it has none.
    """
    tokens = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    return resample_abs_pos_embed(given, model.patch_embed.grid_size, num_prefix_tokens=tokens)


def timms_own(
    given: dict[str, Tensor], model: nn.Module, own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Weights as timm's own loading of this kind of network resizes them, or as they are."""
    resize = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    found = given
    with contextlib.suppress(Exception):  # made for others' files, it may want more than is here
        found = resize(dict(given), model)
    return given | {name: value for name, value in found.items() if name in own}
