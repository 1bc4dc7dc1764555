"""The search loop: an agent walks through the environment, episode after episode."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from agmc.agents.agent import Agent
from agmc.search.best_so_far import better
from agmc.search.candidate import Candidate, conclude, propose, propose_probe, worth
from agmc.search.env import CompressionEnv
from agmc.search.episode_log import EpisodeLog, EpisodeRecord
from agmc.search.executor import Executor, InProcess
from agmc.search.found import Found

_logger = logging.getLogger(__name__)


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


def in_flight_of(agent: Agent, wanted: int) -> int:
    """Proposals that an agent may make before it learns from the first of them.

    Args:
        agent: one that learns from its latest episode only has 1, with a warning.
        wanted: by the user, >= 1.
    """
    if agent.on_policy and wanted > 1:
        _logger.warning(
            "this agent learns from its latest episode only: one evaluation at a time"
        )
        return 1
    return wanted


def search(
    env: CompressionEnv,
    agent: Agent,
    *,
    episodes: int,
    log: EpisodeLog | None = None,
    on_episode: OnEpisode | None = None,
    executor: Executor | None = None,
    in_flight: int = 1,
    greedy: int = 0,
    replay: bool = False,
) -> Found:
    """Lets the agent explore and learn; goes on where an interrupted search stopped.

    Up to `in_flight` proposals are evaluated at a time. The agent learns from them in
    the order in which it made them, and makes the next when it has learnt from the
    first: what it knows at every proposal is the same however long an evaluation takes
    and whatever the number of workers. Before the first episode after probes it has
    learnt from all of them.

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
        executor: evaluates the plans; None: `env.evaluate`, in this process. Is left
            open.
        in_flight: proposals that wait for their evaluation at a time, >= 1; see
            `in_flight_of`.
        greedy: first episodes that the agent plays without exploration.
        replay: also when the log is complete, so that the agent learns what it knew.

    Raises:
        ValueError: a number is out of range.
        RewardError: the reward of a plan is no finite number.
    """
    for name, number in (("episodes", episodes), ("in_flight", in_flight)):
        if number < 1:
            raise ValueError(f"{name} (={number}) must be >= 1")
    in_flight = in_flight_of(agent, in_flight)
    logged = list(log.records)[:episodes] if log else []
    if len(logged) == episodes and not replay:
        return Found.best_of(logged, env.budgets)
    executor = InProcess(env.evaluate) if executor is None else executor
    if logged:
        executor.remember(record.evaluation for record in logged)
        _logger.info("replaying %d of %d episodes", len(logged), episodes)
    history: list[EpisodeRecord] = []
    flying: deque[Candidate] = deque()
    best: EpisodeRecord | None = None

    def land() -> None:
        nonlocal best, logged
        candidate = flying.popleft()
        evaluation = executor.result()
        reward = worth(evaluation, env, history)
        record = conclude(candidate, evaluation, reward, agent)
        index = candidate.index
        if index < len(logged) and logged[index].plan.digest == record.plan.digest:
            record = logged[index]
        elif log:
            if index < len(logged):
                _logger.warning("episode %d differs from the log, cut there", index)
                log.truncate(index)
                logged = logged[:index]
            log.append(record)
        history.append(record)
        best = better(best, record)
        if on_episode:
            mean = sum(past.seconds for past in history) / len(history)
            left = mean * (episodes - max(len(history), len(logged)))
            left /= min(executor.workers, in_flight)
            on_episode(Progress(record, best, index + 1, episodes, left))

    for index in range(episodes):
        wanted = agent.probe(index)
        if wanted is None:
            while flying and flying[-1].probe:
                land()
            candidate = propose(env, agent, index, greedy=index < greedy)
        else:
            candidate = propose_probe(env, index, wanted)
        flying.append(candidate)
        executor.submit(candidate.plan)
        if len(flying) == in_flight:
            land()
    while flying:
        land()
    return Found.best_of(history, env.budgets)
