"""Agents of Stable-Baselines3, to check our own against. Optional: `agmc[sb3]`.

How its models are driven, and what they are told, says `sb3_models`.
"""

from __future__ import annotations

from agmc.agents import checks
from agmc.agents.agent import Agent, AgentContext
from agmc.agents.sb3_models import OffPolicy, OnPolicy


def td3(
    context: AgentContext,
    *,
    hidden_dim: int = 300,
    learning_rate: float = 1e-3,
    discount: float = 0.99,
    tau: float = 0.005,
    batch_size: int = 256,
    warmup_share: float = 0.25,
    sigma: float = 0.1,
    updates_per_step: int = 1,
) -> Agent:
    """TD3 of Stable-Baselines3; its defaults but for warm-up, noise and equal layers.

    Args:
        context: dimensions, number of episodes and seed; an encoder is refused.
        hidden_dim: width of the two hidden layers of actor and critics, >= 1.
        learning_rate: Adam's, > 0.
        discount: of the value of the next step, in [0, 1].
        tau: share in (0, 1] by which the target networks follow.
        batch_size: steps in one update, >= 1.
        warmup_share: share in [0, 1) of all episodes with uniform random actions.
        sigma: constant noise after the warm-up, in action units, > 0.
        updates_per_step: updates at the end of an episode for each of its steps, >= 1.

    Raises:
        ValueError: for a number outside its range, an encoder, or when
            stable-baselines3 is not installed.
    """
    checks.positive(sigma=sigma)
    return OffPolicy(
        context,
        "TD3",
        hidden_dim=hidden_dim,
        learning_rate=learning_rate,
        discount=discount,
        tau=tau,
        batch_size=batch_size,
        warmup_share=warmup_share,
        sigma=sigma,
        updates_per_step=updates_per_step,
    )


def sac(
    context: AgentContext,
    *,
    hidden_dim: int = 256,
    learning_rate: float = 3e-4,
    discount: float = 0.99,
    tau: float = 0.005,
    batch_size: int = 256,
    warmup_share: float = 0.25,
    updates_per_step: int = 1,
) -> Agent:
    """SAC of Stable-Baselines3; the numbers are its defaults but for the warm-up.

    Args:
        context: dimensions, number of episodes and seed; an encoder is refused.
        hidden_dim: width of the two hidden layers of actor and critics, >= 1.
        learning_rate: Adam's, > 0.
        discount: of the value of the next step, in [0, 1].
        tau: share in (0, 1] by which the target networks follow.
        batch_size: steps in one update, >= 1.
        warmup_share: share in [0, 1) of all episodes with uniform random actions.
        updates_per_step: updates at the end of an episode for each of its steps, >= 1.

    Raises:
        ValueError: as `td3`.
    """
    return OffPolicy(
        context,
        "SAC",
        hidden_dim=hidden_dim,
        learning_rate=learning_rate,
        discount=discount,
        tau=tau,
        batch_size=batch_size,
        warmup_share=warmup_share,
        sigma=0.0,
        updates_per_step=updates_per_step,
    )


def ppo(
    context: AgentContext,
    *,
    hidden_dim: int = 64,
    learning_rate: float = 3e-4,
    discount: float = 0.99,
    gae_decay: float = 0.95,
    clip_range: float = 0.2,
    epochs: int = 10,
    batch_size: int = 64,
    episodes_per_update: int = 8,
) -> Agent:
    """PPO of Stable-Baselines3; its defaults but for the shorter rollouts.

    Args:
        context: dimensions and seed; an encoder is refused.
        hidden_dim: width of the two hidden layers of policy and value, >= 1.
        learning_rate: Adam's, > 0.
        discount: of the value of the next step, in [0, 1].
        gae_decay: of later errors of the value in an advantage, in [0, 1].
        clip_range: how far the ratio may leave 1 with profit, > 0.
        epochs: passes over each rollout, >= 1.
        batch_size: steps in one update, >= 2.
        episodes_per_update: episodes in a rollout, >= 1; with at least two steps.

    Raises:
        ValueError: as `td3`.
    """
    return OnPolicy(
        context,
        hidden_dim=hidden_dim,
        learning_rate=learning_rate,
        discount=discount,
        gae_decay=gae_decay,
        clip_range=clip_range,
        epochs=epochs,
        batch_size=batch_size,
        episodes_per_update=episodes_per_update,
    )
