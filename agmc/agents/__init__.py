"""Agents: flat observations in, actions in [0, 1] out; they know no network."""

from agmc.agents.agent import Agent, AgentContext, Episode
from agmc.agents.ddpg import DDPG
from agmc.agents.random import Random
from agmc.agents.uniform import Uniform

__all__ = ["DDPG", "Agent", "AgentContext", "Episode", "Random", "Uniform"]
