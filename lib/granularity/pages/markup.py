"""Tables as the pages show them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from granularity.pages.rendering import render


def headed(rows: pd.DataFrame | Sequence[Mapping], name: str) -> pd.DataFrame:
    """A table whose column `name` heads its rows, with all names in one row above."""
    return pd.DataFrame(rows).set_index(name).rename_axis(None).rename_axis(columns=name)


def html(table: pd.DataFrame) -> str:
    """A table as HTML that scrolls by itself where it is wider than the screen."""
    plain = table.to_html(index=False, border=0, justify="left", classes="table")
    return render("table.html", table="" if table.empty else plain)


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
