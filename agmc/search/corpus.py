"""Corpus: graphs of well-known networks for the auto-encoder to learn from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from agmc.graph.groups import UnprunableWarning
from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace
from agmc.models import build

#: Small torchvision classifiers of different families: residual, fire, inverted
#: residual, channel shuffle.
NAMES = (
    "resnet18",
    "squeezenet1_1",
    "mobilenet_v2",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
)


def corpus(
    *, names: Sequence[str] = NAMES, image_size: int = 64
) -> Sequence[ModelGraph]:
    """Builds and traces networks with fresh weights, the same at every call.

    Args:
        names: as `agmc.models.build` takes them.
        image_size: pixels on a side of the example.

    Raises:
        ValueError: a name is unknown, or the network cannot be traced.
    """
    graphs = []
    for name in names:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # What cannot be pruned in a network of the corpus concerns nobody.
            warnings.simplefilter("ignore", UnprunableWarning)
            torch.manual_seed(0)
            model = build(name, num_classes=10)
            graphs.append(trace(model, torch.randn(1, 3, image_size, image_size)))
    return graphs
