"""The theory's laws: data by definition, the gradient by autograd, limits with known answers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from granularity import notebook, theory
from granularity.theory import Network, Setting

PLUS, MINUS = 0, 1


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices this small gain nothing from two threads, and lose much beside a busy neighbour."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def world(seed=0, dtype=torch.float32, **values):
    """A setting, its dictionary and a generator for samples."""
    setting = Setting(**values)
    features = theory.dictionary(setting, theory.stream(seed, "dictionary")).to(dtype)
    return setting, features, theory.stream(seed, "test")


def parts(samples, features):
    """Coefficients of each patch on the dictionary (N, P, 2 + 2k), norm of the rest (N, P)."""
    coefficients = samples.patches @ features.T
    return coefficients, (samples.patches - coefficients @ features).norm(dim=-1)


# --- Settings: what is possible, and what is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": "medium"}, "labels must be 'coarse' or 'fine', not 'medium'"),
        ({"k": 0}, "k must be at least 1, not 0"),
        ({"k": 64}, "d must be at least 130 .* not 128"),
        ({"patches": 3}, r"patches must be at least 4 \(.*, not 3"),
        ({"patches": 6, "opposing_patches": 4}, r"patches must be at least 7 \(.*s†.*, not 6"),
        ({"noise": -0.1}, "noise must be at least 0, not -0.1"),
        ({"noise": math.nan}, "noise must be at least 0, not nan"),
        ({"rate": math.inf}, "rate must be at least 0, not inf"),
        ({"amplitude_spread": 1.5}, "amplitude_spread must be between 0 and 1, not 1.5"),
        ({"finite_set": 100}, "finite_set must be 0 or at least batch = 512, not 100"),
        ({"k": 8.0}, "k must be int, not 8.0"),
        ({"steps": True}, "steps must be int, not True"),
        ({"rate": "0.2"}, "rate must be float, not '0.2'"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(values, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Setting(**values)


def test_equal_settings_look_equal():
    first, second = Setting(noise=1), Setting(noise=1.0)
    assert first == second
    assert json.dumps(first.noise) == json.dumps(second.noise) == "1.0"


def test_a_grid_takes_scalars_and_lists_and_fills_in_the_defaults():
    settings = theory.grid(labels=["coarse", "fine"], k=[2, 4], seed=[0, 1, 2], noise=0)
    assert len(settings) == 12
    assert [row["seed"] for row in settings[:4]] == [0, 1, 2, 0]
    assert all(row["noise"] == 0.0 and row["width"] == 32 for row in settings)
    assert settings == json.loads(json.dumps(settings))
    assert theory.grid() == theory.grid(labels="coarse", seed=[0])


def test_a_grid_refuses_what_a_run_would():
    with pytest.raises(TypeError, match="'widht'; the nearest one is 'width'"):
        theory.grid(widht=3)
    with pytest.raises(ValueError, match="k must be at least 1"):
        theory.grid(k=[2, 0])


@pytest.mark.parametrize("seed", [-1, 1.0, True, None])
def test_a_seed_is_a_natural_number(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        theory.simulate(seed=seed)


# --- The data, by its definition


@pytest.mark.parametrize(("d", "k"), [(128, 8), (34, 16), (7, 1)])
def test_the_dictionary_is_orthonormal(d, k):
    _, features, _ = world(d=d, k=k)
    assert features.shape == (2 + 2 * k, d)
    torch.testing.assert_close(features @ features.T, torch.eye(2 + 2 * k), atol=1e-5, rtol=0)


def test_labels_are_balanced():
    setting, features, generator = world(k=4)
    samples = theory.draw(setting, features, 16_000, generator)
    counts = torch.bincount(samples.y * 4 + samples.c, minlength=8)
    # 2,000 expected for each of the 8 pairs, deviation 42.
    assert counts.sum() == 16_000
    assert (counts - 2000).abs().max() < 5 * 42
    assert set(samples.y.tolist()) == {PLUS, MINUS}
    assert samples.c.min() == 0
    assert samples.c.max() == 3


def test_targets_are_the_superclass_or_the_pair():
    setting, features, generator = world(k=3, labels="fine")
    samples = theory.draw(setting, features, 500, generator)
    assert torch.equal(samples.targets(setting), samples.y * 3 + samples.c)
    assert torch.equal(samples.targets(replace(setting, labels="coarse")), samples.y)


# Without noise a patch is exactly what the definition says, so kinds can be counted.
EXACT = {"noise": 0, "strong_noise": 0, "k": 3, "opposing_patches": 2, "patches": 9}


@pytest.mark.parametrize("kind", theory.KINDS)
def test_patches_hold_what_the_kind_says_and_nothing_else(kind):
    setting, features, generator = world(**EXACT)
    samples = theory.draw(setting, features, 300, generator, kind)
    coefficients, rest = parts(samples, features)
    held = theory.KINDS[kind]
    wanted = {"common": 2, "fine": 2, "opposing": 2}
    rows = torch.arange(300)
    found = {
        "common": coefficients[rows, :, samples.y],
        "fine": coefficients[rows, :, 2 + 3 * samples.y + samples.c],
        "opposing": coefficients[rows, :, 1 - samples.y],
    }
    for part, values in found.items():
        present = values.abs() > 1e-5
        assert (present.sum(1) == (wanted[part] if part in held else 0)).all(), part
        amplitudes = values[present]
        if part == "opposing":
            torch.testing.assert_close(amplitudes, torch.full_like(amplitudes, 0.1))
        elif part in held:
            assert 0.9 <= amplitudes.min() < 0.91
            assert 1.09 < amplitudes.max() <= 1.1001
            assert amplitudes.mean().item() == pytest.approx(1, abs=0.01)
    total = sum(wanted[part] for part in held if part in wanted)
    assert ((coefficients.abs() > 1e-5).sum((1, 2)) == total).all()
    assert rest.max() < 1e-5


@pytest.mark.parametrize("kind", theory.KINDS)
def test_noise_has_its_level_and_one_patch_at_most_is_strong(kind):
    setting, features, generator = world()
    samples = theory.draw(setting, features, 400, generator, kind)
    _, rest = parts(samples, features)
    free = 128 - 18  # dimensions outside the dictionary
    strong = rest > math.sqrt(0.05 * 0.5 * free)
    assert (strong.sum(1) == ("strong" in theory.KINDS[kind])).all()
    assert rest[~strong].square().mean().item() == pytest.approx(0.05**2 * free, rel=0.02)
    if strong.any():
        assert rest[strong].square().mean().item() == pytest.approx(0.5**2 * free, rel=0.05)


def test_noise_fills_all_directions_alike():
    setting, features, generator = world(k=2, patches=8)
    samples = theory.draw(setting, features, 4000, generator)
    plain = samples.patches[:, 4:].flatten(0, 1)  # an easy sample has 2 s* = 4 feature patches
    covariance = plain.T @ plain / len(plain)
    torch.testing.assert_close(covariance, 0.05**2 * torch.eye(128), atol=0.05**2 * 0.06, rtol=0)


def test_the_kinds_are_the_same_samples_with_parts_taken_out():
    setting, features, _ = world()
    drawn = {
        kind: theory.draw(setting, features, 50, theory.stream(3, "test"), kind)
        for kind in theory.KINDS
    }
    easy, hard, removed = drawn["easy"], drawn["hard"], drawn["common_removed"]
    for samples in drawn.values():
        assert torch.equal(samples.y, easy.y)
        assert torch.equal(samples.c, easy.c)
    assert torch.equal(hard.patches[:, :2], easy.patches[:, :2])  # the subclass patches stay
    same = (removed.patches == easy.patches).all(-1).all(0)
    assert same.tolist() == [True, True, False, False, True, True, True, True]


def test_training_batches_are_fresh_or_from_the_fixed_set():
    setting, features, _ = world(batch=16)
    fresh = theory.batches(setting, features, theory.stream(0, "training"))
    assert not torch.equal(next(fresh).patches, next(fresh).patches)

    whole = replace(setting, finite_set=16)
    fixed = theory.batches(whole, features, theory.stream(0, "training"))
    assert torch.equal(next(fixed).patches, next(fixed).patches)

    part = replace(setting, finite_set=40)
    drawn = theory.batches(part, features, theory.stream(0, "training"))
    seen = torch.cat([next(drawn).patches[:, 0, 0] for _ in range(30)]).view(30, 16)
    assert all(len(set(batch.tolist())) == 16 for batch in seen)  # none twice in a batch
    assert len(set(seen.flatten().tolist())) == 40  # and all of the set is used


# --- Network, gradient, step


def small(dtype=torch.float64, seed=0, **values):
    """A little network with some awake and some silent neurons, and easy samples for it."""
    values = {"d": 24, "k": 3, "width": 5, "batch": 12, "initial_scale": 0.1} | values
    setting, features, generator = world(seed=seed, dtype=dtype, **values)
    network = theory.initial(setting, theory.stream(seed, "weights"))
    network = Network(*(part.to(dtype) for part in network))
    return setting, features, network, theory.draw(setting, features, setting.batch, generator)


def test_the_start_has_its_scale_and_threshold():
    setting = Setting(width=200, threshold=2, initial_scale=0.03)
    network = theory.initial(setting, theory.stream(0, "weights"))
    assert network.weights.shape == (2, 200, 128)
    assert network.weights.std().item() == pytest.approx(0.03, rel=0.02)
    assert network.weights.mean().item() == pytest.approx(0, abs=5e-4)
    expected = torch.full((2, 200), -2 * 0.03 * math.sqrt(math.log(128)))
    torch.testing.assert_close(network.biases, expected)


def test_the_network_is_the_formula():
    _, _, network, samples = small(labels="fine")
    dots = torch.einsum("npd,crd->npcr", samples.patches, network.weights)
    expected = (dots + network.biases).clamp(min=0).sum((1, 3))
    torch.testing.assert_close(theory.logits(network, samples.patches), expected)
    shuffled = samples.patches[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(theory.logits(network, shuffled), expected)  # order is nothing


@pytest.mark.parametrize("labels", ["coarse", "fine"])
def test_loss_and_gradient_are_those_of_autograd(labels):
    setting, _, network, samples = small(labels=labels, noise=0.3, threshold=0.3)
    targets = samples.targets(setting)
    loss, gradient = theory.loss_and_gradient(network, samples.patches, targets)

    weights = network.weights.clone().requires_grad_()
    dots = torch.einsum("npd,crd->npcr", samples.patches, weights) + network.biases
    assert 0.1 < (dots > 0).double().mean() < 0.9  # the ReLU matters
    expected = torch.nn.functional.cross_entropy(dots.relu().sum((1, 3)), targets)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, weights.grad, rtol=1e-10, atol=1e-14)


def test_the_bias_sinks_by_the_length_of_its_neurons_step():
    _, _, network, _ = small()
    before = Network(*(part.clone() for part in network))
    gradient = torch.randn(
        network.weights.shape, generator=torch.Generator().manual_seed(0)
    ).double()
    gradient[0, 0] = 0
    theory.descend(network, gradient, rate=0.5)
    torch.testing.assert_close(network.weights, before.weights - 0.5 * gradient)
    for output in range(2):
        for neuron in range(5):
            step = math.dist(network.weights[output, neuron], before.weights[output, neuron])
            sunk = before.biases[output, neuron] - network.biases[output, neuron]
            assert sunk.item() == pytest.approx(step / math.log(24) ** 5, rel=1e-9)
    assert network.biases[0, 0] == before.biases[0, 0]


def test_the_read_out_takes_the_larger_of_the_two_maxima():
    scores = torch.tensor([[0.0, 3.0, 2.0, 2.0], [1.0, 1.0, 0.0, 1.5]])
    assert theory.superclass(scores).tolist() == [PLUS, MINUS]
    assert theory.superclass(torch.tensor([[0.2, 0.1], [0.1, 0.2]])).tolist() == [PLUS, MINUS]


@pytest.mark.parametrize("labels", ["coarse", "fine"])
def test_responses_find_the_best_neuron_of_the_right_output(labels):
    setting, features, _ = world(k=3, labels=labels)
    weights = torch.zeros(setting.outputs, 2, 128)
    for output in range(setting.outputs):
        y = output if labels == "coarse" else output // 3
        weights[output, 0] = 0.5 * features[y]
        fine = range(2 + 3 * y, 5 + 3 * y) if labels == "coarse" else [2 + output]
        weights[output, 1] = sum(0.1 * (1 + i) * features[i] for i in fine)
    measured = theory.responses(Network(weights, torch.zeros(setting.outputs, 2)), features)
    assert measured["response_common"] == pytest.approx(0.5, rel=1e-5)
    assert measured["response_fine"] == pytest.approx(0.1 * np.mean(range(3, 9)), rel=1e-5)


def test_a_refitted_head_separates_what_can_be_separated():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (400,), generator=generator)
    features = torch.rand(400, 6, generator=generator)
    features[:, 2] += 2.0 * y
    features[:, 4] += 2.0 * (1 - y)
    head = theory.refitted_head(features, y)
    assert head.shape == (2, 6)
    assert torch.equal((features @ head.T).argmax(-1), y)


# --- Training: laws that hold whatever the numbers


def trained(setting, features, network, training):
    """Trains in place for the setting's steps; the last logged loss."""
    log = theory.train(setting, network, training, dict, [setting.steps])
    return log[-1]["training_loss"]


