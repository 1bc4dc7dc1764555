"""About: the layers that a decision is about."""

from __future__ import annotations

from agmc.decision import DROPPED, Decision
from agmc.embedding.progress import layers_of
from agmc.graph.program import Operation
from agmc.graph.weighted import weighted_layers
from agmc.graph.widths import Widths
from agmc.plan_space import PlanSpace


def operations_of(
    space: PlanSpace, decision: Decision, widths: Widths
) -> tuple[Operation, ...]:
    """The layer calls that a decision is about, in execution order.

    Those that make the channels of a group, those inside of a block, or the one layer;
    none where no layer with a weight makes the channels.

    Args:
        space: that the decision is of.
        decision: about a channel group, a block or a layer.
        widths: of the network.
    """
    graph = space.graph
    if decision.part == "keep_ratio":
        (group,) = (group for group in graph.groups if group.name == decision.name)
        return layers_of(widths, group)
    layers = weighted_layers(graph.program)
    if decision.part != DROPPED:
        return (layers[decision.name],)
    (block,) = (block for block in graph.blocks if block.name == decision.name)
    inside = {*block.operations}
    return tuple(layer for layer in layers.values() if layer.name in inside)
