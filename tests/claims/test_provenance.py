"""Times, machines, versions and commits of made-up runs, against tables done by hand."""

import dataclasses
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from granularity.claims import provenance, rules, scoreboard
from granularity.fingerprints import equivalence
from granularity.pages import markup
from granularity.records import record

ROOT = Path(__file__).parents[2]
CLAIMS = (ROOT / "book/claims.yml").read_text(encoding="utf-8")

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
    without_git = runs([1], commit=None, dirty=None)
    tables = {"smoke": pd.concat([runs([1]), runs([1], dirty=True), without_git])}
    found = provenance.commits(tables)
    assert found["commit"].tolist() == ["0123456789", "0123456789", "unknown"]
    assert found["files"].tolist() == ["as committed", "changed", "unknown"]


def test_each_machine_and_commit_of_timings_is_told_once():
    days = ["2026-11-26T07:53:12+00:00", "2026-11-26T08:00:00+00:00"]
    here = runs([1, 2]).assign(started=days)
    there = runs([1], device=GPU).assign(started=["2026-11-27T00:00:00+00:00"])
    assert provenance.timed(here, there).startswith(
        "Measured on Some CPU, 2 cores, Linux x86_64, at commit 0123456789 on 2026-11-26; and on"
        " Some GPU; Some CPU, 2 cores, Linux x86_64, at commit 0123456789 on 2026-11-27."
    )


def test_what_the_code_of_runs_is_beside_ours():
    words = [equivalence.THIS, equivalence.OLDER, equivalence.OLDER, equivalence.TIMING]
    found = provenance.standings({"smoke": runs([1, 2, 3, 4]).assign(standing=words)})
    row = ["Smoke, toy size", "x.y", 1, 0, 1, 2]
    assert found.columns.tolist()[2:] == [
        equivalence.THIS,
        equivalence.PROVEN,
        equivalence.TIMING,
        equivalence.OLDER,
    ]
    assert found.columns.name is None and found.to_numpy().tolist() == [row]
    assert len(provenance.standings({})) == 0


def test_what_was_proven_of_code_is_no_run(tmp_path):
    tables = scoreboard.load(tmp_path / "smoke", ROOT / "book/results")
    assert "equivalence" not in {kind for table in tables.values() for kind in table["kind"]}


def test_no_runs_at_all():
    for make in (provenance.times, provenance.machines, provenance.commits):
        assert "No runs yet" in markup.html(make({}))
    assert provenance.versions({}, here={"python": "3.11"}).shape == (1, 2)


def test_rows_worked_out_from_several_runs_are_left_out():
    derived = pd.DataFrame([{"kind": "hardness.split", "seed": 0}])
    both = {"smoke": pd.concat([runs([1, 2]), derived], ignore_index=True)}
    assert provenance.made(both)["smoke"]["seconds"].tolist() == [1, 2]
    assert provenance.machines(provenance.made(both))["runs"].tolist() == [2]


# ------------------------------------------------------------------- the rules before the runs


def of_c8(commit: str, started: str, labels: str) -> pd.DataFrame:
    """One run that the newest rule of C8 with a single contrast reads."""
    (arm,) = (a for a in C8.rule("tiny").arms.values() if a["labels"] == labels)
    made = {
        "seed": 0,
        "kind": "inaturalist.transfer",
        "started": started,
        "machine": CPU,
        "commit": commit,
    }
    return pd.DataFrame([arm | made | {"fingerprint": labels}])


# C8 as it was with a single contrast, so that its runs are those of two arms.
C8 = rules.read(CLAIMS).claims["C8"]
C8 = dataclasses.replace(C8, rules=C8.rules[:4])
BOOK = rules.Book({"C8": C8}, {})
OLDER = CLAIMS.replace("smallest_effect: 0.010", "smallest_effect: 0.005")
REWORDED = CLAIMS.replace("Instance labels against the baseline.", "Some other words.")


def history(*words: str) -> str:
    """What git says of two commits: the second changed the rules, and only words came later."""
    if words[-1].startswith("unknown"):
        raise subprocess.CalledProcessError(128, words)
    if words[1] == "--no-patch":
        return {"first": "1700000000", "second": "1700003600"}[words[-1]]
    return {"first": OLDER, "second": REWORDED}[words[1].partition(":")[0]]


@pytest.mark.parametrize(
    ("commits", "said", "when"),
    [
        (("second", "second"), "yes", "2023-11-14 23:13:20"),
        (("first", "second"), "no", "2023-11-14 22:13:20"),
        (("unknown", "second"), "?", "2023-11-14 23:13:20"),
        (("first", "unknown"), "no", "2023-11-14 22:13:20"),
        ((None, "second"), "?", "2023-11-14 23:13:20"),  # made without git
    ],
)
def test_a_rule_stood_in_the_commit_of_its_runs_or_not(monkeypatch, commits, said, when):
    monkeypatch.setattr(record, "git", history)
    began, labels = ("2026-01-02T03:04:05", "2026-01-01T02:03:04"), ("target", "instance")
    table = pd.concat([of_c8(*one) for one in zip(commits, began, labels, strict=True)])
    (row,) = provenance.rules_first(BOOK, {"tiny": table}).to_dict("records")
    assert (row["claim"], row["runs"], row["had the rule"]) == ("C8", 2, said)
    assert row["first run"] == "2026-01-01 02:03:04"
    assert row["first committed"] == when


def test_a_size_that_cannot_decide_has_no_row():
    assert provenance.rules_first(BOOK, {"smoke": of_c8("first", "…", "target")}).empty


def test_the_published_runs_were_made_after_the_rules_that_judge_them(tmp_path):
    tables = scoreboard.load(tmp_path / "smoke", ROOT / "book/results")
    found = provenance.rules_first(rules.read(CLAIMS), tables)
    assert {"C3", "C5", "C8", "C10"} <= set(found["claim"])
    assert "C9" not in set(found["claim"]), "its rule in force reads what was worked out of runs"
    if "?" in set(found["had the rule"]):
        pytest.skip("a checkout without the commits of the published runs")
    assert set(found["had the rule"]) == {"yes"}, found
