"""Agents: flat observations in, actions in [0, 1] out; they know no network."""

from agmc.agents.additive import Additive
from agmc.agents.agent import Agent, AgentContext, Choices, Episode, Goal
from agmc.agents.black_box import BlackBox
from agmc.agents.critic import Critic
from agmc.agents.ddpg import DDPG
from agmc.agents.greedy import Greedy
from agmc.agents.ppo import PPO
from agmc.agents.ppo_vector import PPOVector
from agmc.agents.random import Random
from agmc.agents.reinforce import Reinforce
from agmc.agents.td3 import TD3
from agmc.agents.uniform import Uniform

__all__ = [
    "DDPG",
    "PPO",
    "TD3",
    "Additive",
    "Agent",
    "AgentContext",
    "BlackBox",
    "Critic",
    "Choices",
    "Episode",
    "Goal",
    "Greedy",
    "PPOVector",
    "Random",
    "Reinforce",
    "Uniform",
]
