"""The network's laws: the gradient by autograd, the bias rule, and neurons that cannot move."""

import math

import pytest
import torch
from small_simulation import MINUS, PLUS, alone, small  # noqa: F401

from granularity.theory import measures
from granularity.theory import network as networks
from granularity.theory.network import Network
from granularity.theory.samples import KINDS, draw
from granularity.theory.setting import Setting, stream


def formula(network, patches, activation):
    """F by the formula, one term for each product, with torch's own activations."""
    by_hand = {
        "relu": torch.relu,
        "leaky": lambda z: torch.nn.functional.leaky_relu(z, 0.1),
        "squared": lambda z: torch.relu(z) ** 2,
        "softplus": torch.nn.functional.softplus,
    }[activation]
    answers = by_hand(torch.einsum("npd,rd->npr", patches, network.weights) + network.biases)
    return torch.einsum("npr,cr->nc", answers, network.outputs)


def test_the_start_has_its_scale_and_threshold_and_each_neuron_its_output():
    setting = Setting(width=200, threshold=2, initial_scale=0.03)
    network = networks.initial(setting, stream(0, "weights"))
    assert network.weights.shape == (400, 128)
    assert network.weights.std().item() == pytest.approx(0.03, rel=0.02)
    assert network.weights.mean().item() == pytest.approx(0, abs=5e-4)
    expected = torch.full((400,), -2 * 0.03 * math.sqrt(math.log(128)))
    torch.testing.assert_close(network.biases, expected)
    assert network.outputs[0].tolist() == [1.0] * 200 + [0.0] * 200
    assert network.outputs[1].tolist() == [0.0] * 200 + [1.0] * 200


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_the_network_is_the_formula(activation):
    _, _, network, samples = small(labels="fine")
    found = networks.logits(network, samples.patches, activation)
    torch.testing.assert_close(found, formula(network, samples.patches, activation))
    shuffled = samples.patches[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(networks.logits(network, shuffled, activation), found)


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
@pytest.mark.parametrize("labels", ["coarse", "fine"])
def test_loss_and_gradients_are_those_of_autograd(labels, activation):
    setting, _, network, samples = small(labels=labels, noise=0.3, threshold=0.3)
    rng = torch.Generator().manual_seed(0)
    network = network._replace(
        outputs=torch.randn(network.outputs.shape, generator=rng, dtype=torch.float64)
    )
    targets = samples.targets(setting)
    loss, gradient = networks.loss_and_gradient(network, samples.patches, targets, activation)

    traced = Network(*(part.clone().requires_grad_() for part in network))
    fired = networks.activations(network, samples.patches) > 0
    assert 0.1 < fired.double().mean() < 0.9  # the ReLU matters
    scores = formula(traced, samples.patches, activation)
    expected = torch.nn.functional.cross_entropy(scores, targets)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    for name in Network._fields:
        found, wanted = getattr(gradient, name), getattr(traced, name).grad
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14, msg=name)


def test_networks_side_by_side_are_the_same_networks():
    setting, _, first, samples = small(labels="fine")
    _, _, second, others = small(labels="fine", seed=1)
    both = Network(*(torch.stack(parts) for parts in zip(first, second, strict=True)))
    patches = torch.stack([samples.patches, others.patches])
    targets = torch.stack([samples.targets(setting), others.targets(setting)])
    losses, gradients = networks.loss_and_gradient(both, patches, targets)
    for run, (network, some) in enumerate([(first, samples), (second, others)]):
        loss, gradient = networks.loss_and_gradient(network, some.patches, some.targets(setting))
        torch.testing.assert_close(losses[run], loss)
        for found, wanted in zip(gradients, gradient, strict=True):
            torch.testing.assert_close(found[run], wanted)


# --- One step


def stepped(biases="rule", output_weights="fixed", learning_rate=0.5):
    """A network before and after a step along random gradients, and these."""
    _, _, network, _ = small()
    before = Network(*(part.clone() for part in network))
    rng = torch.Generator().manual_seed(0)
    gradient = Network(
        *(torch.randn(part.shape, generator=rng, dtype=torch.float64) for part in network)
    )
    gradient.weights[0] = 0
    change = networks.optimiser("sgd", learning_rate)
    networks.descend(network, gradient, change, biases, output_weights)
    return before, network, gradient


def test_the_bias_sinks_by_the_length_of_its_neurons_step():
    before, network, gradient = stepped()
    torch.testing.assert_close(network.weights, before.weights - 0.5 * gradient.weights)
    for neuron in range(10):
        step = math.dist(network.weights[neuron], before.weights[neuron])
        sunk = before.biases[neuron] - network.biases[neuron]
        assert sunk.item() == pytest.approx(step / math.log(24) ** 5, rel=1e-9)
    assert network.biases[0] == before.biases[0]
    assert torch.equal(network.outputs, before.outputs)


def test_biases_and_output_weights_can_be_trained_or_left():
    before, network, gradient = stepped("trained", "trained")
    torch.testing.assert_close(network.biases, before.biases - 0.5 * gradient.biases)
    torch.testing.assert_close(network.outputs, before.outputs - 0.5 * gradient.outputs)
    before, network, _ = stepped("fixed")
    assert torch.equal(network.biases, before.biases)


def test_each_run_has_its_own_rate():
    rates = torch.tensor([0.1, 0.4])
    gradient = torch.ones(2, 3, 4)
    found = networks.optimiser("sgd", rates)("weights", gradient)
    torch.testing.assert_close(found, gradient * rates[:, None, None])


