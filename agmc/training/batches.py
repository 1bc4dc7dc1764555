"""Batches: a split, or a fixed part of it, normalised and kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from agmc.data import Splits
from agmc.training.execution import Execution


@dataclass(frozen=True, eq=False)
class Batches:
    """Images as the network takes them, on the device, in the same order every time.

    Attributes:
        images: float32 [N, C, H, W], normalised, channels_last.
        labels: int64 [N].
        batch_size: largest batch; all are of nearly the same size.
    """

    images: Tensor
    labels: Tensor
    batch_size: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size (={self.batch_size}) must be >= 1")

    @property
    def num_images(self) -> int:
        """N."""
        return self.images.shape[0]

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # Of equal size, so that the mean over batches is the mean over images.
        return zip(
            self.images.tensor_split(len(self)),
            self.labels.tensor_split(len(self)),
            strict=True,
        )


def batches_of(
    splits: Splits,
    split: str,
    *,
    execution: Execution,
    limit: int | None = None,
    batch_size: int | None = None,
) -> Batches:
    """One split in memory, one image of every class in turn.

    Args:
        splits: the data set.
        split: `train`, `search` or `test`.
        execution: where to.
        limit: how many images, the first of every class; None: all.
        batch_size: largest batch, >= 1; None: 100 on the CPU, where a small batch stays
            in the caches, and 500 on cuda.

    Raises:
        ValueError: no such split, or a number is out of range.
    """
    if split not in splits.by_name:
        raise ValueError(
            f"split (={split!r}) must be one of {', '.join(splits.by_name)}"
        )
    chosen = splits.by_name[split]
    chosen = chosen.select(chosen.interleaved(limit))
    if batch_size is None:
        batch_size = 100 if execution.torch_device.type == "cpu" else 500
    images = chosen.images.to(execution.torch_device).contiguous(
        memory_format=execution.memory_format
    )
    with torch.no_grad():
        images = splits.normalize(images)
    return Batches(images, chosen.labels.to(execution.torch_device), batch_size)
