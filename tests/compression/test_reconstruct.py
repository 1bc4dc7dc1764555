from __future__ import annotations

import math

import pytest
import torch
from graph_nets import Net, conv, double, graph_of, images, make, quiet_trace
from torch import nn

from agmc.compression.prune import Pruner
from agmc.compression.reconstruct import Reconstruction
from agmc.plan import Plan
from agmc.plan_space import PlanSpace


def two_layers(bias):
    """A linear layer whose input features are copies of each other in pairs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2, bias=bias)).eval()
    with torch.no_grad():
        net[0].weight[3:], net[0].bias[3:] = net[0].weight[:3], net[0].bias[:3]
    return net, torch.randn(40_000, 3)


@pytest.mark.parametrize("bias", [True, False])
def test_what_others_can_make_up_for_is_made_up_for(bias):
    net, x = two_layers(bias)
    graph = quiet_trace(net, x)
    pruner, plan = Pruner(net, graph), Plan({"0": 0.5})
    # Ties go to the first: one of each pair stays.
    with torch.no_grad():
        net[1].weight[:, 3:] *= 0.5
    small = pruner.prune(plan)
    assert (small(x) - net(x)).abs().max() > 0.1
    reconstruction = Reconstruction(net, graph, x.split(10_000), ridge=1e-7)
    reconstruction.apply(small, pruner.kept_positions(plan))
    assert (small(x) - net(x)).abs().max() < 1e-3


def test_the_damped_solution_by_hand():
    # Inputs (a, b) with b = a / 2 and E[a^2] = 2.5; the output is a + 4 b.
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [0.5]]))
        net[1].weight.copy_(torch.tensor([[1.0, 4.0]]))
    x = torch.tensor([[1.0], [-1.0], [2.0], [-2.0]])
    graph = quiet_trace(net, x)
    plan = Plan({"0": 0.5})
    pruner = Pruner(net, graph, importance=lambda g, t, _: torch.tensor([1.0, 0.0]))
    small = pruner.prune(plan)
    reconstruction = Reconstruction(net, graph, [x], ridge=0.25)
    reconstruction.apply(small, pruner.kept_positions(plan))
    # damping: (0.25 + 1 feature / 4 samples) * 2.5; W' = 1 + 4 * 1.25 / (2.5 + 1.25).
    assert small.get_submodule("1").weight.item() == pytest.approx(1 + 5 / 3.75)


def test_what_float32_cannot_factorise_is_solved_in_float64(monkeypatch):
    net, x = two_layers(True)
    graph = quiet_trace(net, x)
    pruner, plan = Pruner(net, graph), Plan({"0": 0.5})
    reconstruction = Reconstruction(net, graph, [x])
    small, again = pruner.prune(plan), pruner.prune(plan)
    reconstruction.apply(small, pruner.kept_positions(plan))
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda m: (m * torch.nan, 1))
    reconstruction.apply(again, pruner.kept_positions(plan))
    assert torch.allclose(small(x), again(x), atol=1e-5)


def test_few_samples_do_not_harm():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 8)).eval()
    graph = quiet_trace(net, torch.randn(2, 64))
    pruner, plan, x = Pruner(net, graph), Plan({"0": 0.5}), torch.randn(500, 64)
    reconstruction = Reconstruction(net, graph, [torch.randn(128, 64)])
    before, small = pruner.prune(plan), pruner.prune(plan)
    reconstruction.apply(small, pruner.kept_positions(plan))
    with torch.no_grad():
        error = [float((s(x) - net(x)).square().mean()) for s in (small, before)]
    assert error[0] < 0.8 * error[1]


def test_inputs_far_from_zero():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        net[0].bias.fill_(1000.0)
    x = torch.randn(2000, 8)
    graph = quiet_trace(net, x)
    pruner, plan = Pruner(net, graph), Plan({"0": 0.5})
    small = pruner.prune(plan)
    Reconstruction(net, graph, x.split(500)).apply(small, pruner.kept_positions(plan))
    with torch.no_grad():
        assert (small(x) - net(x)).square().mean() < net(x).var(0).mean()


def test_batch_norm_behind_takes_up_the_difference_of_the_means():
    def forward(net, x):
        return net.norm(net.b(torch.relu(net.a(x)))).mean((2, 3))

    torch.manual_seed(0)
    plain = nn.Conv2d(8, 4, 3, padding=1, bias=False)
    net = Net(forward, a=conv(3, 8), b=plain, norm=nn.BatchNorm2d(4)).eval()
    with torch.no_grad():
        net.norm.running_mean.copy_(torch.arange(4.0))
    x = torch.randn(64, 3, 6, 6)
    graph = quiet_trace(net, x)
    pruner, plan = Pruner(net, graph), Plan({"a": 0.5})
    small = pruner.prune(plan)
    reconstruction = Reconstruction(net, graph, [x], positions=36)
    reconstruction.apply(small, pruner.kept_positions(plan))
    with torch.no_grad():
        assert torch.allclose(small(x).mean(0), net(x).mean(0), atol=1e-4)


def test_the_weights_are_those_of_least_squares():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3, bias=False)).eval()
    x = torch.randn(30_000, 5)
    graph = quiet_trace(net, x)
    pruner, plan = Pruner(net, graph), Plan({"0": 0.5})
    small = pruner.prune(plan)
    Reconstruction(net, graph, [x], ridge=1e-9).apply(
        small, pruner.kept_positions(plan)
    )
    with torch.no_grad():
        inner = small.get_submodule("0")(x).relu()
        best = torch.linalg.lstsq(inner, net(x)).solution.T
    assert torch.allclose(small.get_submodule("2").weight, best, atol=1e-3)


def test_patches_of_a_strided_convolution():
    def forward(net, x):
        return net.b(torch.relu(net.a(x))).flatten(1)

    torch.manual_seed(0)
    net = Net(forward, a=conv(3, 8), b=conv(8, 4, stride=2)).eval()
    x = torch.randn(64, 3, 6, 6)
    graph = quiet_trace(net, x)
    pruner, plan = Pruner(net, graph), Plan({"a": 0.5})
    before = pruner.prune(plan)
    small = pruner.prune(plan)
    reconstruction = Reconstruction(net, graph, [x], positions=9)
    reconstruction.apply(small, pruner.kept_positions(plan))
    with torch.no_grad():
        error = [float((s(x) - net(x)).square().mean()) for s in (small, before)]
    assert error[0] < 0.7 * error[1]


@pytest.mark.parametrize("name", ["resnet20", "depthwise", "grouped", "tied_weights"])
def test_a_whole_network_stays_itself_and_runs(name):
    net, inputs = make(name)
    graph = graph_of(name)
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    reconstruction = Reconstruction(net, graph, [torch.randn_like(inputs[0])] * 2)
    pruner = Pruner(net, graph)
    space = PlanSpace(graph)
    whole = pruner.prune(Plan({}))
    reconstruction.apply(whole, pruner.kept_positions(Plan({})))
    assert torch.allclose(whole(*inputs), net(*inputs), atol=1e-5)
    plan = Plan.uniform(space, 0.5)
    small = pruner.prune(plan)
    reconstruction.apply(small, pruner.kept_positions(plan))
    assert small(*inputs).isfinite().all()
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())


def test_layers_that_are_not_solved_keep_their_weights():
    net, inputs = make("chain")
    graph = graph_of("chain")
    reconstruction = Reconstruction(net, graph, [inputs[0]], max_features=10)
    assert set(reconstruction.layers) == {"linear"}
    net, _, graph = double("grouped")
    assert "grouped" not in Reconstruction(net, graph, [images()[0].double()]).layers


def test_bad_arguments():
    net, inputs = make("chain")
    graph = graph_of("chain")
    with pytest.raises(ValueError, match=r"ridge \(=0\) must be > 0"):
        Reconstruction(net, graph, inputs, ridge=0)
    with pytest.raises(ValueError, match="no batches"):
        Reconstruction(net, graph, [])


def test_the_error_is_what_the_best_weights_leave_of_the_output():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    x = torch.randn(20_000, 3)
    graph = quiet_trace(net, x)
    pruner, plan = Pruner(net, graph), Plan({"0": 0.5})
    reconstruction = Reconstruction(net, graph, [x], ridge=1e-7)
    kept = pruner.kept_positions(plan)
    small = pruner.prune(plan)
    reconstruction.apply(small, kept)
    with torch.no_grad():
        shares = (small(x) - net(x)).square().mean(0) / net(x).var(0, correction=0)
    assert reconstruction.error(kept) == pytest.approx(shares.sum().item(), rel=0.01)
    assert math.isnan(reconstruction.error({}))


def test_the_error_is_in_units_of_the_batch_norm_behind():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2, bias=False), nn.BatchNorm1d(2)
    ).eval()
    x = torch.randn(5_000, 3)
    graph = quiet_trace(net, x)
    kept = Pruner(net, graph).kept_positions(Plan({"0": 0.5}))
    plain = Reconstruction(net, graph, [x]).error(kept)
    with torch.no_grad():
        net[3].weight.fill_(2)
    assert Reconstruction(net, graph, [x]).error(kept) == pytest.approx(4 * plain)


def test_what_others_can_make_up_for_is_no_error():
    net, x = two_layers(True)
    graph = quiet_trace(net, x)
    reconstruction = Reconstruction(net, graph, x.split(10_000), ridge=1e-7)
    with torch.no_grad():
        net[1].weight[:, 3:] *= 0.5
    kept = Pruner(net, graph).kept_positions(Plan({"0": 0.5}))
    assert reconstruction.error(kept) < 1e-4
