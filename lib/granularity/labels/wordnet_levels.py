"""WordNet's levels as label functions."""

from collections.abc import Sequence

from granularity.hierarchies import wordnet
from granularity.labels.function import LabelFunction, from_sets


def levels(
    synsets: Sequence[str], wanted: Sequence[int], reading: str = "every"
) -> dict[int, LabelFunction]:
    """The label functions of the `wanted` WordNet levels of a synset list, by level.

    Level 0 is the synset itself; the rule and its other readings are those of
    `granularity.hierarchies.wordnet.levels`, whose errors hold here too. Under `ended` an item can
    lose all its labels: ValueError.
    """
    if min(wanted) < 0:
        raise ValueError(f"level {min(wanted)}: levels start at 0")
    sets = wordnet.levels(synsets, max(wanted), reading)
    return {level: from_sets(f"level {level}", synsets, sets[level]) for level in wanted}
