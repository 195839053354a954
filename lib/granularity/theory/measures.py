"""What a trained network knows: errors by read-out, responses to features, neurons that won them.

All functions take one network, without a dimension of runs.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from granularity.theory.network import Network, fires, logits, pooled
from granularity.theory.samples import Samples, possible, tells_superclass
from granularity.theory.setting import Setting


def superclass(scores: Tensor, superclasses: int = 2) -> Tensor:
    """Which superclass wins (N,): the one with the largest of the maxima over its outputs (P)."""
    return scores.unflatten(-1, (superclasses, -1)).amax(-1).argmax(-1)


def wrong(setting: Setting, network: Network, samples: Samples) -> Tensor:
    """Which samples' superclass is missed (N,), by the network's own read-out."""
    scores = logits(network, samples.patches, setting.activation)
    return superclass(scores, setting.superclasses) != samples.y


def errors(
    setting: Setting, network: Network, tests: Mapping[str, Samples], name: str
) -> dict[str, float]:
    """Share of samples whose superclass is missed, by kind; `name` is a pattern of the names.

    Nothing where the labels that were trained on do not tell the superclass.
    """
    if not tells_superclass(setting):
        return {}
    return {
        name.format(kind): wrong(setting, network, samples).float().mean().item()
        for kind, samples in tests.items()
    }


def best_answers(setting: Setting, values: Tensor) -> Tensor:
    """Of values of neurons (K m, F) the largest (S k, F) over the outputs that a pair may have."""
    best = values.unflatten(0, (setting.outputs, -1)).amax(1)
    mask = possible(setting, values.device)
    return torch.stack([best[own].amax(0) for own in mask])


def responses(setting: Setting, network: Network, features: Tensor) -> dict[str, float]:
    """How strongly the best neuron of an output answers to its features, at amplitude 1 (O).

    `response_common` is max_r ⟨w_{·,r}, v_y⟩, `response_fine` max_r ⟨w_{·,r}, v_{y,c}⟩, the means
    over all (y, c), where r goes over the neurons of the outputs that samples of (y, c) are trained
    to: that of y for coarse labels, that of (y, c) for fine ones. Biases are left out: they are
    small.
    """
    best = best_answers(setting, network.weights @ features.T)
    pair = torch.arange(len(best), device=best.device)
    return {
        "response_common": best[pair, pair // setting.k].mean().item(),
        "response_fine": best[pair, setting.superclasses + pair].mean().item(),
    }


def winners(setting: Setting, network: Network, features: Tensor) -> dict[str, float]:
    """How many neurons have won a feature (O), means over features.

    A neuron has won the feature to which it answers most strongly of all, if it answers at all to
    that feature alone (⟨w, v⟩ + b > 0), and if its output is one that samples with the feature are
    trained to. `without_winner` is the share of fine features that no neuron has won.
    """
    answers = network.weights @ features.T  # (K m, F)
    strongest = answers.argmax(-1)
    won = functional.one_hot(strongest, len(features)).bool() & (
        answers + network.biases[:, None] > 0
    )
    by_output = won.unflatten(0, (setting.outputs, -1)).sum(1).float()  # (K, F)
    mask = possible(setting, features.device)
    of_pairs = mask.float() @ by_output  # (S k, F)
    pair = torch.arange(len(mask), device=features.device)
    fine = of_pairs[pair, setting.superclasses + pair]
    return {
        "winners_common": of_pairs[pair, pair // setting.k].mean().item(),
        "winners_fine": fine.mean().item(),
        "without_winner": (fine == 0).float().mean().item(),
    }


def awake(setting: Setting, network: Network, samples: Samples) -> float:
    """Share of neurons that answer to at least one patch of the samples."""
    return fires(network, samples.patches, setting.activation).float().mean().item()


def without_fine(setting: Setting, network: Network, features: Tensor) -> Network:
    """The network with all fine features projected out of its weights: w - Σ ⟨w, v_{y,c}⟩ v_{y,c}.

    An intervention (O): whatever it knew of subclasses by their features, it knows no more.
    """
    fine = features[setting.superclasses :]
    return network._replace(weights=network.weights - network.weights @ fine.T @ fine)


def by_frequency(setting: Setting, network: Network, hard: Samples) -> dict[str, float]:
    """The hard error on the frequent half of the subclasses, and on the rare one."""
    if not (setting.unevenness and tells_superclass(setting) and setting.k > 1):
        return {}
    missed = wrong(setting, network, hard).float()
    rare = hard.c >= setting.k // 2
    return {
        "hard_error_frequent": missed[~rare].mean().item(),
        "hard_error_rare": missed[rare].mean().item(),
    }


def top_loss(
    setting: Setting, network: Network, judge: Network, samples: Samples, hard: int
) -> dict[str, float]:
    """Errors where another network, the judge, has its highest loss (O).

    `judge` is trained on superclasses; of `samples` the first `hard` are hard in the paper's sense,
    the others easy. Of all of them, and of the easy ones alone, the setting's share of highest loss
    is taken. `top_loss_hard_share` says how many of the former are hard by construction.
    """
    if not tells_superclass(setting):
        return {}
    scores = logits(judge, samples.patches, setting.activation)
    losses = functional.cross_entropy(scores, samples.y, reduction="none")
    missed = wrong(setting, network, samples).float()
    every = losses.argsort(descending=True)[: math.ceil(setting.top_loss * len(losses))]
    easy = losses[hard:].argsort(descending=True)[
        : math.ceil(setting.top_loss * (len(losses) - hard))
    ]
    return {
        "top_loss_error": missed[every].mean().item(),
        "top_loss_easy_error": missed[hard:][easy].mean().item(),
        "top_loss_hard_share": (every < hard).float().mean().item(),
    }


# --- A new last layer on frozen neurons -------------------------------------------------------


def refitted_head(
    features: Tensor,
    y: Tensor,
    steps: int = 1000,
    learning_rate: float = 4.0,
    superclasses: int = 2,
) -> Tensor:
    """A new last layer (S, n) on frozen features (N, n), for the superclass: logistic regression.

    Full-batch gradient descent on softmax cross-entropy from zero, without decay or bias. The
    features are divided by their root mean square norm, so that the rate suits every network: it
    must stay below 8, where descent on features of norm 1 may diverge. A feature that is zero in
    every sample keeps its weight of zero. All of it is ours; the paper analyses no finetuning.
    """
    used = features.ne(0).any(0)
    unit = features[:, used] / features.square().sum(-1).mean().sqrt()
    wanted = functional.one_hot(y, superclasses).to(unit)
    head = unit.new_zeros(superclasses, unit.shape[-1])
    for _ in range(steps):
        head -= learning_rate / len(y) * ((unit @ head.T).softmax(-1) - wanted).T @ unit
    whole = head.new_zeros(superclasses, features.shape[-1])
    whole[:, used] = head
    return whole


def head_errors(
    setting: Setting, network: Network, training: Samples, tests: Mapping[str, Samples]
) -> dict[str, float]:
    """Errors of a last layer refitted on easy samples, by kind of the test samples."""

    def neurons(samples: Samples) -> Tensor:
        return pooled(network, samples.patches, setting.activation)

    head = refitted_head(neurons(training), training.y, superclasses=setting.superclasses)
    return {
        f"head_{kind}_error": ((neurons(some) @ head.T).argmax(-1) != some.y).float().mean().item()
        for kind, some in tests.items()
    }
