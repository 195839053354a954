"""What several of the theory's chapters do with their runs: choose them, draw them, say them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from granularity import analysis, bounds, figures, records, theory, verdicts
from granularity.claims import Rule

# Studies take batches of this size, half the default: most of their cost is their batches.
BATCH = 256
# What is measured beside, and how often: runs that differ in it alone are the same training.
BESIDE = ("logged", "test_samples", "finetune_steps", "top_loss", "device")

# The sweep over d that two claims are judged by: k = ⌊d^0.4⌋, neurons in proportion to d, and a
# noise of the same length in every dimension (O).
SWEEP = {
    d: {
        "d": d,
        "k": int(d**0.4),
        "width": d // 4,
        "noise": 0.05 * (128 / d) ** 0.5,
        "strong_noise": 0.5 * (128 / d) ** 0.5,
    }
    for d in (128, 256, 512, 1024)
}

# The parameters by the paper's symbol, for axes.
SYMBOLS = {
    "k": "subclasses $k$",
    "d": "dimension $d$",
    "width": "neurons an output $m$",
    "noise": r"noise $\sigma_\zeta$",
    "strong_noise": r"strong noise $\sigma_{\zeta*}$",
    "opposing_amplitude": r"opposing amplitude $\alpha^\dagger$",
    "opposing_patches": r"opposing patches $s^\dagger$",
    "feature_patches": "patches a feature $s^*$",
    "amplitude_spread": r"spread of amplitudes $\iota$",
    "batch": "samples a step $N$",
    "rate": r"learning rate $\eta$",
    "threshold": r"threshold $\tau$",
}

PARTS = {
    "hard_error_common_removed": "common feature removed",
    "hard_error_opposing": "… and opposing feature",
    "hard_error_strong_patch": "… and strong noise patch",
    "hard_error": "all of it: a hard sample",
}


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a Markdown table, in which symbols between dollars are typeset.

    Columns are the first row's; all rows have the same.
    """
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def maths(number: int) -> str:
    """A whole number as it stands between dollars: its commas would be followed by a gap."""
    return f"{number:,}".replace(",", "{,}")


def defaults() -> dict[str, object]:
    """All parameters of a run at their defaults, without the seed and what is measured beside."""
    found = theory.grid()[0]
    return {name: value for name, value in found.items() if name not in (*BESIDE, "seed")}


def read(root: Path, *places: str) -> pd.DataFrame:
    """The runs of published files and of folders of this build, each training once.

    A parameter that a record does not have did not exist then: it has its default. Where two
    records are of the same run the first place counts; folders may be missing.

    Raises FileNotFoundError where no place has a run.
    """
    tables = []
    for place in places:
        path = root / place
        if path.suffix == ".jsonl" or any(path.rglob("record.json")):
            tables.append(records.table(path).assign(place=place))
    if not tables:
        raise FileNotFoundError(f"no run in or below {', '.join(places)}: nothing ran yet")
    whole = pd.concat(tables, ignore_index=True)
    known = theory.grid()[0]
    for name, value in known.items():
        column = whole[name] if name in whole else pd.Series([value] * len(whole))
        whole[name] = column.where(column.notna(), value).astype(type(value))
    return whole.drop_duplicates([*known], ignore_index=True)


def study(table: pd.DataFrame, *varied: str, **fixed: object) -> pd.DataFrame:
    """The runs at the studies' base, apart from what is varied and what is fixed otherwise.

    One row for each seed and each value of what is varied: of runs that differ in what is measured
    beside only, the one that measured most. Labels that are not named vary too.
    """
    wanted = defaults() | {"batch": BATCH} | fixed
    free = {*varied, "labels", "classes"} - set(fixed)
    found = analysis.select(table, {n: v for n, v in wanted.items() if n not in free})
    found = found.sort_values(["finetune_steps", "logged"], ascending=False, kind="stable")
    found = found.drop_duplicates(["labels", "classes", *varied, "seed"])
    return found.sort_values([*varied, "labels", "seed"], ignore_index=True)


