from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_nets import graph_of, images, quiet_trace
from torch import nn

from agmc.cost.model import CostModel
from agmc.decision import Decision
from agmc.plan import Plan, kept_channels
from agmc.plan_space import PlanSpace

GRAPH = "chain"  # conv1: 8 channels, conv2: 6


@pytest.mark.parametrize(
    ("min_keep_ratio", "round_to", "first", "second"),
    [
        (0.25, 1, (2, 3, 4, 5, 6, 7, 8), (2, 3, 4, 5, 6)),
        (0.25, 3, (3, 6, 8), (3, 6)),
        (1, 4, (8,), (6,)),
        (0.1, 8, (8,), (6,)),
        (0.01, 5, (5, 8), (5, 6)),
    ],
)
def test_counts_to_choose_from(min_keep_ratio, round_to, first, second):
    space = PlanSpace(graph_of(GRAPH), min_keep_ratio=min_keep_ratio, round_to=round_to)
    assert [decision.counts for decision in space] == [first, second]


def test_nearest_prefers_the_larger_of_two():
    decision = Decision("a", (2, 4, 6, 8, 10))
    assert [decision.nearest(r) for r in (0.01, 0.3, 0.49, 0.51, 0.9, 1)] == [
        *(2, 4, 4, 6, 10, 10)
    ]


def test_uniform_and_kept_channels():
    graph = graph_of(GRAPH)
    space = PlanSpace(graph)
    plan = Plan.uniform(space, 0.5)
    assert plan.keep_ratio == {"conv1": 0.5, "conv2": 0.5}
    assert space.counts(plan).tolist() == [4, 3]
    assert space.counts(None).tolist() == [8, 6]
    assert space.counts(None).dtype == np.int64
    # Groups not named keep all, shares are rounded, one channel always stays.
    assert kept_channels(graph, Plan({"conv2": 0.6})).tolist() == [8, 4]
    assert kept_channels(graph, Plan({"conv1": 0.001})).tolist() == [1, 6]


def test_every_count_survives_the_ratio():
    space = PlanSpace(graph_of("resnet20"), min_keep_ratio=0.01)
    for share in range(1, 65):
        counts = [min(share, d.size) for d in space]
        assert space.counts(space.plan(counts)).tolist() == counts


def test_sampled_plans_are_valid_and_follow_the_seed():
    space = PlanSpace(graph_of("resnet20"), min_keep_ratio=0.3, round_to=4)
    seen = set()
    for seed in range(40):
        plan = space.sample(torch.Generator().manual_seed(seed))
        assert plan == space.sample(torch.Generator().manual_seed(seed))
        counts = space.counts(plan)
        for decision, count in zip(space, counts, strict=True):
            assert count in decision.counts
            assert count % 4 == 0 and count >= 0.3 * decision.size
        seen.add(plan.digest)
    assert len(seen) == 40


def test_a_space_is_a_sequence_of_decisions():
    space = PlanSpace(graph_of(GRAPH), min_keep_ratio=0.25)
    assert [(d.name, d.size) for d in space] == [("conv1", 8), ("conv2", 6)]
    assert len(space) == 2 and space[1].name == "conv2" and len(space[:1]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_keep_ratio": 0}, r"min_keep_ratio \(=0\) must be in \(0, 1\]"),
        ({"min_keep_ratio": 1.5}, r"min_keep_ratio \(=1.5\)"),
        ({"round_to": 0}, r"round_to \(=0\) must be a whole number >= 1"),
    ],
)
def test_space_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlanSpace(graph_of(GRAPH), **arguments)


def test_a_network_without_groups_is_refused_with_the_reason():
    graph = quiet_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), images())
    with pytest.raises(ValueError, match="no convolution feeds another layer"):
        PlanSpace(graph)
    odd = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1), nn.Conv2d(4, 2, 1))
    with pytest.raises(ValueError, match="no prunable channel group: .*softmax"):
        PlanSpace(quiet_trace(odd, images()))


def test_plans_that_do_not_fit_the_space():
    space = PlanSpace(graph_of(GRAPH))
    with pytest.raises(ValueError, match="3 counts for 2 decisions"):
        space.plan([1, 2, 3])
    with pytest.raises(ValueError, match="conv1 cannot keep 1 channels; it can keep"):
        space.plan([1, 6])
    with pytest.raises(ValueError, match=r"keep_ratio \(=0\)"):
        Plan.uniform(space, 0)
    with pytest.raises(ValueError, match=r"unknown channel groups \['z'\]; the netw"):
        space.counts(Plan({"z": 0.5}))


