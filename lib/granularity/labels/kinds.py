"""Every kind of label function: what is a specification, and what tables and figures show."""

from collections.abc import Mapping
from dataclasses import replace

from granularity.labels import clusters, random_labels, regrouped_leaves
from granularity.labels.function import LabelFunction
from granularity.labels.kind import GROUPS, Given, Kind


def of_target(given: Given) -> LabelFunction:
    """`target`: what the network is finetuned on."""
    return replace(given.tree.target, name="target")


def of_rank(given: Given) -> LabelFunction:
    """`rank:<rank>`: one of the tree's ranks."""
    return replace(given.tree.rank(given.values[0]), name=f"rank:{given.values[0]}")


# Every kind by its name. A new one is declared in a module of its own, and added here.
KINDS: dict[str, Kind] = {
    "target": Kind("target", of_target, "target", "target", "target"),
    "rank": Kind("rank:<rank>", of_rank, "{0}", "manual ranks", "ranks"),
    **random_labels.KINDS,
    **clusters.KINDS,
    **regrouped_leaves.KINDS,
}


def ordered(kinds: Mapping[str, Kind]) -> list[str]:
    """The names of kinds, group by group, as tables and figures have them."""
    return sorted(kinds, key=lambda name: GROUPS.index(kinds[name].group))