def dimension(table: pd.DataFrame, row: str) -> pd.DataFrame:
    """One row of the sweep over d: "coarse", "fine", or "wide".

    The last is coarse training with as many neurons as fine training has in all, k times the width.
    How long each trains is left open, as it is by the rules.
    """
    labels = "fine" if row == "fine" else "coarse"
    parts = [
        analysis.select(
            table,
            {name: value for name, value in defaults().items() if name != "steps"}
            | setting
            | {
                "labels": labels,
                "width": setting["width"] * (setting["k"] if row == "wide" else 1),
            },
        )
        for setting in SWEEP.values()
    ]
    return pd.concat(parts, ignore_index=True)


def arm(table: pd.DataFrame, metric: str, **where: object) -> np.ndarray:
    """The values of a metric in the runs that have these parameters, one a seed."""
    return analysis.by_seed(analysis.select(table, where), metric).to_numpy()


def mean(table: pd.DataFrame, metric: str, **where: object) -> float:
    """The mean over seeds of a metric in the runs that have these parameters."""
    return analysis.interval(arm(table, metric, **where))[0]


def span(values: Iterable[float], digits: int = 3) -> str:
    """Mean over seeds and half the width of its 95% interval, as text; a plain 0 where all are."""
    values = list(values)
    if not values:
        return "–"
    middle, low, _ = analysis.interval(values)
    if not any(values):
        return "0"
    if np.isnan(low):
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ±\N{NO-BREAK SPACE}{middle - low:.{digits}f}"


def marks(
    axis: Axes, where: float, values: Iterable[float], colour: str, across: bool = True
) -> float:
    """Every seed as a faint point, mean and 95% interval over it; returns the mean.

    `across`: values run upwards, at `where` along; else the other way round.
    """
    values = list(values)
    middle, low, high = analysis.interval(values)
    bars = [[middle - low], [high - middle]]
    style = {"color": colour, "marker": "o", "ms": 4.5, "capsize": 3, "elinewidth": 1.2}
    point = {"ls": "", "marker": ".", "color": colour, "alpha": 0.45, "ms": 6.5, "mew": 0}
    if across:
        axis.plot([where] * len(values), values, **point)
        axis.errorbar(where, middle, bars, **style)
    else:
        axis.plot(values, [where] * len(values), **point)
        axis.errorbar(middle, where, xerr=bars, **style)
    return middle


def traced(
    axis: Axes, table: pd.DataFrame, curve: str, colour: str
) -> tuple[list[float], np.ndarray]:
    """A curve along training: every seed as a thin line, mean and 95% interval over them.

    Returns the logged steps and the mean.
    """
    steps = table["curves"].iloc[0]["step"]
    values = np.array([curves[curve] for curves in table["curves"]])
    middle, low, high = np.array([analysis.interval(column) for column in values.T]).T
    axis.plot(steps, values.T, color=colour, lw=0.6, alpha=0.35)
    axis.fill_between(steps, low, high, color=colour, alpha=0.25, lw=0)
    axis.plot(steps, middle, color=colour)
    return steps, middle


def met(table: pd.DataFrame, limit: float = 0.01) -> int | None:
    """The first logged step by which the training loss of every run is `limit` or less, or None."""
    steps = [bounds.first_below(curves, "training_loss", limit) for curves in table["curves"]]
    return None if None in steps else max(steps, default=None)


def by_condition(rule: Rule, runs: pd.DataFrame, size: str) -> list[tuple[str, verdicts.Verdict]]:
    """A claim's verdict, and that of each of its rule's conditions alone, by the scoreboard's code.

    A condition along a curve is asked together with the first one, which says the seeds.
    """
    found = [("the claim", verdicts.verdict(rule, runs, size))]
    for condition in rule.conditions:
        alone = (condition,) if condition.until is None else (rule.conditions[0], condition)
        words = bounds.describe(condition)
        if condition.until is not None:
            words += f", up to {condition.until['times']:g} times the step of the vanished loss"
        found.append((words, verdicts.verdict(replace(rule, conditions=alone), runs, size)))
    return found


