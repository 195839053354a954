"""Tables of what was asked of photographs, in words and rounded numbers.

Errors are shares, mean ± one standard deviation over seeds; gains and leads are mean and 95%
interval, in points.
"""

from collections.abc import Collection, Mapping

import pandas as pd

from granularity.analysis import questions
from granularity.analysis.questions import COARSE, LEAF, ClassSizes, Lengths
from granularity.analysis.transfer_runs import (
    BASELINE,
    Study,
    deviating,
    name_of,
    ordered,
    points,
)
from granularity.pages.markup import headed


def of_lengths(shown: Lengths) -> pd.DataFrame:
    """A row for each number of steps: every arm's error, the lead of leaf labels, their fit."""
    rows = [
        {
            "steps": f"{steps:,}",
            **{arm: deviating(shown.of(arm, steps)) for arm in shown.arms},
            f"{COARSE} minus leaf, points": points(shown.lead(steps)),
            "leaf, in training": deviating(shown.of(LEAF, steps, "training_error")),
        }
        for steps in shown.steps
    ]
    return headed(rows, "steps")


def of_class_sizes(shown: ClassSizes) -> pd.DataFrame:
    """A row for each arm and number of images of a synset."""
    rows = [
        {
            "pretrained on": {LEAF: "leaf labels"}.get(arm, arm),
            "images of a synset": images,
            "classes": shown.classes(arm, images),
            "images of a class, about": f"{shown.images_of_a_class(arm, images):,.0f}",
            "error": deviating(shown.of(arm, images)),
            "seeds": shown.of(arm, images).size,
        }
        for arm, images in shown.cells()
    ]
    return headed(rows, "pretrained on")


def leads_at_equal_size(shown: ClassSizes) -> str:
    """A Markdown list of how much better leaf labels are than arms whose images were cut down."""
    cut = [(arm, n) for arm, n in shown.cells() if arm != LEAF and n != shown.full]
    return "\n".join(
        f"- *leaf labels against {arm}*: {points(shown.better(arm, shown.full, shown.full))} "
        f"points better at equal total; {points(shown.better(arm, images, shown.full))} at "
        f"equal class size; {points(shown.better(arm, images, images))} where both have {images} "
        "photographs of a synset."
        for arm, images in cut
    )


def of_gains(study: Study, kinds: Collection[str]) -> pd.DataFrame:
    """A row for each arm of these kinds, by rising number of classes, with its gain."""
    arms = sorted(ordered(study.runs, kinds), key=lambda arm: study.mean(arm, "classes"))
    rows = [
        {
            "pretrained on": name_of(arm),
            "classes": f"{study.mean(arm, 'classes'):,.0f}",
            "error": deviating(study.of(arm)),
            "gain, points": points(study.against(BASELINE, arm)),
            "seeds": study.of(arm).size,
        }
        for arm in arms
    ]
    return headed(rows, "pretrained on")


def of_networks(studies: Mapping[str, Study], last: Study) -> pd.DataFrame:
    """A row for each network and arm of the study `last`, on the seeds that this one has."""
    rows = []
    for network, whole in studies.items():
        study = questions.of_seeds(whole, last)
        for arm in ordered(last.runs):
            gain = "" if arm == BASELINE else points(study.against(BASELINE, arm))
            rows.append(
                {
                    "network": network,
                    "pretrained on": name_of(arm),
                    "error": deviating(study.of(arm)),
                    "in training": deviating(study.of(arm, "training_error")),
                    "gain, points": gain,
                    "seeds": study.of(arm).size,
                }
            )
    return headed(rows, "network")
