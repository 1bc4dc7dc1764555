"""DDPG as AMC uses it, with the exploration tied to the length of the search."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn import functional

from agmc.agents import checks
from agmc.agents.actor_critic import ActorCritic
from agmc.agents.agent import Agent, AgentContext, Episode
from agmc.agents.baseline import RunningBaseline
from agmc.agents.best_episodes import BestEpisodesReplay
from agmc.agents.exploration import NoiseSchedule, NoisyPolicy
from agmc.agents.replay import Transitions


class DDPG(Agent):
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
        checks.at_least(
            1,
            hidden_dim=hidden_dim,
            batch_size=batch_size,
            replay_episodes=replay_episodes,
            elite_episodes=elite_episodes,
            updates_per_step=updates_per_step,
        )
        checks.positive(actor_lr=actor_lr, critic_lr=critic_lr)
        checks.share_above_zero(tau=tau, baseline_rate=baseline_rate)
        checks.share(discount=discount, elite_share=elite_share)
        schedule = NoiseSchedule(
            context.num_episodes, warmup_share, initial_sigma, final_sigma
        )
        self._discount = discount
        self._tau = tau
        self._batch_size = batch_size
        self._baseline = RunningBaseline(baseline_rate)
        self._updates_per_step = updates_per_step
        self._generator = torch.Generator().manual_seed(context.seed)

        self.networks = ActorCritic(
            context.observation_dim, hidden_dim, context.encoder, self._generator
        )
        self._targets = copy.deepcopy(self.networks).requires_grad_(False)
        self._actor_parameters = self.networks.actor_parameters()
        self._critic_parameters = self.networks.critic_parameters()
        # The fused step is four times as fast as the default one on a CPU.
        self._actor_adam = torch.optim.Adam(
            self._actor_parameters, lr=actor_lr, fused=True
        )
        self._critic_adam = torch.optim.Adam(
            self._critic_parameters, lr=critic_lr, fused=True
        )
        self.replay = BestEpisodesReplay(
            replay_episodes,
            context.num_decisions,
            context.observation_dim,
            elite_share=elite_share,
            elite_episodes=elite_episodes,
        )
        self._policy = NoisyPolicy(
            self.networks, context.observation_dim, schedule, self._generator
        )

    def begin_episode(self, index: int) -> None:
        """Set the exploration to that of episode `index`, counted from 0."""
        self._policy.begin_episode(index)

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Propose an action in [0, 1] for one observation `[observation_dim]`.

        The greedy policy (`explore=False`) draws no random number.

        Raises:
            ValueError: for an observation of the wrong shape or with NaN in it.
        """
        return self._policy.act(observation, explore)

    def observe(self, episode: Episode) -> None:
        """Remember the episode and, after the warm-up, learn from the memory."""
        self.replay.add(episode)
        if self._policy.warming_up:
            return
        for _ in range(self._updates_per_step * len(episode.actions)):
            self._update(
                self.replay.sample(self._batch_size, generator=self._generator)
            )

    def _update(self, batch: Transitions) -> None:
        """Do one step of critic, actor and target networks."""
        networks, targets = self.networks, self._targets
        baseline = self._baseline.follow(batch.rewards.mean().item())

        with torch.no_grad():
            following = targets.encoder(batch.next_observations)
            next_values = targets.critic(following, targets.actor(following))
            wanted = (
                batch.rewards
                - baseline
                + self._discount * batch.continues * next_values
            )
        values = networks.critic(networks.encoder(batch.observations), batch.actions)
        critic_loss = functional.mse_loss(values, wanted)
        self._critic_adam.zero_grad()
        # Named inputs spare the gradients that the other optimiser would need.
        critic_loss.backward(inputs=self._critic_parameters)
        self._critic_adam.step()

        features = networks.encoder(batch.observations)
        actions = networks.actor(features)
        actor_loss = -networks.critic(features.detach(), actions).mean()
        self._actor_adam.zero_grad()
        actor_loss.backward(inputs=self._actor_parameters)
        self._actor_adam.step()

        with torch.no_grad():
            for target, source in zip(
                targets.parameters(), networks.parameters(), strict=True
            ):
                target.lerp_(source, self._tau)
