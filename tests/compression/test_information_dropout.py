"""What does not matter becomes noisy and is dropped; what matters stays."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from agmc.compression.information_dropout import InformationDropout
from agmc.compression.prune import Pruner, compress
from agmc.compression.sparsify import layer_weights, sparsify, zero
from agmc.data import Split, Splits
from agmc.graph.network import GraphNetwork
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.training import Execution, Recipe, accuracy, batches_of, fit

EXECUTION = Execution(device="cpu", precision="float32")


def rows(count, seed):
    """Noise of 4 x 4 pixels; which of the first two rows is brighter is the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, 4, 4), generator=generator)
    sums = images.float().sum(3)[:, 0]
    return Split(images.to(torch.uint8), (sums[:, 0] > sums[:, 1]).long())


@pytest.fixture(scope="module")
def splits():
    return Splits(
        name="rows",
        train=rows(400, 1),
        search=rows(10, 2),
        test=rows(200, 3),
        classes=("below", "above"),
        mean=(0.5,),
        std=(0.29,),
        crop_padding=0,
        flip=False,
    )


def cross_entropy(images, logits, labels):
    return F.cross_entropy(logits, labels)


def noisy(network, graph, **knobs):
    knobs = {"num_images": 400, "beta": 1.0, **knobs}
    return InformationDropout(network, graph, **knobs)


def linear():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    graph = trace(net, torch.zeros(1, 1, 4, 4))
    return GraphNetwork(graph.program, graph.state_of(net)), graph