def test_adam_is_torch_s():
    ours = torch.ones(3, 4, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    change = networks.optimiser("adam", 0.01)
    reference = torch.optim.Adam([theirs], lr=0.01)
    for step in range(5):
        gradient = torch.full_like(ours, 0.3 * step - 0.5)
        ours -= change("weights", gradient)
        theirs.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=0)


# --- Neurons that cannot move


def test_neurons_are_left_out_and_put_back():
    _, _, first, samples = small(labels="fine", threshold=1.2)
    _, _, second, _ = small(labels="fine", threshold=1.2, seed=2)
    whole = Network(*(torch.stack(parts) for parts in zip(first, second, strict=True)))
    patches = samples.patches.expand(2, *samples.patches.shape)
    awake = networks.fires(whole, patches, "relu")
    assert torch.equal(awake, (networks.activations(whole, patches) > 0).any(1).any(1))
    assert 0 < awake.sum(-1).min() < awake.sum(-1).max() < awake.shape[-1]

    index = networks.kept(awake)
    part = networks.narrowed(whole, index)
    assert part.weights.shape[1] == awake.sum(-1).max()
    torch.testing.assert_close(networks.logits(part, patches), networks.logits(whole, patches))
    changed = Network(*(values + 1 for values in part))
    restored = Network(*(values.clone() for values in whole))
    networks.put_back(restored, changed, index)
    for found, wanted in zip(networks.narrowed(restored, index), changed, strict=True):
        assert torch.equal(found, wanted)
    left_out = ~torch.zeros_like(awake).scatter(-1, index, True)
    assert torch.equal(restored.weights[left_out], whole.weights[left_out])


# --- Measures


def test_the_read_out_takes_the_larger_of_the_maxima():
    scores = torch.tensor([[0.0, 3.0, 2.0, 2.0], [1.0, 1.0, 0.0, 1.5]])
    assert measures.superclass(scores).tolist() == [PLUS, MINUS]
    assert measures.superclass(torch.tensor([[0.2, 0.1], [0.1, 0.2]])).tolist() == [PLUS, MINUS]
    assert measures.superclass(torch.tensor([[0.0, 3, 2, 2, 0, 4]]), 3).tolist() == [2]


@pytest.mark.parametrize("labels", ["coarse", "fine", "merged", "random"])
def test_responses_find_the_best_neuron_of_the_outputs_that_a_pair_may_have(labels):
    classes = {"merged": 2, "random": 6}.get(labels, 0)
    setting, features, _, _ = small(labels=labels, classes=classes, width=2)
    features = features.float()
    weights = torch.zeros(setting.outputs, 2, 24)
    for output in range(setting.outputs):
        y = output * 2 // setting.outputs
        weights[output, 0] = 0.5 * features[y]
        fine = [2 + output] if labels == "fine" else range(2 + 3 * y, 5 + 3 * y)
        weights[output, 1] = sum(0.1 * (1 + i) * features[i] for i in fine)
    biases = torch.zeros(setting.outputs * 2)
    network = Network(weights.flatten(0, 1), biases, torch.zeros(setting.outputs, len(biases)))
    measured = measures.responses(setting, network, features)
    assert measured["response_common"] == pytest.approx(0.5, rel=1e-5)
    assert measured["response_fine"] == pytest.approx(0.1 * 5.5, rel=1e-5)  # mean of 3 … 8


def test_a_neuron_wins_the_feature_that_it_answers_to_most_if_it_answers():
    setting, features, _, _ = small(labels="fine", width=3)
    weights = torch.zeros(6, 3, 24, dtype=torch.float64)
    weights[:, 0] = features[2:]  # each output's own fine feature
    weights[0, 1] = features[2] + 0.5 * features[0]  # a second winner for output 0
    weights[1, 1] = features[2]  # another's feature: no winner
    weights[2, 0] = 0.1 * features[4]  # too weak for its bias
    weights[5, 1] = features[1]
    network = Network(
        weights.flatten(0, 1), torch.full((18,), -0.2).double(), torch.zeros(6, 18).double()
    )
    found = measures.winners(setting, network, features)
    assert found["winners_fine"] == pytest.approx(6 / 6)
    assert found["without_winner"] == pytest.approx(1 / 6)
    assert found["winners_common"] == pytest.approx(1 / 6)


def test_without_the_fine_features_samples_without_them_look_the_same():
    setting, features, network, _ = small(labels="fine", noise=0, strong_noise=0)
    blind = measures.without_fine(setting, network, features)
    drawn = {kind: draw(setting, features, 20, stream(1, "test"), kind) for kind in KINDS}
    torch.testing.assert_close(
        networks.logits(blind, drawn["hard"].patches),
        networks.logits(network, drawn["no_fine"].patches),
    )


def test_a_refitted_head_separates_what_can_be_separated():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (400,), generator=generator)
    features = torch.rand(400, 6, generator=generator)
    features[:, 2] += 2.0 * y
    features[:, 4] += 2.0 * (1 - y)
    features[:, 5] = 0
    head = measures.refitted_head(features, y)
    assert head.shape == (2, 6)
    assert torch.equal((features @ head.T).argmax(-1), y)
    assert (head[:, 5] == 0).all()
    assert (head[:, :5] != 0).all()


def test_wide_networks_are_measured_in_parts(monkeypatch):
    _, _, network, samples = small(labels="fine")
    whole = networks.activations(network, samples.patches)
    torch.testing.assert_close(networks.pooled(network, samples.patches), whole.sum(1))
    monkeypatch.setattr(networks, "MOST_ANSWERS", 1000)  # four of the twelve samples
    torch.testing.assert_close(networks.pooled(network, samples.patches), whole.sum(1))
