"""The paper's theory as a simulation: patches of features and noise, a two-layer network, SGD.

Section 3 of the paper defines the data and the network, its Theorems 4.1 and 4.2 compare training
on coarse labels (two superclasses) with training on fine ones (2k subclasses). Nothing here needs
an image: `simulate` draws the data, trains one network, and measures its errors on easy samples,
on hard ones, and on samples that are hard in one respect only.

Sources of every choice are marked P (the paper's text), L (lineage: works that it builds on) and
O (ours). The defaults are ours.

Chance enters by one integer. It seeds five independent streams (dictionary, weights, training,
test, head), so runs that share a seed share dictionary and samples, whatever their labels, and
differ in what is trained only. A stream is a `torch.Generator` on the device that computes: CPU
and GPU draw different numbers from the same distribution; on a CPU the numbers are the same for
any number of threads, to rounding.
"""

import difflib
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# --- One run's parameters ---------------------------------------------------------------------


def _between(default: float, low: float, high: float = math.inf) -> float:
    """A dataclass field whose value must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Setting:
    """Everything that one run depends on beside its seed; the paper's symbol stands first.

    The data model and the network are P, all default values O.

    Raises TypeError for a value of another type, ValueError for one out of range; both name the
    parameter, the value found and the values allowed.
    """

    labels: str = "coarse"  # "coarse": 2 outputs, trained on y; "fine": 2k outputs, on (y, c)
    k: int = _between(8, 1)  # k, subclasses of each of the two superclasses
    d: int = _between(128, 4)  # d, dimension of a patch; 2 + 2k features must fit in
    patches: int = _between(8, 2)  # P, patches of a sample
    feature_patches: int = _between(2, 1)  # s*, patches of each of a sample's two features
    opposing_patches: int = _between(1, 0)  # s†, patches of a hard sample with the feature v_{-y}
    amplitude_spread: float = _between(0.1, 0, 1)  # ι, amplitudes α are uniform in [1 - ι, 1 + ι]
    opposing_amplitude: float = _between(0.1, 0)  # α†, amplitude of v_{-y} in a hard sample
    noise: float = _between(0.05, 0)  # σ_ζ, deviation of the noise in each coordinate
    strong_noise: float = _between(0.5, 0)  # σ_ζ*, the same in a hard sample's one strong patch
    width: int = _between(32, 1)  # m, neurons of each output
    threshold: float = _between(1.0, 0)  # τ, biases start at -τ σ_0 √ln d
    initial_scale: float = _between(0.01, 0)  # σ_0, deviation of each initial weight
    rate: float = _between(0.2, 0)  # η, learning rate
    steps: int = _between(300, 1)  # T, gradient steps
    batch: int = _between(512, 1)  # N, samples of a step
    finite_set: int = _between(0, 0)  # 0: fresh samples at every step (P); n: a fixed set of n
    test_samples: int = _between(1000, 1)  # samples of each test set

    def __post_init__(self) -> None:
        """Checks every field; an int given for a float becomes one: equal settings look equal."""
        if self.labels not in ("coarse", "fine"):
            raise ValueError(f"labels must be 'coarse' or 'fine', not {self.labels!r}")
        for item in fields(self)[1:]:
            value = getattr(self, item.name)
            allowed = (int,) if item.type is int else (int, float)
            if isinstance(value, bool) or not isinstance(value, allowed):
                raise TypeError(f"{item.name} must be {item.type.__name__}, not {value!r}")
            low, high = item.metadata["low"], item.metadata["high"]
            if not (low <= value <= high and math.isfinite(value)):
                wanted = f"at least {low}" if high == math.inf else f"between {low} and {high}"
                raise ValueError(f"{item.name} must be {wanted}, not {value!r}")
            object.__setattr__(self, item.name, item.type(value))
        hard_patches = self.feature_patches + self.opposing_patches + 1
        for name, value, least, reason in (
            ("d", self.d, 2 + 2 * self.k, "2 + 2 k features must be orthogonal"),
            ("patches", self.patches, 2 * self.feature_patches, "an easy sample has 2 s* features"),
            ("patches", self.patches, hard_patches, "a hard sample fills s* + s† + 1 patches"),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least} ({reason}), not {value}")
        if 0 < self.finite_set < self.batch:
            raise ValueError(
                f"finite_set must be 0 or at least batch = {self.batch}, not {self.finite_set}"
            )

    @property
    def outputs(self) -> int:
        """Number of classes of the labels trained on."""
        return 2 if self.labels == "coarse" else 2 * self.k


def grid(**values: object) -> list[dict]:
    """All combinations of the given values, as complete arguments of `simulate`.

    Every parameter takes one value or a list of values; those not given have their defaults. The
    last one given varies fastest.

    Raises TypeError for a name that `simulate` does not have, and whatever `Setting` raises.
    """
    known = [item.name for item in fields(Setting)] + ["seed", "device"]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise TypeError(f"no parameter is named {name!r}; the nearest one is {near!r}")
    lists = [value if isinstance(value, (list, tuple)) else [value] for value in values.values()]
    settings = []
    for combination in itertools.product(*lists):
        given = {"seed": 0, "device": "cpu"} | dict(zip(values, combination, strict=True))
        seed, device = given.pop("seed"), given.pop("device")
        settings.append(asdict(Setting(**given)) | {"seed": seed, "device": device})
    return settings


def stream(seed: int, purpose: str, device: str = "cpu") -> torch.Generator:
    """One of the five random streams of a run: `purpose` says which."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, not {seed!r}")
    index = ("dictionary", "weights", "training", "test", "head").index(purpose)
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))


