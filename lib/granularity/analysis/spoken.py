"""Numbers as the book says them: the one place that turns values of seeds into text.

Shares are said in per cent with one decimal, differences of shares in points with a sign; both with
their 95% interval over seeds (Student's t) in brackets. ± is half the width of that interval, with
two significant digits, and never a deviation. The minus sign is a minus sign.
"""

import math
from collections.abc import Iterable

from granularity.analysis import statistics

MINUS = "\N{MINUS SIGN}"
NONE = "–"  # where there is no value


def number(value: float, form: str) -> str:
    """A number as `format` has it, with a true minus and none before a zero: `−1.5`, `0.0`."""
    text = format(value, form)
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def known(values: Iterable[float]) -> list[float]:
    """The values that are numbers: a seed without a partner has none."""
    return [float(value) for value in values if value == value]


def per_cent(values: Iterable[float]) -> str:
    """The mean of shares with its interval: `57.9% (57.4–58.4)`; `0%` where every one is zero."""
    values = known(values)
    if not values:
        return NONE
    if not any(values):
        return "0%"
    mean, low, high = (100 * end for end in statistics.interval(values))
    if mean < 0.05:
        return "< 0.1%"
    ends = f" ({max(low, 0):.1f}–{min(high, 100):.1f})" if low == low else ""
    return f"{mean:.1f}%{ends}"


def of_metric(metric: str, values: Iterable[float]) -> str:
    """Values of a metric by its name: errors in per cent, anything else as a mean ± half."""
    return per_cent(values) if "error" in metric else with_half(values)


def points(values: Iterable[float]) -> str:
    """The mean of differences of shares in points, with its interval: `+6.0 (+1.0 to +11.0)`."""
    return between([100 * value for value in known(values)], "+.1f")


def between(values: Iterable[float], form: str) -> str:
    """A mean and its interval, each in the same form: `+2.00 (−0.48 to +4.48)`."""
    values = known(values)
    if not values:
        return NONE
    mean, low, high = statistics.interval(values)
    ends = f" ({number(low, form)} to {number(high, form)})" if low == low else ""
    return f"{number(mean, form)}{ends}"


def with_half(values: Iterable[float]) -> str:
    """A mean ± half the width of its interval, to two digits of the latter: `0.750 ± 0.021`."""
    values = known(values)
    if not values:
        return NONE
    mean, low, _ = statistics.interval(values)
    half = mean - low
    if not any(values):
        return "0"
    if not half > 0:  # one seed, or equal seeds
        return number(mean, ".3g")
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{number(mean, f'.{digits}f')} ±\N{NO-BREAK SPACE}{half:.{digits}f}"
