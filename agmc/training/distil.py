"""Knowledge distillation: a small network learns from the outputs of a large one.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015,
https://arxiv.org/abs/1503.02531.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agmc.data import Splits
from agmc.training.execution import Execution
from agmc.training.fit import EpochRecord, Recipe, fit
from agmc.training.modes import kept_modes
from agmc.training.team import Team


@dataclass(frozen=True, kw_only=True)
class Distillation(Recipe):
    """How to fine-tune: a `Recipe`, and how much the teacher counts.

    Args:
        epochs: as in `Recipe`, as all that follow but the last two.
        learning_rate: lower than for training from scratch.
        batch_size: see `Recipe`.
        momentum: see `Recipe`.
        weight_decay: see `Recipe`.
        warmup_share: see `Recipe`.
        label_smoothing: of the part of the loss that reads the labels.
        max_gradient_norm: see `Recipe`.
        distillation_weight: of the teacher, in [0, 1]; the labels count the rest.
        temperature: that softens both outputs, > 0.

    Raises:
        ValueError: a number is out of range.
    """

    epochs: int = 10
    learning_rate: float = 0.05
    distillation_weight: float = 0.7
    temperature: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.distillation_weight <= 1:
            raise ValueError(
                f"distillation_weight (={self.distillation_weight}) must be in [0, 1]"
            )
        if not self.temperature > 0:
            raise ValueError(f"temperature (={self.temperature}) must be > 0")


def distillation_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    distillation_weight: float,
    temperature: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""The loss of Hinton et al., mean over the images.

    .. math::
        \lambda T^2\, \mathrm{KL}(\sigma(t / T) \,\|\, \sigma(s / T))
        + (1 - \lambda)\, \mathrm{CE}(s, y)

    with the logits s and t, the softmax, lambda the `distillation_weight` and T the
    `temperature`; its square keeps the size of the gradients when T changes.

    Shapes:
        logits and teacher_logits [N, num_classes], labels int64 [N]; output scalar.
    """
    soft = F.kl_div(
        F.log_softmax(logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    hard = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return (
        distillation_weight * temperature**2 * soft + (1 - distillation_weight) * hard
    )


def distil(
    student: nn.Module,
    teacher: nn.Module,
    splits: Splits,
    recipe: Distillation,
    *,
    execution: Execution,
    seed: int,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    after_step: Callable[[int, int], None] | None = None,
    team: Team | None = None,
) -> list[EpochRecord]:
    """Trains `student` in place to answer like `teacher`, which does not change.

    Both see the same augmented images. Arguments, result and errors as of `fit`.
    """
    execution.place(teacher)

    def objective(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_logits = teacher(images).float()
        return distillation_loss(
            logits,
            teacher_logits,
            labels,
            distillation_weight=recipe.distillation_weight,
            temperature=recipe.temperature,
            label_smoothing=recipe.label_smoothing,
        )

    with kept_modes(teacher):
        teacher.eval()
        return fit(
            student,
            splits,
            recipe,
            execution=execution,
            seed=seed,
            objective=objective if recipe.distillation_weight > 0 else None,
            on_epoch=on_epoch,
            after_step=after_step,
            team=team,
        )
