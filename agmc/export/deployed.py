"""Deployed: a quantised network as runtimes want it, with whole-number weights beside.

Runtimes compute on integers where an ONNX file has `QuantizeLinear` and
`DequantizeLinear` around a layer. Activations get the pair where the network rounds
them; weights are stored as integers in front of a `DequantizeLinear`, and the biases
between them with the product of both step sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from agmc.compression.fold import rebuilt, state_of
from agmc.export.quantized_weights import quantizers
from agmc.graph.network import GraphNetwork
from agmc.graph.operators import operator_of
from agmc.graph.program import Operation, Program, Ref, map_refs, name_of, reading
from agmc.graph.quantized_values import source_of
from agmc.graph.rounded_program import PER_CHANNEL, PER_TENSOR, SHARED
from agmc.graph.weighted import weight_of, weighted_layers


@dataclass(frozen=True)
class Codes:
    """A weight as whole numbers.

    Attributes:
        codes: int8 of the weight's shape.
        scale: float32 [C], step size of every channel.
        axis: of the channels.
        bits: of a code.
    """

    codes: np.ndarray
    scale: np.ndarray
    axis: int
    bits: int


@torch.library.custom_op("agmc::rounded", mutates_args=())
def rounded(
    values: Tensor, scale: float, zero_point: int, first: int, last: int, whole: bool
) -> Tensor:
    """Values [*] on a grid, as floats; `whole`: all layers that read it have integers.

    An operator of its own, because those of torch cannot be exported with a free batch
    size.
    """
    return torch.fake_quantize_per_tensor_affine(values, scale, zero_point, first, last)


@rounded.register_fake
def _(
    values: Tensor, scale: float, zero_point: int, first: int, last: int, whole: bool
) -> Tensor:
    return torch.empty_like(values)


class DeployedNetwork(GraphNetwork):
    """A quantised network ready to be exported, with all weights made.

    Args:
        network: left as it was.

    Attributes:
        codes_of_weights: name of a parameter -> its codes; of weights on an even grid
            of at most 8 bits.
    """

    def __init__(self, network: GraphNetwork) -> None:
        made, weights = _made(network)
        super().__init__(made.program, state_of(made))
        self.codes_of_weights = weights
        floats = _read_with_floats(made.program, weights)
        self._grids = {
            op.name: (
                op.args[0].name,
                *(*_grid(op, state_of(made)), *op.args[3:5], op.name not in floats),
            )
            for op in made.program.operations
            if op.op == PER_TENSOR
        }
        self.eval()

    def _run(self, step: Any, values: dict[str, Any]) -> Any:
        if step.operation.op != PER_TENSOR:
            return super()._run(step, values)
        name, *grid = self._grids[step.operation.name]
        return torch.ops.agmc.rounded(values[name], *grid)


def deployed_network(module: torch.nn.Module) -> DeployedNetwork | None:
    """A network that rounds weights or activations made ready; None for others."""
    return DeployedNetwork(module) if _rounds(module) else None


def without_rounding(module: torch.nn.Module) -> GraphNetwork | None:
    """A network that rounds with its weights made and no activation rounded."""
    if not _rounds(module):
        return None
    made, _ = _made(module)
    sources: dict[str, str] = {}
    kept = []
    for operation in made.program.operations:
        if operation.op == PER_TENSOR:
            name = name_of(operation.args[0]) or ""
            sources[operation.name] = sources.get(name, name)
        else:
            kept.append(reading(operation, lambda n: sources.get(n, n)))
    outputs = map_refs(made.program.outputs, lambda n: Ref(sources.get(n, n)))
    return rebuilt(made, kept, state_of(made), outputs=outputs)


def _rounds(module: torch.nn.Module) -> TypeGuard[GraphNetwork]:
    return isinstance(module, GraphNetwork) and any(
        operation.op in (PER_CHANNEL, PER_TENSOR, SHARED)
        for operation in module.program.operations
    )


def _read_with_floats(program: Program, weights: Mapping[str, Codes]) -> set[str]:
    """The rounded activations that a layer without integers reads.

    A runtime that finds integers on one side of such a layer rounds its weights to
    8 bits on its own.
    """
    return {
        source_of(program, name_of(layer.args[0]) or "")
        for layer in weighted_layers(program).values()
        if weight_of(layer) not in weights
    }


def _made(network: GraphNetwork) -> tuple[GraphNetwork, dict[str, Codes]]:
    """The network with its rounded weights as parameters, and their codes."""
    state = state_of(network)
    values: dict[str, Tensor] = dict(state)
    renamed: dict[str, str] = {}
    codes: dict[str, Codes] = {}
    operations = []
    for operation in network.program.operations:
        refs = list(operation.refs())
        if refs and all(name in values for name in refs) and _makes(operation):
            values[operation.name] = _result(operation, values)
            continue
        for name in refs:
            if name in values and name not in state and name not in renamed:
                renamed[name] = f"{name}.made"
                state[renamed[name]] = values[name]
        operations.append(reading(operation, lambda n: renamed.get(n, n)))
    for weight, found in quantizers(network.program).items():
        made_of = renamed.get(found.operation.name)
        if made_of is not None and found.axis is not None and found.bits <= 8:
            levels = found.levels(state[weight].cpu(), state).to(torch.int8)
            scale = state[found.scale].cpu().numpy()
            codes[made_of] = Codes(levels.numpy(), scale, found.axis, found.bits)
    made = rebuilt(network, operations, state, parameters=list(renamed.values()))
    return made, codes


def _grid(operation: Operation, state: Mapping[str, Tensor]) -> tuple[float, int]:
    scale, zero_point = (state[name_of(arg) or ""] for arg in operation.args[1:3])
    return float(scale), round(float(zero_point))


def _makes(operation: Operation) -> bool:
    """Whether an operation is part of making a weight out of parameters."""
    return operation.op in (PER_CHANNEL, SHARED, "aten.constant_pad_nd.default")


def _result(operation: Operation, values: Mapping[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return operator_of(operation.op)(*map_refs(operation.args, values.__getitem__))
