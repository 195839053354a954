"""Two codes are called equal where they are, and never where they are not."""

import json
import re
import subprocess
import sys
import textwrap

import pytest
from conftest import ROOT

from granularity import files, theory
from granularity.fingerprints import changes, equivalence
from granularity.proofs import canary_runs, equal
from granularity.proofs.canaries import Canary
from granularity.records import entries, record, runner, tables

KIND = "study.run"
ENTRY = entries.Entry("granularity.study", "run", ("granularity.study:run",))

# A library as small as can be: what a canary asks of one, and a study that draws and trains.
RECORDS = """
import importlib
def entry_of(name):
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
"""
STUDY = """
import numpy as np
from granularity.chance import noise

SCALE = 0.5

def run(*, seed, flips=True, power=2):
    rng = np.random.default_rng(seed)
    first = noise(rng, SCALE)
    second = rng.random()
    if flips:
        first = first[::-1]
    if power > 3:
        second = 0.0
    return {"metrics": {"error": float(first[0] + second**power)}, "images_per_second": 3.0}
"""
CHANCE = """
def noise(rng, scale):
    return rng.normal(0, scale, 4)
"""
WHOLE = {"study": STUDY, "chance": CHANCE}


def library(folder, texts):
    """A package `granularity` of these modules."""
    place = folder / "lib" / "granularity"
    for name, text in {"__init__": "", "records": RECORDS, **texts}.items():
        files.write(place / f"{name}.py", text)
    return place


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Judges two versions of the study, as `prove` does: their canaries, then their lines."""
    monkeypatch.setitem(entries.ENTRIES, KIND, ENTRY)

    def judged(new, old=WHOLE, arguments=({"seed": 1}, {"seed": 2, "flips": False})):
        every = [Canary(f"study {n}", KIND, given) for n, given in enumerate(arguments)]
        sides, here = [], tmp_path / str(len(list(tmp_path.iterdir())))
        for name, texts in (("old", old), ("new", new)):
            place = library(here / f"{name}-code", texts)
            found = canary_runs.short({name: place}, every, here)
            sides.append(equal.Side(place, name, found[name]))
        for canary, before, now in zip(every, sides[0].found, sides[1].found, strict=True):
            equal.compare(canary.name, before, now)
        equal.hold_changes(KIND, *sides, range(len(every)), {KIND})

    return judged


def with_study(old, new):
    """The study with one piece of its text in other words."""
    assert old in STUDY
    return WHOLE | {"study": STUDY.replace(old, new)}


@pytest.mark.parametrize(
    "new",
    [
        {"study": STUDY.replace("granularity.chance", "granularity.luck"), "luck": CHANCE},
        {"study": STUDY.replace("from granularity.chance import noise", CHANCE)},
        {
            "study": STUDY.replace("granularity.chance", "granularity.parts.draws"),
            "parts/__init__": "",
            "parts/draws": CHANCE,
        },
        WHOLE
        | {"chance": CHANCE.replace("noise", "drawn"), "study": STUDY.replace("noise", "drawn")},
        with_study("    second = rng.random()", "    second = rng.random()  # why"),
        with_study("power=2", "power: float = 2"),
        with_study("first = first[::-1]", "first = first[[3, 2, 1, 0]]"),
    ],
    ids=[
        "renamed module",
        "moved function",
        "split file",
        "new name",
        "comment",
        "a type",
        "other words",
    ],
)
def test_code_that_makes_the_same_numbers_is_equal(judge, new):
    judge(new)


@pytest.mark.fault("{old} becomes {new} in the code of a run", "not equal: the number is named")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 0.5", "SCALE = 0.25"),
        ("power=2", "power=3"),
        ("first = first[::-1]", "pass"),
        (
            "first = noise(rng, SCALE)\n    second = rng.random()",
            "second = rng.random()\n    first = noise(rng, SCALE)",
        ),
    ],
    ids=["a constant", "a default", "a lost flip", "two draws in another order"],
)
def test_code_that_makes_other_numbers_is_not(judge, old, new):
    with pytest.raises(canary_runs.NotEqual, match=r"study \d: metrics\.error was .* and is"):
        judge(with_study(old, new))


@pytest.mark.fault("a changed line that no canary runs", "not proven equal: the line is named")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("second = 0.0", "second = 1.0"),
        ("second = 0.0", "second = 0.0\n        first = first * 2"),
        ("    if power > 3:\n        second = 0.0\n", ""),
    ],
    ids=["changed", "added", "taken away"],
)
def test_a_changed_line_must_have_run(judge, old, new):
    with pytest.raises(
        canary_runs.NotEqual, match=r"changed lines were not executed:\n  study\.py:\d+ in run"
    ):
        judge(with_study(old, new))


def test_a_new_function_must_run_through_or_not_at_all(judge):
    helper = "def half(x):\n    if x > 9:\n        return 0\n    return x\n\n"
    entered = with_study("def run(", f"{helper}def run(")
    judge(entered)  # nobody calls it
    called = entered["study"].replace("second = rng.random()", "second = half(rng.random())")
    with pytest.raises(canary_runs.NotEqual, match="in half"):
        judge(WHOLE | {"study": called})


def test_what_refuses_and_what_is_for_another_device_need_not_run(judge):
    refusal = "    if seed < 0:\n        near = 0\n        raise ValueError(near)\n    rng ="
    judge(with_study("    rng =", refusal))
    judge(with_study("    rng =", '    if str(seed) == "cuda":\n        seed = 0\n    rng ='))


def test_a_function_that_only_refusals_call_need_not_run(judge):
    words = "def words(x):\n    return f'{x} is none'\n\n"
    refusal = "    if seed < 0:\n        raise ValueError(words(seed))\n    rng ="
    old = with_study("    rng =", refusal)["study"].replace("def run(", f"{words}def run(")
    judge(WHOLE | {"study": old.replace("is none", "is no seed")}, WHOLE | {"study": old})
    called = old.replace("second = 0.0", "second = words(0)")
    with pytest.raises(canary_runs.NotEqual, match="in words"):
        judge(WHOLE | {"study": called.replace("is none", "is no seed")}, WHOLE | {"study": called})


def test_a_missing_number_is_a_difference(judge):
    with pytest.raises(canary_runs.NotEqual, match=r"metrics\.more was nothing and is 1"):
        judge(with_study('"metrics": {', '"metrics": {"more": 1, '))


def test_a_run_that_fails_is_told(judge):
    with pytest.raises(canary_runs.NotEqual, match="ZeroDivisionError"):
        judge(with_study("second = rng.random()", "second = 1 / 0"))


# ---------------------------------------------------------------------------------------- rows


def row_of(tmp_path, old, new, entry=KIND, device="cpu"):
    facts = {"entry": entry, "device": device, "old": {"code": old}, "new": {"code": new}}
    path = tmp_path / "record.json"
    return record.write(path, kind=equivalence.KIND, metrics={}, parameters=facts)


@pytest.fixture
def rows(tmp_path):
    """A file of rows: a chain of three, another entry, another device."""
    file = tmp_path / "equivalences.jsonl"
    pairs = [("b", "c"), ("a", "b")]
    made = [row_of(tmp_path, *pair) for pair in pairs]
    made += [
        row_of(tmp_path, "c", "d", entry="other.run"),
        row_of(tmp_path, "c", "e", device="cuda"),
    ]
    files.write(file, "".join(json.dumps(one) + "\n" for one in made))
    return file


def test_a_chain_is_one_class(rows):
    for code in "abc":
        assert set(equivalence.equal(KIND, code, "cpu", rows)) == set("abc")
        assert equivalence.oldest(KIND, code, "cpu", rows) == "b"  # the first that stands there
    assert equivalence.equal(KIND, "d", "cpu", rows) == ["d"]
    assert set(equivalence.equal(KIND, "c", "cuda", rows)) == set("ce")
    assert set(equivalence.equal("other.run", "c", "cpu", rows)) == set("cd")
    assert equivalence.oldest(KIND, "z", "cpu", rows.with_name("none.jsonl")) == "z"


def test_a_row_is_kept_once(rows, tmp_path, monkeypatch):
    again = [json.loads(line) for line in rows.read_text().splitlines()[:1]]
    assert equal.keep(again, rows) == 0
    assert equal.keep([row_of(tmp_path, "c", "f")], rows) == 1
    assert set(equivalence.equal(KIND, "a", "cpu", rows)) == set("abcf")
    stronger = again[0] | {"metrics": {"canaries": 9}}
    assert equal.keep([stronger], rows) == 1 and equal.keep([stronger], rows) == 0
    assert equal.keep([row_of(tmp_path, "c", "c")], rows) == 0  # nothing to prove


@pytest.mark.fault("a row of equal code changed by hand: {change}", "refused by its place")
@pytest.mark.parametrize(
    "change", [('"a"', '"z"'), ("cuda", "cpu"), ('"kind"', '"kinds"'), ("{", "")]
)
def test_an_edited_row_is_refused(rows, change):
    rows.write_text(rows.read_text().replace(*change))
    equivalence.rows.cache_clear()
    with pytest.raises(equivalence.EquivalenceError, match=r"equivalences\.jsonl:\d"):
        equivalence.oldest(KIND, "a", "cpu", rows)


def test_the_published_rows_are_whole():
    for made in equivalence.rows(equivalence.FILE):
        assert made["made_by"]["git"]["dirty"] is False
        assert made["parameters"]["entry"] in {*entries.ENTRIES, equivalence.STAGE}


def test_every_published_run_is_of_this_or_of_equal_code_and_a_timing_of_its_commit():
    files = set((ROOT / "book/results").glob("*/*.jsonl"))
    timings = set((ROOT / "book/results/bench").glob("*.jsonl"))
    assert timings and files > timings
    for file in files:
        words = {equivalence.THIS, equivalence.TIMING if file in timings else equivalence.PROVEN}
        made = tables.collect(file)
        assert {tables.standing(run) for run in made} <= words, file
        commits = {run["made_by"]["git"]["commit"] for run in made}
        assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits), file


def test_a_published_simulation_has_the_key_that_our_code_gives_it():
    for made in tables.collect(ROOT / "book/results/theory/simulate.jsonl"):
        assert runner.fingerprint(theory.simulate, made["arguments"]) == made["fingerprint"]


# ------------------------------------------------------------------------------------- by hand


def test_statements_by_hand():
    text = textwrap.dedent('''
        class A:
            """Doc."""
            x = 1

            def f(self, a=1):
                """Doc."""
                for i in range(a):
                    if i == "cuda":
                        a = 2
                return a
        ''')
    found = {unit.name: unit for unit in changes.units("m.py", text)}
    assert set(found) == {"A.f", "A.<module>", "<module>"}
    body = found["A.f"].statements
    assert [s.lines.start for s in body] == [6, 8, 9, 10, 11]
    assert [s.held for s in body] == [True, True, True, False, True]


ALIKE = """
def f(x, n=1, *, last=None):
    total = x + OFFSET
    if n > 3:
        total = [total for last in range(n)]
    return total
