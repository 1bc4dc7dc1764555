"""Networks of `graph_nets` ready to be quantised, and what quantised ones compute."""

from __future__ import annotations

from graph_nets import make, quiet_trace

from agmc.compression.fold import state_of
from agmc.compression.prune import Pruner
from agmc.graph.network import GraphNetwork
from agmc.graph.weighted import weighted_layers
from agmc.plan import Plan


def network_of(name):
    net, inputs = make(name)
    graph = quiet_trace(net, inputs)
    return Pruner(net, graph).prune(Plan({})), inputs


def all_bits(network, weight_bits=8, act_bits=8, **parts):
    layers = weighted_layers(network.program)
    return Plan(
        {},
        weight_bits=dict.fromkeys(layers, weight_bits) if weight_bits else {},
        act_bits=dict.fromkeys(layers, act_bits) if act_bits else {},
        **parts,
    )


def computed(network, inputs, kind):
    """Operation -> what the operations of a kind compute."""
    seen = {}

    class Watched(GraphNetwork):
        def _run(self, step, values):
            value = super()._run(step, values)
            if kind in step.operation.kind:
                seen[step.operation.name] = value.detach()
            return value

    Watched(network.program, state_of(network)).eval()(*inputs)
    return seen
