"""The data model: features, easy and hard samples, batches of them with the labels trained on.

A sample is P patches in R^d; superclass y has a common feature v_y, its subclass c a fine one
v_{y,c}; all features are orthonormal (P, section 3).
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from granularity.theory.setting import Setting


def dictionary(setting: Setting, generator: torch.Generator) -> Tensor:
    """Random orthonormal features (S + S k, d): v_+, v_-, then v_{+,1} … v_{+,k}, v_{-,1} …"""
    count = setting.superclasses * (1 + setting.k)
    gauss = torch.randn(setting.d, count, generator=generator, device=generator.device)
    orthonormal, upper = torch.linalg.qr(gauss)
    # Signs of the triangle's diagonal: with them the directions are uniform on the sphere.
    return (orthonormal * upper.diagonal().sign()).T.contiguous()


class Samples(NamedTuple):
    """N samples with what they are."""

    patches: Tensor  # (N, P, d)
    y: Tensor  # (N,), superclass: 0 for +, 1 for -, and on where there are more
    c: Tensor  # (N,), subclass in 0 … k - 1

    def targets(self, setting: Setting) -> Tensor:
        """The labels that are trained on (N,), see `labelled`."""
        return labelled(setting, self.y, self.c)


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
    hard: int = 0,
) -> Samples:
    """`count` samples of a kind (see `KINDS`), the first `hard` of them hard whatever the kind.

    Pairs (y, c) are uniform, unless `unevenness` makes some subclasses rare. Patches stand in a
    fixed order, since the network sums over them: s* with α v_{y,c}, s* with α v_y, the rest; of a
    hard sample the last is the strong one and the s† before it are α† v_{-y}. "About s*" (P) is
    read as exactly s*, α is drawn for every patch, α† is constant (O).

    The numbers drawn do not depend on the kind: from equal states of the generator come the same
    samples, with parts taken out or put in.
    """
    place = {"generator": generator, "device": features.device}
    wanted, every = setting.feature_patches, setting.superclasses
    if setting.unevenness:
        odds = torch.arange(1.0, setting.k + 1, device=features.device) ** -setting.unevenness
        pair = torch.multinomial(odds.repeat(every), count, replacement=True, generator=generator)
    else:
        pair = torch.randint(every * setting.k, (count,), **place)
    y, c = pair // setting.k, pair % setting.k
    alpha = torch.rand(count, 2 * wanted, 1, dtype=features.dtype, **place)
    alpha = 1 + setting.amplitude_spread * (2 * alpha - 1)
    patches = torch.randn(count, setting.patches, setting.d, dtype=features.dtype, **place)

    opposing = slice(setting.patches - 1 - setting.opposing_patches, setting.patches - 1)
    for some, parts in ((slice(0, hard), KINDS["hard"]), (slice(hard, count), KINDS[kind])):
        block = patches[some]
        block[:, :-1] *= setting.noise
        block[:, -1] *= setting.strong_noise if "strong" in parts else setting.noise
        if "fine" in parts:
            block[:, :wanted] += alpha[some, :wanted] * features[every + pair[some], None]
        if "common" in parts:
            block[:, wanted : 2 * wanted] += alpha[some, wanted:] * features[y[some], None]
        if "opposing" in parts:
            other = features[(y[some] + 1) % every, None]
            block[:, opposing] += setting.opposing_amplitude * other
    return Samples(patches, y, c)


# --- Labels -----------------------------------------------------------------------------------


def labelled(setting: Setting, y: Tensor, c: Tensor) -> Tensor:
    """The labels that are trained on (N,), of samples of superclass y and subclass c.

    - *coarse*: y. *fine*: the pair (y, c). Both P, the others O.
    - *merged*: neighbouring subclasses of one superclass share a label: between coarse and fine.
    - *misaligned*: subclass c of every superclass has the same label, neighbours share one too: as
      many labels as merged ones, of equal sizes, that say nothing of the superclass.
    - *overfine*: the pair (y, c), split at random into equal parts; as many as there are samples of
      a fixed set: every sample a class of its own, as nearly as pairs of uneven size allow.
    - *random*: y, split at random into equal parts. *free*: equal random parts of everything.

    Random parts are dealt in turn: sample order is chance, so the deal says nothing of a sample.
    """
    count, k = setting.outputs, setting.k
    parts = {
        "coarse": lambda: y,
        "fine": lambda: y * k + c,
        "merged": lambda: y * (count // setting.superclasses) + grouped(setting, c),
        "misaligned": lambda: c * count // k,
        "overfine": lambda: dealt(y * k + c, count // (setting.superclasses * k)),
        "random": lambda: dealt(y, count // setting.superclasses),
        "free": lambda: dealt(torch.zeros_like(y), count),
    }
    return parts[setting.labels]()


def grouped(setting: Setting, c: Tensor) -> Tensor:
    """Which group of neighbours subclass c falls into, as merged labels have it."""
    return c * (setting.outputs // setting.superclasses) // setting.k


def dealt(group: Tensor, parts: int) -> Tensor:
    """Splits each group into `parts` equal ones, members in turn: new ids, group by group."""
    order = group.argsort(stable=True)
    sizes = torch.bincount(group)
    first = sizes.cumsum(0) - sizes
    rank = torch.empty_like(group)
    rank[order] = torch.arange(len(group), device=group.device) - first[group[order]]
    return group * parts + rank % parts


def possible(setting: Setting, device: str = "cpu") -> Tensor:
    """Which labels a sample of a pair (y, c) may have (S k, K), true or false."""
    pairs = torch.arange(setting.superclasses * setting.k, device=device)
    y, c = pairs // setting.k, pairs % setting.k
    label = torch.arange(setting.outputs, device=device)
    per_pair, per_y = len(label) // len(pairs), len(label) // setting.superclasses
    if setting.labels == "free":
        return torch.ones(len(pairs), len(label), dtype=torch.bool, device=device)
    if setting.labels == "overfine":
        return label // per_pair == pairs[:, None]
    if setting.labels == "random":
        return label // per_y == y[:, None]
    return labelled(setting, y, c)[:, None] == label


def tells_superclass(setting: Setting) -> bool:
    """Whether each label belongs to one superclass, so that outputs can be read as superclasses."""
    return setting.labels not in ("free", "misaligned")


# --- Batches ----------------------------------------------------------------------------------


class Batch(NamedTuple):
    """What a network is trained on."""

    patches: Tensor  # (N, P, d)
    targets: Tensor  # (N,)


def training_samples(
    setting: Setting, features: Tensor, count: int, generator: torch.Generator
) -> Batch:
    """Easy samples (P), a share of hard ones before them where the setting asks for it (O)."""
    hard = round(setting.hard_share * count)
    samples = draw(setting, features, count, generator, hard=hard)
    return Batch(samples.patches, samples.targets(setting))


def batches(
    setting: Setting, features: Tensor, generator: torch.Generator, pool: Batch | None = None
) -> Iterable[Batch]:
    """Endless batches: fresh samples, or N of the fixed set `pool`, none twice in a batch."""
    while pool is None:
        yield training_samples(setting, features, setting.batch_size, generator)
    while len(pool.targets) == setting.batch_size:
        yield pool
    while True:
        order = torch.randperm(len(pool.targets), generator=generator, device=features.device)
        yield Batch(*(part[order[: setting.batch_size]] for part in pool))
