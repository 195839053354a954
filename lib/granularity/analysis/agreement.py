"""Whether a build's own runs say what they must: what is archived, and what was drawn into images.

A simulation is a function of its setting and its seed, so it repeats the archived one up to
rounding. In drawn images finer labels ask for more of the patterns by construction, so finer labels
must help there; if they do not, the experiment cannot see the effect it looks for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from granularity.analysis import level_runs, selection, statistics, transfer_runs
from granularity.analysis.transfer_runs import BASELINE
from granularity.fingerprints import equivalence

ERROR = 0.01  # how far an error may differ: ten of a thousand test samples (ours)
RESPONSE = 0.01  # how far a response may, as a share of the archived one (ours)
SAME = ["labels", "k", "seed"]  # what names a run of the plain comparison


@dataclass(frozen=True)
class Repeated:
    """Runs of a build beside the archived runs of the same settings."""

    runs: int  # that have an archived one
    error_gap: float  # the largest difference of any error
    response_gap: float  # of any response, as a share of the archived one
    same_code: bool  # or code that is proven equal

    @property
    def agrees(self) -> bool:
        """Whether there are such runs, and none is further off than `ERROR` and `RESPONSE`."""
        return self.runs > 0 and self.error_gap <= ERROR and self.response_gap <= RESPONSE


def repeated(here: pd.DataFrame, archived: pd.DataFrame) -> Repeated:
    """The runs `here` against those archived, both of one setting but for labels, k and seed.

    `standing` says of an archived run whether its code is the present one, as in its table.
    """
    both = here.merge(archived, on=SAME, suffixes=("", " archived"))
    errors = [name for name in archived if "_error" in name]
    responses = [name for name in archived if name.startswith("response_")]
    gap = {name: (both[name] - both[f"{name} archived"]).abs() for name in errors + responses}
    relative = [gap[name] / both[f"{name} archived"].abs() for name in responses]
    return Repeated(
        len(both),
        max((gap[name].max() for name in errors), default=np.nan),
        max((share.max() for share in relative), default=np.nan),
        bool((archived["standing"] != equivalence.OLDER).all()),
    )


@dataclass(frozen=True)
class Check:
    """A difference that images drawn by us must show: above zero where the experiment sees it."""

    what: str
    gain: pd.Series  # by seed, a share of the images

    @property
    def holds(self) -> bool:
        """Whether the mean over seeds is above zero."""
        return statistics.interval(self.gain)[0] > 0

    @property
    def clear(self) -> bool:
        """Whether its 95% interval is, too; with a build's three seeds few are."""
        return statistics.interval(self.gain)[1] > 0


def of_levels(drawn: level_runs.Study) -> Iterator[Check]:
    """What Experiment A must show on drawn images; where an arm has no run, nothing of it."""
    for worse, better, what in (
        (drawn.coarsest, "leaf", f"leaf labels beat {drawn.coarsest}"),
        (BASELINE, "leaf", "leaf labels beat the baseline"),
        ("random", "leaf", "leaf labels beat as many random ids"),
    ):
        if {worse, better} <= set(drawn.runs["arm"]):
            arms = ({"arm": worse}, {"arm": better})
            yield Check(what, selection.paired_difference(drawn.runs, "error", *arms))


def of_label_functions(drawn: transfer_runs.Study) -> Iterator[Check]:
    """What Experiment B must show on drawn images: of the finest rank, and of random ids over all.

    Hard images are drawn so that fine labels alone can help on them.
    """
    finest = next(reversed(transfer_runs.ladder(drawn.runs)), None)
    if finest is None:
        return
    name = transfer_runs.name_of(finest)
    if drawn.of(BASELINE).size:
        yield Check(f"{name} labels beat the baseline", drawn.against(BASELINE, finest))
        easy, hard = (drawn.against(BASELINE, finest, f"{kind}_error") for kind in ("easy", "hard"))
        yield Check(f"{name} labels gain more on hard images than on easy ones", hard - easy)
    if free := transfer_runs.ordered(drawn.runs, ["random-free"]):
        what = f"{name} labels beat {transfer_runs.name_of(free[-1])}"
        yield Check(what, drawn.against(free[-1], finest))
