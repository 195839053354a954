"""Training: one run, or several of one shape side by side, and what it left at logged steps."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

import granularity.theory.network as networks  # by its full name, which `source` reads
from granularity.theory.network import Network
from granularity.theory.samples import Batch, batches, dictionary, training_samples
from granularity.theory.setting import Setting, stream


class Moment(NamedTuple):
    """A network as it was after so many steps, and its loss on the batch that came next."""

    step: int
    loss: float
    network: Network


def logged_steps(steps: int, count: int = 30) -> list[int]:
    """About `count` steps from 0 to `steps`, denser at the start, where features grow fastest."""
    return sorted({round(steps * (i / (count - 1)) ** 1.5) for i in range(count)})


# Fields in which runs that are trained side by side may differ.
OWN = {
    "k",
    "noise",
    "strong_noise",
    "amplitude_spread",
    "opposing_amplitude",
    "learning_rate",
    "labels",
}
OWN |= {"feature_patches", "opposing_patches", "hard_share", "unevenness", "classes"}
OWN |= {"threshold", "initial_scale", "test_samples", "top_loss", "finetune_steps"}


def shape(setting: Setting) -> tuple:
    """What runs must have in common to be trained side by side: outputs, and all but `OWN`."""
    common = [value for name, value in vars(setting).items() if name not in OWN]
    return (setting.outputs, *common)


def stacked(items: Sequence[Batch | Network]) -> Batch | Network:
    """Batches or networks of several runs as one, with a leading dimension of runs."""
    kind = type(items[0])
    if len(items) == 1:
        return kind(*(part[None] for part in items[0]))
    return kind(*(torch.stack(parts) for parts in zip(*items, strict=True)))


def train(
    setting: Setting,
    network: Network,
    training: Iterable[Batch],
    *,
    rates: Tensor | float | None = None,
    pool: Tensor | None = None,
) -> list[list[Moment]]:
    """Trains in place, for each run (the leading dimension) the moments that it passed through.

    `rates` are the runs' own (runs,), where they are not the setting's. `pool`, all patches that
    `training` will ever show (runs, n, P, d), lets neurons that are silent on all of them be left
    out. That is exact: such a neuron has no gradient, so by the bias rule it stays silent for
    ever. It is put back at every logged step, since other patches may wake it.

    Raises FloatingPointError, naming the step, where a loss is no longer finite.
    """
    change = networks.optimiser(
        setting.optimiser, setting.learning_rate if rates is None else rates
    )
    can_leave_out = setting.activation in networks.CAN_BE_SILENT and setting.optimiser == "sgd"
    logged = set(logged_steps(setting.steps, setting.logged))
    moments: list[list[Moment]] = [[] for _ in network.weights]
    part, index, look, pause = network, None, 0, 16
    for step, batch in zip(range(setting.steps + 1), training, strict=False):
        if pool is not None and can_leave_out and step == look:
            awake = networks.fires(part, pool, setting.activation)
            if networks.kept(awake).shape[-1] < 0.9 * awake.shape[-1]:
                chosen = networks.kept(awake)
                if index is not None:
                    networks.put_back(network, part, index)
                    chosen = index.gather(-1, chosen)
                part, index = networks.narrowed(network, chosen), chosen
            else:
                pause *= 2  # looking costs a pass over the pool: rarely, where it does not pay
            look += pause * max(1, pool.shape[-3] // setting.batch_size)
        loss, gradient = networks.loss_and_gradient(
            part, batch.patches, batch.targets, setting.activation
        )
        if step in logged:
            if index is not None:
                networks.put_back(network, part, index)
            for run, value in enumerate(loss.tolist()):
                if not math.isfinite(value):
                    raise FloatingPointError(f"the training loss is {value} at step {step}")
                moments[run].append(
                    Moment(step, value, Network(*(x[run].clone() for x in network)))
                )
        if step < setting.steps:
            networks.descend(part, gradient, change, setting.biases, setting.output_weights)
    return moments


@lru_cache(maxsize=2)
def trained(
    settings: tuple[Setting, ...],
    seeds: tuple[int, ...],
    device: str,
    role: str = "",
    leave_out: bool = True,
) -> list[list[Moment]]:
    """Trains one network for each setting and seed, side by side; the moments of each.

    `role` "judge's " trains on other samples from other weights, in the same dictionary. The last
    results are kept, since runs that differ in test samples alone share them: change nothing in
    them. `leave_out=False` goes without the shortcut for fixed sets (see `train`).

    Raises ValueError for settings of different shapes.
    """
    first = settings[0]
    for setting in settings[1:]:
        if shape(setting) != shape(first):
            raise ValueError(f"not of one shape: {first} and {setting}")
    runs, pools = [], []
    for setting, seed in zip(settings, seeds, strict=True):
        features = dictionary(setting, stream(seed, "dictionary", device))
        rng = stream(seed, role + "training", device)
        pool = None
        if setting.finite_set:
            pool = training_samples(setting, features, setting.finite_set, rng)
            pools.append(pool.patches)
        runs.append(batches(setting, features, rng, pool))
    start = stacked(
        [
            networks.initial(setting, stream(seed, role + "weights", device))
            for setting, seed in zip(settings, seeds, strict=True)
        ]
    )
    rates = torch.tensor([setting.learning_rate for setting in settings], device=device)
    return train(
        first,
        start,
        map(stacked, zip(*runs, strict=True)),
        rates=first.learning_rate if len(set(rates.tolist())) == 1 else rates,
        pool=torch.stack(pools) if pools and leave_out else None,
    )


def finetuned(setting: Setting, network: Network, features: Tensor, seed: int) -> Moment:
    """The network after training on superclasses, with a new last layer, zero at first (O).

    All of it moves, with the setting's rate, samples of its kind, and no hard ones among them.
    """
    target = replace(
        setting,
        labels="coarse",
        classes=0,
        hard_share=0.0,
        steps=setting.finetune_steps,
        output_weights="trained",
        logged=2,
    )
    device = str(features.device)
    rng = stream(seed, "finetuning", device)
    pool = None
    if target.finite_set:
        pool = training_samples(target, features, target.finite_set, rng)
    new = network.outputs.new_zeros(setting.superclasses, network.outputs.shape[-1])
    start = stacked([Network(network.weights.clone(), network.biases.clone(), new)])
    samples = map(stacked, zip(batches(target, features, rng, pool), strict=True))
    return train(target, start, samples)[0][-1]
