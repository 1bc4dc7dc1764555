"""Batch-norm statistics of the network as it is now."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from agmc.training.batches import Batches
from agmc.training.execution import Execution
from agmc.training.modes import kept_modes


def recalibrate_batch_norm(
    module: nn.Module, batches: Batches, *, execution: Execution
) -> None:
    """Replaces the running statistics of every batch norm, in place.

    Removing channels shifts the activations behind them. The means and variances of
    the batches are averaged, each batch counting the same. No weight changes.

    Args:
        module: placed by `execution`; only its batch norms run in training mode, and
            comes back in the mode it was in.
        batches: training images.
        execution: precision.
    """
    norms = [
        part
        for part in module.modules()
        if isinstance(part, _BatchNorm) and part.track_running_stats
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with kept_modes(module), torch.no_grad(), execution.autocast():
        module.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for the cumulative average
            norm.training = True
        try:
            for images, _ in batches:
                module(images)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
