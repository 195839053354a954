"""What coarse and fine labels teach in the theory's model, and what it costs, in one figure.

It opens the page on coarse and fine labels and, as a file that `scripts/make_story.py` draws from
the published runs, stands in the README.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from granularity.analysis import statistics
from granularity.figures import house_style

SHOWN = 8  # subclasses of the networks that are looked into
FEATURES = {
    "response_common": "what a whole\nsuperclass shares",
    "response_fine": "what only\none subclass has",
}


def draw(runs: pd.DataFrame) -> Figure:
    """Above, what the networks respond to; below, on what share of samples they are wrong.

    `runs` is a table of the theory's runs with coarse and with fine labels, several seeds each, at
    several numbers of subclasses `k`. Raises ValueError where one of the two labels is missing at
    `k` = 8.
    """
    if set(runs["labels"][runs["k"] == SHOWN]) != {"coarse", "fine"}:
        raise ValueError(f"no runs with both coarse and fine labels at k = {SHOWN}")
    figure, (learned, wrong) = plt.subplots(2, 1, figsize=(5.4, 6.6), height_ratios=(1, 1.3))
    responses(learned, runs[runs["k"] == SHOWN])
    errors(wrong, runs)
    return figure


def responses(axis: Axes, runs: pd.DataFrame) -> None:
    """Bars: the best neuron's response to the two kinds of features, by labels."""
    for at, (labels, of_labels) in enumerate(runs.groupby("labels")):
        for place, metric in enumerate(FEATURES):
            mean, low, high = statistics.interval(of_labels[metric])
            across = place + 0.4 * at - 0.2
            colour = house_style.COLOURS[labels]
            axis.bar(across, mean, width=0.36, color=colour)
            axis.errorbar(across, mean, [[mean - low], [high - mean]], color="black", capsize=3)
            top = high if high == high else mean  # one seed has no interval
            axis.text(across, top + 0.04, f"{labels}\nlabels", color=colour, ha="center")
    axis.set_xticks(range(len(FEATURES)), FEATURES.values())
    axis.tick_params(axis="x", length=0)
    axis.set(
        xlim=(-0.6, 1.6), ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="response of the best neuron"
    )
    axis.set_title(f"What the networks learned ({SHOWN} subclasses)")


def errors(axis: Axes, runs: pd.DataFrame) -> None:
    """Lines over the number of subclasses: errors on hard samples; in words, on easy ones."""
    for labels, of_labels in runs.groupby("labels"):
        colour = house_style.COLOURS[labels]
        found = of_labels.groupby("k")["hard_error"].apply(lambda seeds: statistics.interval(seeds))
        means, low, high = (np.array(ends) for ends in zip(*found, strict=True))
        bars = [means - low, high - means]
        axis.errorbar(found.index, means, bars, fmt="o-", capsize=4, color=colour)
        place = {"xytext": (-10, 8), "textcoords": "offset points", "ha": "right"}
        axis.annotate(f"{labels} labels", (found.index[-1], means[-1]), **place, color=colour)
    easy = runs.groupby(["labels", "k"])["easy_error"].mean().max()
    words = f"at most {easy:.1%} wrong" if easy else "none wrong"
    axis.text(min(runs["k"]), 0.55, f"easy samples: {words},\nwith either", color="#555555")
    axis.set(xscale="log", xlabel="subclasses in each superclass", ylim=(-0.04, 0.64))
    axis.set_ylabel("error on hard samples, %")
    house_style.per_cent(axis.yaxis)
    ticks = sorted(set(runs["k"]))
    axis.set_xticks(ticks, [f"{k}" for k in ticks])
    axis.minorticks_off()
    axis.set_title("What the networks get wrong")
