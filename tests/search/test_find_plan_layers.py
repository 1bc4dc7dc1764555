"""Every agent searches over bits and zeros, and stays within the budget."""

from __future__ import annotations

import functools

import pytest
from search_fakes import SMALL
from search_nets import tiny_net, tiny_splits

from agmc.agents import Random
from agmc.compression.quantize import Quantization
from agmc.cost.model import CostModel
from agmc.embedding.rules import rules
from agmc.graph.trace import trace
from agmc.plan_space import PlanSpace
from agmc.search.choices import AGENTS
from agmc.search.evaluator import Evaluator
from agmc.search.find_plan import find_plan
from agmc.search.second_stage import SecondStage
from agmc.training import Execution

CPU = Execution(device="cpu", precision="float32")
QUICK = functools.partial(Evaluator, reconstruction_images=0, recalibration_images=8)
BUDGET = ["bops:0.03", "bytes:0.9"]  # 8 bits everywhere take 0.0625 of the bops


@pytest.fixture(scope="module")
def graph():
    return trace(tiny_net(), tiny_splits().example_input())


def find(graph, *parts, agent="random", mapping="share", budget=BUDGET, **knobs):
    space = PlanSpace(graph, parts=parts, end_bits=None, mapping=mapping)
    if isinstance(agent, str):
        agent = functools.partial(AGENTS[agent], **SMALL.get(agent, {}))
    rooms = {"evaluator": QUICK, "execution": CPU, "embedding": "rules"}
    rooms = {**rooms, "episodes": 5, **knobs}
    found = find_plan(
        tiny_net(), tiny_splits(), budget, agent=agent, space=space, **rooms
    )
    return found, space


def assert_within(found, graph, codebooks=False):
    model = CostModel(graph, codebooks=codebooks)
    whole = model.of(None)
    for past in found.episodes:
        assert past.probe or past.cost.bops <= 0.03 * whole.bops
        assert past.probe or past.cost.bytes <= 0.9 * whole.bytes
    assert found.cost == model.of(found.plan)
    assert found.cost.bops <= 0.03 * whole.bops


@pytest.mark.parametrize(
    "agent", [name for name in sorted(AGENTS) if not name.startswith("sb3")]
)
def test_every_agent_stays_within_the_budget(agent, graph):
    budget = BUDGET[:1] if agent == "additive" else BUDGET  # several do not add up
    found, space = find(graph, "weight_bits", "act_bits", agent=agent, budget=budget)
    assert len(found.episodes) == 5
    assert_within(found, graph)
    assert set(found.plan.weight_bits) == {"0", "3", "8"}
    assert space.plan(space.counts(found.plan)) == found.plan


@pytest.mark.parametrize("embedding", ["haq", "onehot", "random_projection"])
def test_every_embedding_of_layers(embedding, graph):
    found, _ = find(graph, "weight_bits", embedding=embedding, mapping="haq")
    assert_within(found, graph)


@pytest.mark.parametrize("embedding", ["multistage", "sequential", "sensitivity"])
def test_embeddings_of_channels_alone_say_so(embedding, graph):
    with pytest.raises(
        ValueError, match="knows channel groups only, and the decisions"
    ):
        find(graph, "weight_bits", embedding=embedding)


def test_channels_zeros_and_bits_of_codebooks_at_once(graph):
    found, space = find(
        graph,
        *("keep_ratio", "sparsity", "weight_bits"),
        quantization=Quantization(weights="codebook"),
    )
    assert_within(found, graph, codebooks=True)
    assert set(found.plan.keep_ratio) == {"0", "3"}
    assert len({past.plan.digest for past in found.episodes}) > 1


def test_other_decisions_are_another_search(graph, tmp_path):
    first, _ = find(graph, "weight_bits", directory=tmp_path)
    again, _ = find(graph, "weight_bits", directory=tmp_path)
    assert again.plan == first.plan
    with pytest.raises(ValueError, match="is the log of another search"):
        find(graph, "weight_bits", mapping="haq", directory=tmp_path)
    with pytest.raises(ValueError, match="is the log of another search"):
        find(graph, "weight_bits", quantization=Quantization(weights="codebook"),
             directory=tmp_path)  # fmt: skip


def test_other_channels_to_choose_from_are_another_search(graph, tmp_path):
    knobs = {"agent": "random", "episodes": 2, "execution": CPU, "embedding": "rules"}
    for least, refused in ((0.2, False), (0.2, False), (0.4, True)):
        space = PlanSpace(graph, min_keep_ratio=least)
        rest = {**knobs, "space": space, "evaluator": QUICK, "directory": tmp_path}
        if refused:
            with pytest.raises(ValueError, match="is the log of another search"):
                find_plan(tiny_net(), tiny_splits(), "macs:0.5", **rest)
        else:
            find_plan(tiny_net(), tiny_splits(), "macs:0.5", **rest)


def test_what_comes_later_is_part_of_a_search_of_channels(graph, tmp_path):
    second = SecondStage(embedding=rules, agent=Random, budget="bytes:0.6")
    space = PlanSpace(graph)

    def search(kind):
        quantization = Quantization(weights=kind)
        costs = CostModel(graph, codebooks=quantization.shares_numbers)
        return find_plan(
            *(tiny_net(), tiny_splits(), "macs:0.5"),
            later=functools.partial(second.later, costs, {"parts": ["keep_ratio"]}),
            quantization=quantization,
            **{"space": space, "agent": "random", "embedding": "rules"},
            **{"episodes": 2, "execution": CPU, "evaluator": QUICK},
            directory=tmp_path,
        )

    assert search("uniform").plan == search("uniform").plan
    with pytest.raises(ValueError, match="is the log of another search"):
        search("codebook")
