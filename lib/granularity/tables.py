"""Tables as the pages show them."""

from collections.abc import Mapping, Sequence

import pandas as pd


def headed(rows: pd.DataFrame | Sequence[Mapping], name: str) -> pd.DataFrame:
    """A table whose column `name` heads its rows, with all names in one row above."""
    return pd.DataFrame(rows).set_index(name).rename_axis(None).rename_axis(columns=name)
