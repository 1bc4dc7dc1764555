"""ResizedOnnx: the ONNX file of one network, at the sizes of smaller ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from agmc.compression.calibration import minmax
from agmc.compression.prune import Pruner
from agmc.compression.quantize import Quantization, graph_network
from agmc.export.onnx import quiet_exporter, save_onnx
from agmc.graph.exported import exported_program
from agmc.graph.model_graph import ModelGraph
from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation
from agmc.graph.weighted import weighted_layers
from agmc.plan import Plan

#: Behind the name of a weight, where it is made of integers.
_ROUNDED = "_q.made"


class ResizedOnnx:
    """Exports once; a pruned network then costs only a copy of its tensors.

    For measuring time only, of one input: batch norm is folded into no weight, and
    integers are zeros, so the values are not those of the network. A network in which
    pruning rewrote more than the groups of convolutions and the widths of paddings is
    exported itself.

    Args:
        model: the original network, on the CPU.
        graph: its graph.
        inputs: examples, batch first.
        integers: whether all layers have 8 bits, weights and inputs.

    Raises:
        ValueError: the network cannot be exported, or not with integers.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ModelGraph,
        inputs: Sequence[Tensor],
        *,
        integers: bool = False,
    ) -> None:
        self._program, self._inputs = graph.program, tuple(inputs)
        self._integers = integers
        if integers:
            model = Pruner(model, graph).prune(Plan({}))
        self._proto = self._exported(model)
        # Shapes that were noted down inside are those of the original.
        del self._proto.graph.value_info[:]
        held = {tensor.name for tensor in self._proto.graph.initializer}
        layers = [op for op in graph.program.operations if _has_weight(op)]
        pads = [n for n in self._proto.graph.node if n.op_type == "Pad"]
        codes = f"{_ROUNDED}.codes" if integers else ""
        self._resizable = all(
            f"{list(op.refs())[1]}{codes}" in held for op in layers
        ) and len(pads) == sum(_is_pad(op) for op in graph.program.operations)
        sizes = {t.name: t.dims[0] for t in self._proto.graph.initializer if t.dims}
        for node in self._proto.graph.node:
            if node.op_type == "Reshape":
                self._resizable &= sizes.get(node.input[1]) == 2
        if self._resizable:
            for tensor in self._proto.graph.initializer:
                if tensor.name in graph.parameters:
                    tensor.ClearField("raw_data")  # others take their place

    def under(self, network: GraphNetwork) -> bytes:
        """The serialised ONNX model of a network pruned from the original."""
        operations = network.program.operations
        if not self._resizable or len(operations) != len(self._program.operations):
            return self._anew(network)
        for old, new in zip(self._program.operations, operations, strict=True):
            if old != new and not (_is_pad(new) or _has_weight(new)):
                return self._anew(network)
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        state = {k: v.detach().numpy() for k, v in network.state_dict().items()}
        tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
        groups = {
            list(op.refs())[1]: int(op.args[6]) if len(op.args) > 6 else 1
            for op in operations
            if op.kind.startswith("conv")
        }
        pads = iter([op for op in operations if _is_pad(op)])
        for name in tensors.keys() & state.keys():
            _fill(tensors[name], state[name])
        if self._integers:
            _fill_integers(proto.graph, tensors, state)
        for node in proto.graph.node:
            weight = node.input[1] if len(node.input) > 1 else ""
            weight = weight.removesuffix(_ROUNDED)
            if node.op_type == "Conv" and weight in groups:
                for attribute in node.attribute:
                    if attribute.name == "group":
                        attribute.i = groups[weight]
                # Batch norm's shift, under a name of its own.
                if len(node.input) > 2 and node.input[2] in tensors:
                    size = len(state[weight])
                    _fill(tensors[node.input[2]], np.zeros(size, dtype=np.float32))
            elif node.op_type == "Reshape":  # to two dimensions, at batch size 1
                _fill(tensors[weight], np.array([1, -1], dtype=np.int64))
            elif node.op_type == "Pad":
                _fill(tensors[weight], _onnx_pads(next(pads), tensors[weight].dims[0]))
        return proto.SerializeToString()

    def _anew(self, network: GraphNetwork) -> bytes:
        return self._exported(network).SerializeToString()

    def _exported(self, model: nn.Module) -> onnx.ModelProto:
        if not self._integers:
            return _exported(model, self._inputs)
        layers = weighted_layers(graph_network(model).program)
        bits = dict.fromkeys(layers, 8)
        plan = Plan({}, weight_bits=bits, act_bits=bits)
        rounded = Quantization(calibration=minmax).apply(
            graph_network(model), plan, [self._inputs]
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            save_onnx(rounded, path, self._inputs, batch_size=1)
            return onnx.load(path)


def _has_weight(operation: Operation) -> bool:
    return operation.kind in ("conv1d", "conv2d", "conv3d", "linear")


def _is_pad(operation: Operation) -> bool:
    return operation.kind in ("pad", "constant_pad_nd")


def _onnx_pads(operation: Operation, length: int) -> np.ndarray:
    """All beginnings, then all ends; torch has pairs, the last dimension first."""
    widths = list(operation.args[1])
    rank = length // 2
    begins, ends = [0] * rank, [0] * rank
    for position in range(0, len(widths), 2):
        begins[rank - 1 - position // 2] = widths[position]
        ends[rank - 1 - position // 2] = widths[position + 1]
    return np.array(begins + ends, dtype=np.int64)


def _fill(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def _fill_integers(
    graph: onnx.GraphProto,
    tensors: Mapping[str, onnx.TensorProto],
    state: Mapping[str, np.ndarray],
) -> None:
    """Zeros of the right sizes, as weights, and as biases of the same layers."""
    made = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        if len(node.input) < 2 or not node.input[1].endswith(_ROUNDED):
            continue
        floats = made[node.input[1]]
        codes, scale, zeros = floats.input
        (axis,) = (a.i for a in floats.attribute if a.name == "axis")
        shape = state[node.input[1].removesuffix(_ROUNDED)].shape
        _fill(tensors[codes], np.zeros(shape, dtype=np.int8))
        _fill(tensors[scale], np.ones(shape[axis], dtype=np.float32))
        _fill(tensors[zeros], np.zeros(shape[axis], dtype=np.int8))
        if len(node.input) > 2 and node.input[2] in made:
            codes, scale = made[node.input[2]].input
            _fill(tensors[codes], np.zeros(shape[axis], dtype=np.int32))
            _fill(tensors[scale], np.ones(shape[axis], dtype=np.float32))
        elif len(node.input) > 2 and node.input[2] in tensors:
            _fill(tensors[node.input[2]], np.zeros(shape[axis], dtype=np.float32))


def _exported(model: nn.Module, inputs: tuple[Tensor, ...]) -> onnx.ModelProto:
    exported = exported_program(model, inputs)
    with tempfile.TemporaryDirectory() as folder, quiet_exporter():
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            exported, (), path, dynamo=True, external_data=False, verbose=False
        )
        return onnx.load(path)