# --- Data -------------------------------------------------------------------------------------


def dictionary(setting: Setting, generator: torch.Generator) -> Tensor:
    """Random orthonormal features (2 + 2k, d): v_+, v_-, v_{+,1} … v_{+,k}, v_{-,1} … v_{-,k}."""
    gauss = torch.randn(setting.d, 2 + 2 * setting.k, generator=generator, device=generator.device)
    orthonormal, upper = torch.linalg.qr(gauss)
    # Signs of the triangle's diagonal: with them the directions are uniform on the sphere.
    return (orthonormal * upper.diagonal().sign()).T.contiguous()


class Samples(NamedTuple):
    """N samples with their labels."""

    patches: Tensor  # (N, P, d)
    y: Tensor  # (N,), superclass: 0 for +, 1 for -
    c: Tensor  # (N,), subclass in 0 … k - 1

    def targets(self, setting: Setting) -> Tensor:
        """The labels that are trained on: y, or y k + c."""
        return self.y if setting.labels == "coarse" else self.y * setting.k + self.c


# What the patches of a sample hold beside weak noise. The paper has the first two kinds (P); the
# others, hard in one respect only or without the subclass's feature, take its hard one apart (O).
KINDS = {
    "easy": {"common", "fine"},
    "hard": {"fine", "opposing", "strong"},
    "common_removed": {"fine"},
    "opposing": {"fine", "opposing"},
    "strong_patch": {"fine", "strong"},
    "no_fine": {"opposing", "strong"},
}


def draw(
    setting: Setting,
    features: Tensor,
    count: int,
    generator: torch.Generator,
    kind: str = "easy",
) -> Samples:
    """`count` samples of a kind (see `KINDS`), labels uniform over the 2k pairs (y, c).

    Patches stand in a fixed order, since the network sums over them: s* with α v_{y,c}, s* with
    α v_y, the rest; of a hard sample the last is the strong one and the s† before it are
    α† v_{-y}. "About s*" (P) is read as exactly s*, α is drawn for every patch, α† is constant (O).

    The numbers drawn do not depend on the kind: from equal states of the generator come the same
    samples, with parts taken out or put in.
    """
    parts, place = KINDS[kind], {"generator": generator, "device": features.device}
    wanted = setting.feature_patches
    pair = torch.randint(2 * setting.k, (count,), **place)
    y, c = pair // setting.k, pair % setting.k
    alpha = torch.rand(count, 2 * wanted, 1, dtype=features.dtype, **place)
    alpha = 1 + setting.amplitude_spread * (2 * alpha - 1)
    patches = torch.randn(count, setting.patches, setting.d, dtype=features.dtype, **place)

    patches[:, :-1] *= setting.noise
    patches[:, -1] *= setting.strong_noise if "strong" in parts else setting.noise
    if "fine" in parts:
        patches[:, :wanted] += alpha[:, :wanted] * features[2 + pair, None]
    if "common" in parts:
        patches[:, wanted : 2 * wanted] += alpha[:, wanted:] * features[y, None]
    if "opposing" in parts:
        opposing = slice(setting.patches - 1 - setting.opposing_patches, setting.patches - 1)
        patches[:, opposing] += setting.opposing_amplitude * features[1 - y, None]
    return Samples(patches, y, c)


