"""Losses from class indices: nothing of the size images × classes is built beside the logits.

Targets are an integer array (N, q) of class indices, padded with -1, as label functions give them,
with a weight for each: 1, or the shares of two mixed images. An image may have several labels.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from granularity.training.recipe import Recipe


def padded(targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Indices that are safe to gather with, and their weights: 0 where the padding stood."""
    given = targets >= 0
    weights = given.float() if weights is None else weights.float() * given
    return targets.clamp_min(0).long(), weights


def wide(logits: Tensor) -> Tensor:
    """Logits in float32 at least: sums over thousands of classes are not for half precision."""
    return logits if logits.dtype == torch.float64 else logits.float()


CACHED = 2**19  # logits at once on a CPU: what its caches hold
FOLDS = 4


def softplus_sum(logits: Tensor) -> Tensor:
    """Σ_c softplus(x_c) of each row, with one logarithm for every 16 classes on a CPU.

    softplus(x) = max(x, 0) + log1p(e), e = exp(-|x|), and log1p(a) + log1p(b) = log1p(a + b + ab):
    no digits are lost where e is small, and 16 factors of at most 2 cannot overflow.
    """
    if not logits.is_cpu:  # memory is the bound there, not logarithms
        return functional.softplus(wide(logits)).sum(1)
    rows = max(1, CACHED // logits.shape[1])
    return torch.cat([folded_softplus(wide(part)) for part in logits.split(rows)])


def folded_softplus(logits: Tensor) -> Tensor:
    """`softplus_sum` of a few rows."""
    e = logits.abs().neg_().exp_()
    even = e.shape[1] >> FOLDS << FOLDS
    total = logits.clamp_min(0).sum(1) + e[:, even:].log1p().sum(1)
    e = e[:, :even]
    for _ in range(FOLDS):
        a, b = e.chunk(2, dim=1) if e.shape[1] else (e, e)
        e = a.addcmul_(a, b).add_(b)
    return total + e.log1p().sum(1)


class SigmoidCrossEntropy(torch.autograd.Function):
    """Σ_c softplus(x_c) - Σ_j w_j x_{t_j} for each image; the gradient is σ(x) less the weights."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Losses (N,), in float32 at least."""
        ctx.save_for_backward(logits, targets, weights)
        picked = (wide(logits.gather(1, targets)) * weights).sum(1)
        return softplus_sum(logits) - picked

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:
        """One buffer of the logits' size: the gradient itself."""
        logits, targets, weights = ctx.saved_tensors
        gradient = torch.sigmoid(wide(logits))
        gradient.scatter_add_(1, targets, -weights.to(gradient.dtype))
        gradient.mul_(upstream[:, None])
        return gradient.to(logits.dtype), None, None


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over all classes, summed over classes (L: the ViT code); (N,).

    Equals the dense `binary_cross_entropy_with_logits` on multi-hot targets. A class that stands
    twice among an image's targets has the sum of its weights, as in mixup of two images of one
    class.
    """
    return SigmoidCrossEntropy.apply(logits, *padded(targets, weights))


def softmax_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of the softmax, (N,); weights of an image must sum to 1.

    With `smoothing` that share of the target is spread over all classes alike, as in timm's
    `LabelSmoothingCrossEntropy`, which knows no weights. Raises ValueError where no weights are
    given and targets have more than one column: softmax wants one label for each image.
    """
    if weights is None and targets.shape[1] != 1:
        raise ValueError("softmax wants one label for each image; use the sigmoid loss for several")
    targets, weights = padded(targets, weights)
    logs = wide(logits).log_softmax(1)
    loss = -(logs.gather(1, targets) * weights).sum(1)
    return (1 - smoothing) * loss - smoothing * logs.mean(1) if smoothing else loss


LOSSES = {"sigmoid": sigmoid_cross_entropy, "softmax": softmax_cross_entropy}


def of_recipe(recipe: Recipe) -> Callable[..., Tensor]:
    """The loss that a recipe trains by; it is evaluated by the same without smoothing."""
    loss = LOSSES[recipe.loss]
    return partial(loss, smoothing=recipe.label_smoothing) if recipe.label_smoothing else loss
