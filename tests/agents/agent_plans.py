"""Choices among whole plans without a network: a chain whose cost is known."""

from __future__ import annotations

import numpy as np
import torch

from agmc.agents import AgentContext, Choices, Episode

LEVELS = tuple(np.linspace(0.1, 1.0, 10).round(6).tolist())


def chain_cost(ratios):
    """Products of neighbours, relative to half of those of the whole chain."""
    ratios = np.asarray(ratios, dtype=float)
    ends = np.ones((*ratios.shape[:-1], 1))
    padded = np.concatenate([ends, ratios, ends], axis=-1)
    whole = ratios.shape[-1] + 1
    return (padded[..., :-1] * padded[..., 1:]).sum(-1) / (0.5 * whole)


def clamp(ratios):
    """Lowers decision after decision, first to last, until the budget is met."""
    plan = [min(LEVELS, key=lambda level: abs(level - ratio)) for ratio in ratios]
    for i in range(len(plan)):
        while chain_cost(np.array(plan)) > 1 and plan[i] > LEVELS[0]:
            plan[i] = LEVELS[LEVELS.index(plan[i]) - 1]
    return tuple(plan)


def context(num_decisions=4, *, num_episodes=100, seed=0):
    """For agents that weigh whole plans."""
    uniform = next(
        level
        for level in reversed(LEVELS)
        if chain_cost(np.full(num_decisions, level)) <= 1
    )
    return AgentContext(
        1,
        num_decisions,
        num_episodes,
        seed,
        (uniform,) * num_decisions,
        choices=Choices((LEVELS,) * num_decisions, chain_cost, clamp),
    )


def play(agent, reward, num_episodes, *, num_decisions=4):
    """Plays as the runner does; the plans and rewards of all episodes but probes."""
    played = []
    for index in range(num_episodes):
        wanted = agent.probe(index)
        if wanted is not None:
            agent.observe_probe(wanted, reward(np.array(wanted)))
            continue
        agent.begin_episode(index)
        asked = [agent.act(torch.zeros(1)) for _ in range(num_decisions)]
        plan = clamp(asked)
        value = float(reward(np.array(plan)))
        agent.observe(Episode(torch.zeros(len(plan), 1), torch.tensor(plan), value))
        played.append((plan, value))
    return played


def probes_of(agent):
    """All measurements that an agent asks for."""
    found = []
    while (wanted := agent.probe(len(found))) is not None:
        found.append(tuple(wanted))
    return found
