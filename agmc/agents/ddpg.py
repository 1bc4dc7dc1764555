"""DDPG as AMC uses it, with the exploration tied to the length of the search."""

from __future__ import annotations

import torch
from torch.nn import functional

from agmc.agents.actor_critic import ActorCritic
from agmc.agents.agent import AgentContext
from agmc.agents.replay import Transitions
from agmc.agents.replay_agent import ReplayAgent, descend


class DDPG(ReplayAgent[ActorCritic]):
    """Deep deterministic policy gradient after AMC (He et al., ECCV 2018).

    The reward r exists only at the end of an episode. As in AMC it is given to *every*
    step, and the critic of step t learns, with a moving baseline b and target
    networks Q', pi':

        y_t = r - b + discount * continues_t * Q'(s_{t+1}, pi'(s_{t+1}))

    With discount 1, T steps and a settled policy `Q_t = (T - t) * E[r - b]`: for every
    step a positive multiple of what is wanted, so the best action is the same as with
    the reward at the end alone. But each step sees the outcome in its own target at
    once, where a single final reward would have to travel back through T bootstraps of
    a slowly moving target network. Discount 0 leaves `y_t = r - b`, which is the Monte
    Carlo return of the same episode: no bootstrap and a T times smaller scale, at the
    price of averaging over the older policies in the memory.

    Actions are uniform in the warm-up; then they are drawn around the policy from a
    normal distribution truncated to [0, 1], whose sigma follows `NoiseSchedule`.
    Learning starts with the first episode after the warm-up and happens at the end of
    each episode. The executed actions are what is learnt from.

    An encoder in the context is trained in place, by both losses: it joins both
    optimisers. In the actor's loss its features enter the critic detached, because
    features that merely please the critic would raise the loss's opinion of the
    action and not the action.

    Every random number comes from generators of this agent: same seed and same
    episodes, same actions, whatever else draws from torch's global state.

    Args:
        context: dimensions, number of episodes, seed and optional encoder.
        hidden_dim: width of the two hidden layers of actor and critic, >= 1.
        actor_lr: Adam's learning rate of the actor (and encoder), > 0.
        critic_lr: Adam's learning rate of the critic (and encoder), > 0.
        discount: of the value of the next step, in [0, 1].
        tau: share in (0, 1] by which the target networks follow in every update.
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
        actor_lr: float = 1e-4,
        critic_lr: float = 1e-3,
        discount: float = 0.0,
        tau: float = 0.01,
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
        super().__init__(
            context,
            ActorCritic,
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

    def update(self, batch: Transitions) -> None:
        """Do one step of critic, actor and target networks."""
        networks, targets = self.networks, self.targets
        baseline = self._baseline.follow(batch.rewards.mean().item())

        wanted = batch.rewards - baseline
        if self._discount:  # 0 spares a pass of the encoder
            with torch.no_grad():
                following = targets.encoder(batch.next_observations)
                next_values = targets.critic(following, targets.actor(following))
                wanted = wanted + self._discount * batch.continues * next_values
        values = networks.critic(networks.encoder(batch.observations), batch.actions)
        descend(self._critic_adam, functional.mse_loss(values, wanted))

        features = networks.encoder(batch.observations)
        actions = networks.actor(features)
        descend(self._actor_adam, -networks.critic(features.detach(), actions).mean())

        self.follow()
