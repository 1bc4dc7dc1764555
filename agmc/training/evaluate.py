"""Accuracy of a network."""

from __future__ import annotations

import torch
from torch import nn

from agmc.training.batches import Batches
from agmc.training.execution import Execution
from agmc.training.modes import kept_modes


def accuracy(module: nn.Module, batches: Batches, *, execution: Execution) -> float:
    """The share of images whose largest logit is that of their label, in [0, 1].

    Args:
        module: from images to logits [N, num_classes], placed by `execution`; runs in
            evaluation mode and comes back in the mode it was in.
        batches: what to classify.
        execution: precision.
    """
    with kept_modes(module), torch.inference_mode(), execution.autocast():
        module.eval()
        hits = [(module(x).argmax(1) == y).sum() for x, y in batches]
    return int(torch.stack(hits).sum()) / batches.num_images
