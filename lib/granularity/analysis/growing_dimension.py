"""Coarse training as the dimension d and the number of subclasses k grow, in several ways."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from granularity.analysis import selection, statistics, theory_runs

WITHOUT_DISTRACTORS = "hard_error_common_removed"


@dataclass(frozen=True)
class Way:
    """A way in which d and k grow: what it is called, and its runs, of coarse labels.

    `name` stands in records, `label` in figures, `opening` begins a sentence about it.
    """

    name: str
    label: str
    opening: str
    runs: pd.DataFrame

    def by_dimension(self, metric: str = WITHOUT_DISTRACTORS) -> dict[int, pd.Series]:
        """A metric by d, from small to large: each a series over the seeds."""
        return {d: selection.by_seed(runs, metric) for d, runs in self.runs.groupby("d")}

    def change(self, metric: str = WITHOUT_DISTRACTORS) -> pd.Series:
        """A metric at the largest d minus that at the smallest, in the seeds of both.

        Raises ValueError where the way has no run.
        """
        found = self.by_dimension(metric)
        return (found[max(found)] - found[min(found)]).dropna()

    @property
    def moved(self) -> str:
        """Whether the error without distractors "rises" or "falls" with d, or it is "unclear"."""
        _, low, high = statistics.interval(self.change())
        return "rises" if low > 0 else "falls" if high < 0 else "unclear"


def ways(swept: pd.DataFrame, others: pd.DataFrame) -> list[Way]:
    """The sweep by which claims are judged, and what else was tried, from `others`.

    The sweep's noise has the same length in every dimension, and its width grows as d. The others
    have the width held at its default, the noise of each coordinate held too, or the width as √d.
    """
    default = theory_runs.defaults()
    noise = {name: default[name] for name in ("noise", "strong_noise")}
    held = {"width": default["width"]}

    def root(d: int) -> dict[str, int]:
        return {"width": round(default["width"] * (d / default["d"]) ** 0.5)}

    with_width = f"With the width held at {default['width']}"
    width, both, as_root = (
        instead(others, setting) for setting in (lambda d: held, lambda d: held | noise, root)
    )
    return [
        Way("sweep", "width as d", "In the sweep", theory_runs.dimension(swept, "coarse")),
        Way("width_held", "width held", with_width, width),
        Way("noise_held", "width and noise held", "With the noise held as well", both),
        Way("width_as_root", "width as √d", "With the width as $\\sqrt d$", as_root),
    ]


def instead(runs: pd.DataFrame, setting: Callable[[int], Mapping[str, object]]) -> pd.DataFrame:
    """Coarse runs at the sweep's d and k, with `setting` of each d in the place of its own."""
    base = theory_runs.defaults() | {"batch_size": theory_runs.BATCH, "labels": "coarse"}
    parts = [
        selection.select(runs, base | row | setting(d)) for d, row in theory_runs.SWEEP.items()
    ]
    return pd.concat(parts, ignore_index=True)
