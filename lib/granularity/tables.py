"""Tables as the pages show them."""

from collections.abc import Mapping, Sequence

import pandas as pd


def headed(rows: pd.DataFrame | Sequence[Mapping], name: str) -> pd.DataFrame:
    """A table whose column `name` heads its rows, with all names in one row above."""
    return pd.DataFrame(rows).set_index(name).rename_axis(None).rename_axis(columns=name)


def html(table: pd.DataFrame) -> str:
    """A table as HTML that scrolls by itself where it is wider than the screen."""
    if table.empty:
        return "<p>No runs yet.</p>"
    plain = table.to_html(index=False, border=0, justify="left", classes="table")
    return f'<div style="overflow-x: auto" tabindex="0">{plain}</div>'