"""


def differ(new):
    """Whether a function differs from the one above."""
    gone, came = changes.changed(changes.units("m.py", ALIKE), changes.units("m.py", new))
    return bool(gone or came)


@pytest.mark.parametrize(
    ("old", "new"),
    [("total", "found"), ("last", "item"), ("x", "first"), ("f(", "g(")],
    ids=["a local name", "an inner one", "an argument", "its own name"],
)
def test_a_function_is_the_same_under_other_names_of_its_own(old, new):
    assert not differ(re.sub(rf"\b{re.escape(old)}", new, ALIKE))


@pytest.mark.parametrize(
    "new",
    [
        ALIKE.replace("OFFSET", "x"),
        ALIKE.replace("total", "OFFSET"),
        ALIKE.replace("OFFSET", "SCALE"),
        # callers that name an argument would give the other one
        re.sub(r"\b[xn]\b", lambda name: "nx"["xn".index(name[0])], ALIKE),
        ALIKE.replace("for last in", "for total in"),
    ],
    ids=["one for two", "a global's", "another global's", "exchanged arguments", "two for one"],
)
def test_names_that_stand_for_something_else_are_a_change(new):
    assert differ(new)


def test_a_function_that_takes_any_argument_keeps_its_names():
    taking = ALIKE.replace("last=None", "last=None, **more")
    renamed = taking.replace("x", "first")
    gone, came = changes.changed(changes.units("m.py", taking), changes.units("m.py", renamed))
    assert gone and came


@pytest.mark.faults
@pytest.mark.fault("a commit that git does not have", "refused, with git's words")
def test_from_a_shell():
    command = [sys.executable, "-m", "granularity.records", "equal", "--trial"]
    command += ["--entry", "theory.simulate"]
    for commit, status, said in (
        ("HEAD", 0, "theory.simulate: "),
        ("nothing", 1, "no checkout of"),
    ):
        ended = subprocess.run(
            [*command, commit], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ended.returncode == status, ended.stderr
        assert re.search(said, ended.stdout + ended.stderr)
