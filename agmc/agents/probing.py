"""Probing: what one decision alone does to the reward, measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agmc.agents.agent import Agent, AgentContext, Choices


class Probing(Agent):
    """Measures the whole network, then every decision alone at some of its levels.

    The levels of a decision are spread evenly between its smallest and 1; as many as
    the share of the episodes allows, the same number for all. Between them the loss is
    interpolated.

    Args:
        context: needs `choices`.
        probe_share: most of the episodes that may go into measurements, in (0, 1).
        max_levels: most levels measured for each decision, >= 1.

    Raises:
        ValueError: a number is out of range, there are no choices, or several budgets.
    """

    def __init__(
        self, context: AgentContext, *, probe_share: float, max_levels: int
    ) -> None:
        context.require_one_budget(type(self).__name__.lower())
        if context.choices is None:
            raise ValueError("this agent weighs whole plans; it needs context.choices")
        if not 0.0 < probe_share < 1.0:
            raise ValueError(f"probe_share (={probe_share}) must lie in (0, 1)")
        if max_levels < 1:
            raise ValueError(f"max_levels (={max_levels}) must be at least 1")
        self.choices: Choices = context.choices
        self.num_decisions = context.num_decisions
        self._probes = _probes(
            self.choices.levels,
            min(
                max_levels,
                int(probe_share * context.num_episodes - 1) // context.num_decisions,
            ),
        )
        self._found: list[float] = []

    @property
    def num_probes(self) -> int:
        """Episodes that go into measurements."""
        return len(self._probes)

    def probe(self, index: int) -> Sequence[float] | None:
        """The next measurement, while there are any left."""
        return self._probes[index] if index < len(self._probes) else None

    def observe_probe(self, keep_ratios: Sequence[float], reward: float) -> None:
        """Remember what was found."""
        self._found.append(reward)

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
