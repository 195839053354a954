"""The two-layer network, its exact gradient, and one step of training.

Every function takes one network or several of one shape side by side: runs are a leading dimension
`…` of all tensors, and nothing passes from one run to another.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from granularity.theory.setting import Setting


class Network(NamedTuple):
    """F_c(X) = Σ_r a_{c,r} Σ_p φ(⟨w_r, x_p⟩ + b_r) over n neurons.

    The paper's network (P) has φ = ReLU, m neurons for each output, and a_{c,r} 1 for those, else
    0: neurons c m … (c + 1) m - 1 are those of output c.
    """

    weights: Tensor  # w, (…, n, d)
    biases: Tensor  # b, (…, n)
    outputs: Tensor  # a, (…, K, n)


def initial(setting: Setting, generator: torch.Generator) -> Network:
    """w ~ N(0, σ_0² I) and b = -τ σ_0 √ln d: the paper's Θ (P), its constant τ ours."""
    size = (setting.outputs * setting.width, setting.d)
    weights = torch.randn(size, generator=generator, device=generator.device)
    bias = -setting.threshold * setting.initial_scale * math.sqrt(math.log(setting.d))
    own = torch.eye(setting.outputs, device=weights.device).repeat_interleave(setting.width, 1)
    return Network(weights * setting.initial_scale, torch.full_like(weights[:, 0], bias), own)


# φ in place, and its derivative in place from what φ gave.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (torch.relu_, Tensor.sign_),
    "leaky": (lambda z: torch.nn.functional.leaky_relu_(z, 0.1), lambda a: a.sign_().clamp_(0.1)),
    "squared": (lambda z: z.relu_().square_(), lambda a: a.sqrt_().mul_(2)),
    "softplus": (torch.nn.functional.softplus, lambda a: a.neg_().exp_().neg_().add_(1)),
}
MOST_ANSWERS = 2**23  # held at once where nothing is trained: 32 MB
CAN_BE_SILENT = ("relu", "squared")  # with a derivative of 0 on one side


def activations(network: Network, patches: Tensor, activation: str = "relu") -> Tensor:
    """What every neuron answers to every patch (…, N, P, n), for patches (…, N, P, d)."""
    answers = patches.flatten(-3, -2) @ network.weights.mT
    answers += network.biases[..., None, :]
    return ACTIVATIONS[activation][0](answers).unflatten(-2, patches.shape[-3:-1])


