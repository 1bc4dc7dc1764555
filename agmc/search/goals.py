"""Goals: the budgets of a search as an agent sees them, in keep ratios."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from agmc.agents.agent import AgentContext, Choices, Goal
from agmc.embedding.embedding import Embedding
from agmc.search.bound import BoundBudget
from agmc.search.uniform import uniform_counts

#: Plans that are kept with what the budget leaves of them: where there is little to
#: decide, the same few are asked for again and again.
_REMEMBERED = 2048


def goal_of(bound: BoundBudget) -> Goal:
    """What an agent may know of the plans of one network under one budget."""
    sizes = bound.space.sizes

    def cost(keep_ratios: np.ndarray) -> np.ndarray:
        counts = np.rint(np.asarray(keep_ratios) * sizes).astype(np.int64)
        return bound.alone.usage(counts)  # asked for hundreds of plans at a time

    @functools.lru_cache(maxsize=_REMEMBERED)
    def clamped(counts: tuple[int, ...]) -> tuple[float, ...]:
        return tuple((bound.clamp_plan(np.array(counts) / sizes) / sizes).tolist())

    def clamp(keep_ratios: Sequence[float]) -> tuple[float, ...]:
        return clamped(bound.wanted(keep_ratios))

    levels = tuple(tuple(n / d.size for n in d.counts) for d in bound.space)
    uniform = tuple((uniform_counts(bound) / sizes).tolist())
    return Goal(uniform, Choices(levels, cost, clamp))


def observation_dim_of(embedding: Embedding, num_budgets: int) -> int:
    """Length of an observation: a row, and the place among budgets, if several."""
    return embedding.dim + (num_budgets > 1)


def context_of(
    goals: Sequence[Goal],
    *,
    observation_dim: int,
    episodes: int,
    seed: int,
    encoder: nn.Module | None = None,
    look: Callable[[Sequence[float]], Tensor] | None = None,
    sensitivities: tuple[float, ...] | None = None,
    absolute: Tensor | None = None,
) -> AgentContext:
    """What an agent is built from.

    Args:
        goals: the budgets of the search, the tightest first.
        observation_dim: length of one observation vector, >= 1.
        episodes: of the whole search, >= 1.
        seed: >= 0.
        encoder: of the embedding, see `AgentContext`.
        look: keep ratios -> what is observed along the plan, where anybody can tell.
        sensitivities: of the embedding, see `AgentContext`.
        absolute: of the embedding, see `AgentContext`.

    Raises:
        ValueError: a number is out of range, or there is nothing to decide.
    """
    first = goals[0]
    uniform = first.uniform_keep_ratios
    return AgentContext(
        observation_dim=observation_dim,
        num_decisions=len(uniform),
        num_episodes=episodes,
        seed=seed,
        uniform_keep_ratios=uniform,
        encoder=encoder,
        choices=first.choices,
        look=None if look is None else functools.partial(look, uniform),
        sensitivities=sensitivities,
        absolute=absolute,
        goals=tuple(goals),
    )
