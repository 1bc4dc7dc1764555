from __future__ import annotations

import torch

from agmc.agents import AgentContext, Random


def _draws(seed: int, count: int) -> list[float]:
    agent = Random(AgentContext(3, 2, 5, seed, (0.5, 0.5)))
    return [agent.act(torch.zeros(3)) for _ in range(count)]


def test_actions_are_uniform_on_the_unit_interval() -> None:
    actions = torch.tensor(_draws(0, 4000), dtype=torch.float64)
    assert 0.0 <= actions.min() < 0.01 < 0.99 < actions.max() <= 1.0
    # Mean 1/2 and variance 1/12, each within about 4 standard errors.
    assert abs(actions.mean() - 1 / 2) < 0.02
    assert abs(actions.var() - 1 / 12) < 0.005


def test_actions_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = _draws(3, 5)
    torch.manual_seed(2)
    assert _draws(3, 5) == first
    assert _draws(4, 5) != first
