"""The page's own training against the library's, on the same draws: every number, to rounding."""

import json
import shutil
import subprocess
from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import ROOT

from granularity import theory
from granularity.pages import explorers
from granularity.theory import measures, network, samples, training
from granularity.theory.setting import stream

CASES = {
    "the book's dimension": {"d": 128, "k": 4, "width": 8, "batch_size": 8, "steps": 30},
    "as many steps": {"d": 20, "k": 3, "width": 8, "batch_size": 4, "steps": 300},
    "other patches": {
        "d": 16,
        "k": 2,
        "width": 6,
        "batch_size": 5,
        "steps": 40,
        "patches": 7,
        "feature_patches": 3,
        "opposing_patches": 2,
        "learning_rate": 0.5,
        "threshold": 0.2,
    },
}
TESTS = 40

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="the page's program needs Node")


@pytest.fixture(scope="module", autouse=True)
def doubles():
    """All of the library in double precision, as the page's program computes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def drawn(setting, count, generator):
    """What chance gives for samples, in the order in which `samples.draw` asks for it."""
    pairs = torch.randint(2 * setting.k, (count,), generator=generator)
    alphas = torch.rand(count, 2 * setting.feature_patches, 1, generator=generator)
    gauss = torch.randn(count, setting.patches, setting.d, generator=generator)
    found = {"pairs": pairs, "alphas": alphas, "gauss": gauss}
    return {name: part.flatten().tolist() for name, part in found.items()}


def page(folder, setting):
    """The page's numbers."""
    size = (setting.d, 2 + 2 * setting.k)
    start = (setting.outputs * setting.width, setting.d)
    rng = stream(0, "training")
    given = {
        "setting": asdict(setting),
        "labels": setting.labels,
        "gauss": torch.randn(size, generator=stream(0, "dictionary")).T.flatten().tolist(),
        "weights": torch.randn(start, generator=stream(0, "weights")).flatten().tolist(),
        "draws": [drawn(setting, setting.batch_size, rng) for _ in range(setting.steps + 1)],
        "test": drawn(setting, TESTS, stream(0, "test")),
    }
    (folder / "given.json").write_text(json.dumps(given))
    program = [ROOT / "tests/browser/train.mjs", ROOT / "book/_static/theory_model.js"]
    files = [folder / "given.json", folder / "numbers.json"]
    subprocess.run(["node", *program, *files], check=True)
    return json.loads(files[1].read_text())


@pytest.fixture(scope="module", params=[(case, kind) for case in CASES for kind in explorers.KINDS])
def both(request, tmp_path_factory):
    case, labels = request.param
    setting = theory.Setting(labels=labels, logged=6, **CASES[case])
    return setting, page(tmp_path_factory.mktemp("page"), setting)


def close(found, wanted):
    wanted = np.asarray(wanted).ravel()
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_features_and_samples_are_the_library_s(both):
    setting, found = both
    features = samples.dictionary(setting, stream(0, "dictionary"))
    close(found["features"], features)
    hard = samples.draw(setting, features, TESTS, stream(0, "test"), "hard")
    close(found["drawn"]["patches"], hard.patches)
    assert found["drawn"]["y"] == hard.y.tolist()
    assert found["drawn"]["c"] == hard.c.tolist()


def test_training_and_votes_are_the_library_s(both):
    setting, found = both
    features = samples.dictionary(setting, stream(0, "dictionary"))
    tests = [
        samples.draw(setting, features, TESTS, stream(0, "test"), kind) for kind in ("easy", "hard")
    ]
    training.trained.cache_clear()  # what it keeps may be of another precision
    moments = training.trained((setting,), (0,), "cpu")[0]
    training.trained.cache_clear()
    assert [moment["step"] for moment in found["moments"]] == [moment.step for moment in moments]
    for ours, (_, loss, trained) in zip(found["moments"], moments, strict=True):
        close(ours["loss"], loss)
        close(ours["weights"], trained.weights)
        close(ours["biases"], trained.biases)
        answers = measures.responses(setting, trained, features)
        close(ours["common"], answers["response_common"])
        close(ours["fine"], answers["response_fine"])
        for place, some in enumerate(tests):
            close(ours["logits"][place], network.logits(trained, some.patches))
            missed = measures.wrong(setting, trained, some).double().mean().item()
            assert ours["errors"][place] == pytest.approx(missed)
    last = found["moments"][-1]
    assert last["loss"] < found["moments"][0]["loss"]
    assert np.ptp(np.array(last["weights"]) - np.array(found["moments"][0]["weights"])) > 0.01


def test_the_page_s_chance_is_chance(both):
    given = both[1]["chance"]
    for normals in (given["normals"], *given["others"]):
        assert abs(np.mean(normals)) < 0.03
        assert abs(np.std(normals) - 1) < 0.03
        assert 2.4 < np.mean(np.power(normals, 4)) < 3.6
        assert abs(np.corrcoef(normals[:-1], normals[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(given["normals"], given["others"][0])[0, 1]) < 0.03  # another purpose
    assert abs(np.corrcoef(given["normals"], given["others"][1])[0, 1]) < 0.03  # another seed
    assert abs(np.mean(given["uniforms"]) - 0.5) < 0.01
    assert np.histogram(given["uniforms"], 10, (0, 1))[0].min() > 1800
    assert set(given["integers"]) == set(range(5))
