"""Tables of what was asked of photographs, in words and rounded numbers.

Errors are in per cent, gains and leads in points, with 95% intervals over seeds.
"""

from collections.abc import Collection, Mapping

import pandas as pd

from granularity.analysis import questions, spoken
from granularity.analysis.questions import COARSE, LEAF, ClassSizes, Lengths
from granularity.analysis.transfer_runs import (
    BASELINE,
    Study,
    name_of,
    ordered,
)
from granularity.pages.markup import headed


def of_lengths(shown: Lengths) -> pd.DataFrame:
    """A row for each number of steps: every arm's error, the lead of leaf labels, their fit."""
    rows = [
        {
            "steps": f"{steps:,}",
            **{arm: spoken.per_cent(shown.of(arm, steps)) for arm in shown.arms},
            f"{COARSE} minus leaf, points": spoken.points(shown.lead(steps)),
            "training error, leaf": spoken.per_cent(shown.of(LEAF, steps, "training_error")),
        }
        for steps in shown.steps
    ]
    return headed(rows, "steps")


def of_class_sizes(shown: ClassSizes) -> pd.DataFrame:
    """A row for each arm and number of images of a synset."""
    rows = [
        {
            "pretrained on": {LEAF: "leaf labels"}.get(arm, arm),
            "images per synset": images,
            "classes": shown.classes(arm, images),
            "images per class, about": f"{shown.images_of_a_class(arm, images):,.0f}",
            "error": spoken.per_cent(shown.of(arm, images)),
            "seeds": shown.of(arm, images).size,
        }
        for arm, images in shown.cells()
    ]
    return headed(rows, "pretrained on")


def leads_at_equal_size(shown: ClassSizes) -> str:
    """A Markdown list of how much better leaf labels are than arms whose images were cut down."""
    cut = [(arm, n) for arm, n in shown.cells() if arm != LEAF and n != shown.full]
    return "\n".join(
        f"- *leaf labels against {arm}*: "
        f"{spoken.points(shown.better(arm, shown.full, shown.full))} points better at equal total; "
        f"{spoken.points(shown.better(arm, images, shown.full))} at equal class size; "
        f"{spoken.points(shown.better(arm, images, images))} where both have {images} images per "
        "synset."
        for arm, images in cut
    )


def of_gains(study: Study, kinds: Collection[str]) -> pd.DataFrame:
    """A row for each arm of these kinds, by rising number of classes, with its gain."""
    arms = sorted(ordered(study.runs, kinds), key=lambda arm: study.mean(arm, "classes"))
    rows = [
        {
            "pretrained on": name_of(arm),
            "classes": f"{study.mean(arm, 'classes'):,.0f}",
            "error": spoken.per_cent(study.of(arm)),
            "gain, points": spoken.points(study.against(BASELINE, arm)),
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
            gain = "" if arm == BASELINE else spoken.points(study.against(BASELINE, arm))
            rows.append(
                {
                    "network": network,
                    "pretrained on": name_of(arm),
                    "error": spoken.per_cent(study.of(arm)),
                    "training error": spoken.per_cent(study.of(arm, "training_error")),
                    "gain, points": gain,
                    "seeds": study.of(arm).size,
                }
            )
    return headed(rows, "network")
