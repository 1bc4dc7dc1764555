"""Zeros that a training with noise finds."""

from __future__ import annotations

import pytest
import torch
from search_nets import tiny_net, tiny_splits

from agmc.compression.prune import compress
from agmc.compression.sparsify import layer_weights, shares_of_zeros
from agmc.noise_pruning import NoisePruning
from agmc.plan import Plan
from agmc.training import Execution

CPU = Execution(device="cpu", precision="float32")


def small_net():
    return compress(tiny_net(), Plan({}), tiny_splits().example_input())


def pruned(**knobs):
    net = small_net()
    quick = {"batch_size": 4, "epochs": 4, "speed": 10.0, "max_gradient_norm": None}
    noise = NoisePruning(**{**quick, **knobs})
    return net, noise.apply(net, tiny_splits(), execution=CPU, seed=0)


def test_what_goes_is_zero_and_the_noise_is_gone():
    net, zeros = pruned(beta=1.0)
    weights = layer_weights(net)
    assert zeros and set(zeros) <= set(weights)
    for name, weight in weights.items():
        share = float((weight == 0).double().mean())
        assert share == pytest.approx(zeros.get(name, 0))
        assert share < 1  # one stays in any case
    # In the order of before: a run that goes on names its network by it.
    assert [*net.state_dict()] == [*small_net().state_dict()]
    images = tiny_splits().search.images[:2].float()
    assert torch.equal(net(images), net(images))


def test_the_dearer_information_is_the_more_goes():
    amounts = [sum(pruned(beta=beta, speed=5.0)[1].values()) for beta in (1e-4, 10.0)]
    assert amounts[0] < amounts[1]


def test_what_was_zero_stays_zero():
    net = small_net()
    name, weight = next(iter(layer_weights(net).items()))
    with torch.no_grad():
        weight.view(-1)[::2] = 0
    noise = NoisePruning(beta=1e-6, epochs=2, batch_size=4)
    zeros = noise.apply(net, tiny_splits(), execution=CPU, seed=0)
    after = layer_weights(net)[name].view(-1)
    assert not after[::2].any() and after[1::2].any()
    assert zeros[name] >= 0.5


def test_something_stays_in_every_layer_where_much_was_zero():
    net = small_net()
    with torch.no_grad():
        for weight in layer_weights(net).values():
            weight.view(-1)[1:] = 0
    noise = NoisePruning(beta=10.0, epochs=4, batch_size=4, speed=10.0)
    noise.apply(net, tiny_splits(), execution=CPU, seed=0)
    assert all(weight.any() for weight in layer_weights(net).values())


def test_the_same_seed_gives_the_same_zeros():
    first, again = (pruned(beta=1.0) for _ in range(2))
    assert first[1] == again[1]
    for one, other in zip(first[0].parameters(), again[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_zeros_are_counted_by_layer():
    net = small_net()
    assert shares_of_zeros(net) == {}
    name, weight = next(iter(layer_weights(net).items()))
    with torch.no_grad():
        weight.view(-1)[:3] = 0
    assert shares_of_zeros(net) == {name: pytest.approx(3 / weight.numel())}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"beta": 0}, r"beta \(=0\) must be > 0"),
        ({"beta": float("inf")}, r"beta \(=inf\) must be > 0 and finite"),
        ({"max_alpha": 0.1}, r"max_alpha \(=0.1\) must be > 0.1 and finite"),
        ({"speed": -1.0}, r"speed \(=-1.0\) must be > 0"),
        ({"threshold": 1}, r"threshold \(=1\) must be in \(0.143, 1\)"),
        ({"threshold": 0.1}, r"threshold \(=0.1\) must be in \(0.143, 1\)"),
        ({"epochs": 0}, r"epochs \(=0\)"),
    ],
)
def test_a_training_that_cannot_be_is_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        NoisePruning(**knobs)
