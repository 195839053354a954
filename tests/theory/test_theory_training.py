"""Whole runs: laws that hold whatever the numbers, limits with known answers, published numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_simulation import QUICK, alone, small  # noqa: F401

from granularity import theory
from granularity.inputs import renamed
from granularity.theory import measures, samples, training
from granularity.theory.network import Network

PUBLISHED = Path(__file__).parents[2] / "book/results/theory/simulate.jsonl"


def descend(setting, network, batches, **more):
    """Trains one network in place for the setting's steps; its last moment."""
    whole = training.stacked([network])
    found = training.train(setting, whole, (training.stacked([b]) for b in batches), **more)[0]
    for part, new in zip(network, whole, strict=True):
        part.copy_(new[0])
    return found[-1]


def batches_of(setting, features, seed=0):
    return samples.batches(setting, features, theory.stream(seed, "training"))


def test_rotating_the_dictionary_changes_nothing():
    setting, features, network, _ = small(labels="fine", steps=40, batch_size=64)
    gauss = torch.randn(24, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rotation = torch.linalg.qr(gauss).Q
    turned = network._replace(weights=network.weights @ rotation, biases=network.biases.clone())

    def rotated(turn):
        for batch in batches_of(setting, features):
            yield batch._replace(patches=batch.patches @ turn)

    loss = descend(setting, network, rotated(torch.eye(24, dtype=torch.float64))).loss
    assert descend(setting, turned, rotated(rotation)).loss == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(turned.weights, network.weights @ rotation)
    measured = measures.responses(setting, network, features)
    assert measures.responses(setting, turned, features @ rotation) == pytest.approx(measured)
    for kind in theory.KINDS:  # and every sample is judged alike, right or wrong
        test = samples.draw(setting, features, 300, theory.stream(0, "test"), kind)
        same = test._replace(patches=test.patches @ rotation)
        missed = measures.wrong(setting, network, test)
        assert torch.equal(measures.wrong(setting, turned, same), missed), kind
        assert kind == "easy" or missed.any(), kind


@pytest.mark.fault("NaN in the theory's weights", "stops; names the step")
def test_a_loss_that_is_not_finite_stops_the_run():
    setting, features, network, _ = small(steps=3)
    network.weights[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match="training loss is nan at step 0"):
        descend(setting, network, batches_of(setting, features))


def test_the_result_is_plain_compact_and_whole():
    result = theory.simulate(seed=1, finetune_steps=5, top_loss=0.1, unevenness=1, **QUICK)
    assert json.loads(json.dumps(result)) == result
    curves = result["curves"]
    assert len({len(values) for values in curves.values()}) == 1
    assert curves["step"] == theory.logged_steps(100)
    assert curves["step"][0] == 0
    assert curves["step"][-1] == 100
    assert 25 <= len(curves["step"]) <= 30
    for name in curves.keys() - {"step"}:
        assert result["metrics"][name] == curves[name][-1]
    wanted = {f"hard_error_{kind}" for kind in theory.KINDS.keys() - {"easy", "hard"}}
    wanted |= {"head_easy_error", "head_hard_error", "projected_common_removed_error"}
    wanted |= {"finetuned_hard_error", "finetuned_hard_error_opposing", "top_loss_easy_error"}
    wanted |= {"hard_error_rare", "winners_fine", "start_without_winner"}
    assert wanted < result["metrics"].keys()
    assert theory.simulate(logged=2, **QUICK)["curves"]["step"] == [0, 100]


def test_a_run_is_a_function_of_its_arguments():
    first = theory.simulate(seed=5, **QUICK)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - global state, which must not matter
    training.trained.cache_clear()
    assert theory.simulate(seed=5, **QUICK) == first
    assert theory.simulate(seed=6, **QUICK) != first


def test_a_run_that_shares_its_training_with_another_is_as_if_alone():
    values = QUICK | {"finetune_steps": 20}
    theory.simulate(opposing_amplitude=0.0, **values)
    after = theory.simulate(strong_noise=1.0, **values)
    assert training.trained.cache_info().hits == 1
    training.trained.cache_clear()
    assert theory.simulate(strong_noise=1.0, **values) == after


@pytest.mark.parametrize(("labels", "k"), [("coarse", 2), ("fine", 2), ("coarse", 8)])
def test_the_published_numbers_are_still_these(labels, k):
    records = [json.loads(line) for line in PUBLISHED.read_text(encoding="utf-8").splitlines()]
    wanted = {"labels": labels, "k": k, "seed": 0}
    record = next(r for r in records if wanted.items() <= r["arguments"].items())
    found = theory.simulate(**renamed.current(record["arguments"]) | {"logged": 2})["metrics"]
    for name in ("training_loss", "easy_error", "hard_error", "response_common", "response_fine"):
        assert found[name] == pytest.approx(record["metrics"][name], rel=0.01, abs=0.005), name


@pytest.mark.parametrize("batch_size", [128, 64])
@pytest.mark.parametrize("threshold", [1.0, 2.0])
def test_leaving_silent_neurons_out_changes_rounding_only(threshold, batch_size):
    """On a fixed set, whole or in parts; at the literal threshold most neurons never wake."""
    values = QUICK | {
        "finite_set": 128,
        "batch_size": batch_size,
        "threshold": threshold,
        "width": 64,
    }
    setting = theory.Setting(labels="fine", **values)
    short, dense = (
        training.trained((setting,), (0,), "cpu", leave_out=way)[0] for way in (True, False)
    )
    assert [moment.step for moment in short] == [moment.step for moment in dense]
    for fast, slow in zip(short, dense, strict=True):
        assert fast.loss == pytest.approx(slow.loss, rel=1e-4, abs=1e-6)
        for found, wanted in zip(fast.network, slow.network, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=2e-5)
    moved = (dense[-1].network.weights != dense[0].network.weights).any(-1).float().mean()
    assert moved < (0.3 if threshold == 2 else 0.98)


def test_silent_neurons_are_left_out_of_several_runs_side_by_side_too():
    """Each run has its own awake neurons, and fewer or more of them than the others."""
    values = QUICK | {"finite_set": 128, "threshold": 2.0, "width": 32}
    setting = theory.Setting(labels="fine", **values)
    seeds = (0, 1, 2)
    together = training.trained((setting,) * 3, seeds, "cpu")
    moved = set()
    for seed, path in zip(seeds, together, strict=True):
        dense = training.trained((setting,), (seed,), "cpu", leave_out=False)[0]
        for fast, slow in zip(path, dense, strict=True):
            for found, wanted in zip(fast.network, slow.network, strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-3, atol=2e-5)
        change = dense[-1].network.weights != dense[0].network.weights
        moved.add(change.any(-1).sum().item())
    assert len(moved) > 1
    assert max(moved) < 0.3 * setting.outputs * setting.width


def test_a_neuron_left_out_of_training_is_asked_in_every_test(monkeypatch):
    """Silent on the fixed set is not silent on other patches: it is put back before measuring."""
    setting = theory.Setting(labels="fine", finite_set=128, threshold=1.5, **QUICK)
    parts = []
    narrowed = training.networks.narrowed
    monkeypatch.setattr(
        training.networks,
        "narrowed",
        lambda whole, index: parts.append(index.shape[-1]) or narrowed(whole, index),
    )
    path = training.trained((setting,), (0,), "cpu")[0]
    first, last = path[0].network, path[-1].network
    assert 0 < min(parts) < len(first.biases)
    assert all(len(moment.network.biases) == len(first.biases) for moment in path)
    still = (last.weights == first.weights).all(-1)
    features = theory.dictionary(setting, theory.stream(0, "dictionary"))
    test = samples.draw(setting, features, 300, theory.stream(0, "test"), "hard")
    answers = training.networks.fires(last, test.patches, setting.activation)
    assert (answers & still).any()


def test_neurons_that_momentum_or_another_activation_moves_are_not_left_out():
    for more in ({"optimiser": "adam", "learning_rate": 0.01}, {"activation": "leaky"}):
        setting = theory.Setting(finite_set=128, threshold=2, **QUICK | more)
        short, dense = (
            training.trained((setting,), (0,), "cpu", leave_out=way)[0] for way in (True, False)
        )
        assert torch.equal(short[-1].network.weights, dense[-1].network.weights)


def test_runs_side_by_side_are_the_same_runs():
    asked = theory.grid(
        labels=["coarse", "random"], classes=0, seed=[0, 1], learning_rate=[0.1, 0.2], **QUICK
    )
    asked = [row | ({"classes": 2} if row["labels"] == "random" else {}) for row in asked]
    together = theory.simulate_together(asked, together=8)
    for row, found in zip(asked, together, strict=True):
        single = theory.simulate(**row)["metrics"]
        for name, value in single.items():
            assert found["metrics"][name] == pytest.approx(value, rel=5e-3, abs=0.011), name
    assert theory.simulate_together(asked[:2]) == [theory.simulate(**row) for row in asked[:2]]


def test_runs_of_other_shapes_are_not_stacked():
    first, second = theory.Setting(**QUICK), theory.Setting(**QUICK | {"width": 8})
    with pytest.raises(ValueError, match="not of one shape"):
        training.trained((first, second), (0, 0), "cpu")
    rows = theory.grid(width=[8, 16], **QUICK)
    assert theory.simulate_together(rows, together=2) == [theory.simulate(**row) for row in rows]


def test_a_finite_set_can_be_learned_by_heart():
    """In noise this strong 128 fixed samples can be told apart, and fresh ones cannot."""
    values = QUICK | {"noise": 1, "feature_patches": 1, "learning_rate": 0.02}
    fresh = theory.simulate(**values)["metrics"]
    fixed = theory.simulate(finite_set=128, **values)["metrics"]
    assert fixed["training_loss"] < 0.1 < 0.6 < fresh["training_loss"]
    assert min(fixed["easy_error"], fresh["easy_error"]) > 0.3


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_rounding_only(threads):
    setting = theory.Setting(labels="fine", **QUICK)
    features = theory.dictionary(setting, theory.stream(2, "dictionary"))
    test = samples.draw(setting, features, 300, theory.stream(2, "test"), "hard")

    def made():
        training.trained.cache_clear()
        network = training.trained((setting,), (2,), "cpu")[0][-1].network
        return network, measures.wrong(setting, network, test).float().mean().item()

    (one, error), (again, _) = made(), made()
    torch.set_num_threads(threads)
    several, other = made()
    for first, repeated, found in zip(one, again, several, strict=True):
        assert torch.equal(repeated, first)  # on as many threads: the same to the last digit
        torch.testing.assert_close(found, first, rtol=1e-3, atol=2e-5)
    assert other == pytest.approx(error, abs=0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_and_cpu_agree_in_distribution():
    errors = {
        device: [
            found["metrics"]["hard_error"]
            for found in theory.simulate_together(theory.grid(seed=list(range(4)), device=device))
        ]
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
    """600 samples: the deviation of a chance error is 0.02, that of a difference 0.03 at most."""
    values = QUICK | {"labels": labels, "seed": 0, "test_samples": 600}
    rng = theory.simulate(opposing_patches=0, **values)["metrics"]
    assert rng["hard_error_no_fine"] == pytest.approx(0.5, abs=0.08)
    assert rng["easy_error"] == 0
    # A distractor as strong as a feature decides nearly every sample, for the wrong side.
    fooled = theory.simulate(opposing_amplitude=1.0, strong_noise=0.05, **values)["metrics"]
    assert fooled["hard_error_no_fine"] > 0.9


def test_fine_labels_teach_what_hard_samples_need_and_random_ones_do_not():
    """Claims C3 and C4 in direction, at the defaults with fewer steps and a smaller batch."""
    values = {"k": 8, "seed": 0, "steps": 200, "batch_size": 256, "test_samples": 500, "logged": 2}
    coarse, fine, random = (
        theory.simulate(labels=labels, **values)["metrics"]
        for labels in ("coarse", "fine", "random")
    )
    assert coarse["easy_error"] == fine["easy_error"] == random["easy_error"] == 0
    assert coarse["hard_error"] > 0.25
    assert random["hard_error"] > 0.25
    assert fine["hard_error"] < 0.05
    assert coarse["response_common"] > 3 * coarse["response_fine"]
    assert fine["response_fine"] > fine["response_common"]
    # Taking the fine features out of the weights leaves the easy samples right, the others lost.
    assert fine["projected_easy_error"] == 0
    assert fine["projected_common_removed_error"] > 0.4


def test_labels_that_do_not_tell_the_superclass_are_read_by_a_new_layer_alone():
    found = theory.simulate(labels="misaligned", finetune_steps=100, **QUICK)["metrics"]
    assert "hard_error" not in found
    assert "projected_easy_error" not in found
    assert found["finetuned_easy_error"] < 0.05


def test_finetuning_of_a_network_starts_from_it_and_leaves_it_alone():
    setting = replace(theory.Setting(**QUICK), finetune_steps=30)
    network = training.trained((setting.training_alone,), (0,), "cpu")[0][-1].network
    before = Network(*(part.clone() for part in network))
    features = theory.dictionary(setting, theory.stream(0, "dictionary"))
    moment = training.finetuned(setting, network, features, 0)
    for part, kept in zip(network, before, strict=True):
        assert torch.equal(part, kept)
    assert moment.network.outputs.shape == (2, network.weights.shape[0])
    assert moment.network.outputs.abs().max() > 0
    assert moment.loss < 0.2
