"""Agents: flat observations in, actions in [0, 1] out; they know no network."""

from agmc.agents.additive import Additive
from agmc.agents.agent import Agent, AgentContext, Choices, Episode
from agmc.agents.black_box import BlackBox
from agmc.agents.critic import Critic
from agmc.agents.ddpg import DDPG
from agmc.agents.greedy import Greedy
from agmc.agents.random import Random
from agmc.agents.uniform import Uniform

__all__ = [
    "DDPG",
    "Additive",
    "Agent",
    "AgentContext",
    "BlackBox",
    "Critic",
    "Choices",
    "Episode",
    "Greedy",
    "Random",
    "Uniform",
]