def test_rotating_the_dictionary_changes_nothing():
    setting, features, network, _ = small(labels="fine", steps=40, batch=64)
    gauss = torch.randn(24, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rotation = torch.linalg.qr(gauss).Q
    turned = Network(network.weights @ rotation, network.biases.clone())

    def samples(turn):
        for batch in theory.batches(setting, features, theory.stream(0, "training")):
            yield batch._replace(patches=batch.patches @ turn)

    identity = torch.eye(24, dtype=torch.float64)
    loss = trained(setting, features, network, samples(identity))
    turned_loss = trained(setting, features, turned, samples(rotation))
    assert turned_loss == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(turned.weights, network.weights @ rotation)
    measured = theory.responses(network, features)
    assert theory.responses(turned, features @ rotation) == pytest.approx(measured)


def test_a_loss_that_is_not_finite_stops_the_run():
    setting, features, network, _ = small(steps=3)
    network.weights[0, 0, 0] = math.nan
    batches = theory.batches(setting, features, theory.stream(0, "training"))
    with pytest.raises(FloatingPointError, match="training loss is nan at step 0"):
        theory.train(setting, network, batches, dict, [0])


# A run of about 0.1 s.
QUICK = {"d": 64, "k": 4, "batch": 128, "steps": 100, "test_samples": 300}


def test_the_result_is_plain_compact_and_whole():
    result = theory.simulate(seed=1, **QUICK)
    assert json.loads(json.dumps(result)) == result
    curves = result["curves"]
    assert len({len(values) for values in curves.values()}) == 1
    assert curves["step"] == theory.logged_steps(100)
    assert curves["step"][0] == 0
    assert curves["step"][-1] == 100
    assert 25 <= len(curves["step"]) <= 30
    for name in curves.keys() - {"step"}:
        assert result["metrics"][name] == curves[name][-1]
    split = {f"hard_error_{kind}" for kind in theory.KINDS.keys() - {"easy", "hard"}}
    assert split | {"head_easy_error", "head_hard_error"} < result["metrics"].keys()


def test_a_run_is_a_function_of_its_arguments():
    first = theory.simulate(seed=5, **QUICK)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - global state, which must not matter
    assert theory.simulate(seed=5, **QUICK) == first
    assert theory.simulate(seed=6, **QUICK) != first


def test_a_finite_set_can_be_learned_by_heart():
    """In noise this strong 128 fixed samples can be told apart, and fresh ones cannot."""
    values = QUICK | {"noise": 1, "feature_patches": 1, "rate": 0.02}
    fresh = theory.simulate(**values)["metrics"]
    fixed = theory.simulate(finite_set=128, **values)["metrics"]
    assert fixed["training_loss"] < 0.1 < 0.6 < fresh["training_loss"]
    assert min(fixed["easy_error"], fresh["easy_error"]) > 0.3


def test_threads_change_rounding_only():
    one = theory.simulate(seed=2, **QUICK)["metrics"]
    torch.set_num_threads(2)
    two = theory.simulate(seed=2, **QUICK)["metrics"]
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=2e-3, abs=0.01), name


