"""Does a gain sit on the hard images, beyond what a network that is better all over would show?

Claim C9 says so of finer labels. Two arms are compared, `coarse` and `fine`; who judges what is
hard are further runs of exactly these two, as many of one as of the other. A gain in log-odds that
is the same for every image changes most where right and wrong are evenly matched, and least where
nearly all is right or wrong: it has a profile of its own, which is taken out of what was measured.
All of this is ours: the paper states the claim and shows no such figure.

A run is a mapping of arrays: `loss` and `rank` (0: right), one number an evaluation image.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from granularity.analysis.statistics import Unfit

FIFTHS = 5
DEGREE = 3  # of the polynomial in hardness that gives the coarse arm's chance to be right
FARTHEST = 50.0  # in log-odds: beyond it a chance is 0 or 1

Run = Mapping[str, np.ndarray]
Seeds = Mapping[int, Run]


def standing(losses: np.ndarray) -> np.ndarray:
    """Each image's place in one run's order of losses, in (0, 1); equal losses share a place.

    Places and not losses are averaged over judges, so that none speaks louder than another.
    """
    _, place, counts = np.unique(losses, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last) / 2 / len(losses))[place]


def hardness(arms: Sequence[Seeds], without: Collection[int]) -> np.ndarray:
    """The mean standing of each image among runs of some arms, (N,).

    Seeds in `without` do not judge, and of the others only those that every one of these arms has,
    so that each arm has equally many voices. Raises Unfit where none is left.
    """
    seeds = set.intersection(*map(set, arms)) - set(without)
    if not seeds:
        raise Unfit("no further seed of the arms that judge")
    return np.mean([standing(arm[seed]["loss"]) for arm in arms for seed in sorted(seeds)], axis=0)


def fifths(hardness: np.ndarray) -> np.ndarray:
    """0 for the easiest fifth of the images to 4 for the hardest, in sizes that differ by one."""
    order = np.argsort(hardness, kind="stable")
    group = np.empty(len(order), int)
    group[order] = np.arange(len(order)) * FIFTHS // len(order)
    return group


def hard_less_easy(gain: np.ndarray, group: np.ndarray) -> float:
    """The mean gain on the hardest 40% of the images minus that on the easiest 40%."""
    return float(gain[group >= 3].mean() - gain[group <= 1].mean())


def uniform_gain(right: np.ndarray, hardness: np.ndarray, accuracy: float) -> np.ndarray:
    """What each image would gain if every one's log-odds to be right rose by one constant, (N,).

    `right` (N,) says which images the coarse arm's run gets right; its chance is a logistic cubic
    in hardness. The constant is the one that yields `accuracy`. Raises Unfit for a run that is
    right everywhere or nowhere.
    """
    if right.all() or not right.any():
        raise Unfit("a run of the coarse arm is right everywhere or nowhere: nothing to locate")
    curve = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(DEGREE, include_bias=False),
        StandardScaler(),
        LogisticRegression(C=np.inf, tol=1e-6, max_iter=1000),
    )
    odds = curve.fit(hardness[:, None], right).decision_function(hardness[:, None])
    wanted = np.clip(accuracy, 0.5 / len(right), 1 - 0.5 / len(right))
    constant = brentq(lambda shift: expit(odds + shift).mean() - wanted, -FARTHEST, FARTHEST)
    return expit(odds + constant) - expit(odds)


def located(coarse: Seeds, fine: Seeds) -> pd.DataFrame:
    """One row a seed that both arms have: where the fine arm gains over the coarse one.

    Columns: `seed`; `gain`, by how much it errs less on all images; `extra_gain_on_hard`, the gain
    on the hardest 40% minus that on the easiest 40%; `uniform`, what of this a uniform gain would
    give; `beyond_uniform`, the rest; `closeness`, how much nearer the judge stands to the coarse
    run than to the fine one, as a difference of correlations. Judges are all other seeds of both
    arms. Raises Unfit below three seeds.
    """
    seeds = sorted({*coarse} & {*fine})
    if len(seeds) < 3:
        raise Unfit(f"{len(seeds)} seeds of both arms; a judge of other seeds takes three at least")
    return pd.DataFrame([of_seed(coarse, fine, seed) for seed in seeds])


def of_seed(coarse: Seeds, fine: Seeds, seed: int) -> dict[str, float]:
    """One row of `located`."""
    judge = hardness([coarse, fine], {seed})
    pair = coarse[seed], fine[seed]
    near, far = (np.corrcoef(judge, standing(run["loss"]))[0, 1] for run in pair)
    return {"seed": seed, **gains_by(judge, *pair), "closeness": float(near - far)}


def gains_by(hardness: np.ndarray, coarse: Run, fine: Run) -> dict[str, float]:
    """Where one run gains over another, by a hardness (N,) whoever gave it; see `located`."""
    group = fifths(hardness)
    right, better = (run["rank"] == 0 for run in (coarse, fine))
    gain = better.astype(float) - right
    extra = hard_less_easy(gain, group)
    uniform = hard_less_easy(uniform_gain(right, hardness, better.mean()), group)
    return {
        "gain": float(gain.mean()),
        "extra_gain_on_hard": extra,
        "uniform": uniform,
        "beyond_uniform": extra - uniform,
    }
