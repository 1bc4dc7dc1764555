"""What a pruner and a repair take from the training data."""

from __future__ import annotations

import numpy as np
from torch import nn

from agmc.compression.group_error import group_errors
from agmc.compression.importance import Importance, gradients
from agmc.compression.prune import Pruner
from agmc.compression.reconstruct import Reconstruction
from agmc.data import Splits
from agmc.graph.model_graph import ModelGraph
from agmc.training import Execution, batches_of

#: Training images whose gradients an importance reads.
_GRADIENT_IMAGES = 500
#: Of one gradient; few, because the squares of the gradients are averaged.
_GRADIENT_BATCH = 10
#: Training images that the errors of channel groups are measured on.
_ERROR_IMAGES, _ERROR_BATCH = 128, 64


def pruner_of(
    model: nn.Module,
    graph: ModelGraph,
    splits: Splits,
    importance: Importance,
    execution: Execution,
) -> Pruner:
    """A pruner; gradients, where the importance needs them, are those of `train`."""
    found = None
    if getattr(importance, "needs_gradients", False):
        batches = batches_of(
            splits,
            "train",
            execution=execution,
            limit=_GRADIENT_IMAGES,
            batch_size=_GRADIENT_BATCH,
        )
        found = gradients(execution.place(model), batches)
    return Pruner(model, graph, importance=importance, gradients=found)


def reconstruction_of(
    model: nn.Module,
    graph: ModelGraph,
    splits: Splits,
    execution: Execution,
    *,
    images: int,
    batch_size: int,
) -> Reconstruction | None:
    """Least squares from `images` training images; None for 0."""
    if images == 0:
        return None
    batches = batches_of(
        splits, "train", execution=execution, limit=images, batch_size=batch_size
    )
    return Reconstruction(
        execution.place(model), graph, (inputs for inputs, _ in batches)
    )


def errors_of(pruner: Pruner, splits: Splits, execution: Execution) -> np.ndarray:
    """What least squares cannot mend of every channel group, see `group_errors`."""
    reconstruction = reconstruction_of(
        *(pruner.model, pruner.graph, splits, execution),
        images=_ERROR_IMAGES,
        batch_size=_ERROR_BATCH,
    )
    assert reconstruction is not None
    return group_errors(pruner, reconstruction)


def check_repair(
    reconstruction_images: int, recalibration_images: int, batch_size: int
) -> None:
    """Refuses numbers of images that a repair cannot be taken from.

    Raises:
        ValueError: a number is out of range.
    """
    if reconstruction_images < 0:
        raise ValueError(
            f"reconstruction_images (={reconstruction_images}) must be >= 0; "
            "0 turns reconstruction off"
        )
    if recalibration_images < 0:
        raise ValueError(
            f"recalibration_images (={recalibration_images}) must be >= 0; "
            "0 turns recalibration off"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size (={batch_size}) must be >= 1")
