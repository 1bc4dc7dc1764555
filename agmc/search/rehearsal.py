"""Rehearsals: what a search is made of, tried out before anything takes long.

A network that is still to be trained, a handful of images and a made-up accuracy are
enough to see a knob out of range.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from agmc.agents.agent import Agent, AgentContext, Goal
from agmc.compression.importance import Importance
from agmc.data import Splits
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.plan_space import PlanSpace
from agmc.search.bound import BoundBudget
from agmc.search.evaluator import Evaluator
from agmc.search.goals import context_of, observation_dim_of
from agmc.search.outcome import Outcome
from agmc.search.repair import pruner_of
from agmc.search.reward import Reward
from agmc.search.worth import worth_of
from agmc.training import Execution

#: Images of each split that an evaluator is built on.
_IMAGES = 20
#: What the reward is told of a plan, and of the network: any search may find that.
_ACCURACIES = (0.5, 0.9)


def rehearse_agent(
    build: Callable[[AgentContext], Agent],
    goals: Sequence[Goal],
    *,
    episodes: int,
    seed: int,
    embedding: Embedding | None = None,
) -> Agent:
    """The agent as it will be; without an embedding for observations of one number.

    Raises:
        ValueError: a knob is out of range, the agent takes another kind of budget, or
            a package is missing.
    """
    encoder, dim = None, 1
    if embedding is not None:
        encoder = copy.deepcopy(embedding.encoder)
        dim = observation_dim_of(embedding, len(goals))
    with torch.random.fork_rng(devices=[]):
        return build(
            context_of(
                goals,
                observation_dim=dim,
                episodes=episodes,
                seed=seed,
                encoder=encoder,
            )
        )


def rehearse_reward(reward: Reward, bound: BoundBudget) -> None:
    """Asks what a plan within the budget is worth.

    Raises:
        RewardError: the reward raised, or its value is no finite number.
    """
    plan = bound.space.plan(bound.clamp_plan([0.5] * len(bound.space)))
    costs = (bound.cost_model.of(plan), bound.cost_model.of(None))
    accuracy, original = _ACCURACIES
    outcome = Outcome(accuracy, costs[0], original, costs[1])
    worth_of(outcome, reward, plan)


def rehearse_evaluator(
    build: Callable[..., Evaluator],
    model: nn.Module,
    splits: Splits,
    bound: BoundBudget,
    *,
    importance: Importance,
    execution: Execution,
) -> None:
    """Builds an evaluator on a few images; where layers are decided about, uses it.

    Raises:
        ValueError: a number is out of range, or the fewest bits cannot be had.
    """
    few = dataclasses.replace(
        splits,
        train=splits.train.select(splits.train.interleaved(_IMAGES)),
        search=splits.search.select(splits.search.interleaved(_IMAGES)),
    )
    model = copy.deepcopy(model)  # it may be moved to another device
    pruner = pruner_of(model, bound.space.graph, few, importance, execution)
    evaluate = build(pruner, bound.cost_model, few, execution)
    if not bound.space.only_channels:
        evaluate(bound.space.least)


def rehearse_embedding(
    build: Callable[[EmbeddingContext], Embedding], space: PlanSpace
) -> Embedding:
    """Builds an embedding that has nothing but the network to learn from.

    Raises:
        ValueError: it knows nothing of decisions of that kind, or a knob is out of
            range.
    """
    made_up = np.ones(len(space.graph.groups))
    with torch.random.fork_rng(devices=[]):
        return build(EmbeddingContext(space.graph, space, errors=lambda: made_up))
