"""Corpus: graphs of networks for the auto-encoder to learn from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from agmc.graph.groups import UnprunableWarning
from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace
from agmc.models import build
from agmc.models.families import members

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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build(name, num_classes=10)
        graphs.append(traced(model, image_size))
    return graphs


def graphs_by_family(
    families: Mapping[str, tuple[str, ...]],
    *,
    random_networks: int = 0,
    on_network: Callable[[str], None] = lambda name: None,
) -> dict[str, list[ModelGraph]]:
    """Builds and traces whole families, see `agmc.models.families.members`.

    Args:
        families: names of networks by family.
        random_networks: how many random ones come with them, >= 0.
        on_network: called with the name of every network.

    Raises:
        ValueError: a name is unknown, or the network cannot be traced.
    """
    result: dict[str, list[ModelGraph]] = {}
    for member in members(families, random_networks=random_networks):
        on_network(member.name)
        graph = traced(member.model, member.image_size)
        result.setdefault(member.family, []).append(graph)
    return result


def traced(model: nn.Module, image_size: int) -> ModelGraph:
    """The graph of a network for images of so many pixels on a side, 3 channels."""
    with warnings.catch_warnings():
        # What cannot be pruned in a network of the corpus concerns nobody.
        warnings.simplefilter("ignore", UnprunableWarning)
        return trace(model, torch.zeros(1, 3, image_size, image_size))
