"""The paper's theory as a simulation: patches of features and noise, a two-layer network, SGD.

Section 3 of the paper defines the data and the network, its Theorems 4.1 and 4.2 compare training
on coarse labels (two superclasses) with training on fine ones (2k subclasses). Nothing here needs
an image: `simulate` draws the data, trains one network, and measures its errors on easy samples,
on hard ones, and on samples that are hard in one respect only.

Rooms: `setting` (parameters), `samples` (data and labels), `network` (the network and one step),
`training` (many steps, many runs side by side), `measures` (what a network knows).

Chance enters by one integer. It seeds independent streams (`setting.PURPOSES`), so runs that share
a seed share dictionary and samples, whatever their labels, and differ in what is trained only. A
stream is a `torch.Generator` on the device that computes: CPU and GPU draw different numbers from
the same distribution; on a CPU the numbers are the same for any number of threads, to rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

import granularity.theory.measures as measures  # by its full name, which `source` reads
from granularity.theory.network import Network
from granularity.theory.samples import KINDS, dictionary, draw
from granularity.theory.setting import Setting, grid, stream
from granularity.theory.training import Moment, finetuned, logged_steps, shape, trained

__all__ = ["KINDS", "Network", "Setting", "dictionary", "draw", "grid", "logged_steps"]
__all__ += ["simulate", "simulate_together", "stream"]


@torch.no_grad()
def simulate(seed: int = 0, device: str = "cpu", **setting: object) -> dict:
    """One run: draws the data, trains the network, measures it; a function of its arguments alone.

    `setting` takes the fields of `Setting`. The result holds "metrics" after the last step and
    "curves" along training, rounded to five digits. Errors are shares of test samples whose
    superclass is missed. Prefixes say by which read-out:

    - none: the network's own (`measures.superclass`), where its labels tell the superclass;
    - `head_`: a last layer refitted on 4N fresh easy samples (`measures.refitted_head`);
    - `finetuned_`: all of the network trained on superclasses (`training.finetuned`), if asked for;
    - `projected_`: the own one, once the fine features are projected out of the weights.

    `easy_error` and `hard_error` are the paper's, `hard_error_…` those of the other `KINDS`. All
    test sets are the same samples, made easy or hard, subclasses even. `training_loss` is that of
    the labels trained on, on samples that the network has not been trained on yet, unless the set
    is finite. `start_…` are numbers before the first step. See `measures` for the others.
    """
    given = Setting(**setting)
    return measured(given, seed, device, trained((given.training_alone,), (seed,), device)[0])


@torch.no_grad()
def simulate_together(arguments: Sequence[Mapping], together: int | None = None) -> list[dict]:
    """The results of `simulate(**each)`, trained side by side, so many `together` of one shape.

    Same code and same numbers, to rounding. None: one at a time on a CPU, where a run fills the
    caches by itself; 64 on a GPU.
    """
    settings, seeds, devices = [], [], []
    for given in arguments:
        values = dict(given)
        seeds.append(values.pop("seed", 0))
        devices.append(values.pop("device", "cpu"))
        settings.append(Setting(**values))
    groups: dict[tuple, list[int]] = {}
    for place, (setting, device) in enumerate(zip(settings, devices, strict=True)):
        groups.setdefault((*shape(setting), device), []).append(place)
    results: dict[int, dict] = {}
    for (*_, device), members in groups.items():
        size = together or (1 if device == "cpu" else 64)
        for first in range(0, len(members), size):
            some = members[first : first + size]
            # Runs that differ in what is measured share one training.
            own = list(dict.fromkeys((settings[i].training_alone, seeds[i]) for i in some))
            made = trained(*map(tuple, zip(*own, strict=True)), device)
            paths = dict(zip(own, made, strict=True))
            for i in some:
                path = paths[settings[i].training_alone, seeds[i]]
                results[i] = measured(settings[i], seeds[i], device, path)
    return [results[place] for place in range(len(settings))]


def measured(given: Setting, seed: int, device: str, path: Sequence[Moment]) -> dict:
    """What `simulate` returns, of a run that passed through these moments."""
    features = dictionary(given, stream(seed, "dictionary", device))
    even = replace(given, unevenness=0.0)
    tests = {
        kind: draw(even, features, given.test_samples, stream(seed, "test", device), kind)
        for kind in KINDS
    }
    paper, split = (
        {kind: tests[kind] for kind in kinds}
        for kinds in (["easy", "hard"], [kind for kind in KINDS if kind not in ("easy", "hard")])
    )
    log = [
        {"step": moment.step, "training_loss": moment.loss}
        | measures.errors(given, moment.network, paper, "{}_error")
        | measures.responses(given, moment.network, features)
        for moment in path
    ]
    network = path[-1].network
    head_samples = draw(even, features, 4 * given.batch_size, stream(seed, "head", device))
    blind = measures.without_fine(given, network, features)
    start = measures.winners(given, path[0].network, features)
    metrics = {
        **{name: value for name, value in log[-1].items() if name != "step"},
        **measures.errors(given, network, split, "hard_error_{}"),
        **measures.head_errors(given, network, head_samples, paper),
        **measures.errors(
            given, blind, paper | {"common_removed": tests["common_removed"]}, "projected_{}_error"
        ),
        "awake_neurons": measures.awake(given, network, tests["easy"]),
        **measures.winners(given, network, features),
        **{f"start_{name}": value for name, value in start.items()},
        **measures.by_frequency(given, network, tests["hard"]),
    }
    if given.top_loss:
        metrics |= judged(given, network, features, seed)
    if given.finetune_steps:
        last = finetuned(given, network, features, seed)
        target = replace(given, labels="coarse", classes=0)
        metrics["finetuned_training_loss"] = last.loss
        metrics |= measures.errors(target, last.network, paper, "finetuned_{}_error")
        metrics |= measures.errors(target, last.network, split, "finetuned_hard_error_{}")
    return {
        "metrics": {name: _rounded(value) for name, value in metrics.items()},
        "curves": {name: [_rounded(row[name]) for row in log] for name in log[0]},
    }


def judged(given: Setting, network: Network, features: Tensor, seed: int) -> dict[str, float]:
    """Errors on samples of high loss, by a network trained on superclasses from other chance."""
    device = str(features.device)
    kind = replace(given, labels="coarse", classes=0, unevenness=0.0, logged=2)
    judge = trained((kind.training_alone,), (seed,), device, "judge's ")[0][-1].network
    count = given.test_samples
    rng = stream(seed, "judged samples", device)
    samples = draw(kind, features, 2 * count, rng, hard=count)
    return measures.top_loss(given, network, judge, samples, count)


def _rounded(value: float) -> float:
    """Five significant digits: more than chance leaves, and a record stays small."""
    return value if isinstance(value, int) else float(f"{value:.5g}")
