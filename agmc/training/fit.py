"""Training: one loop, for base networks and for fine-tuning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from agmc.data import Splits
from agmc.training.augment import augment
from agmc.training.execution import Execution
from agmc.training.freeze import frozen
from agmc.training.team import Team

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
# Part of the key of cached networks: raise it when the same arguments train otherwise.
REVISION = 1
_FIRST_RATE = 0.04


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: SGD with Nesterov momentum, a one-cycle schedule, random crops.

    Args:
        epochs: passes over the training split, >= 1.
        learning_rate: its peak, > 0. It rises linearly from 4 % of it and falls along
            a cosine to 0.
        batch_size: largest batch, >= 1; all are of nearly the same size.
        momentum: in [0, 1).
        weight_decay: of weights; biases and batch norms have none. >= 0.
        warmup_share: of all steps, for the rise, in [0, 1).
        label_smoothing: share of the target spread over all classes, in [0, 1).
        max_gradient_norm: a longer gradient is cut to it, > 0; None leaves it. Without
            batch norms between them, layers blow gradients up now and then.

    Raises:
        ValueError: a number is out of range.
    """

    epochs: int = 20
    learning_rate: float = 0.2
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_share: float = 0.2
    label_smoothing: float = 0.0
    max_gradient_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be >= 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate (={self.learning_rate}) must be > 0")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay (={self.weight_decay}) must be >= 0")
        for name in ("momentum", "warmup_share", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be in [0, 1)")
        if self.max_gradient_norm is not None and not self.max_gradient_norm > 0:
            raise ValueError(
                f"max_gradient_norm (={self.max_gradient_norm}) must be > 0, or null"
            )

    def rate(self, step: int, num_steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        warmup = self.warmup_share * num_steps
        if step < warmup:
            return self.learning_rate * (
                _FIRST_RATE + (1 - _FIRST_RATE) * step / warmup
            )
        done = (step - warmup) / (num_steps - warmup)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training split.

    Attributes:
        epoch: counted from 1.
        epochs: of the whole training.
        loss: mean over the images.
        accuracy: on the augmented training images, as training went, in [0, 1].
        learning_rate: of the last step.
        seconds: wall clock.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float


def fit(
    module: nn.Module,
    splits: Splits,
    recipe: Recipe,
    *,
    execution: Execution,
    seed: int,
    objective: Objective | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    after_step: Callable[[int, int], None] | None = None,
    freeze: Sequence[str] = (),
    team: Team | None = None,
) -> list[EpochRecord]:
    """Trains `module` in place on the train split; the last epoch is what stays.

    The same seed gives the same weights on the same machine and number of threads.

    Args:
        module: from images to logits; is left placed by `execution`, in evaluation
            mode.
        splits: only `train` is read.
        recipe: the knobs.
        execution: device and precision.
        seed: of the order, the crops, the flips and of dropout.
        objective: (images, logits, labels) -> mean loss; None: cross-entropy with
            `label_smoothing`.
        on_epoch: called after every epoch.
        after_step: (step, steps of the whole training), called after every step of
            the optimiser, counted from 1; may change the weights in place, in every
            process of a team by the same.
        freeze: patterns of names of layers that stay as they are, see `frozen`.
        team: processes that all call this with the same arguments and share every
            batch; None: this one alone.

    Raises:
        ValueError: the loss is no longer finite, a batch has fewer images than the
            team has processes, or as `frozen`.
    """
    team = team or Team()
    device = execution.torch_device
    execution.place(module)
    loss_of = objective or _cross_entropy(recipe.label_smoothing)
    scaler = torch.amp.GradScaler(device.type, enabled=execution.dtype == torch.float16)
    generator = torch.Generator().manual_seed(seed)
    images = splits.train.images.to(device)
    labels = splits.train.labels.to(device)
    num_batches = -(-len(labels) // recipe.batch_size)
    records = []
    step = 0
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        frozen(module, freeze) as still,
        team.joined(module) as network,
    ):
        optimizer = _optimizer(module, recipe)
        torch.manual_seed(seed)  # dropout
        for epoch in range(1, recipe.epochs + 1):
            started = time.perf_counter()
            module.train()
            for part in still:
                part.eval()
            total, hits = torch.zeros((), device=device), torch.zeros((), device=device)
            order = torch.randperm(len(labels), generator=generator)
            for index in order.to(device).tensor_split(num_batches):
                x = augment(
                    splits.normalize(images[index]),
                    crop_padding=splits.crop_padding,
                    flip=splits.flip,
                    generator=generator,
                )
                x, y = team.part(x), team.part(labels[index])
                for group in optimizer.param_groups:
                    group["lr"] = recipe.rate(step, recipe.epochs * num_batches)
                with execution.autocast():
                    logits = network(x)
                    loss = loss_of(x, logits.float(), y)
                optimizer.zero_grad()
                # Parts may differ by an image, and the gradients are averaged.
                share = len(y) * team.size / len(index)
                scaler.scale(loss * share).backward()
                if recipe.max_gradient_norm is not None:
                    scaler.unscale_(optimizer)
                    clip_grad_norm_(module.parameters(), recipe.max_gradient_norm)
                scaler.step(optimizer)
                scaler.update()
                step += 1
                if after_step is not None:
                    after_step(step, recipe.epochs * num_batches)
                total += loss.detach() * len(y)
                hits += (logits.detach().argmax(1) == y).sum()
            total, hits = team.total(torch.stack([total, hits]))
            record = EpochRecord(
                epoch=epoch,
                epochs=recipe.epochs,
                loss=float(total) / len(labels),
                accuracy=float(hits) / len(labels),
                learning_rate=optimizer.param_groups[0]["lr"],
                seconds=time.perf_counter() - started,
            )
            if not math.isfinite(record.loss):
                raise ValueError(
                    f"the loss is {record.loss} in epoch {epoch}; lower the "
                    f"learning_rate (={recipe.learning_rate})"
                )
            records.append(record)
            if on_epoch is not None:
                on_epoch(record)
    module.eval()
    return records


def _cross_entropy(label_smoothing: float) -> Objective:
    def objective(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)

    return objective


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in trained if p.dim() > 1],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
    )
