"""YAML reads as it looks, or is refused with its line and what to write."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from faults_seen import saw
from hypothesis import given
from hypothesis import strategies as st

from granularity.claims import rules
from granularity.inputs import plain_yaml
from granularity.inputs.plain_yaml import YamlError
from granularity.planning import sizes
from granularity.records import launch

sys.path.insert(0, str(ROOT / "scripts"))


@pytest.mark.fault("`{written}` in a file of YAML", "refused, with the line and what to write")
@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("007", "007 is read as 7; write 7"),
        ("010", "010 is read as 8; write 10"),
        ("-012", "-012 is read as -10; write -12"),
        ("08", "08 is read as a text; write 8"),
        ("1_000", "1_000 is read as 1000; write 1000"),
        ("1,000", "1,000 is read as a text; write 1000"),
        ("0,5", "0,5 is read as a text; write the number in decimal"),
        ("1:30", "1:30 is read as 90; write the number in decimal"),
        ("1:30.5", "1:30.5 is read as 90.5"),
        ("0o10", "0o10 is read as a text; write 8"),
        ("0x10", "0x10 is read as 16; write 16"),
        ("0b11", "0b11 is read as 3; write 3"),
        ("1e3", "1e3 is read as a text; write 1000"),
        ("1e-5", r"1e-5 is read as a text; write 1.0e-05"),
        ("1.5E3", "1.5E3 is read as a text; write 1500"),
        (".inf", ".inf is read as inf; write"),
        ("-.inf", "-.inf is read as -inf; write"),
        (".nan", ".nan is read as nan; write"),
        ("1.0e+400", "too large"),
        ("yes", "yes is read as true; write true"),
        ("No", "No is read as false; write false"),
        ("on", "on is read as true; write true"),
        ("OFF", "OFF is read as false; write false"),
        ("2026-11-26", "2026-11-26 is read as a date"),
        ("2026-11-26 10:00:00", "is read as a date"),
    ],
)
@pytest.mark.parametrize("form", ["a: 1\nb: {}", "a: 1\nb: [x, '1', {}]", "a: 1\n{}: x"])
def test_what_reads_otherwise_than_it_looks_is_refused(written, told, form):
    text = form.replace("{}", written)
    if form.count("[") and "," in written:
        text = f"a: 1\nb:\n- {written}"
    with pytest.raises(YamlError) as refused:
        plain_yaml.read(text, "size.yaml")
    assert told in str(refused.value)
    assert str(refused.value).startswith(f"size.yaml, line {3 if '- ' in text else 2}: ")


@pytest.mark.fault("a key twice in one mapping: `{text}`", "refused, with both lines")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1\nrate: 2\nseed: 3", "line 3: the key 'seed' stands twice, first in line 1"),
        ("a: {seed: 1, seed: 1}", "line 1: the key 'seed' stands twice"),
        ("a:\n- b:\n    c: 1\n    'c': 2", "line 4: the key 'c' stands twice, first in line 3"),
        ("1: a\n1.0: b", "the key 1.0 stands twice"),
        ("x: &x {a: 1}\ny: &y {a: 2}\nz:\n  <<: *x\n  <<: *y", "line 5: the key '<<' stands twice"),
        ("x: &x {a: 1}\nz: {<<: *x, b: 1, b: 2}", "line 2: the key 'b' stands twice"),
        ("x: &x [1]\nz:\n  <<: *x", "line 1: << wants a mapping"),
        ("x: &x {a: 1}\nz:\n  <<: [*x, 1]", "line 3: << wants a mapping"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text, told):
    with pytest.raises(YamlError, match=told):
        plain_yaml.read(text, "size.yaml")


def test_a_merged_key_may_be_overridden_and_merged_again():
    text = "x: &x {a: 1, b: 1}\ny: &y {<<: *x, b: 2}\nz: {<<: *y, a: 3}\nw: {<<: [*x, *y], c: 1}"
    found = plain_yaml.read(text, "size.yaml")
    assert found["y"] == {"a": 1, "b": 2}
    assert found["z"] == {"a": 3, "b": 2}
    assert found["w"] == {"a": 1, "b": 1, "c": 1}


OWN = st.dictionaries(st.sampled_from(["a", "b", "version", "learning_rate"]), st.integers(0, 9))


@given(st.lists(st.tuples(OWN, st.lists(st.integers(0, 8), max_size=3)), min_size=1, max_size=9))
def test_own_keys_win_then_those_of_the_earlier_mapping(mappings):
    lines, expected = [], []
    for place, (own, named) in enumerate(mappings):
        merged = [above for above in named if above < place]
        found = {}
        for mapping in [own, *(expected[above] for above in merged)]:
            for key, value in mapping.items():
                found.setdefault(key, value)
        expected.append(found)
        parts = [f"{key}: {value}" for key, value in own.items()]
        if len(merged) == 1:
            parts.insert(place % (len(parts) + 1), f"<<: *m{merged[0]}")
        elif merged:
            parts.insert(0, f"<<: [{', '.join(f'*m{above}' for above in merged)}]")
        lines.append(f"k{place}: &m{place} {{{', '.join(parts)}}}")
    read = plain_yaml.read("\n".join(lines), "some.yaml")
    assert list(read.values()) == expected


@pytest.mark.fault("a value that holds itself (`&a [*a]`)", "refused, with the line")
def test_what_holds_itself_is_refused():
    with pytest.raises(YamlError, match=r"line 2: .a stands in itself"):
        plain_yaml.read("b: 1\na: &a {x: [*a]}", "size.yaml")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[("0", 0), ("-7", -7), ("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1.0e-3", 0.001)],
        *[("true", True), ("False", False), ("null", None), ("", None), ("'007'", "007")],
        *[('"yes"', "yes"), ("1.2.3", "1.2.3"), ("2021_train_mini", "2021_train_mini")],
        *[("rank:depth8", "rank:depth8"), ("90 epochs", "90 epochs"), ("n0144", "n0144")],
    ],
)
def test_what_reads_as_it_looks_is_read(written, value):
    found = plain_yaml.read(f"a: {written}", "size.yaml")["a"]
    assert found == value and type(found) is type(value)


def test_a_date_is_read_where_dates_are_meant():
    assert str(plain_yaml.read("a: 2026-11-26", "x", dates=True)["a"]) == "2026-11-26"
    with pytest.raises(YamlError, match="no date"):
        plain_yaml.read("a: 2026-11-26T10:00:00Z", "x", dates=True)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(-1e300, 1e300)
    | st.text(max_size=8)
    | st.text("0123456789.,_:eExob+-'", max_size=6)
    | st.sampled_from(["yes", "off", "~", "<<"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(values)
def test_what_is_dumped_is_read_back(value):
    assert plain_yaml.read(plain_yaml.dump(value), "x") == value


OURS = [*(ROOT / "notebooks/params").glob("*.yaml"), *(ROOT / "profiles").rglob("*.yaml")]
OURS += [ROOT / "_toc.yml", ROOT / "_config.yml", ROOT / "book/claims.yml"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_files_of_the_project_read_as_they_look(path):
    assert plain_yaml.load(path, dates=path.name == "claims.yml")


# ------------------------------------------------------------- the files that are read this way


@pytest.mark.fault("a claim that stands twice in the file of claims", "refused, with its line")
def test_a_claim_that_stands_twice_is_refused():
    text = (ROOT / "book/claims.yml").read_text(encoding="utf-8")
    once = text.index("  C10:")
    twice = text[:once] + "  C8: {}\n" + text[once:]
    with pytest.raises(rules.ClaimsError, match=r"claims.yml, line \d+: the key 'C8' stands"):
        rules.read(twice)


@pytest.mark.fault("a job file with a field twice", "refused, with file and line")
def test_a_job_s_field_that_stands_twice_is_refused(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text("entry: granularity.theory:simulate\nfolder: x\nfolder: y\n")
    with pytest.raises(launch.JobError, match=r"job\.yaml, line 3: the key 'folder' stands twice"):
        launch.read(job)


@pytest.mark.fault("a table of contents with `chapters` twice", "refused, with its line")
def test_a_table_of_contents_is_read_as_it_looks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("_toc.yml").write_text("root: a\nchapters: [{file: b}]\nchapters: [{file: c}]\n")
    with pytest.raises(ValueError, match="line 3: the key 'chapters' stands twice"):
        sizes.contents()


@pytest.mark.fault("the build is given a size file with {parameters}", "ends before any work")
@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("seed: 1, seed: 2", "line 4: the key 'seed' stands twice"),
        ("seed: 007", "line 4: 007 is read as 7"),
    ],
)
def test_snakemake_s_own_reading_does_not_pass(house, parameters, told):
    house.size(parameters)
    words = ["--configfile", "notebooks/params/smoke.yaml", "--cores", "1"]
    called = [sys.executable, "-m", "snakemake", *words]
    ended = subprocess.run(called, cwd=house.folder, capture_output=True, text=True, check=False)
    saw(f"status {ended.returncode}")
    assert ended.returncode
    assert told in ended.stdout + ended.stderr
    assert not (house.folder / "runs").exists()


@pytest.mark.fault("the plan is given a size file with a setting twice", "refused, with its line")
def test_the_plan_does_not_pass_it_either(tmp_path):
    size = tmp_path / "size.yaml"
    size.write_text("size: smoke\nruns:\n  theory/simulate:\n    a: {}\n    a: {seed: 1}\n")
    called = [sys.executable, "-m", "granularity", "plan", str(size)]
    ended = subprocess.run(called, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "size.yaml, line 5: the key 'a' stands twice, first in line 4" in ended.stderr
