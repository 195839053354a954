"""Whatever is read from outside gives a result or the package's own error, and no hang."""

import contextlib
import copy
import json
import string
import sys
from datetime import timedelta

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, House
from faults_seen import saw
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from granularity import labels, notebook
from granularity.claims import rules
from granularity.claims.rules import ClaimsError
from granularity.fingerprints.digest import digest
from granularity.hierarchies import wordnet
from granularity.images import layouts, listing
from granularity.notebook import ParameterError
from granularity.planning import sizes
from granularity.records import launch, record, runner, tables
from granularity.records.launch import JobError
from granularity.records.record import RecordError
from granularity.training import checkpoints
from granularity.training.checkpoints import CheckpointError
from granularity.training.presets import recipe_of
from granularity.training.recipe import Recipe

sys.path.insert(0, str(ROOT / "scripts"))
import book
import graph

fuzzed = settings(
    deadline=timedelta(seconds=30),  # a hang, on the busiest machine
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
names = st.text(string.ascii_letters + "_/.- é\0", max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.dates()
)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
json_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
texts = st.text(max_size=60) | st.text("[]{}:-,\"'!&*#|> \n\tabc01", max_size=40)
noise = st.binary(max_size=200) | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))


def tried(call, *errors):
    """The result of a call, or None where it ends with one of its own errors."""
    try:
        return call()
    except errors as error:
        saw(f"{type(error).__name__}: {error}")
        return None


def spoilt(content: bytes, edits: list[tuple[float, bytes]], share: float) -> bytes:
    """A file with some bytes replaced, and cut off."""
    found = bytearray(content)
    for where, new in edits:
        at = int(where * len(found))
        found[at : at + len(new)] = new
    return bytes(found[: int(share * len(found))])


edits = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=3)
shares = st.just(1.0) | st.floats(0, 1)


def nested(data, path, value):
    """A copy of nested data with another value at one place; `path` chooses the way there."""
    data = copy.deepcopy(data)
    node = data
    for step in path[:-1]:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        inner = node[keys[step % len(keys)]] if len(keys) else None
        if not isinstance(inner, (dict, list)) or not inner:
            break
        node = inner
    keys = list(node) if isinstance(node, dict) else range(len(node))
    node[keys[path[-1] % len(keys)]] = value
    return data


paths = st.lists(st.integers(0, 40), min_size=1, max_size=7)
FAULT = "a result, or the package's own error"


# --------------------------------------------------------------------------------- text and YAML


@pytest.mark.fault("any fields as a recipe (fuzz)", FAULT)
@fuzzed
@given(
    st.dictionaries(st.sampled_from([*Recipe.__dataclass_fields__]) | names, json_plain, max_size=4)
)
def test_any_recipe(values):
    made = tried(lambda: recipe_of(values), TypeError, ValueError)
    assert made is None or isinstance(made, Recipe)


