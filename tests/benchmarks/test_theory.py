"""The theory's benchmark measures what it says; what the numbers are, records tell."""

import json

import pytest
import torch

from granularity.benchmarks import theory

SMALL = {"seed": 0, "width": 32, "batch_size": 64, "steps": 6, "turns": 1}


@pytest.fixture(autouse=True)
def threads():
    """The benchmark sets torch's threads; others want theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_both_ways_give_the_same_weights():
    found = theory.shortcut(**SMALL, k=4)["metrics"]
    assert json.loads(json.dumps(found)) == found
    assert found["short_ms"] > 0
    assert found["dense_ms"] > 0
    assert found["speedup"] > 0
    assert found["largest_difference"] <= 1e-3 * found["largest_change"]
    assert 0 < found["moved_neurons"] < 0.5  # at the literal threshold


def test_runs_side_by_side_are_timed_by_run():
    found = theory.together(**SMALL, runs=3)["metrics"]
    assert found.keys() == {"single_ms", "batched_ms", "speedup"}
    assert min(found.values()) > 0
