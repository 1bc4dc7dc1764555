"""Probing: measures what single decisions do to the reward, then plays one plan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from agmc.agents import checks
from agmc.agents.agent import Agent, AgentContext, Choices, Episode


class Probing(Agent):
    """Measures the whole network, then every decision alone at some of its levels.

    The levels of a decision are spread evenly between its smallest and 1; as many as
    the episodes allow when one is left to play, the same number for all. Between them
    the loss is interpolated. All other episodes play the plan that follows from it.

    Args:
        context: needs `choices`.
        max_levels: most levels measured for each decision, >= 1.

    Raises:
        ValueError: a number is out of range, there are no choices, or several budgets.
    """

    def __init__(self, context: AgentContext, *, max_levels: int) -> None:
        context.require_one_budget(type(self).__name__.lower())
        if context.choices is None:
            raise ValueError("this agent weighs whole plans; it needs context.choices")
        checks.at_least(1, max_levels=max_levels)
        self.choices: Choices = context.choices
        # The whole network is measured as well, and one episode is left to play.
        affordable = (context.num_episodes - 2) // context.num_decisions
        self._probes = _probes(self.choices.levels, min(max_levels, affordable))
        self._found: list[float] = []
        self._plan: tuple[float, ...] | None = None
        self._step = 0

    @abstractmethod
    def choose(self) -> tuple[float, ...]:
        """The plan to play, one keep ratio a decision; asked for once."""

    def probe(self, index: int) -> Sequence[float] | None:
        """The next measurement, while there are any left."""
        return self._probes[index] if index < len(self._probes) else None

    def observe_probe(self, keep_ratios: Sequence[float], reward: float) -> None:
        """Remember what was found."""
        self._found.append(reward)

    def begin_episode(self, index: int) -> None:
        """Choose the plan before the first episode that is played."""
        self._step = 0
        if self._plan is None:
            self._plan = self.choose()

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Return the keep ratio of the next decision."""
        assert self._plan is not None
        self._step += 1
        return self._plan[self._step - 1]

    def observe(self, episode: Episode) -> None:
        """Nothing more to learn."""

    def losses(self) -> list[np.ndarray]:
        """What every level of every decision alone costs in reward, interpolated.

        Levels that were not measured because the episodes did not suffice cost what
        they remove: 1 minus the keep ratio.
        """
        result = []
        for decision, levels in enumerate(self.choices.levels):
            kept, lost = [1.0], [0.0]
            for ratios, reward in zip(self._probes[1:], self._found[1:], strict=True):
                if ratios[decision] < 1.0:
                    kept.append(ratios[decision])
                    lost.append(self._found[0] - reward)
            order = np.argsort(kept)
            if len(kept) == 1:
                result.append(1.0 - np.array(levels))
            else:
                known = np.array(kept)[order], np.array(lost)[order]
                result.append(np.interp(levels, *known))
        return result


def _probes(levels: Sequence[Sequence[float]], count: int) -> list[tuple[float, ...]]:
    """The whole network first, then each decision alone at `count` levels."""
    if count < 1:
        return []
    whole = [1.0] * len(levels)
    probes = [tuple(whole)]
    for decision, choices in enumerate(levels):
        below = choices[:-1]
        wanted = np.linspace(choices[0], 1.0, count + 1)[:-1] if below else ()
        places = {int(np.argmin(np.abs(np.array(below) - w))) for w in wanted}
        for level in (below[place] for place in sorted(places)):
            probes.append((*whole[:decision], level, *whole[decision + 1 :]))
    return probes
