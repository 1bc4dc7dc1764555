"""Gradual pruning: weights go a few at a time, while the network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agmc.compression.sparsify import layer_weights, smallest, zeros_of
from agmc.graph.weighted import check_layers


@dataclass(frozen=True, kw_only=True)
class GradualPruning:
    r"""When weights go in a training (Zhu and Gupta 2017, arXiv 1710.01878, eq. 1).

    .. math::
        s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{n \Delta t}\right)^3

    with the sparsity s_f of the plan, s_i its `initial_share`, t_0 the step at `begin`,
    t_0 + n Delta t the step at `end` and Delta t the `frequency`. Many weights go at
    first, while there are many to choose from, and few at last. What follows after
    `end` is the network's time to get over it.

    Args:
        begin: share of the training after which the first weights go, in [0, 1].
        end: share of the training after which the plan's sparsity is reached, in
            [begin, 1].
        frequency: steps from one choice of weights to the next, >= 1. The paper's 100
            to 1,000 are for trainings of 100,000 steps and more.
        initial_share: of the plan's sparsity, gone with the first choice, in [0, 1];
            1: everything goes at `begin`.

    Raises:
        ValueError: a number is out of range.
    """

    begin: float = 0.0
    end: float = 0.5
    frequency: int = 1
    initial_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("begin", "end", "initial_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be in [0, 1]")
        if self.end < self.begin:
            raise ValueError(
                f"end (={self.end}) must not come before begin (={self.begin})"
            )
        if self.frequency < 1:
            raise ValueError(f"frequency (={self.frequency}) must be >= 1")

    def share(self, step: int, num_steps: int) -> float:
        """The share of the plan's sparsity that is reached after a step, in [0, 1].

        Args:
            step: counted from 1.
            num_steps: of the whole training.
        """
        first, last = self._span(num_steps)
        if step < first:
            return 0.0
        if step >= last:
            return 1.0
        left = 1 - (step - first) / (last - first)
        return 1 + (self.initial_share - 1) * left**3

    def due(self, step: int, num_steps: int) -> bool:
        """Whether weights are chosen after this step; arguments as of `share`."""
        first, last = self._span(num_steps)
        within = first <= step <= last
        return within and ((step - first) % self.frequency == 0 or step == last)

    def _span(self, num_steps: int) -> tuple[int, int]:
        """The first and the last step with a choice."""
        first = max(1, round(self.begin * num_steps))
        return first, max(first, round(self.end * num_steps))


class GradualMasks:
    """Called after every step of a training, makes a network sparse by a schedule.

    The smallest weights of the moment are chosen whenever the schedule says so. What is
    chosen is zero from then on: momentum and weight decay move it and are undone. After
    the last step every layer has the sparsity that `sparsify` would give it.

    Args:
        network: that is trained: what `compress`, `Pruner.prune` or `agmc.load`
            returned. In a team every process has the same weights, and so the same
            masks.
        sparsity: layer name -> share of its weights, in [0, 1), at the end.
        schedule: when they go.

    Raises:
        ValueError: the network has no such layer.
    """

    def __init__(
        self,
        network: nn.Module,
        sparsity: Mapping[str, float],
        schedule: GradualPruning,
    ) -> None:
        weights = layer_weights(network)
        check_layers(sparsity, weights)
        self._weights = {name: weights[name] for name in sparsity}
        self._sparsity = sparsity
        self._schedule = schedule
        self._masks: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, step: int, num_steps: int) -> None:
        """Takes note of a step; see `agmc.training.fit`, `after_step`.

        Args:
            step: that the optimiser has taken, counted from 1.
            num_steps: of the whole training.
        """
        if self._schedule.due(step, num_steps):
            share = self._schedule.share(step, num_steps)
            for name, weight in self._weights.items():
                self._masks[name] = self._chosen(name, weight, share)
        for name, mask in self._masks.items():
            self._weights[name].masked_fill_(mask, 0)

    def _chosen(self, name: str, weight: Tensor, share: float) -> Tensor:
        magnitudes = weight.abs()
        if name in self._masks:  # once chosen, always chosen
            magnitudes.masked_fill_(self._masks[name], -1)
        return smallest(magnitudes, zeros_of(weight, share * self._sparsity[name]))
