"""What parameters and fields of recipes are called now, and what they were called at first.

A record keeps the names that it was written with and is read under those of today. Fingerprints of
runs and stages are taken under the first names, so a new name ages nothing. Whoever writes an old
name is refused, and told the new one (`nearest`).
"""

from collections.abc import Mapping
from typing import Any

NOW = {
    "at_once": "micro_batch",
    "batch": "batch_size",
    "clip": "clip_grad_norm",
    "head_start": "head_init",
    "piece": "ghost_batch",
    "rate": "learning_rate",
    "world": "dataset",
}
FIRST = {new: old for old, new in NOW.items()}
VALUES_NOW = {("schedule", "thirds"): "step"}  # values of fields that had another name
VALUES_FIRST = {("schedule", new): old for (_, old), new in VALUES_NOW.items()}
OLD = NOW | {word: new for (_, word), new in VALUES_NOW.items()}
FOREIGN = "model_options"  # its names are another library's


def current(values: Any) -> Any:
    """JSON-plain values, their names as they are now, at every depth."""
    return renamed(values, NOW, VALUES_NOW)


def first(values: Any) -> Any:
    """JSON-plain values, their names as the first records had them, at every depth."""
    return renamed(values, FIRST, VALUES_FIRST)


def renamed(values: Any, names: Mapping[str, str], words: Mapping[tuple[str, str], str]) -> Any:
    """Values under other names; `words` maps a field and its value to another value."""
    if isinstance(values, Mapping):
        return {
            names.get(name, name): value
            if name == FOREIGN
            else words.get((name, value), value)
            if isinstance(value, str)
            else renamed(value, names, words)
            for name, value in values.items()
        }
    listed = isinstance(values, (list, tuple))
    return [renamed(value, names, words) for value in values] if listed else values
