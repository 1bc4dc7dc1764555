"""Candidate: a plan on its way from the agent that proposed it to its reward."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agmc.agents.agent import Agent, Episode
from agmc.plan import Plan
from agmc.search.env import CompressionEnv
from agmc.search.episode_log import EpisodeRecord
from agmc.search.evaluator import Evaluation
from agmc.search.worth import RewardError


@dataclass(frozen=True, eq=False)
class Candidate:
    """A proposed plan, and what the agent has to be reminded of when it is evaluated.

    Attributes:
        index: of the episode, counted from 0.
        plan: to be evaluated.
        observations: float32 `[T, observation_dim]`, of every step; None for a probe.
        executed: `[T]`: the executed actions, float32, or the keep ratios of the probe,
            float64.
        seconds: that the proposal took.
        greedy: whether the agent has only played what it knew.
    """

    index: int
    plan: Plan
    observations: Tensor | None
    executed: Tensor
    seconds: float
    greedy: bool = False

    @property
    def probe(self) -> bool:
        """Whether the agent asked for this very plan."""
        return self.observations is None


def propose(
    env: CompressionEnv, agent: Agent, index: int, *, greedy: bool = False
) -> Candidate:
    """Lets the agent walk through one episode, up to the plan.

    Args:
        env: the network under its budget.
        agent: that acts.
        index: of the episode, counted from 0.
        greedy: without exploration.
    """
    started = time.perf_counter()
    agent.begin_episode(index)
    observation, _ = env.reset(options={"episode": index})
    observations, executed = [], []
    plan = None
    while plan is None:
        observations.append(torch.from_numpy(observation))
        action = agent.act(observations[-1], explore=not greedy)
        observation, info = env.decide(np.array([action], np.float32))
        executed.append(info["executed"])
        plan = info.get("plan")
    return Candidate(
        index,
        plan,
        torch.stack(observations),
        torch.tensor(executed),
        time.perf_counter() - started,
        greedy,
    )


def propose_probe(
    env: CompressionEnv, index: int, keep_ratios: Sequence[float]
) -> Candidate:
    """A measurement that the agent asked for, in the place of an episode.

    Args:
        env: the network under its budget.
        index: of the episode, counted from 0.
        keep_ratios: one a decision; rounded to what can be kept.
    """
    started = time.perf_counter()
    space = env.budget.space
    counts = [d.nearest(ratio) for d, ratio in zip(space, keep_ratios, strict=True)]
    kept = [count / d.size for count, d in zip(counts, space, strict=True)]
    seconds = time.perf_counter() - started
    return Candidate(
        index,
        space.plan(counts),
        None,
        torch.tensor(kept, dtype=torch.float64),
        seconds,
    )


def worth(
    evaluation: Evaluation, env: CompressionEnv, past: Sequence[EpisodeRecord]
) -> float:
    """The reward of an evaluated plan.

    A plan whose evaluation failed earns no more than any other did: the smallest of
    the rewards so far and of its own with nothing classified right.

    Args:
        evaluation: of the plan.
        env: that knows the reward.
        past: the episodes that the agent has learnt from.

    Raises:
        RewardError: the reward is no finite number.
    """
    if not evaluation.failed:
        return env.worth(evaluation)
    rewards = [record.reward for record in past]
    with contextlib.suppress(RewardError):
        rewards.append(env.worth(evaluation))
    return min(rewards, default=-1.0)


def conclude(
    candidate: Candidate, evaluation: Evaluation, reward: float, agent: Agent
) -> EpisodeRecord:
    """Lets the agent learn what its proposal is worth.

    Args:
        candidate: that was evaluated.
        evaluation: of its plan.
        reward: of the plan, finite.
        agent: that proposed it.
    """
    started = time.perf_counter()
    if candidate.observations is None:
        agent.observe_probe(candidate.executed.tolist(), reward)
    elif not (candidate.greedy and agent.on_policy):  # those learn from draws alone
        agent.observe(Episode(candidate.observations, candidate.executed, reward))
    learning = time.perf_counter() - started
    return EpisodeRecord(
        episode=candidate.index,
        plan=evaluation.plan,
        reward=reward,
        accuracy=evaluation.accuracy,
        cost=evaluation.cost,
        seconds=candidate.seconds + evaluation.seconds + learning,
        cached=evaluation.cached,
        probe=candidate.probe,
        failed=evaluation.failed,
    )