def test_runs_of_a_seed_share_their_samples_whatever_their_labels():
    drawn = []
    for labels in ("coarse", "fine"):
        setting, features, _ = world(seed=4, labels=labels)
        drawn.append(next(iter(theory.batches(setting, features, theory.stream(4, "training")))))
    assert torch.equal(drawn[0].patches, drawn[1].patches)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_and_cpu_agree_in_distribution():
    errors = {
        device: [theory.simulate(seed=s, device=device)["metrics"]["hard_error"] for s in range(4)]
        for device in ("cpu", "cuda")
    }
    assert np.mean(errors["cpu"]) == pytest.approx(np.mean(errors["cuda"]), abs=0.05)


# --- Limits with known answers, and the direction of the effect


@pytest.mark.parametrize("noise", [{"noise": 0, "strong_noise": 0}, {}])
def test_with_one_subclass_coarse_and_fine_are_the_same(noise):
    values = QUICK | {"k": 1, "seed": 0} | noise
    assert theory.simulate(labels="coarse", **values) == theory.simulate(labels="fine", **values)


@pytest.mark.parametrize("labels", ["coarse", "fine"])
def test_without_the_fine_feature_hard_is_chance_and_below_chance_with_a_distractor(labels):
    """600 samples: the deviation of a chance error is 0.02."""
    values = QUICK | {"labels": labels, "seed": 0, "test_samples": 600}
    chance = theory.simulate(opposing_patches=0, **values)["metrics"]
    assert chance["hard_error_no_fine"] == pytest.approx(0.5, abs=0.08)
    assert chance["easy_error"] == 0
    # A distractor as strong as a feature decides nearly every sample, for the wrong side.
    fooled = theory.simulate(opposing_amplitude=1.0, strong_noise=0.05, **values)["metrics"]
    assert fooled["hard_error_no_fine"] > 0.9


def test_fine_labels_teach_what_hard_samples_need():
    """Claims C3 and C4 in direction, at the defaults with fewer steps and a smaller batch."""
    values = {"k": 8, "seed": 0, "steps": 200, "batch": 256, "test_samples": 500}
    coarse = theory.simulate(labels="coarse", **values)["metrics"]
    fine = theory.simulate(labels="fine", **values)["metrics"]
    assert coarse["easy_error"] == fine["easy_error"] == 0
    assert coarse["hard_error"] > 0.25
    assert fine["hard_error"] < 0.05
    assert coarse["response_common"] > 3 * coarse["response_fine"]
    assert fine["response_fine"] > fine["response_common"]


def test_the_run_notebook_offers_every_parameter_with_its_default():
    path = Path(__file__).parents[1] / "notebooks/theory/simulate.ipynb"
    offered = notebook.declared(path)
    expected = theory.grid()[0]
    assert offered.keys() - {"folder"} == expected.keys()
    varied = {"labels", "k", "seed", "folder"}
    assert {name: offered[name] for name in offered.keys() - varied} == {
        name: expected[name] for name in expected.keys() - varied
    }
