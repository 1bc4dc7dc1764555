"""What a search is made of, tried out on a tiny network that nobody has trained."""

from __future__ import annotations

import functools

import pytest
import torch
from search_nets import no_number, tiny_net, tiny_splits

from agmc.agents import DDPG, PPO, BlackBox
from agmc.compression.importance import l1, taylor
from agmc.compression.quantize import Quantization
from agmc.cost.model import CostModel
from agmc.embedding.haq import haq
from agmc.embedding.rules import rules
from agmc.embedding.rules_weights import rules_weights
from agmc.graph.trace import trace
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets
from agmc.search.evaluator import Evaluator
from agmc.search.goals import goal_of
from agmc.search.rehearsal import (
    rehearse_agent,
    rehearse_embedding,
    rehearse_evaluator,
    rehearse_reward,
)
from agmc.search.reward import error, exponential_penalty, sigmoid_product
from agmc.search.worth import RewardError
from agmc.training import Execution


@pytest.fixture(scope="module")
def bounds():
    graph = trace(tiny_net(), tiny_splits().example_input())
    space = PlanSpace(graph, round_to=1)
    rungs = Budgets.of("macs:0.4..0.8/2").rungs
    return [rung.bind(CostModel(graph), space) for rung in rungs]


def agent_of(build, bounds):
    return rehearse_agent(build, [goal_of(b) for b in bounds], episodes=5, seed=0)


def test_an_agent_is_built_and_the_generator_left_alone(bounds):
    before = torch.random.get_rng_state()
    assert not agent_of(DDPG, bounds).on_policy
    assert agent_of(PPO, bounds[:1]).on_policy
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (functools.partial(DDPG, tau=2.0), r"tau \(=2.0\)"),
        (BlackBox, "one budget at a time"),
    ],
)
def test_an_agent_that_cannot_be_is_refused(build, message, bounds):
    with pytest.raises(ValueError, match=message):
        agent_of(build, bounds)


def test_the_reward_is_asked_for_a_plan_within_the_budget(bounds):
    asked = []

    def mine(outcome):
        asked.append(outcome)
        return 1.0

    rehearse_reward(mine, bounds[0])
    (outcome,) = asked
    assert 0 < outcome.share("macs") <= 0.4
    assert 0 < outcome.accuracy < outcome.original_accuracy < 1
    rehearse_reward(error, bounds[0])


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (functools.partial(sigmoid_product, slope=-1.0), r"slope \(=-1.0\)"),
        (functools.partial(exponential_penalty, metric="colour"), "'colour' is none"),
        (lambda outcome: outcome.acuracy, "AttributeError"),
        (lambda outcome: None, "must be a finite number"),
        (no_number, "must be a finite number"),
    ],
)
def test_a_reward_that_cannot_be_is_refused(reward, message, bounds):
    with pytest.raises(RewardError, match=message):
        rehearse_reward(reward, bounds[0])


@pytest.mark.parametrize("importance", [l1, taylor])
@pytest.mark.parametrize(
    "knob", ["search_images", "reconstruction_images", "recalibration_images", None]
)
def test_an_evaluator_that_cannot_be_is_refused(knob, importance, bounds):
    execution = Execution(device="cpu", precision="float32")
    rest = (tiny_net(), tiny_splits(), bounds[0])
    rooms = {"importance": importance, "execution": execution}
    if knob is None:
        rehearse_evaluator(Evaluator, *rest, **rooms)
        return
    with pytest.raises(ValueError, match=rf"{knob} \(=-1\)"):
        build = functools.partial(Evaluator, **{knob: -1})
        rehearse_evaluator(build, *rest, **rooms)


def layers_of(bounds, **knobs):
    """The same network, with decisions about its layers as well."""
    space = PlanSpace(bounds[0].space.graph, end_bits=None, **knobs)
    return Budgets.of("bytes:0.99").bind(bounds[0].cost_model, space)


@pytest.mark.parametrize(
    ("knobs", "build", "message"),
    [
        (
            {"weight_bits": [1, 8]},
            Evaluator,
            r"weight_bits of '\d' \(=1\) must be >= 2",
        ),
        (
            {},
            functools.partial(Evaluator, recalibration_images=0),
            r"recalibration_images \(=0\) must be >= 1 where inputs",
        ),
    ],
)
def test_bits_that_cannot_be_had_are_refused(knobs, build, message, bounds):
    execution = Execution(device="cpu", precision="float32")
    bound = layers_of(bounds, parts=["weight_bits"], **knobs)
    rest = (tiny_net(), tiny_splits(), bound)
    rooms = {"importance": l1, "execution": execution}
    with pytest.raises(ValueError, match=message):
        rehearse_evaluator(build, *rest, **rooms)
    shared = functools.partial(Evaluator, quantization=Quantization(weights="codebook"))
    rehearse_evaluator(shared, *rest, **rooms)


def test_an_embedding_that_knows_no_such_decisions_is_refused(bounds):
    space = layers_of(bounds, parts=["keep_ratio", "sparsity"]).space
    before = torch.random.get_rng_state()
    rehearse_embedding(rules, space)
    assert torch.equal(torch.random.get_rng_state(), before)
    for build, message in ((haq, "sees layers only"), (rules_weights, "groups only")):
        with pytest.raises(ValueError, match=message):
            rehearse_embedding(build, space)