@pytest.mark.fault("any text as the name of a preset (fuzz)", FAULT)
@fuzzed
@given(st.text(max_size=30))
def test_any_preset(name):
    made = tried(lambda: recipe_of({"preset": name}), KeyError)
    assert made is None or isinstance(made, Recipe)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A small book, whose graph reads size files."""
    folder = tmp_path_factory.mktemp("around") / "house"
    folder.mkdir()
    return House(folder)


parameters = st.dictionaries(st.sampled_from(["seed", "folder", "each"]) | names, plain, max_size=3)
jobs_of_a_size = st.dictionaries(names, parameters | plain, max_size=3)
runs_of_a_size = st.dictionaries(
    st.sampled_from(["theory/simulate", "../theory/simulate", "theory"]) | names,
    jobs_of_a_size | plain,
    max_size=3,
)


@pytest.mark.fault(
    "anything as a size file (fuzz)", "checked settings, or an error before any work"
)
@fuzzed
@given(
    st.fixed_dictionaries(
        {"size": st.just("smoke") | plain},
        optional={"runs": runs_of_a_size | plain, "limit": plain},
    )
    | st.dictionaries(names, plain, max_size=2)
)
@example({"size": "smoke", "runs": {"theory/simulate": {"a": {"each": {"seed": [0, 0]}}}}})
@example({"size": "smoke", "runs": {"theory/simulate": {"../../../x": {"seed": 1}}}})
def test_any_size_file(house, config):
    def read():
        size = graph.size(config, ["notebooks/params/smoke.yaml"])
        return graph.limit(size), graph.prepare_runs(size)

    with contextlib.chdir(house.folder):
        tried(read, ValueError, FileNotFoundError)
    outside = {path.name for path in house.folder.parent.iterdir()}
    assert outside == {house.folder.name}, "nothing is written beside the book"


@pytest.mark.fault("anything as a table of contents (fuzz)", "its files, or an error: never none")
@fuzzed
@given(texts | plain.map(lambda value: yaml.safe_dump(value, allow_unicode=True)))
def test_any_table_of_contents(house, text):
    contents = house.folder / "_toc.yml"
    before = contents.read_text(encoding="utf-8")
    contents.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.chdir(house.folder):
        found = tried(sizes.contents, ValueError)
    contents.write_text(before, encoding="utf-8")
    assert found is None or found


@pytest.mark.fault("any text as the file of claims (fuzz)", FAULT)
@fuzzed
@given(texts | plain.map(yaml.safe_dump))
@example("!!int ''")
@example("!!bool x")
@example("!!timestamp x")
def test_any_text_as_claims(text):
    tried(lambda: rules.read(text), ClaimsError)


EVERY = yaml.safe_load((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
CLAIMS = {part: dict(list(EVERY[part].items())[:4]) for part in ("claims", "tables")}


@pytest.mark.fault("the file of claims with any value at any place (fuzz)", FAULT)
@settings(fuzzed, max_examples=30)
@given(paths, plain)
def test_any_value_in_the_claims(path, value):
    text = yaml.safe_dump(nested(CLAIMS, path, value))
    made = tried(lambda: rules.read(text), ClaimsError)
    assert made is None or isinstance(made, rules.Book)


JOB = {"entry": "granularity.theory:simulate", "settings": [{"seed": 0}], "places": {}}
JOB |= {"folder": "x"}


@pytest.mark.fault("any text as a job file (fuzz)", FAULT)
@fuzzed
@given(noise | plain.map(lambda value: yaml.safe_dump(value).encode()))
@example(b"!!int ''")
def test_any_text_as_a_job(tmp_path, content):
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    tried(lambda: launch.read(path), JobError)


@pytest.mark.fault("a job file with any value at any place (fuzz)", FAULT)
@fuzzed
@given(paths, plain)
def test_any_value_in_a_job(tmp_path, path, value):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(nested(JOB, path, value)))
    job = tried(lambda: launch.read(file), JobError)
    if job:
        assert isinstance(job["entry"], str) and isinstance(job["places"], dict)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "complete", lambda *_, **__: None)
            tried(lambda: launch.run_job(job), RecordError)


# --------------------------------------------------------------------------------------- records


@pytest.fixture(scope="module")
def published_record(tmp_path_factory):
    """A record of a run."""
    path = tmp_path_factory.mktemp("record") / "a" / "record.json"
    values = {"metrics": {"error": 0.5}, "arguments": {"seed": 0}, "curves": {"step": [0]}}
    return record.write(path, kind="x.y", entry="granularity.x:y", code="c", data=None, **values)


@pytest.mark.fault("any bytes as a record (fuzz)", "refused by name")
@fuzzed
@given(noise)
@example(b"[" * 100_000)
@example(b'{"a": ' * 50_000)
def test_any_bytes_as_a_record(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.json"):
        record.read(path)


@pytest.mark.fault("a record with any value at any place, its checksum made to fit (fuzz)", FAULT)
@fuzzed
@given(paths, json_plain)
def test_any_value_in_a_record(published_record, path, value):
    changed = nested(published_record, path, value)
    changed.pop("checksum", None)
    with contextlib.suppress(ValueError):
        changed["checksum"] = digest(changed)
    text = json.dumps(changed)
    found = tried(lambda: record.parse(text, "somewhere"), RecordError)
    if found:
        assert tables.row(found)["kind"] == found["kind"]


@pytest.mark.fault("a record of which any bytes were changed (fuzz)", "refused by name")
@fuzzed
@given(edits, st.floats(0, 1))
def test_a_changed_record(published_record, edits, share):
    content = json.dumps(published_record).encode()
    text = spoilt(content, edits, share).decode("utf-8", "replace")
    if text.encode() != content:
        found = tried(lambda: record.parse(text, "somewhere"), RecordError)
        assert found is None or found == published_record  # spaces may come and go


@pytest.mark.fault("arrays beside a record, cut or changed anywhere (fuzz)", FAULT)
@fuzzed
@given(noise | st.tuples(edits, shares))
def test_any_arrays(tmp_path, change):
    path = tmp_path / "evaluation.npz"
    np.savez_compressed(path, loss=np.arange(20.0), classes=np.array(["a", "b"]))
    content = change if isinstance(change, bytes) else spoilt(path.read_bytes(), *change)
    path.write_bytes(content)
    found = tried(lambda: tables.opened(path), RecordError)
    assert found is None or isinstance(found, dict)


# ------------------------------------------------------------------------------------- notebooks


literals = st.text("()[]{}:,'\"-+.=_ \n\\xb01ae*#", max_size=40)


@pytest.mark.fault("any Python as a cell of parameters (fuzz)", FAULT)
@fuzzed
@given(literals.map(lambda text: f"x = {text}") | literals)
@example("x = {[]: 1}")
@example("x = " + "(" * 500 + ")" * 500)
@example("x = " + "-" * 30_000 + "1")
@example("x = {**{}}\x0c\ny = 3")
@example("x = 1\x0cy = f()")
def test_any_cell_of_parameters(text):
    found = tried(lambda: notebook.assignments(text), ParameterError)
    assert found is None or isinstance(found, dict)


NOTEBOOK = json.loads((ROOT / "notebooks/theory/simulate.ipynb").read_text(encoding="utf-8"))


@pytest.mark.fault("any bytes, or any value at any place, as a notebook (fuzz)", FAULT)
@fuzzed
@given(noise | json_plain.map(lambda v: json.dumps(v).encode()) | st.tuples(paths, json_plain))
def test_any_notebook(tmp_path, given):
    path = tmp_path / "x.ipynb"
    if isinstance(given, tuple):
        given = json.dumps(nested(NOTEBOOK, *given)).encode()
    path.write_bytes(given)
    tried(lambda: notebook.declared(path), ParameterError)
    tried(lambda: book.check_executed(path), ValueError)


# -------------------------------------------------------------------------- lists, labels, states


@pytest.mark.fault("any bytes as a synset list (fuzz)", "synsets, or an error with its line")
@settings(fuzzed, max_examples=12)  # each looks for the nearest of 82,115 synsets
@given(noise)
def test_any_synset_list(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content[:60])
    found = tried(lambda: wordnet.read_list(path), ValueError)
    assert found is None or all(synset in wordnet.nouns().names for synset in found)


@pytest.mark.fault("any text as a label function's name (fuzz)", "parsed, or refused with its form")
@fuzzed
@given(
    st.text(max_size=20)
    | st.lists(st.sampled_from(["random", "cluster", "misaligned", "1", "²", "x"])).map(":".join)
)
def test_any_specification(text):
    found = tried(lambda: labels.needs_embeddings(text), ValueError)
    assert found in (None, True, False)


@pytest.mark.fault("a file of labels, foreign, cut or changed anywhere (fuzz)", FAULT)
@fuzzed
@given(noise | st.tuples(edits, shares))
def test_any_file_of_labels(tmp_path, change):
    path = tmp_path / "labels.npz"
    function = labels.from_sets("x", ["a", "b"], [{"c"}, {"d", "e"}])
    labels.save(function, path)
    path.write_bytes(change if isinstance(change, bytes) else spoilt(path.read_bytes(), *change))
    found = tried(lambda: labels.load(path), ValueError)
    assert found is None or found.fingerprint == function.fingerprint


headers = st.dictionaries(
    st.sampled_from(["model.a", "__metadata__"]) | names,
    json_plain
    | st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F8_E4M3", "I64", "BOOL", "F4"]),
            "shape": st.lists(st.integers(-1, 3), max_size=2),
            "data_offsets": st.lists(st.integers(0, 20), min_size=2, max_size=2),
        }
    )
    | st.fixed_dictionaries({"facts": json_plain.map(json.dumps) | st.text(max_size=9)}),
    max_size=3,
)


@pytest.mark.fault("any header as a checkpoint's (fuzz)", FAULT)
@fuzzed
@given(headers, st.binary(max_size=40))
def test_any_header_of_a_checkpoint(tmp_path, header, body):
    path = tmp_path / "checkpoint-1.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    found = tried(lambda: checkpoints.load(path), CheckpointError)
    assert found is None or {"fingerprint", "step"} <= set(found[1])


@pytest.mark.fault("a checkpoint of which any bytes were changed (fuzz)", FAULT)
@fuzzed
@given(noise | st.tuples(edits, shares))
def test_any_checkpoint(tmp_path, change):
    path = tmp_path / "checkpoint-1.safetensors"
    checkpoints.save(path, {"model.a": torch.arange(9.0)}, {"fingerprint": "x", "step": 1})
    path.write_bytes(change if isinstance(change, bytes) else spoilt(path.read_bytes(), *change))
    tried(lambda: checkpoints.load(path), CheckpointError)


@pytest.mark.fault("any bytes as an index file (fuzz)", "not used: the folder is listed anew")
@fuzzed
@given(st.binary(max_size=60) | json_plain.map(lambda v: json.dumps(v).encode() + b"\n"))
def test_any_index_file(tmp_path, content):
    path = tmp_path / "x.index"
    path.write_bytes(b'{"format": ' + content)
    assert listing.read(path) is None


@pytest.mark.fault("an index file of which any bytes were changed (fuzz)", "not used, or unchanged")
@fuzzed
@given(edits, shares)
def test_a_changed_index_file(tmp_path, edits, share):
    root = tmp_path / "set"
    if not root.exists():
        (root / "n1").mkdir(parents=True)
        (root / "n1" / "a.png").write_bytes(b"x")
    whole, path = listing.kept(root, [], None, tmp_path)
    content = path.read_bytes()
    path.write_bytes(spoilt(content, edits, share))
    found = listing.read(path)
    path.write_bytes(content)
    assert found is None or found.names.tolist() == whole.names.tolist()


@pytest.mark.fault("folders of any names (fuzz)", "listed as classes of these names")
@fuzzed
@given(st.sets(st.text(min_size=1, max_size=9), min_size=1, max_size=3))
@example({"0", "0.JPG"})
def test_any_folder_names(tmp_path_factory, labels):
    root = tmp_path_factory.mktemp("set")
    for label in labels:
        with contextlib.suppress(OSError, ValueError):  # a name that this disk does not take
            (root / label).mkdir()
            (root / label / "a.png").write_bytes(b"x")
    there = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    as_images = {name for name in there if name.lower().endswith(layouts.EXTENSIONS)}
    listed = (
        there - layouts.LITTER - as_images
    )  # which are told of, as what is no class and no file
    if listed:
        found, _ = listing.kept(root, [], None, root.parent / "cache")
        assert set(found.classes) == listed
