"""One run's parameters, their limits, grids of them, and the streams of chance that a run draws on.

Marks of every choice: P (the paper's text), L (lineage: works that it builds on), O (ours).
"""

import itertools
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, create_model

from granularity.inputs.nearest import nearest
from granularity.inputs.strict import STRICT, Misfit, validated

Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Labels = Literal["coarse", "fine", "merged", "overfine", "random", "free", "misaligned"]


@dataclass(frozen=True)
class Setting:
    """Everything that one run depends on beside its seed; the paper's symbol stands first.

    The data model and the network are P, all default values O; what the paper does not have is
    marked O, and at its default changes nothing.

    Raises TypeError for a value of another type, ValueError for one out of range; both name the
    parameter, the value found and the values allowed.
    """

    # What is trained on; `labelling` says what each word means. All but the first two are O.
    labels: Labels = "coarse"
    classes: Count = 0  # number of labels where the word leaves it open; 0: as fine has
    # The data
    k: Positive = 8  # k, subclasses of each superclass
    superclasses: Several = 2  # O above 2; v_{-y} is then the next superclass's feature
    d: Annotated[int, Field(ge=4)] = 128  # d, dimension of a patch; all features must fit in
    patches: Several = 8  # P, patches of a sample
    feature_patches: Positive = 2  # s*, patches of each of a sample's two features
    opposing_patches: Count = 1  # s†, patches of a hard sample with the feature v_{-y}
    amplitude_spread: Share = 0.1  # ι, amplitudes α are uniform in [1 - ι, 1 + ι]
    opposing_amplitude: Number = 0.1  # α†, amplitude of v_{-y} in a hard sample
    noise: Number = 0.05  # σ_ζ, deviation of the noise in each coordinate
    strong_noise: Number = 0.5  # σ_ζ*, the same in a hard sample's one strong patch
    hard_share: Share = 0.0  # O: share of hard samples in training
    unevenness: Number = 0.0  # O: u, in training subclass c has odds (1 + c)^-u
    # The network
    width: Positive = 32  # m, neurons of each output
    threshold: Number = 1.0  # τ, biases start at -τ σ_0 √ln d
    initial_scale: Number = 0.01  # σ_0, deviation of each initial weight
    activation: Literal["relu", "leaky", "squared", "softplus"] = "relu"  # all but ReLU are O
    biases: Literal["rule", "trained", "fixed"] = "rule"  # L; O: by gradient, or not at all
    output_weights: Literal["fixed", "trained"] = "fixed"  # P; O: by gradient, from the fixed ones
    # Training
    optimiser: Literal["sgd", "adam"] = "sgd"  # P; O
    learning_rate: Number = 0.2  # η, learning rate
    steps: Positive = 300  # T, gradient steps
    batch_size: Positive = 512  # N, samples of a step
    finite_set: Count = 0  # 0: fresh samples at every step (P); n: a fixed set of n
    finetune_steps: Count = 0  # O: steps on y with a new last layer, after all the rest
    # Measuring
    test_samples: Positive = 1000  # samples of each test set
    top_loss: Share = 0.0  # O: share of samples called hard by a judge's loss
    logged: Several = 30  # moments at which curves are measured, about

    def __post_init__(self) -> None:
        """Checks every field; an int given for a float becomes one: equal settings look equal."""
        for name, value in _fitting(vars(self)).items():
            object.__setattr__(self, name, value)
        features = self.superclasses * (1 + self.k)
        hard_patches = self.feature_patches + self.opposing_patches + 1
        for name, value, least, reason in (
            ("d", self.d, features, f"{features} features must be orthogonal"),
            ("patches", self.patches, 2 * self.feature_patches, "an easy sample has 2 s* features"),
            ("patches", self.patches, hard_patches, "a hard sample fills s* + s† + 1 patches"),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least} ({reason}), not {value}")
        if 0 < self.finite_set < self.batch_size:
            raise ValueError(
                f"finite_set must be 0 or at least batch_size = {self.batch_size},"
                f" not {self.finite_set}"
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


MODEL = create_model(
    "Setting",
    __config__=STRICT,
    **{item.name: (item.type, item.default) for item in fields(Setting)},
)


def _fitting(values: dict[str, object]) -> dict[str, object]:
    """The values of fields in their types. Raises TypeError and ValueError as `Setting` does."""
    try:
        return validated(MODEL, values)
    except Misfit as fault:
        name, value, wanted = fault.field, fault.value, " and ".join(fault.wanted)
        if fault.kind == "choice":
            near = nearest(value, fault.wanted, cutoff=0)
            raise ValueError(
                f"{name} must be one of {', '.join(fault.wanted)}, not {value!r}; "
                f"the nearest one is {near!r}"
            ) from None
        error = ValueError if fault.kind == "range" else TypeError
        raise error(f"{name} must be {wanted}, not {value!r}") from None


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