def pooled(network: Network, patches: Tensor, activation: str = "relu") -> Tensor:
    """What every neuron answers to every sample, the sum over its patches (…, N, n).

    Some samples at a time, so that wide networks can be measured.
    """
    chunk = max(1, MOST_ANSWERS // (patches.shape[-2] * network.biases.shape[-1]))
    parts = patches.split(chunk, dim=-3)
    return torch.cat([activations(network, part, activation).sum(-2) for part in parts], dim=-2)


def logits(network: Network, patches: Tensor, activation: str = "relu") -> Tensor:
    """F (…, N, K)."""
    return pooled(network, patches, activation) @ network.outputs.mT


def loss_and_gradient(
    network: Network, patches: Tensor, targets: Tensor, activation: str = "relu"
) -> tuple[Tensor, Network]:
    """Softmax cross-entropy, mean over samples (…), and its exact derivative by w, b and a.

    ∂loss/∂w_r = Σ_n Σ_p (Σ_c a_{c,r} (softmax_c - 1[c = target]) / N) φ'(⟨w_r, x_p⟩ + b_r) x_p.
    """
    active = activations(network, patches, activation)
    answers = active.sum(-2)
    log_softmax = (answers @ network.outputs.mT).log_softmax(-1)
    picked = targets[..., None]
    loss = -log_softmax.gather(-1, picked).mean((-1, -2))
    residual = log_softmax.exp()
    residual.scatter_add_(-1, picked, residual.new_full((), -1.0).expand(picked.shape))
    residual /= targets.shape[-1]
    flow = ACTIVATIONS[activation][1](active).mul_((residual @ network.outputs)[..., None, :])
    flow = flow.flatten(-3, -2)
    return loss, Network(flow.mT @ patches.flatten(-3, -2), flow.sum(-2), residual.mT @ answers)


# --- One step ---------------------------------------------------------------------------------


def optimiser(kind: str, learning_rate: Tensor | float) -> Callable[[str, Tensor], Tensor]:
    """A function from a parameter's name and gradient to what is taken from the parameter.

    "sgd": rate times gradient. "adam": Adam as its authors define it, with their constants.
    `learning_rate` is a number or, for several runs, a tensor (runs, 1, 1).
    """
    if kind == "sgd":
        return lambda name, gradient: scaled(gradient, learning_rate)
    moments: dict[str, tuple[Tensor, Tensor, int]] = {}

    def adam(name: str, gradient: Tensor) -> Tensor:
        first, second, step = moments.get(
            name, (torch.zeros_like(gradient), torch.zeros_like(gradient), 0)
        )
        first.lerp_(gradient, 1 - 0.9)
        second.lerp_(gradient.square(), 1 - 0.999)
        moments[name] = first, second, step + 1
        unbiased = (second / (1 - 0.999 ** (step + 1))).sqrt_().add_(1e-8)
        return scaled(first / (1 - 0.9 ** (step + 1)) / unbiased, learning_rate)

    return adam


def scaled(gradient: Tensor, learning_rate: Tensor | float) -> Tensor:
    """The gradient times the rate, each run's own where there are several."""
    own = isinstance(learning_rate, Tensor)
    return gradient * (
        learning_rate.view(-1, *[1] * (gradient.dim() - 1)) if own else learning_rate
    )


def descend(
    network: Network,
    gradient: Network,
    change: Callable[[str, Tensor], Tensor],
    biases: str = "rule",
    output_weights: str = "fixed",
) -> None:
    """One step in place. By the rule each bias sinks by ‖Δw‖₂ / ln⁵ d of its own neuron (L)."""
    moved = change("weights", gradient.weights)
    network.weights.sub_(moved)
    if biases == "rule":
        network.biases.sub_(moved.norm(dim=-1) / math.log(network.weights.shape[-1]) ** 5)
    elif biases == "trained":
        network.biases.sub_(change("biases", gradient.biases))
    if output_weights == "trained":
        network.outputs.sub_(change("outputs", gradient.outputs))


# --- Neurons that cannot move -----------------------------------------------------------------


def fires(network: Network, patches: Tensor, activation: str) -> Tensor:
    """Which neurons answer to at least one patch (…, n), true or false."""
    return pooled(network, patches, activation).ne(0).any(-2)


def kept(awake: Tensor) -> Tensor:
    """Indices (…, count) of the awake neurons; of runs with fewer than others some silent too."""
    count = max(1, int(awake.sum(-1).max()))
    return awake.int().argsort(dim=-1, descending=True, stable=True)[..., :count]


def narrowed(network: Network, index: Tensor) -> Network:
    """The network of some neurons alone, by their indices (…, count)."""
    return Network(
        network.weights.gather(-2, rows(index, network.weights.shape[-1])),
        network.biases.gather(-1, index),
        network.outputs.gather(-1, columns(index, network.outputs.shape[-2])),
    )


def put_back(whole: Network, part: Network, index: Tensor) -> None:
    """Writes the neurons of `part` to their places in `whole`: the inverse of `narrowed`."""
    whole.weights.scatter_(-2, rows(index, whole.weights.shape[-1]), part.weights)
    whole.biases.scatter_(-1, index, part.biases)
    whole.outputs.scatter_(-1, columns(index, whole.outputs.shape[-2]), part.outputs)


def rows(index: Tensor, width: int) -> Tensor:
    """An index (…, count) as one of whole rows (…, count, width)."""
    return index[..., None].expand(*index.shape, width)


def columns(index: Tensor, height: int) -> Tensor:
    """An index (…, count) as one of whole columns (…, height, count)."""
    return index[..., None, :].expand(*index.shape[:-1], height, index.shape[-1])