def hidden():
    """Four channels that are rows of the image, frozen, and a layer that reads them."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 4, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        net[0].weight.zero_()
        for row in range(4):  # above or below the mean row, as the class is
            net[0].weight[row, 0, row] = 1.0
    net[0].weight.requires_grad_(False)
    graph = trace(net, torch.zeros(1, 1, 4, 4))
    return GraphNetwork(graph.program, graph.state_of(net)), graph


def trained(network, dropout, splits, epochs):
    recipe = Recipe(epochs=epochs, learning_rate=0.1, batch_size=50, weight_decay=0)
    objective = dropout.objective(cross_entropy)
    fit(network, splits, recipe, execution=EXECUTION, seed=0, objective=objective)


def test_weights_of_irrelevant_pixels_become_noisy_and_are_dropped(splits):
    network, graph = linear()
    dropout = noisy(network, graph)
    trained(network, dropout, splits, epochs=30)
    alphas = dropout.alphas()["1"]
    assert alphas[:, :8].mean() < 0.3
    assert alphas[:, 8:].min() > 0.65
    masks, plan = dropout.masks(), dropout.plan()
    assert not masks["1"][:, :8].any() and masks["1"][:, 8:].all()
    assert plan == Plan({}, sparsity={"1": 0.5})
    dropout.remove()
    test = batches_of(splits, "test", execution=EXECUTION)
    before = accuracy(network, test, execution=EXECUTION)
    zero(network, masks)
    assert accuracy(network, test, execution=EXECUTION) >= max(before - 0.02, 0.9)
    # What the plan says is what is zero now.
    weight = layer_weights(network)["1"].clone()
    sparsify(network, plan.sparsity)
    assert torch.equal(layer_weights(network)["1"], weight)


def test_channels_that_say_nothing_become_noisy_and_are_dropped(splits):
    network, graph = hidden()
    dropout = noisy(network, graph, per="channel", beta=3.0)
    assert {name: a.shape for name, a in dropout.alphas().items()} == {"0": (4,)}
    trained(network, dropout, splits, epochs=30)
    assert dropout.masks()["0"].tolist() == [False, False, True, True]
    plan = dropout.plan()
    assert plan == Plan({"0": 0.5})
    dropout.remove()
    pruner = Pruner(network, graph, importance=dropout.importance)
    kept = pruner.kept_positions(plan)
    assert kept["0.weight", 0].tolist() == [True, True, False, False]


@pytest.mark.parametrize("per", ["element", "channel"])
def test_noise_is_there_in_training_mode_only_and_can_be_taken_away(per):
    network, graph = hidden()
    x = torch.rand(3, 1, 4, 4)
    names, expected = {*network.state_dict()}, network.eval()(x)
    dropout = noisy(network, graph, per=per)
    assert torch.equal(network(x), expected)
    network.train()
    first, second = network(x), network(x)
    assert not torch.equal(first, expected) and not torch.equal(first, second)
    dropout.remove()
    assert torch.equal(network(x), expected)
    assert {*network.state_dict()} == names
    assert type(network.get_submodule("3")) is nn.Linear


def test_the_class_of_the_model_takes_noise_as_well():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    x = torch.rand(3, 1, 4, 4)
    small = compress(net.eval(), Plan({"0": 0.5}), x)
    dropout = noisy(small, trace(small, x), per="channel")
    assert dropout.alphas()["0"].shape == (2,)
    small.train()
    assert not torch.equal(small(x), small(x))


def test_the_noise_is_log_normal_of_mean_one():
    network, graph = linear()
    dropout = noisy(network, graph, initial_alpha=0.5)
    module = network.train().get_submodule("1")
    plain = module.parametrizations.weight.original.detach()
    torch.manual_seed(0)
    with torch.no_grad():
        noise = torch.stack([module.weight / plain for _ in range(2000)])
    assert noise.mean() == pytest.approx(1, abs=0.01)
    assert noise.log().mean() == pytest.approx(-0.125, abs=0.01)
    assert noise.log().std() == pytest.approx(0.5, abs=0.01)
    assert dropout.alphas()["1"].flatten().tolist() == pytest.approx([0.5] * 32)


def test_all_weights_that_read_a_channel_share_its_noise():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    graph = trace(net, torch.zeros(1, 1, 4, 4))
    network = GraphNetwork(graph.program, graph.state_of(net)).train()
    noisy(network, graph, per="channel", initial_alpha=0.5)
    module = network.get_submodule("3")
    plain = module.parametrizations.weight.original.detach()
    noise = (module.weight / plain).detach().view(2, 4, 4)
    assert torch.allclose(noise, noise[:1, :, :1].expand(2, 4, 4))
    assert len(noise[0, :, 0].unique()) == 4


def test_the_objective_by_hand():
    network, graph = linear()
    dropout = noisy(
        network, graph, beta=12.0, max_alpha=0.8, initial_alpha=0.2, speed=0.5
    )
    objective = dropout.objective(lambda *_: torch.tensor(2.0))
    loss = objective(torch.ones(1), torch.ones(1), torch.ones(1))
    # 32 weights, each log(0.8 / 0.2) nats, at 12 / 400.
    assert loss.item() == pytest.approx(2 + 0.03 * 32 * math.log(4))
    loss.backward()
    (scaled,) = (p for n, p in network.named_parameters() if n.endswith("scaled"))
    assert scaled.ndim == 1  # `fit` does not decay vectors
    before = dropout.alphas()["1"].log()
    with torch.no_grad():
        scaled -= 0.1 * scaled.grad
    change = dropout.alphas()["1"].log() - before
    assert change.flatten().tolist() == pytest.approx([0.1 * 0.5] * 32, rel=1e-3)


@pytest.mark.parametrize(("far", "end"), [(10.0, 0.7), (-10.0, 0.001)])
def test_alphas_that_leave_the_range_come_back_at_once(far, end):
    network, graph = linear()
    dropout = noisy(network, graph)
    (scaled,) = (p for n, p in network.named_parameters() if n.endswith("scaled"))
    with torch.no_grad():
        scaled.add_(far)
    assert dropout.alphas()["1"].flatten().tolist() == pytest.approx([end] * 32)
    network.train()(torch.ones(1, 1, 4, 4)).sum().backward()
    assert scaled.grad.abs().min() > 0
    with torch.no_grad():
        scaled.sub_(math.copysign(0.1, far))
    assert not torch.isclose(dropout.alphas()["1"], torch.tensor(end), rtol=0.1).any()


def test_something_always_stays():
    network, graph = linear()
    dropout = noisy(network, graph, initial_alpha=0.7)
    assert dropout.masks()["1"].sum() == 31
    assert dropout.plan().sparsity == {"1": 31 / 32}
    network, graph = hidden()
    channels = noisy(network, graph, per="channel", initial_alpha=0.7)
    assert channels.plan().keep_ratio == {"0": 0.25}


@pytest.mark.parametrize(
    "knobs",
    [
        {"num_images": 0},
        {"per": "layer"},
        {"beta": 0.0},
        {"max_alpha": math.inf},
        {"initial_alpha": 0.8},
        {"initial_alpha": 0.0},
        {"speed": -1.0},
        {"threshold": 1.0},
    ],
)
def test_bad_knobs(knobs):
    (name,) = knobs
    with pytest.raises(ValueError, match=rf"{name} \(="):
        noisy(*linear(), **knobs)
