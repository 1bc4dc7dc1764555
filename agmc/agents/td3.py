"""TD3 on AMC's terms: two critics, smoothed targets, an actor that waits."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from agmc.agents import checks
from agmc.agents.actor_critic import ActionValue, ActorCritic, trainable
from agmc.agents.agent import AgentContext
from agmc.agents.replay import Transitions
from agmc.agents.replay_agent import ReplayAgent, descend


class TwinCritics(ActorCritic):
    """The networks of DDPG and a second critic beside the first.

    Args: those of `ActorCritic`.
    """

    def __init__(
        self,
        observation_dim: int,
        hidden_dim: int,
        encoder: nn.Module | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__(observation_dim, hidden_dim, encoder, generator)
        self.second_critic = ActionValue(self.num_features, hidden_dim, generator)

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return what the critics' loss trains: both critics and the encoder."""
        return [*super().critic_parameters(), *trainable(self.second_critic)]


class TD3(ReplayAgent[TwinCritics]):
    """Twin delayed DDPG (Fujimoto et al., ICML 2018), in the setting of `DDPG`.

    Three things differ from `DDPG`, each against values that are too high:

    1. Clipped double Q: both critics learn from the smaller of their two targets.
    2. Smoothing: the target's action is blurred by clipped noise,
       `a' = clip(pi'(s_{t+1}) + clip(N(0, target_sigma), +-target_clip), 0, 1)`.
    3. Delay: actor and target networks move once in `actor_delay` updates of the
       critics. The actor climbs the first critic.

        y_t = r - b + discount * continues_t * min(Q1'(s_{t+1}, a'), Q2'(s_{t+1}, a'))

    Rewards, baseline b, exploration, memory and encoder are as in `DDPG`, which says
    why. With discount 0 nothing is bootstrapped and only the delay is left of the
    three, so the default here is 1, as in AMC.

    Args:
        context: dimensions, number of episodes, seed and optional encoder.
        hidden_dim: width of the two hidden layers of actor and critics, >= 1.
        actor_lr: Adam's learning rate of the actor (and encoder), > 0.
        critic_lr: Adam's learning rate of both critics (and encoder), > 0.
        discount: of the value of the next step, in [0, 1].
        tau: share in (0, 1] by which the target networks follow when they move.
        target_sigma: noise of the smoothing, in action units, > 0.
        target_clip: largest noise of the smoothing, in action units, > 0.
        actor_delay: updates of the critics for one of the actor, >= 1.
        batch_size: steps in one update, >= 1.
        replay_episodes: episodes whose steps are remembered, >= 1.
        elite_share: share of each batch from the best episodes, in [0, 1].
        elite_episodes: best episodes remembered besides the latest, >= 1.
        baseline_rate: share in (0, 1] by which the baseline follows the mean reward
            of each batch.
        warmup_share: share in [0, 1) of all episodes with uniform random actions.
        initial_sigma: noise in the first episode after the warm-up, > 0.
        final_sigma: noise in the last episode, in (0, initial_sigma].
        updates_per_step: updates at the end of an episode for each of its steps, >= 1.

    Raises:
        ValueError: for a number outside its range or an encoder of the wrong shape.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        hidden_dim: int = 300,
        actor_lr: float = 1e-3,
        critic_lr: float = 1e-3,
        discount: float = 1.0,
        tau: float = 0.01,
        target_sigma: float = 0.1,
        target_clip: float = 0.25,
        actor_delay: int = 2,
        batch_size: int = 64,
        replay_episodes: int = 100,
        elite_share: float = 0.0,
        elite_episodes: int = 10,
        baseline_rate: float = 0.5,
        warmup_share: float = 0.25,
        initial_sigma: float = 0.5,
        final_sigma: float = 0.02,
        updates_per_step: int = 1,
    ) -> None:
        checks.at_least(1, actor_delay=actor_delay)
        checks.positive(target_sigma=target_sigma, target_clip=target_clip)
        super().__init__(
            context,
            TwinCritics,
            hidden_dim=hidden_dim,
            actor_lr=actor_lr,
            critic_lr=critic_lr,
            discount=discount,
            tau=tau,
            batch_size=batch_size,
            replay_episodes=replay_episodes,
            elite_share=elite_share,
            elite_episodes=elite_episodes,
            baseline_rate=baseline_rate,
            warmup_share=warmup_share,
            initial_sigma=initial_sigma,
            final_sigma=final_sigma,
            updates_per_step=updates_per_step,
        )
        self._target_sigma = target_sigma
        self._target_clip = target_clip
        self._actor_delay = actor_delay
        self._num_updates = 0

    def update(self, batch: Transitions) -> None:
        """Do one step of the critics and, when it is time, of actor and targets."""
        networks, targets = self.networks, self.targets
        baseline = self._baseline.follow(batch.rewards.mean().item())

        with torch.no_grad():
            following = targets.encoder(batch.next_observations)
            noise = torch.randn(batch.actions.shape, generator=self._generator)
            noise = (noise * self._target_sigma).clamp(
                -self._target_clip, self._target_clip
            )
            next_actions = (targets.actor(following) + noise).clamp(0.0, 1.0)
            next_values = torch.minimum(
                targets.critic(following, next_actions),
                targets.second_critic(following, next_actions),
            )
            wanted = (
                batch.rewards
                - baseline
                + self._discount * batch.continues * next_values
            )
        features = networks.encoder(batch.observations)
        critic_loss = functional.mse_loss(
            networks.critic(features, batch.actions), wanted
        ) + functional.mse_loss(networks.second_critic(features, batch.actions), wanted)
        descend(self._critic_adam, critic_loss)

        self._num_updates += 1
        if self._num_updates % self._actor_delay:
            return

        features = networks.encoder(batch.observations)
        actions = networks.actor(features)
        descend(self._actor_adam, -networks.critic(features.detach(), actions).mean())

        self.follow()