def test_groups_are_rounded_by_the_first_pattern_that_fits():
    space = PlanSpace(
        graph_of("resnet20"), min_keep_ratio=0.3, round_to={"layer1.*": 8, "layer*": 4}
    )
    counts = {decision.name: decision.counts for decision in space}
    assert counts["layer1.0.conv1"] == (8, 16)
    assert counts["conv1"] == (*range(5, 17),)
    assert counts["layer2.0.conv1"] == (12, 16, 20, 24, 28, 32)


@pytest.mark.parametrize(
    ("round_to", "message"),
    [
        ({"layer1.*": 0}, r"round_to of 'layer1.\*' \(=0\) must be a whole number"),
        ({"*": 2.5}, r"round_to of '\*' \(=2.5\)"),
        ({"head": 8}, "round_to names 'head', which fits none of the channel groups c"),
        (True, "must be a whole number"),
    ],
)
def test_bad_rounding_is_refused(round_to, message):
    with pytest.raises(ValueError, match=message):
        PlanSpace(graph_of("resnet20"), round_to=round_to)


def test_blocks_are_kept_or_dropped():
    graph = graph_of("resnet20")
    space = PlanSpace(graph, parts=("dropped", "keep_ratio"))
    names = [block.name for block in graph.blocks]
    assert [d.name for d in space if d.part == "dropped"] == names and names
    assert len(space) == len(graph.groups) + len(names)
    counts = np.array([d.counts[0] for d in space])
    least = space.plan(counts)
    assert least.dropped == {*names}
    assert space.plan(space.sizes).dropped == frozenset()
    decision = space[len(graph.groups)]
    assert [decision.nearest(a) for a in (0, 0.74, 0.76, 1)] == [1, 1, 2, 2]
    counts[len(graph.groups)] = 2
    plan = space.plan(counts)
    assert plan.dropped == {*names[1:]}
    assert space.counts(plan).tolist() == counts.tolist()
    # All at once as one by one.
    costs = CostModel(graph)
    several = np.stack([counts, space.sizes, [d.counts[0] for d in space]])
    for metric in ("macs", "bytes", "activation_bytes", "bops"):
        together = costs.evaluate(metric, *space.amounts(several))
        alone = [getattr(costs.of(space.plan(row)), metric) for row in several]
        assert together.tolist() == alone


def test_networks_without_blocks_have_none_to_drop():
    with pytest.raises(ValueError, match="no block that can be dropped as a whole"):
        PlanSpace(graph_of(GRAPH), parts=("dropped",))
    with pytest.raises(ValueError, match=r"parts \(=\['blocks'\]\) must be one or m"):
        PlanSpace(graph_of(GRAPH), parts=["blocks"])


def test_a_space_has_something_to_decide():
    with pytest.raises(ValueError, match=r"nothing is to be decided about weight_bits"):
        PlanSpace(graph_of(GRAPH), parts=["weight_bits"], weight_bits=[8])
    with pytest.raises(ValueError, match=r"max_sparsity \(=0.02\) must be >= 0.05"):
        PlanSpace(graph_of(GRAPH), parts=["sparsity"], max_sparsity=0.02)
    # A number of bits that is the only one holds beside what is decided.
    parts = ["keep_ratio", "weight_bits"]
    space = PlanSpace(graph_of(GRAPH), parts=parts, weight_bits=[8])
    assert {d.part for d in space} == {"keep_ratio"} and not space.only_channels
    plan = space.plan([d.counts[0] for d in space])
    assert set(plan.weight_bits.values()) == set(plan.act_bits.values()) == {8}


def layer_space(*parts, **knobs):
    return PlanSpace(graph_of(GRAPH), parts=parts, **{"end_bits": None, **knobs})


def test_channels_come_first_and_then_the_layers():
    space = layer_space("act_bits", "keep_ratio", "sparsity")
    assert space.parts == ("keep_ratio", "sparsity", "act_bits")
    assert [(d.name, d.part) for d in space] == [
        *(("conv1", "keep_ratio"), ("conv2", "keep_ratio")),
        *(
            (layer, part)
            for layer in ("conv1", "conv2", "linear")
            for part in ("sparsity", "act_bits")
        ),
    ]
    assert not space.only_channels and PlanSpace(graph_of(GRAPH)).only_channels


