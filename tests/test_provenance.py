"""Times, machines, versions and commits of made-up runs, against tables done by hand."""

import pandas as pd
import pytest

from granularity import provenance

CPU = {"processor": "Some CPU", "cores": 2, "system": "Linux x86_64"}
GPU = CPU | {"gpu": "Some GPU", "gpus": 1}


def runs(seconds, device=CPU, commit="0123456789abcdef", dirty=False, torch="2.0") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "kind": "x.y",
                "seconds": s,
                "machine": device,
                "commit": commit,
                "dirty": dirty,
                "packages": {"python": "3.11.7", "torch": torch},
            }
            for s in seconds
        ]
    )


def test_times():
    found = provenance.times({"smoke": runs([1, 2, 9]), "published": runs([7200])})
    assert found.iloc[0].tolist() == ["Smoke, toy size", "x.y", 3, "2.0 s", "9.0 s", "12 s"]
    assert found.iloc[1].tolist()[-1] == "2.0 h"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.44, "0.4 s"), (12.4, "12 s"), (210, "3.5 min"), (7560, "2.1 h")]
)
def test_duration(seconds, said):
    assert provenance.duration(seconds) == said


def test_machines_are_told_apart():
    found = provenance.machines({"smoke": pd.concat([runs([1, 1]), runs([1], device=GPU)])})
    assert found["runs"].tolist() == [2, 1]
    assert found["machine"][1].startswith("Some GPU; Some CPU, 2 cores")


def test_versions_of_several_runs_stand_side_by_side():
    tables = {"published": pd.concat([runs([1]), runs([1], torch="2.1")])}
    found = provenance.versions(tables, here={"python": "3.12.1", "numpy": "2.4"})
    rows = found.set_index("package").T.to_dict("list")
    assert rows == {
        "python": ["3.12.1", "3.11.7"],
        "numpy": ["2.4", "–"],
        "torch": ["–", "2.0, 2.1"],
    }


def test_commits():
    tables = {"smoke": pd.concat([runs([1]), runs([1], dirty=True), runs([1], commit=None)])}
    found = provenance.commits(tables)
    assert found["commit"].tolist() == ["0123456789", "0123456789", "unknown"]
    assert found["files"].tolist() == ["as committed", "changed", "as committed"]


def test_no_runs_at_all():
    for make in (provenance.times, provenance.machines, provenance.commits):
        assert "No runs yet" in provenance.html(make({}))
    assert provenance.versions({}, here={"python": "3.11"}).shape == (1, 2)


def test_rows_worked_out_from_several_runs_are_left_out():
    derived = pd.DataFrame([{"kind": "hardness.split", "seed": 0}])
    both = {"smoke": pd.concat([runs([1, 2]), derived], ignore_index=True)}
    assert provenance.made(both)["smoke"]["seconds"].tolist() == [1, 2]
    assert provenance.machines(provenance.made(both))["runs"].tolist() == [2]
