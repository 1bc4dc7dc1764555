"""Prune, recalibrate, measure: each plan once, and never on the test split."""

from __future__ import annotations

import copy

import pytest
import torch
from search_nets import tiny_net, tiny_splits
from torch import nn

from agmc.compression.prune import Pruner
from agmc.compression.quantize import Quantization
from agmc.compression.reconstruct import Reconstruction
from agmc.compression.sparsify import layer_weights, sparsify
from agmc.cost.model import CostModel, cost_of
from agmc.graph.trace import trace
from agmc.models import build
from agmc.models.random_cnn import with_statistics
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.search.evaluator import Evaluator
from agmc.training import Execution, batches_of, recalibrate_batch_norm

EXECUTION = Execution(device="cpu", precision="float32")


class CountingPruner(Pruner):
    """Counts the networks it makes."""

    made = 0

    def prune(self, plan):
        self.made += 1
        return super().prune(plan)


def make(splits=None, *, net=None, **knobs):
    net = net or tiny_net()
    splits = splits or tiny_splits()
    graph = trace(net, splits.example_input())
    pruner = CountingPruner(net, graph)
    evaluator = Evaluator(pruner, CostModel(graph), splits, EXECUTION, **knobs)
    return evaluator, pruner, net, splits


def hits(net, splits, count):
    """By hand: the search images that the network gets right, of the first `count`."""
    with torch.no_grad():
        logits = net(splits.normalize(splits.search.images[:count]))
    return int((logits.argmax(1) == splits.search.labels[:count]).sum())


def test_keeping_everything_without_recalibration_measures_the_network_itself():
    evaluator, pruner, net, splits = make(recalibration_images=0)
    plan = Plan.uniform(PlanSpace(pruner.graph), 1.0)
    evaluation = evaluator(plan)
    assert evaluation.accuracy == hits(net, splits, 18) / 18
    assert evaluation.cost == cost_of(pruner.graph)
    assert evaluation.plan is plan and not evaluation.cached
    assert evaluation.seconds > 0


def test_a_pruned_network_is_recalibrated_on_training_images():
    evaluator, pruner, net, splits = make(
        reconstruction_images=0, recalibration_images=24, batch_size=24
    )
    plan = Plan.uniform(PlanSpace(pruner.graph), 0.5)
    before = copy.deepcopy(net.state_dict())
    evaluation = evaluator(plan)

    by_hand = Pruner(net, pruner.graph).prune(plan)
    for part in by_hand.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = 1.0
            part.train()
    with torch.no_grad():
        by_hand(splits.normalize(splits.train.images))
    assert evaluation.accuracy == hits(by_hand.eval(), splits, 18) / 18
    assert evaluation.cost == cost_of(pruner.graph, plan)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_weights_behind_a_cut_are_reconstructed_from_training_images():
    evaluator, pruner, net, splits = make(
        reconstruction_images=24, recalibration_images=0, batch_size=24
    )
    plan = Plan.uniform(PlanSpace(pruner.graph), 0.5)
    evaluation = evaluator(plan)
    by_hand = Pruner(net, pruner.graph).prune(plan)
    before = copy.deepcopy(by_hand.state_dict())
    images = splits.normalize(splits.train.images)
    Reconstruction(net, pruner.graph, [images]).apply(
        by_hand, pruner.kept_positions(plan)
    )
    assert evaluation.accuracy == hits(by_hand, splits, 18) / 18
    after = by_hand.state_dict()
    assert any(not torch.equal(value, after[key]) for key, value in before.items())


def test_zeros_come_after_the_least_squares_and_before_recalibration(monkeypatch):
    seen = []

    def keep(module, batches, *, execution):
        zeros = {k: int((w == 0).sum()) for k, w in layer_weights(module).items()}
        seen.append((zeros, module.state_dict()["8.weight"]))

    monkeypatch.setattr("agmc.search.evaluator.recalibrate_batch_norm", keep)
    evaluator, pruner, net, splits = make(reconstruction_images=24)
    channels = Plan.uniform(PlanSpace(pruner.graph), 0.5)
    plan = Plan(channels.keep_ratio, sparsity={"3": 0.3, "8": 0.5})
    assert evaluator(plan).plan == plan
    (zeros, weight), small = seen[0], Pruner(net, pruner.graph).prune(plan)
    assert zeros == {"0": 0, "3": round(0.3 * 4 * 6 * 9), "8": 9}
    images = splits.normalize(splits.train.images)
    Reconstruction(net, pruner.graph, [images]).apply(
        small, pruner.kept_positions(plan)
    )
    solved = small.state_dict()["8.weight"].flatten()
    smallest = solved.abs().argsort()[:9]
    solved[smallest] = 0
    torch.testing.assert_close(weight.flatten(), solved)
    assert not evaluator(channels).cached  # another plan