def along(
    axis: Axes, table: pd.DataFrame, parameter: str, metric: str, base: object = None
) -> dict[str, float]:
    """One panel: a metric against a parameter's values, evenly spaced, for coarse and fine labels.

    The base's value is marked. Returns the last mean by labels.
    """
    values = sorted(table[parameter].unique().tolist())
    last = {}
    for labels, shift in (("coarse", -0.06), ("fine", 0.06)):
        colour = figures.COLOURS[labels]
        some = [v for v in values if len(arm(table, metric, labels=labels, **{parameter: v}))]
        means = [
            marks(
                axis,
                values.index(value) + shift,
                arm(table, metric, labels=labels, **{parameter: value}),
                colour,
            )
            for value in some
        ]
        axis.plot([values.index(v) + shift for v in some], means, color=colour, lw=1.2)
        last[labels] = means[-1] if means else np.nan
    axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axis.set_xlim(-0.4, len(values) - 0.6)
    if base in values:
        axis.axvline(values.index(base), color="#BBBBBB", lw=6, alpha=0.4, zorder=0)
    axis.set_xlabel(SYMBOLS.get(parameter, parameter))
    return last


def map_of(
    axis: Axes, table: pd.DataFrame, across: str, upwards: str, metric: str, top: float = 0.6
) -> None:
    """A phase diagram: the mean over seeds of a metric, as colour and number, in every cell."""
    xs, ys = (sorted(table[name].unique().tolist()) for name in (across, upwards))
    grid = np.array([[mean(table, metric, **{across: x, upwards: y}) for x in xs] for y in ys])
    axis.imshow(grid, cmap="cividis_r", vmin=0, vmax=top, origin="lower", aspect="auto")
    for row, column in np.argwhere(~np.isnan(grid)):
        value = grid[row, column]
        colour = "white" if value > 0.5 * top else "black"
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=11)
    axis.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    axis.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    axis.set(xlabel=SYMBOLS.get(across, across), ylabel=SYMBOLS.get(upwards, upwards))
    axis.grid(False)
    axis.tick_params(length=0)


def whole(table: pd.DataFrame, across: str, upwards: str) -> pd.DataFrame:
    """The runs of the largest full rectangle of cells: values that were run with all others.

    Rows and columns with the fewest cells go first, until none is missing.
    """
    while True:
        cells = table.drop_duplicates([across, upwards])
        wide, high = cells[across].nunique(), cells[upwards].nunique()
        if len(cells) == wide * high:
            return table
        counts = [
            (size / most, name, value)
            for name, most in ((across, high), (upwards, wide))
            for value, size in cells[name].value_counts().items()
        ]
        _, name, value = min(counts)
        table = table[table[name] != value]


def made_of(table: pd.DataFrame, here: str) -> str:
    """A sentence on whose runs these are; `here` is the place of this build's own."""
    own = int((table["place"] == here).sum())
    varied = [name for name in defaults() if name in table and table[name].nunique() > 1]
    seeds = table.groupby(varied or (lambda row: 0))["seed"].nunique()
    counts = " to ".join(map(str, sorted({seeds.min(), seeds.max()})))
    text = (
        f"{len(table)} runs, {table['seconds'].sum() / 60:.0f} minutes of computing in all, "
        f"{counts} seeds of each setting; {len(table) - own} of them published"
    )
    return f"{text}, {own} made by this build." if own else f"{text}."


def explored(table: pd.DataFrame, names: Mapping[str, Sequence], curves: Sequence[str]) -> dict:
    """Mean curves over seeds for every combination of values, plain and rounded, for a page.

    {"names": …, "values": [[…]], "step": […], "curves": {labels: {curve: [[…] a combination]}}}
    """
    combinations = pd.MultiIndex.from_product(names.values()).tolist()
    found: dict[str, dict[str, list]] = {}
    steps: list = []
    for labels in ("coarse", "fine"):
        found[labels] = {curve: [] for curve in curves}
        for combination in combinations:
            where = dict(zip(names, combination, strict=True))
            runs = analysis.select(table, {"labels": labels} | where)["curves"].tolist()
            steps = runs[0]["step"]
            for curve in curves:
                middle = np.mean([run[curve] for run in runs], axis=0)
                found[labels][curve].append([float(f"{value:.3g}") for value in middle])
    return {
        "names": list(names),
        "values": [list(values) for values in names.values()],
        "step": steps,
        "curves": found,
    }