def batches(setting: Setting, features: Tensor, generator: torch.Generator) -> Iterable[Samples]:
    """Endless batches of easy samples: fresh ones, or N of a fixed set, none twice in a batch."""
    if not setting.finite_set:
        while True:
            yield draw(setting, features, setting.batch, generator)
    pool = draw(setting, features, setting.finite_set, generator)
    while setting.finite_set == setting.batch:
        yield pool
    while True:
        order = torch.randperm(setting.finite_set, generator=generator, device=features.device)
        yield Samples(*(part[order[: setting.batch]] for part in pool))


# --- Network ----------------------------------------------------------------------------------


class Network(NamedTuple):
    """F_c(X) = Σ_r Σ_p ReLU(⟨w_{c,r}, x_p⟩ + b_{c,r}): m neurons for each output, P."""

    weights: Tensor  # w, (outputs, m, d)
    biases: Tensor  # b, (outputs, m)


def initial(setting: Setting, generator: torch.Generator) -> Network:
    """w ~ N(0, σ_0² I) and b = -τ σ_0 √ln d: the paper's Θ (P), its constant τ ours."""
    size = (setting.outputs, setting.width, setting.d)
    weights = torch.randn(size, generator=generator, device=generator.device)
    bias = -setting.threshold * setting.initial_scale * math.sqrt(math.log(setting.d))
    return Network(weights * setting.initial_scale, torch.full_like(weights[..., 0], bias))


def activations(network: Network, patches: Tensor) -> Tensor:
    """What every neuron answers to every patch, after the ReLU: (N, P, outputs, m)."""
    answers = functional.linear(patches, network.weights.flatten(0, 1), network.biases.flatten())
    return answers.relu_().unflatten(-1, network.biases.shape)


def logits(network: Network, patches: Tensor) -> Tensor:
    """F (N, outputs)."""
    return activations(network, patches).sum(1).sum(-1)