def test_plans_with_bits_are_measured_as_they_round():
    evaluator, pruner, net, splits = make(
        reconstruction_images=0, recalibration_images=10, batch_size=5
    )
    layers = layer_weights(pruner.prune(Plan({})))
    bits = dict.fromkeys(layers, 8)
    plan = Plan({}, weight_bits=bits, act_bits=bits)
    evaluation = evaluator(plan)
    small = pruner.prune(Plan({}))  # nothing is removed, nothing to repair
    batches = batches_of(splits, "train", execution=EXECUTION, limit=10, batch_size=5)
    rounded = Quantization().apply(small, plan, [images for images, _ in batches])
    assert evaluation.accuracy == hits(rounded, splits, 18) / 18
    assert not evaluation.cached and evaluator(plan).cached
    other = Plan({}, weight_bits=bits | {"3": 2}, act_bits=bits)
    fresh, *_ = make(reconstruction_images=0, recalibration_images=10, batch_size=5)
    assert evaluator(other).accuracy == fresh(other).accuracy  # measured once
    shared, *_ = make(quantization=Quantization(weights="codebook"))
    assert 0 <= shared(Plan({}, weight_bits=dict.fromkeys(layers, 1))).accuracy <= 1


def test_plans_that_drop_blocks_are_measured_without_them():
    torch.manual_seed(0)
    net = with_statistics(build("resnet8", num_classes=3, in_channels=1)).eval()
    evaluator, pruner, net, splits = make(
        net=net, reconstruction_images=24, recalibration_images=24, batch_size=24
    )
    keep = Plan.uniform(PlanSpace(pruner.graph), 0.5).keep_ratio
    layers = layer_weights(pruner.prune(Plan({})))
    plan = Plan(keep, sparsity=dict.fromkeys(layers, 0.5), dropped=["layer1.0"])
    evaluation = evaluator(plan)
    small = pruner.prune(plan)
    batches = batches_of(splits, "train", execution=EXECUTION, limit=24, batch_size=24)
    repair = Reconstruction(net, pruner.graph, (images for images, _ in batches))
    repair.apply(small, pruner.kept_positions(plan))
    left = {name: 0.5 for name in layers if not name.startswith("layer1.0.")}
    sparsify(small, left)
    recalibrate_batch_norm(small, batches, execution=EXECUTION)
    assert evaluation.accuracy == hits(small, splits, 18) / 18
    assert evaluation.cost == CostModel(pruner.graph).of(plan)
    assert not evaluator(Plan(keep, plan.sparsity)).cached  # another plan


def test_search_images_limits_what_is_measured():
    evaluator, pruner, net, splits = make(search_images=6, recalibration_images=0)
    evaluation = evaluator(Plan.uniform(PlanSpace(pruner.graph), 1.0))
    assert evaluation.accuracy == hits(net, splits, 6) / 6


def test_a_known_plan_is_not_evaluated_again():
    evaluator, pruner, _, _ = make()
    space = PlanSpace(pruner.graph)
    first = evaluator(Plan.uniform(space, 0.5))
    again = evaluator(Plan.uniform(space, 0.5))
    assert pruner.made == 1
    assert (first.cached, again.cached) == (False, True)
    assert again == first and again.seconds < first.seconds
    evaluator(Plan.uniform(space, 0.75))
    assert pruner.made == 2


def test_the_test_split_changes_nothing():
    ratios = (0.3, 0.6, 1.0)
    one, pruner, _, _ = make(tiny_splits(test_seed=0))
    other, _, _, _ = make(tiny_splits(test_seed=50))
    for ratio in ratios:
        plan = Plan.uniform(PlanSpace(pruner.graph), ratio)
        assert one(plan) == other(plan)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("search_images", 0),
        ("reconstruction_images", -1),
        ("recalibration_images", -1),
        ("batch_size", 0),
    ],
)
def test_numbers_out_of_range_are_refused_at_once(knob, value):
    with pytest.raises(ValueError, match=rf"{knob} \(={value}\) must be >= "):
        make(**{knob: value})
