"""Index losses against the dense ones, value and gradient."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from granularity.training import losses

CLASSES = 23


def dense(targets, weights):
    """The multi-hot matrix that the indices stand for, written out by a plain loop."""
    wanted = torch.zeros(len(targets), CLASSES)
    for row in range(len(targets)):
        for index, weight in zip(targets[row].tolist(), weights[row].tolist(), strict=True):
            if index >= 0:
                wanted[row, index] += weight
    return wanted


def drawn(seed, images, several):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(images, CLASSES, generator=generator)
    targets = torch.stack([torch.randperm(CLASSES, generator=generator)[:several] for _ in logits])
    padding = torch.rand(targets.shape, generator=generator) < 0.4
    padding[:, 0] = False
    return logits, targets.masked_fill(padding, -1).int()


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 6))
@settings(deadline=None)
def test_sigmoid_equals_the_dense_loss_with_its_gradient(seed, images, several):
    logits, targets = drawn(seed, images, several)
    compare(logits, targets, torch.ones_like(targets, dtype=torch.float), None, 1e-5)


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(deadline=None)
def test_sigmoid_equals_the_dense_loss_under_mixup(seed, share):
    logits, first = drawn(seed, 6, 3)
    targets = torch.cat([first, first.flip(0)], dim=1)
    weights = torch.tensor([share] * 3 + [1 - share] * 3).expand(6, 6)
    compare(logits, targets, weights, weights, 1e-5)


def test_sigmoid_in_bfloat16():
    logits, targets = drawn(3, 8, 4)
    compare(logits.bfloat16(), targets, torch.ones(8, 4), None, 2e-2)


def compare(logits, targets, ones, weights, tolerance):
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    loss = losses.sigmoid_cross_entropy(ours, targets, weights).mean()
    wanted = dense(targets, ones)
    reference = functional.binary_cross_entropy_with_logits(
        theirs.float(), wanted, reduction="none"
    )
    reference = reference.sum(1).mean()
    loss.backward()
    reference.backward()
    torch.testing.assert_close(loss, reference, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=tolerance, atol=tolerance)
    assert ours.grad.dtype == logits.dtype


def test_the_written_gradient_equals_finite_differences():
    logits, targets = drawn(1, 3, 2)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.sigmoid_cross_entropy(x, targets), [logits])


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(deadline=None)
def test_softmax_equals_torch_with_and_without_mixup(seed, share):
    logits, targets = drawn(seed, 5, 1)
    plain = losses.softmax_cross_entropy(logits, targets)
    torch.testing.assert_close(
        plain, functional.cross_entropy(logits, targets[:, 0].long(), reduction="none")
    )
    both = torch.cat([targets, targets.flip(0)], dim=1)
    weights = torch.tensor([share, 1 - share]).expand(5, 2)
    mixed = losses.softmax_cross_entropy(logits, both, weights)
    wanted = functional.cross_entropy(logits, dense(both, weights), reduction="none")
    torch.testing.assert_close(mixed, wanted)


def test_softmax_refuses_several_labels():
    logits, targets = drawn(0, 4, 3)
    with pytest.raises(ValueError, match="one label"):
        losses.softmax_cross_entropy(logits, targets)


@pytest.mark.fault(
    "a class index beyond the network's outputs, in a loss", "an error, never a number"
)
def test_a_class_out_of_range_stops():
    logits, targets = drawn(0, 4, 1)
    targets[2, 0] = CLASSES
    with pytest.raises(RuntimeError):
        losses.sigmoid_cross_entropy(logits, targets)


@given(st.integers(0, 10**6), st.integers(1, 70), st.floats(-40, 40))
@settings(deadline=None)
def test_the_folded_softplus_keeps_every_digit(seed, classes, middle):
    generator = torch.Generator().manual_seed(seed)
    logits = middle + 5 * torch.randn(5, classes, generator=generator)
    wanted = torch.logaddexp(logits.double(), torch.zeros(())).sum(1)  # softplus is x above 20
    torch.testing.assert_close(
        losses.softplus_sum(logits.double()), wanted, rtol=1e-12, atol=1e-300
    )
    found = losses.softplus_sum(logits).double()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-30)


def test_the_folded_softplus_at_the_ends(monkeypatch):
    monkeypatch.setattr(losses, "CACHED", 40)  # two rows at once
    logits = torch.zeros(5, 20)
    logits[1], logits[2], logits[3] = 1e4, -1e4, -math.log(21_843)
    logits[4, 7] = math.inf
    found = losses.softplus_sum(logits)
    wanted = [20 * math.log(2), 2e5, 0, 20 * math.log1p(1 / 21_843), math.inf]
    assert found.tolist() == pytest.approx(wanted, rel=1e-6)
    logits[4, 7] = math.nan
    assert losses.softplus_sum(logits)[4].isnan()
