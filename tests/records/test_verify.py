"""A run made again from its record alone."""

import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from granularity import theory
from granularity.records import runner, tables, verify
from granularity.records.record import RecordError

SHORT = {"labels": "coarse", "k": 2, "steps": 2, "seed": 3}


@pytest.fixture
def made(tmp_path):
    runner.complete(tmp_path, theory.simulate, [SHORT, SHORT | {"seed": 4}])
    return tmp_path


def test_an_honest_record_agrees(made, capsys):
    chosen = verify.chosen(made)
    assert len(chosen) == 2
    assert verify.report(chosen, {})
    assert capsys.readouterr().out.count("agrees within 0.001: bit-equal") == 2


def test_a_record_of_another_machine_is_told_beside_ours(made, capsys):
    record = tables.collect(made)[0]
    assert verify.machines_apart(record["made_by"]["device"]) == ""
    other = record["made_by"]["device"] | {"instructions": "AVX1024"}
    told = verify.machines_apart(other)
    assert "with AVX1024" in told
    assert f"with {torch.backends.cpu.get_cpu_capability()}" in told
    del other["instructions"]
    assert "instructions that it does not say" in verify.machines_apart(other)
    elsewhere = record | {"made_by": record["made_by"] | {"device": other}}
    verify.report([elsewhere], {})
    assert "made again on" not in capsys.readouterr().out, "bit-equal: nothing to explain"
    verify.report([elsewhere | {"metrics": record["metrics"] | {"other": 9.0}}], {})
    told = capsys.readouterr().out
    assert "only one side has other" in told
    assert "made again on" in told


def test_a_record_of_an_older_name_is_made_again(made):
    (record, _) = verify.chosen(made)
    old = record | {"entry": "granularity.theory:simulate"}
    assert verify.again(old, {}, device="cpu") == record["metrics"]


def test_the_largest_difference_is_told():
    found = verify.compared({"metrics": {"a": 0.5, "b": 10.0}}, {"a": 0.5002, "b": 10.001})
    told = verify.said(found, verify.TOLERANCE)
    assert told == "agrees within 0.001: the largest difference is 0.001, in b"
    found = verify.compared({"metrics": {"a": 0.5}}, {"a": 0.52})
    assert verify.said(found, 0.001) == "DIFFERS within 0.001: by up to 0.02, in a"


@pytest.mark.fault(
    "a record of other numbers than its code makes", "said to differ, when it is made again"
)
def test_a_record_of_other_numbers_differs(made):
    (record, _) = verify.chosen(made)
    metrics = record["metrics"] | {"hard_error": record["metrics"]["hard_error"] + 0.005}
    table = verify.compared(record, metrics)
    assert not table.loc["hard_error", "agrees"] and table["agrees"].sum() == len(table) - 1
    assert verify.compared(record, metrics, tolerance=0.006)["agrees"].all()
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
    with pytest.raises(RecordError, match="0 of 2 runs are called zz"):
        verify.chosen(made, run="zz")
    for name in ("granularity.theory:simulated", "granularity.records:publish", "os:system"):
        with pytest.raises(RecordError, match=f"no runs are made by '{name}'"):
            verify.again(first | {"entry": name}, {})
    gone = {"arguments": first["arguments"] | {"dial": 3}}
    with pytest.raises(RecordError, match=r"theory\.simulate has changed since: .*'dial'"):
        verify.again(first | gone, {})


def test_from_a_shell(made):
    command = [sys.executable, "-m", "granularity.records", "verify", str(made), "--random", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "made by this code" in ended.stdout
    assert "agrees within 0.001: bit-equal" in ended.stdout
    for more, said, status in (
        (["--tolerance", "0"], "agrees within 0", 0),
        (["--root", "data/x"], "--root data/x: should be NAME=PATH", 1),
    ):
        ended = subprocess.run(
            [*command, *more], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ended.returncode == status and said in ended.stdout + ended.stderr, ended.stderr
