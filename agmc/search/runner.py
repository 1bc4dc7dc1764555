"""The search loop: an agent walks through the environment, episode after episode."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agmc.agents.agent import Agent, Episode
from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.search.env import CompressionEnv
from agmc.search.episode_log import EpisodeLog, EpisodeRecord
from agmc.search.evaluator import Evaluation

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """The plan of the highest reward, the first of equals, and how it was found.

    Attributes:
        plan: the best plan.
        reward: of the plan.
        accuracy: on the search split without fine-tuning, a share in [0, 1].
        cost: of the plan.
        episodes: all of them, in order.
    """

    plan: Plan
    reward: float
    accuracy: float
    cost: Cost
    episodes: tuple[EpisodeRecord, ...]

    @classmethod
    def best_of(cls, episodes: tuple[EpisodeRecord, ...]) -> Found:
        """The result of a search of these episodes.

        Raises:
            ValueError: there are probes only.
        """
        within = [record for record in episodes if not record.probe]
        if not within:
            raise ValueError(
                f"the agent used up all {len(episodes)} episodes for measurements "
                "outside of the budget; give it more episodes"
            )
        best = max(within, key=lambda record: record.reward)
        return cls(best.plan, best.reward, best.accuracy, best.cost, episodes)


@dataclass(frozen=True)
class Progress:
    """How far a search has come, told after every episode.

    Attributes:
        record: of the episode that has just ended.
        best: of the highest reward so far, the first of equals, probes left out; None
            where there were probes only.
        done: finished episodes, >= 1, those of an earlier, interrupted search included.
        total: episodes of the whole search.
        seconds_left: a guess, >= 0.
    """

    record: EpisodeRecord
    best: EpisodeRecord | None
    done: int
    total: int
    seconds_left: float


OnEpisode = Callable[[Progress], None]


def search(
    env: CompressionEnv,
    agent: Agent,
    *,
    episodes: int,
    log: EpisodeLog | None = None,
    on_episode: OnEpisode | None = None,
) -> Found:
    """Lets the agent explore and learn; goes on where an interrupted search stopped.

    Episodes that the log holds are replayed: the agent starts anew and, with the same
    seed, takes the same actions, so that it learns again what it knew, while the
    evaluations come from the log. An agent without that property still ends well: from
    the first episode that differs on, the log is cut and written again.

    Args:
        env: the network under its budget.
        agent: fresh, not used before.
        episodes: of the whole search, those in the log included, >= 1.
        log: of this search; None keeps nothing.
        on_episode: called after every episode, in their order.

    Raises:
        ValueError: `episodes` is out of range.
    """
    if episodes < 1:
        raise ValueError(f"episodes (={episodes}) must be >= 1")
    logged = list(log.records) if log else []
    if len(logged) >= episodes:
        return Found.best_of(tuple(logged[:episodes]))
    if logged:
        env.evaluate.remember(record.evaluation for record in logged)
        _logger.info("replaying %d of %d episodes", len(logged), episodes)
    history: list[EpisodeRecord] = []
    best: EpisodeRecord | None = None
    for index in range(episodes):
        wanted = agent.probe(index)
        if wanted is None:
            record = run_episode(env, agent, index)
        else:
            record = run_probe(env, agent, index, wanted)
        if index < len(logged) and logged[index].plan.digest == record.plan.digest:
            record = logged[index]
        elif log:
            if index < len(logged):
                _logger.warning("episode %d differs from the log, cut there", index)
                log.truncate(index)
                logged = logged[:index]
            log.append(record)
        history.append(record)
        if not record.probe and (best is None or record.reward > best.reward):
            best = record
        if on_episode:
            mean = sum(past.seconds for past in history) / len(history)
            left = episodes - max(len(history), len(logged))
            on_episode(Progress(record, best, index + 1, episodes, mean * left))
    return Found.best_of(tuple(history))


def run_probe(
    env: CompressionEnv, agent: Agent, index: int, keep_ratios: Sequence[float]
) -> EpisodeRecord:
    """A measurement that the agent asked for, in the place of an episode.

    Args:
        env: the network under its budget.
        agent: that asked; it learns what was found.
        index: of the episode, counted from 0.
        keep_ratios: one a decision; rounded to what can be kept.
    """
    started = time.perf_counter()
    space = env.budget.space
    counts = [d.nearest(ratio) for d, ratio in zip(space, keep_ratios, strict=True)]
    evaluation = env.evaluate(space.plan(counts))
    reward = env.worth(evaluation)
    kept = [count / d.size for count, d in zip(counts, space, strict=True)]
    agent.observe_probe(kept, reward)
    return EpisodeRecord(
        episode=index,
        plan=evaluation.plan,
        reward=reward,
        accuracy=evaluation.accuracy,
        cost=evaluation.cost,
        seconds=time.perf_counter() - started,
        cached=evaluation.cached,
        probe=True,
    )


def run_episode(env: CompressionEnv, agent: Agent, index: int) -> EpisodeRecord:
    """One episode, from the first decision to what the agent learns from it.

    Args:
        env: the network under its budget.
        agent: that acts; it learns from the executed actions.
        index: of the episode, counted from 0.
    """
    started = time.perf_counter()
    agent.begin_episode(index)
    observation, _ = env.reset()
    observations, executed = [], []
    reward, done = 0.0, False
    while not done:
        observations.append(torch.from_numpy(observation))
        action = agent.act(observations[-1], explore=True)
        observation, reward, done, _, info = env.step(np.array([action], np.float32))
        executed.append(info["executed"])
    agent.observe(Episode(torch.stack(observations), torch.tensor(executed), reward))
    evaluation: Evaluation = info["evaluation"]
    return EpisodeRecord(
        episode=index,
        plan=evaluation.plan,
        reward=reward,
        accuracy=evaluation.accuracy,
        cost=evaluation.cost,
        seconds=time.perf_counter() - started,
        cached=evaluation.cached,
    )
