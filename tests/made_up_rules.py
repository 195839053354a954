"""What every rule says, for rules that a test makes up."""

import pandas as pd

COMMON = {
    "version": 1,
    "date": pd.Timestamp("2026-01-01").date(),
    "text": "…",
    "refuted_by": "…",
    "sizes": ["tiny"],
    "records": "train.run",
    "seeds": 8,
    "interval": 0.95,
}