def test_plans_of_a_space_by_hand():
    space = layer_space("keep_ratio", "sparsity", "weight_bits", mapping="haq")
    counts = [4, 6, 20, 1, 5, 7, 2, 2]
    plan = space.plan(counts)
    assert plan.keep_ratio == {"conv1": 0.5, "conv2": 1.0}
    assert plan.sparsity == {"conv2": 0.75, "linear": 0.9}  # no zeros: not named
    assert plan.weight_bits == {"conv1": 2, "conv2": 8, "linear": 3}
    assert plan.act_bits == {"conv1": 8, "conv2": 8, "linear": 8}
    assert space.counts(plan).tolist() == counts
    channels, parts, _ = space.amounts(np.array([counts, space.sizes]))
    assert channels.tolist() == [[4, 6], [8, 6]]
    assert parts.density.tolist() == [[1, 0.25, 0.1], [1, 1, 1]]
    assert parts.weight_bits.tolist() == [[2, 8, 3], [8, 8, 8]]
    assert parts.act_bits.tolist() == [[8, 8, 8], [8, 8, 8]]


def test_the_ends_of_a_space():
    space = layer_space("keep_ratio", "weight_bits", weight_bits=[3, 5])
    assert space.least.weight_bits == {"conv1": 3, "conv2": 3, "linear": 3}
    assert space.counts(space.least).tolist() == [2, 2, 3, 3, 3]
    assert space.counts(None).tolist() == space.sizes.tolist() == [8, 6, 5, 5, 5]
    assert space.whole == Plan({"conv1": 1.0, "conv2": 1.0})
    assert layer_space("weight_bits").whole == Plan({})


def test_what_was_decided_before_is_part_of_every_plan():
    start = Plan({"conv1": 0.5}, {"conv2": 0.5}, {"conv2": 4, "linear": 4}, {})
    space = layer_space("weight_bits", start=start)
    plan = space.uniform(0.25)
    assert plan.keep_ratio == {"conv1": 0.5} and plan.sparsity == {"conv2": 0.5}
    assert plan.weight_bits == dict.fromkeys(("conv1", "conv2", "linear"), 2)
    channels, parts, _ = space.amounts(space.counts(plan))
    assert channels.tolist() == [4, 6] and parts.density.tolist() == [1, 0.5, 1]
    # Channels alone are decided: what the start says of layers counts all the same.
    space = PlanSpace(graph_of(GRAPH), start=start)
    assert space.plan([8, 6]).weight_bits == {"conv2": 4, "linear": 4}
    assert space.amounts(np.array([8, 6]))[1].weight_bits.tolist() == [32, 4, 4]


def test_sampled_bits_follow_the_seed_and_are_all_drawn():
    space = layer_space("weight_bits", "sparsity")
    plans = [space.sample(torch.Generator().manual_seed(seed)) for seed in range(60)]
    assert plans[3] == space.sample(torch.Generator().manual_seed(3))
    assert {p.weight_bits["linear"] for p in plans} == {*range(2, 9)}
    for plan in plans:
        assert space.plan(space.counts(plan)) == plan


def test_a_description_tells_spaces_apart():
    one, other = (layer_space("weight_bits", mapping=m) for m in ("share", "haq"))
    assert one.described() != other.described()
    fixed = layer_space("weight_bits", act_bits=[6])
    assert fixed.described() != one.described()
    assert one.described() == layer_space("weight_bits").described()


@pytest.mark.parametrize("parts", [(), ("weight_bits", "bits")])
def test_parts_that_a_plan_does_not_have(parts):
    with pytest.raises(ValueError, match="one or more of keep_ratio, dropped, sp"):
        layer_space(*parts)


def test_bits_that_a_layer_cannot_have():
    space = layer_space("weight_bits")
    with pytest.raises(ValueError, match="conv1 cannot keep 9 bits; it can keep"):
        space.plan([9, 8, 8])
    with pytest.raises(ValueError, match=r"no layers \['x'\] with weights"):
        space.counts(Plan({}, weight_bits={"x": 8}))


def test_a_decision_about_a_block_holds_whatever_the_start_said():
    graph = graph_of("resnet20")
    names = [block.name for block in graph.blocks]
    space = PlanSpace(graph, parts=["dropped"], start=Plan({}, dropped=names[:1]))
    plan = space.plan(space.sizes)
    assert plan.dropped == frozenset()
    assert space.amounts(space.sizes)[2].all()
    assert space.counts(plan).tolist() == space.sizes.tolist()


@pytest.mark.parametrize(
    "start",
    [Plan({"nope": 0.5}), Plan({}, dropped=["nope"]), Plan({}, sparsity={"nope": 0.5})],
)
def test_what_the_network_does_not_have_is_refused(start):
    with pytest.raises(ValueError, match="nope"):
        PlanSpace(graph_of(GRAPH), parts=["weight_bits"], start=start)
    with pytest.raises(ValueError, match="nope"):
        PlanSpace(graph_of(GRAPH), parts=["keep_ratio", "weight_bits"]).counts(start)
