"""One run's parameters, their limits, grids of them, and the streams of chance that a run draws on.

Marks of every choice: P (the paper's text), L (lineage: works that it builds on), O (ours).
"""

import itertools
import math
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np
import torch

from granularity.nearest import nearest


def _between(default: float, low: float, high: float = math.inf) -> float:
    """A dataclass field whose value must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


def _one_of(default: str, *others: str) -> str:
    """A dataclass field whose value must be one of a few words."""
    return field(default=default, metadata={"words": (default, *others)})


@dataclass(frozen=True)
class Setting:
    """Everything that one run depends on beside its seed; the paper's symbol stands first.

    The data model and the network are P, all default values O; what the paper does not have is
    marked O, and at its default changes nothing.

    Raises TypeError for a value of another type, ValueError for one out of range; both name the
    parameter, the value found and the values allowed.
    """

    # What is trained on; `labelling` says what each word means. All but the first two are O.
    labels: str = _one_of("coarse", "fine", "merged", "overfine", "random", "free", "misaligned")
    classes: int = _between(0, 0)  # number of labels where the word leaves it open; 0: as fine has
    # The data
    k: int = _between(8, 1)  # k, subclasses of each superclass
    superclasses: int = _between(2, 2)  # O above 2; v_{-y} is then the next superclass's feature
    d: int = _between(128, 4)  # d, dimension of a patch; all features must fit in
    patches: int = _between(8, 2)  # P, patches of a sample
    feature_patches: int = _between(2, 1)  # s*, patches of each of a sample's two features
    opposing_patches: int = _between(1, 0)  # s†, patches of a hard sample with the feature v_{-y}
    amplitude_spread: float = _between(0.1, 0, 1)  # ι, amplitudes α are uniform in [1 - ι, 1 + ι]
    opposing_amplitude: float = _between(0.1, 0)  # α†, amplitude of v_{-y} in a hard sample
    noise: float = _between(0.05, 0)  # σ_ζ, deviation of the noise in each coordinate
    strong_noise: float = _between(0.5, 0)  # σ_ζ*, the same in a hard sample's one strong patch
    hard_share: float = _between(0.0, 0, 1)  # O: share of hard samples in training
    unevenness: float = _between(0.0, 0)  # O: u, in training subclass c has odds (1 + c)^-u
    # The network
    width: int = _between(32, 1)  # m, neurons of each output
    threshold: float = _between(1.0, 0)  # τ, biases start at -τ σ_0 √ln d
    initial_scale: float = _between(0.01, 0)  # σ_0, deviation of each initial weight
    activation: str = _one_of("relu", "leaky", "squared", "softplus")  # all but ReLU are O
    biases: str = _one_of("rule", "trained", "fixed")  # L; O: by gradient, or not at all
    output_weights: str = _one_of("fixed", "trained")  # P; O: by gradient, from the fixed ones
    # Training
    optimiser: str = _one_of("sgd", "adam")  # P; O
    rate: float = _between(0.2, 0)  # η, learning rate
    steps: int = _between(300, 1)  # T, gradient steps
    batch: int = _between(512, 1)  # N, samples of a step
    finite_set: int = _between(0, 0)  # 0: fresh samples at every step (P); n: a fixed set of n
    finetune_steps: int = _between(0, 0)  # O: steps on y with a new last layer, after all the rest
    # Measuring
    test_samples: int = _between(1000, 1)  # samples of each test set
    top_loss: float = _between(0.0, 0, 1)  # O: share of samples called hard by a judge's loss
    logged: int = _between(30, 2)  # moments at which curves are measured, about

    def __post_init__(self) -> None:
        """Checks every field; an int given for a float becomes one: equal settings look equal."""
        for item in fields(self):
            object.__setattr__(self, item.name, _checked(item, getattr(self, item.name)))
        features = self.superclasses * (1 + self.k)
        hard_patches = self.feature_patches + self.opposing_patches + 1
        for name, value, least, reason in (
            ("d", self.d, features, f"{features} features must be orthogonal"),
            ("patches", self.patches, 2 * self.feature_patches, "an easy sample has 2 s* features"),
            ("patches", self.patches, hard_patches, "a hard sample fills s* + s† + 1 patches"),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least} ({reason}), not {value}")
        if 0 < self.finite_set < self.batch:
            raise ValueError(
                f"finite_set must be 0 or at least batch = {self.batch}, not {self.finite_set}"
            )
        self._check_classes()

    def _check_classes(self) -> None:
        """Raises ValueError where `classes` does not suit the kind of labels."""
        fine, s = self.superclasses * self.k, self.superclasses
        low, high, unit = {
            "coarse": (0, 0, 1),
            "fine": (0, 0, 1),
            "merged": (s, fine, s),
            "overfine": (fine, math.inf, fine),
            "random": (s, math.inf, s),
            "free": (2, math.inf, 1),
            "misaligned": (1, self.k, 1),
        }[self.labels]
        found = self.classes
        if found and not (low <= found <= high and found % unit == 0):
            wanted = f"between {low} and {high}" if high < math.inf else f"at least {low}"
            if high == 0:
                wanted = "0, since the labels say their number"
            elif unit > 1:
                wanted += f" and a multiple of {unit}"
            raise ValueError(f"classes of {self.labels} labels must be {wanted}, not {found}")

    @property
    def outputs(self) -> int:
        """Number of classes of the labels trained on."""
        if self.labels == "coarse":
            return self.superclasses
        if self.labels == "misaligned":
            return self.classes or self.k
        return self.classes or self.superclasses * self.k

    @property
    def training_alone(self) -> "Setting":
        """The same setting with everything that is measured after training only at its default.

        Runs that share it share their training, and what it learns, to the last digit.
        """
        later = {"finetune_steps", "test_samples", "top_loss"}
        if not self.hard_share:
            later |= {"opposing_patches", "opposing_amplitude", "strong_noise"}
        return replace(
            self, **{item.name: item.default for item in fields(self) if item.name in later}
        )


def _checked(item: object, value: object) -> object:
    """A field's value in the field's type. Raises TypeError and ValueError as `Setting` does."""
    allowed = (int, float) if item.type is float else (item.type,)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise TypeError(f"{item.name} must be {item.type.__name__}, not {value!r}")
    words = item.metadata.get("words")
    if words:
        if value not in words:
            near = nearest(value, words, cutoff=0)
            raise ValueError(
                f"{item.name} must be one of {', '.join(words)}, not {value!r}; "
                f"the nearest one is {near!r}"
            )
        return value
    low, high = item.metadata["low"], item.metadata["high"]
    if not (low <= value <= high and math.isfinite(value)):
        wanted = f"at least {low}" if high == math.inf else f"between {low} and {high}"
        raise ValueError(f"{item.name} must be {wanted}, not {value!r}")
    return item.type(value)


def grid(**values: object) -> list[dict]:
    """All combinations of the given values, as complete arguments of `simulate`.

    Every parameter takes one value or a list of values; those not given have their defaults. The
    last one given varies fastest.

    Raises TypeError for a name that `simulate` does not have, and whatever `Setting` raises.
    """
    known = [item.name for item in fields(Setting)] + ["seed", "device"]
    for name in values:
        if name not in known:
            near = nearest(name, known, cutoff=0)
            raise TypeError(f"no parameter is named {name!r}; the nearest one is {near!r}")
    lists = [value if isinstance(value, (list, tuple)) else [value] for value in values.values()]
    settings = []
    for combination in itertools.product(*lists):
        given = {"seed": 0, "device": "cpu"} | dict(zip(values, combination, strict=True))
        seed, device = given.pop("seed"), given.pop("device")
        settings.append(asdict(Setting(**given)) | {"seed": seed, "device": device})
    return settings


# The judge is a second network of the same run, which says which samples have a high loss.
PURPOSES = ("dictionary", "weights", "training", "test", "head", "finetuning")
PURPOSES += ("judged samples", "judge's weights", "judge's training")


def stream(seed: int, purpose: str, device: str = "cpu") -> torch.Generator:
    """One of a run's random streams: `purpose` says which (see `PURPOSES`)."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, not {seed!r}")
    state = np.random.SeedSequence([seed, PURPOSES.index(purpose)]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))
