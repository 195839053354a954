"""A run made again from its record alone."""

import subprocess
import sys

import pytest
from conftest import ROOT

from granularity import records, theory, verify

SHORT = {"labels": "coarse", "k": 2, "steps": 2, "seed": 3}


@pytest.fixture
def made(tmp_path):
    records.complete(tmp_path, theory.simulate, [SHORT, SHORT | {"seed": 4}])
    return tmp_path


def test_an_honest_record_agrees(made):
    chosen = verify.chosen(made)
    assert len(chosen) == 2
    assert verify.report(chosen, {})


@pytest.mark.fault(
    "a record of other numbers than its code makes", "said to differ, when it is made again"
)
def test_a_record_of_other_numbers_differs(made):
    (record, _) = verify.chosen(made)
    metrics = record["metrics"] | {"hard_error": record["metrics"]["hard_error"] + 0.03}
    table = verify.compared(record, metrics)
    assert not table.loc["hard_error", "agrees"] and table["agrees"].sum() == len(table) - 1
    assert verify.compared(record, metrics, tolerance=0.04)["agrees"].all()
    fewer = {name: value for name, value in metrics.items() if name != "easy_error"}
    assert not verify.compared(record, fewer, tolerance=1)["agrees"]["easy_error"]
    assert not verify.compared(record, metrics | {"new": 1.0}, tolerance=1)["agrees"]["new"]


@pytest.mark.fault("a record whose function is no more", "refused by name")
def test_runs_are_chosen_by_name_or_at_random(made):
    first, second = verify.chosen(made)
    assert verify.chosen(made, run=second["fingerprint"][:6]) == [second]
    assert len(verify.chosen(made, number=1)) == 1
    one = made / first["fingerprint"] / "record.json"
    assert verify.chosen(one) == [first]
    with pytest.raises(records.RecordError, match="0 of 2 runs are called zz"):
        verify.chosen(made, run="zz")
    with pytest.raises(records.RecordError, match=r"no granularity\.theory:simulated any more"):
        verify.again(first | {"entry": "granularity.theory:simulated"}, {})


def test_from_a_shell(made):
    command = [sys.executable, "-m", "granularity.records", "verify", str(made), "--random", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "made by this code" in ended.stdout and "agrees within 0.02" in ended.stdout
    for more, said, status in (
        (["--tolerance", "0"], "agrees within 0", 0),
        (["--root", "data/x"], "--root data/x: should be NAME=PATH", 1),
    ):
        ended = subprocess.run(
            [*command, *more], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ended.returncode == status and said in ended.stdout + ended.stderr, ended.stderr
