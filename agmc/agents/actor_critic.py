"""The networks of AMC's agent: encoder, actor and critic."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ActionValue(nn.Module):
    """The value of an action: `fc(s) + fc(a)` -> hidden -> hidden -> 1.

    Shapes:
        features `[B, F]`, actions `[B, 1]` -> values `[B, 1]`.
    """

    def __init__(
        self, num_features: int, hidden_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.from_features = linear(num_features, hidden_dim, generator)
        self.from_action = linear(1, hidden_dim, generator)
        self.hidden = linear(hidden_dim, hidden_dim, generator)
        self.value = linear(hidden_dim, 1, generator)

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:
        """Return one value a row."""
        first = self.from_features(features) + self.from_action(actions)
        second = torch.relu(self.hidden(torch.relu(first)))
        values: Tensor = self.value(second)
        return values


class ActorCritic(nn.Module):
    """Encoder, actor (features -> hidden -> hidden -> 1, sigmoid) and critic.

    Actor and critic read the same features. The initial weights are those of
    `nn.Linear` in distribution, drawn from `generator` alone, so the global random
    state neither matters nor moves.

    Args:
        observation_dim: length of one observation.
        hidden_dim: width of both hidden layers.
        encoder: see `feature_encoder`.
        generator: draws the initial weights.

    Raises:
        ValueError: when the encoder does not map to `[B, F]`.
    """

    def __init__(
        self,
        observation_dim: int,
        hidden_dim: int,
        encoder: nn.Module | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.encoder, num_features = feature_encoder(encoder, observation_dim)
        self.num_features = num_features
        self.actor = nn.Sequential(
            linear(num_features, hidden_dim, generator),
            nn.ReLU(),
            linear(hidden_dim, hidden_dim, generator),
            nn.ReLU(),
            linear(hidden_dim, 1, generator),
            nn.Sigmoid(),
        )
        self.critic = ActionValue(num_features, hidden_dim, generator)

    def forward(self, observations: Tensor) -> Tensor:
        """Return the greedy actions `[B, 1]` in [0, 1] for `[B, observation_dim]`."""
        actions: Tensor = self.actor(self.encoder(observations))
        return actions

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return what the actor loss trains: the actor and the encoder."""
        return trainable(self.actor, self.encoder)

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return what the critic loss trains: the critic and the encoder."""
        return trainable(self.critic, self.encoder)


def feature_encoder(
    encoder: nn.Module | None, observation_dim: int
) -> tuple[nn.Module, int]:
    """Return the encoder, ready to use, and the number F of its features.

    Args:
        encoder: `[B, observation_dim] -> [B, F]`, used itself and not copied; None
            hands the observations on. It is put into evaluation mode, as dropout
            would draw from the global random state.
        observation_dim: length of one observation.

    Raises:
        ValueError: when the encoder does not map to `[B, F]`.
    """
    encoder = nn.Identity() if encoder is None else encoder.eval()
    with torch.no_grad():
        features = encoder(torch.zeros(2, observation_dim))
    if features.ndim != 2 or features.shape[0] != 2:
        raise ValueError(
            f"encoder maps observations [2, {observation_dim}] to "
            f"{list(features.shape)}, expected [2, F]; return one row of "
            "features an observation"
        )
    return encoder, features.shape[1]


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the modules that are not frozen."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a layer with the initial weights of `nn.Linear`, drawn from `generator`.

    `nn.Linear()` itself would draw from the global random state.
    """
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    assert isinstance(layer, nn.Linear)
    bound = 1.0 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
