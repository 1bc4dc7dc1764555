"""The schedule by hand, and masks that hold through momentum and weight decay."""

from __future__ import annotations

import pytest
import torch
from graph_nets import quiet_trace
from torch import nn

from agmc.compression.gradual import GradualMasks, GradualPruning
from agmc.compression.prune import Pruner
from agmc.compression.sparsify import layer_weights, sparsify
from agmc.plan import Plan


def network(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False))
    return Pruner(net, quiet_trace(net, torch.ones(2, 4))).prune(Plan({}))


def test_the_schedule_by_hand():
    schedule = GradualPruning(begin=0.1, end=0.5, frequency=10)
    due = [step for step in range(1, 101) if schedule.due(step, 100)]
    assert due == [10, 20, 30, 40, 50]
    shares = [schedule.share(step, 100) for step in (5, 10, 20, 30, 40, 50, 99)]
    cubes = [1 - left**3 for left in (1, 0.75, 0.5, 0.25, 0)]
    assert shares == pytest.approx([0, *cubes, 1])
    half = GradualPruning(begin=0.1, end=0.5, frequency=10, initial_share=0.5)
    assert half.share(9, 100) == 0 and half.share(10, 100) == 0.5
    assert half.share(30, 100) == pytest.approx(1 - 0.5 * 0.125)
    assert half.share(50, 100) == 1


@pytest.mark.parametrize(
    ("knobs", "num_steps", "expected"),
    [
        ({"frequency": 1000}, 100, [1, 50]),  # the end is never left out
        ({"frequency": 7}, 30, [1, 8, 15]),
        ({"begin": 1.0, "end": 1.0}, 30, [30]),
        ({"begin": 0.0, "end": 0.0}, 30, [1]),
        ({}, 1, [1]),
    ],
)
def test_the_last_choice_is_at_the_end(knobs, num_steps, expected):
    schedule = GradualPruning(**knobs)
    steps = range(1, num_steps + 1)
    assert [step for step in steps if schedule.due(step, num_steps)] == expected
    assert schedule.share(expected[-1], num_steps) == 1
    assert schedule.share(num_steps, num_steps) == 1


@pytest.mark.parametrize(
    "knobs",
    [
        {"begin": -0.1},
        {"end": 1.1},
        {"begin": 0.6, "end": 0.4},
        {"frequency": 0},
        {"initial_share": 1.5},
    ],
)
def test_bad_knobs(knobs):
    (name,) = set(knobs) - ({"begin"} if "end" in knobs else set())
    with pytest.raises(ValueError, match=rf"{name} \(="):
        GradualPruning(**knobs)


def test_chosen_weights_stay_zero_and_the_end_is_exact():
    net = network()
    sparsity = {"0": 0.7, "2": 0.5}
    schedule = GradualPruning(begin=0.2, end=0.8, frequency=3)
    masks = GradualMasks(net, sparsity, schedule)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True
    )
    generator = torch.Generator().manual_seed(1)
    gone = {name: torch.zeros_like(w) > 0 for name, w in layer_weights(net).items()}
    counts = []
    for step in range(1, 41):
        x = torch.randn(8, 4, generator=generator)
        optimizer.zero_grad()
        (net(x) - x[:, :3]).square().mean().backward()
        optimizer.step()
        masks(step, 40)
        for name, weight in layer_weights(net).items():
            assert (weight[gone[name]] == 0).all()
            gone[name] |= weight == 0
        counts.append(int(gone["0"].sum()))
        expected = round(schedule.share(step, 40) * 0.7 * 24)
        assert counts[-1] == expected or not schedule.due(step, 40)
    assert counts == sorted(counts) and len(set(counts)) > 4
    assert counts[6] == 0 and counts[-1] == round(0.7 * 24) == 17
    assert gone["2"].sum() == 9
    before = {name: weight.clone() for name, weight in layer_weights(net).items()}
    sparsify(net, sparsity)  # nothing is left to do
    assert all(torch.equal(before[n], w) for n, w in layer_weights(net).items())


def test_what_is_chosen_is_the_smallest_of_the_moment():
    net = network()
    masks = GradualMasks(net, {"2": 0.5}, GradualPruning(end=0.0))
    with torch.no_grad():
        layer_weights(net)["2"].copy_(torch.arange(-9.0, 9).view(3, 6))
    masks(1, 10)
    # |-9| ... |8|: the smallest nine are -4 ... 4.
    kept = [-9, -8, -7, -6, -5, *[0] * 9, 5, 6, 7, 8]
    assert layer_weights(net)["2"].flatten().tolist() == kept
    with torch.no_grad():  # as momentum would
        layer_weights(net)["2"].add_(100)
    masks(2, 10)
    assert layer_weights(net)["2"].flatten().tolist() == [
        value and value + 100 for value in kept
    ]


def test_a_zero_of_its_own_does_not_take_the_place_of_a_chosen_weight():
    net = network()
    masks = GradualMasks(net, {"2": 0.5}, GradualPruning(end=1.0, frequency=1))
    weight = layer_weights(net)["2"]
    with torch.no_grad():
        weight.copy_(torch.arange(18.0, 0, -1).view(3, 6))
    masks(1, 2)  # nothing yet
    masks(2, 2)
    chosen = weight == 0
    with torch.no_grad():
        weight[0, 0] = 0
    masks(2, 2)
    assert torch.equal(weight == 0, chosen | (torch.arange(18).view(3, 6) == 0))


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match=r"\['1'\].*the network has \['0', '2'\]"):
        GradualMasks(network(), {"1": 0.5}, GradualPruning())
