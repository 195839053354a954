"""What somebody who wrote an unknown name may have meant."""

import difflib
from collections.abc import Collection, Iterable

from granularity.inputs import renamed


def nearest(value: object, known: Iterable[object], cutoff: float = 0.5) -> str:
    """The known name most like `value`; "" where none is at least `cutoff` like it (0: any is).

    Of what had another name once, the name of today.
    """
    names = [str(name) for name in known]
    if renamed.OLD.get(str(value)) in names:
        return renamed.OLD[str(value)]
    return next(iter(difflib.get_close_matches(str(value), names, n=1, cutoff=cutoff)), "")


def hint(value: object, known: Collection[str], shown: int = 10) -> str:
    """The end of an error's sentence: the nearest known name, or the first few that there are."""
    near, more = nearest(value, known), " …" if len(known) > shown else ""
    return f"; nearest: {near}" if near else f"; valid: {', '.join([*known][:shown])}{more}"
