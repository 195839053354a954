"""Figures of what was asked of photographs."""

from matplotlib.axes import Axes

from granularity.analysis.questions import LEVELS, Lengths
from granularity.figures import house_style

SHADES = {
    arm: house_style.COLOURS[name]
    for arm, name in zip(LEVELS, ("fine", "hard", "coarse"), strict=True)
}


def draw_lengths(axis: Axes, shown: Lengths) -> None:
    """Error against the steps of finetuning: seeds, a line for each arm's means, the baseline."""
    for arm in shown.arms:
        values = [100 * shown.of(arm, steps) for steps in shown.steps]
        for steps, own in zip(shown.steps, values, strict=True):
            axis.plot([steps] * len(own), own, ".", color=SHADES[arm], alpha=0.45)
        means = [own.mean() for own in values]
        axis.plot(shown.steps, means, "o-", color=SHADES[arm], ms=5)
        beside = {"xytext": (-8, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        axis.annotate(arm, (shown.steps[0], means[0]), color=SHADES[arm], **beside)
    alone = 100 * shown.baseline().mean()
    axis.axhline(alone, color=house_style.COLOURS["baseline"], ls="--", lw=1.2)
    end = axis.get_yaxis_transform()
    axis.text(0.99, alone, "baseline", transform=end, color="#555555", va="bottom", ha="right")
    axis.set_xscale("log")
    axis.set_xlim(shown.steps[0] / 4, shown.steps[-1] * 1.4)
    axis.set_xticks(shown.steps, [f"{steps:,}" for steps in shown.steps])
    axis.minorticks_off()
    axis.set(xlabel="steps of finetuning", ylabel="error after finetuning, %")
