"""Whether runs are in the regime that a claim is about: the gates of its rule."""

import pandas as pd

from granularity.analysis.selection import once, select
from granularity.claims.rules import Gate, Rule

OF_KIND = {"foreign_embedding": "the embeddings are not CLIP's"}  # gates on what runs are


def gate_failure(rule: Rule, runs: pd.DataFrame) -> str:
    """Why the runs are not in the regime that the claim is about, or nothing.

    A run that does not say the metric may be out of it.
    """
    for gate in rule.gate:
        for name in [gate.arm] if gate.arm else rule.arms or [""]:
            read = once(select(runs, rule.arms[name]) if name else runs)
            if told := out_of_regime(gate, read):
                arm = f" by the arm '{name}'" if name and not gate.arm else ""
                return f"regime not reached{arm}: {told}"
    return ""


def out_of_regime(gate: Gate, runs: pd.DataFrame) -> str:
    """Why runs fail a gate, or nothing."""
    said = runs[gate.metric].dropna() if gate.metric in runs else runs.iloc[:0]
    if said.empty or len(said) < len(runs):
        return f"{len(said)} of {len(runs)} runs say '{gate.metric}'"
    mean = float(said.mean())
    if not mean <= gate.at_most:
        if gate.metric in OF_KIND:
            return OF_KIND[gate.metric]
        said, most = (
            f"{x:.1%}" if "error" in gate.metric else f"{x:.3g}" for x in (mean, gate.at_most)
        )
        return f"{gate.metric.replace('_', ' ')} is {said}, not {most} or less"
    return ""
