"""What runs say: intervals over seeds, and verdicts on claims by rules written before the runs."""

import math
from collections.abc import Iterable

import numpy as np
from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats would take a second


def interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent runs and its two-sided t interval, as (mean, low, high).

    One value alone has a mean and no interval: (mean, nan, nan). No value at all gives three nans.
    A nan among the values is a run without a result and makes all three nan.
    """
    array = np.asarray(list(values), dtype=float)
    if array.size == 0:
        return math.nan, math.nan, math.nan
    mean = float(array.mean())
    if array.size < 2:
        return mean, math.nan, math.nan
    quantile = stdtrit(array.size - 1, 0.5 + level / 2)
    half = float(quantile * array.std(ddof=1) / math.sqrt(array.size))
    return mean, mean - half, mean + half