def loss_and_gradient(network: Network, patches: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax cross-entropy, mean over samples, and its exact derivative by w (outputs, m, d).

    ∂loss/∂w_{c,r} = Σ_n Σ_p (softmax_c - 1[c = target]) / N · 1[neuron fires on x_p] · x_p.
    Biases have no gradient: they follow the rule in `descend`.
    """
    active = activations(network, patches)
    log_softmax = active.sum(1).sum(-1).log_softmax(-1)
    picked = targets[:, None]
    loss = -log_softmax.gather(1, picked).mean()
    residual = log_softmax.exp()
    residual.scatter_add_(1, picked, residual.new_full(picked.shape, -1.0))
    flow = active.sign_().mul_((residual / len(targets))[:, None, :, None])
    gradient = flow.flatten(2).flatten(0, 1).T @ patches.flatten(0, 1)
    return loss, gradient.view_as(network.weights)


def descend(network: Network, gradient: Tensor, rate: float) -> None:
    """One SGD step in place; each bias then sinks by ‖Δw‖₂ / ln⁵ d of its own neuron (L)."""
    change = rate * gradient
    network.weights.sub_(change)
    network.biases.sub_(change.norm(dim=-1) / math.log(network.weights.shape[-1]) ** 5)


# --- Measurements -----------------------------------------------------------------------------


def superclass(scores: Tensor) -> Tensor:
    """Which superclass wins (N,): the larger of the two maxima over subclasses (P)."""
    return scores.unflatten(-1, (2, -1)).amax(-1).argmax(-1)


def error(network: Network, samples: Samples) -> float:
    """Share of samples whose superclass is missed."""
    return (superclass(logits(network, samples.patches)) != samples.y).float().mean().item()


def responses(network: Network, features: Tensor) -> dict[str, float]:
    """How strongly the best neuron of an output answers to its features, at amplitude 1 (O).

    `response_common` is max_r ⟨w_{·,r}, v_y⟩, the mean over outputs; `response_fine` is
    max_r ⟨w_{·,r}, v_{y,c}⟩, the mean over all (y, c), where the output is that of y after coarse
    training and that of (y, c) after fine training. Biases are left out: they are small.
    """
    pairs = len(features) - 2
    best = (network.weights @ features.T).amax(1)  # (outputs, 2 + 2k)
    best = best.repeat_interleave(pairs // len(best), dim=0)  # (2k, 2 + 2k): a row for each (y, c)
    row = torch.arange(pairs, device=best.device)
    return {
        "response_common": best[row, row // (pairs // 2)].mean().item(),
        "response_fine": best[row, 2 + row].mean().item(),
    }


def awake(network: Network, samples: Samples) -> float:
    """Share of neurons that fire on at least one patch of the samples."""
    return (activations(network, samples.patches) > 0).any(0).any(0).float().mean().item()


def refitted_head(features: Tensor, y: Tensor, steps: int = 1000, rate: float = 4.0) -> Tensor:
    """A new last layer (2, n) on frozen features (N, n), for the superclass: logistic regression.

    Full-batch gradient descent on softmax cross-entropy from zero, without decay or bias. The
    features are divided by their root mean square norm, so that the rate suits every network: it
    must stay below 8, where descent on features of norm 1 may diverge. All of it is ours; the
    paper analyses no finetuning.
    """
    unit = features / features.square().sum(-1).mean().sqrt()
    wanted = functional.one_hot(y, 2).to(unit)
    head = unit.new_zeros(2, unit.shape[-1])
    for _ in range(steps):
        head -= rate / len(y) * ((unit @ head.T).softmax(-1) - wanted).T @ unit
    return head


def head_errors(network: Network, training: Samples, tests: dict[str, Samples]) -> dict[str, float]:
    """Errors on easy and hard samples of a last layer refitted on easy samples."""
    neurons = {
        name: activations(network, samples.patches).sum(1).flatten(1)
        for name, samples in (tests | {"training": training}).items()
    }
    head = refitted_head(neurons["training"], training.y)
    return {
        f"head_{name}_error": ((neurons[name] @ head.T).argmax(-1) != tests[name].y)
        .float()
        .mean()
        .item()
        for name in ("easy", "hard")
    }


# --- One run ----------------------------------------------------------------------------------


def logged_steps(steps: int, count: int = 30) -> list[int]:
    """About `count` steps from 0 to `steps`, denser at the start, where features grow fastest."""
    return sorted({round(steps * (i / (count - 1)) ** 1.5) for i in range(count)})


def train(
    setting: Setting,
    network: Network,
    training: Iterable[Samples],
    measure: Callable[[], dict[str, float]],
    logged: list[int],
) -> list[dict[str, float]]:
    """SGD in place; at the logged steps the loss of the coming batch and what `measure()` gives.

    Raises FloatingPointError, naming the step, where the loss is no longer finite.
    """
    log = []
    for step, batch in zip(range(setting.steps + 1), training, strict=False):
        loss, gradient = loss_and_gradient(network, batch.patches, batch.targets(setting))
        if step in logged:
            if not math.isfinite(loss):
                raise FloatingPointError(f"the training loss is {loss.item()} at step {step}")
            log.append({"step": step, "training_loss": loss.item()} | measure())
        if step < setting.steps:
            descend(network, gradient, setting.rate)
    return log


@torch.no_grad()
def simulate(seed: int = 0, device: str = "cpu", **setting: object) -> dict:
    """One run: draws the data, trains the network, measures it; a function of its arguments alone.

    `setting` takes the fields of `Setting`. The result holds "metrics" after the last step and
    "curves" along training, rounded to five digits. Errors are shares of test samples whose
    superclass is missed, by the network's own read-out (`superclass`) or, where the name starts
    with `head_`, by a last layer refitted on 4N fresh easy samples (`refitted_head`):
    `easy_error`, `hard_error`, and for the other `KINDS` `hard_error_…`. All test sets are the same
    samples, made easy or hard. `training_loss` is that of the labels trained on, on samples that
    the network has not been trained on yet, unless the set is finite.
    """
    given = Setting(**setting)
    features = dictionary(given, stream(seed, "dictionary", device))
    network = initial(given, stream(seed, "weights", device))
    tests = {
        kind: draw(given, features, given.test_samples, stream(seed, "test", device), kind)
        for kind in KINDS
    }

    def measure() -> dict[str, float]:
        errors = {f"{kind}_error": error(network, tests[kind]) for kind in ("easy", "hard")}
        return errors | responses(network, features)

    training = batches(given, features, stream(seed, "training", device))
    log = train(given, network, training, measure, logged_steps(given.steps))
    metrics = {name: value for name, value in log[-1].items() if name != "step"}
    for kind in list(KINDS)[2:]:
        metrics[f"hard_error_{kind}"] = error(network, tests[kind])
    head_samples = draw(given, features, 4 * given.batch, stream(seed, "head", device))
    metrics |= head_errors(network, head_samples, tests)
    metrics["awake_neurons"] = awake(network, tests["easy"])
    return {
        "metrics": {name: _rounded(value) for name, value in metrics.items()},
        "curves": {name: [_rounded(row[name]) for row in log] for name in log[0]},
    }


def _rounded(value: float) -> float:
    """Five significant digits: more than chance leaves, and a record stays small."""
    return value if isinstance(value, int) else float(f"{value:.5g}")
