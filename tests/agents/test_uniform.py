from __future__ import annotations

import torch

from agmc.agents import AgentContext, Episode, Uniform


def test_every_decision_gets_its_uniform_keep_ratio() -> None:
    agent = Uniform(AgentContext(3, 2, 5, 0, uniform_keep_ratios=(0.37, 0.4)))
    for index in range(3):
        agent.begin_episode(index)
        actions = [agent.act(torch.rand(3)), agent.act(torch.rand(3), explore=False)]
        assert actions == [0.37, 0.4]
        agent.observe(Episode(torch.rand(2, 3), torch.rand(2), float(index)))
