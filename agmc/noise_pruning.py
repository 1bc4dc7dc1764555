"""NoisePruning: a training in which noise tells which weights can go."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from agmc.compression.information_dropout import InformationDropout
from agmc.compression.sparsify import shares_of_zeros, zero
from agmc.data import Splits
from agmc.graph.trace import trace
from agmc.training import EpochRecord, Execution, Recipe, Team, fit

_FIRST_ALPHA = 0.1


@dataclass(frozen=True, kw_only=True)
class NoisePruning:
    """Information dropout on every weight, for some epochs: what bears the noise goes.

    How many weights of a layer become zero is found, not asked for: see
    `InformationDropout`. What is zero already stays that.

    Attributes:
        beta: what a nat of information costs, > 0 and finite: the more, the more zeros.
        epochs: of the training with noise, >= 1; it takes some 200 steps.
        learning_rate: its peak, > 0.
        batch_size: images per step, >= 1.
        max_gradient_norm: a longer gradient, that of the noise included, is cut to it,
            > 0; None: never.
        max_alpha: largest noise, > 0.1, where it begins, and finite.
        speed: how fast noise grows where nothing needs the weight, > 0 and finite;
            within these epochs it has to get from 0.1 to `max_alpha`.
        threshold: share of `max_alpha` from which on a weight goes, in (0.1 /
            `max_alpha`, 1).

    Raises:
        ValueError: a number is out of range.
    """

    beta: float = 0.01
    epochs: int = 20
    learning_rate: float = 0.05
    batch_size: int = 128
    max_gradient_norm: float | None = None
    max_alpha: float = 0.7
    speed: float = 0.3
    threshold: float = 0.9

    def __post_init__(self) -> None:
        _ = self.recipe
        for name, least in (("beta", 0), ("speed", 0), ("max_alpha", _FIRST_ALPHA)):
            value = getattr(self, name)
            if not least < value < math.inf:
                raise ValueError(f"{name} (={value}) must be > {least} and finite")
        if not _FIRST_ALPHA / self.max_alpha < self.threshold < 1:
            raise ValueError(
                f"threshold (={self.threshold}) must be in "
                f"({_FIRST_ALPHA / self.max_alpha:.3g}, 1), a share of max_alpha above "
                f"{_FIRST_ALPHA}, where noise begins"
            )

    @property
    def recipe(self) -> Recipe:
        """Of the training."""
        return Recipe(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            max_gradient_norm=self.max_gradient_norm,
        )

    def apply(
        self,
        network: nn.Module,
        splits: Splits,
        *,
        execution: Execution,
        seed: int,
        on_epoch: Callable[[EpochRecord], None] | None = None,
        team: Team | None = None,
    ) -> Mapping[str, float]:
        """Trains the network with noise, in place, and sets to zero what can go.

        Args:
            network: whose layers have weights of their own.
            splits: only `train` is read.
            execution: device and precision.
            seed: of the training and the noise.
            on_epoch: see `fit`.
            team: see `fit`.

        Returns:
            Layer -> share of zeros, in (0, 1), without those that have none.

        Raises:
            ValueError: a number is out of range, or see `fit`.
        """
        execution.place(network)
        example = splits.example_input().to(execution.torch_device)
        dropout = InformationDropout(
            *(network, trace(network, example)),
            num_images=len(splits.train),
            beta=self.beta,
            max_alpha=self.max_alpha,
            initial_alpha=_FIRST_ALPHA,
            speed=self.speed,
            threshold=self.threshold,
        )
        try:
            fit(
                *(network, splits, self.recipe),
                execution=execution,
                seed=seed,
                objective=dropout.objective(_cross_entropy),
                on_epoch=on_epoch,
                after_step=dropout.hold,
                team=team,
            )
            masks = dropout.masks()
        finally:
            dropout.remove()
        zero(network, masks)
        return shares_of_zeros(network)


def _cross_entropy(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)
