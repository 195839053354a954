"""What the theory's tests share: little worlds, networks and samples."""

import pytest
import torch

from granularity.theory import network, samples, training
from granularity.theory.network import Network
from granularity.theory.setting import Setting, stream

PLUS, MINUS = 0, 1
# A run of about 0.1 s.
QUICK = {"d": 64, "k": 4, "batch_size": 128, "steps": 100, "test_samples": 300}


@pytest.fixture(autouse=True)
def alone():
    """One thread (matrices this small gain nothing from two), and no training kept from before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    training.trained.cache_clear()
    yield
    torch.set_num_threads(threads)


def simulation(seed=0, dtype=torch.float32, **values):
    """A setting, its dictionary and a generator for samples."""
    setting = Setting(**values)
    features = samples.dictionary(setting, stream(seed, "dictionary")).to(dtype)
    return setting, features, stream(seed, "test")


def small(dtype=torch.float64, seed=0, **values):
    """A little network with some awake and some silent neurons, and easy samples for it."""
    values = {"d": 24, "k": 3, "width": 5, "batch_size": 12, "initial_scale": 0.1} | values
    setting, features, generator = simulation(seed=seed, dtype=dtype, **values)
    start = network.initial(setting, stream(seed, "weights"))
    start = Network(*(part.to(dtype) for part in start))
    return setting, features, start, samples.draw(setting, features, setting.batch_size, generator)
