"""Integers in ONNX: weights and biases as whole numbers, in a graph of floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxscript import onnx_opset

from agmc.export.deployed import Codes

#: With 4-bit and 16-bit integers.
OPSET = 21
op: Any = onnx_opset.opset21
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})
_CARRIERS = frozenset(
    {
        *("MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"),
        *("Slice", "Split", "Identity", "Pad", "Gather", "DepthToSpace"),
    }
)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What torch's exporter makes of the operator that rounds activations."""
    return {torch.ops.agmc.rounded.default: _rounded}


def _rounded(
    values: Any, scale: float, zero_point: int, first: int, last: int, whole: bool
) -> Any:
    """Quantised and back; clipped before where the runtime's integers reach further.

    With floats instead of integers where not all that reads it has `whole` weights.
    """
    kind = TensorProto.UINT8 if last <= 255 else TensorProto.UINT16
    zero = op.Constant(value=helper.make_tensor("zero", kind, [], [zero_point]))
    step = op.Constant(value_float=scale)
    if not whole:
        lowest = op.Constant(value_float=float(first - zero_point))
        highest = op.Constant(value_float=float(last - zero_point))
        return op.Mul(op.Clip(op.Round(op.Div(values, step)), lowest, highest), step)
    if last not in (255, 65535):
        lowest = op.Constant(value_float=(first - zero_point) * scale)
        highest = op.Constant(value_float=(last - zero_point) * scale)
        values = op.Clip(values, lowest, highest)
    return op.DequantizeLinear(op.QuantizeLinear(values, step, zero), step, zero)


def with_integers(
    model: ModelProto, weights: Mapping[str, Codes], *, int4: bool = False
) -> None:
    """Stores weights as integers and rounds the biases of their layers, in place.

    A bias becomes a 32-bit integer with the product of the step sizes of input and
    weight, as runtimes add it, where the layer reads a rounded activation.

    Args:
        model: of the exporter; its initializers have the names of the weights.
        weights: name -> codes.
        int4: whether codes of at most 4 bits are stored with 4; runtimes may compute
            on floats then.
    """
    graph = model.graph
    floats = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for name, found in weights.items():
        if name not in floats:
            continue  # the exporter found that nothing depends on it
        graph.initializer.remove(floats[name])
        kind = TensorProto.INT4 if int4 and found.bits <= 4 else TensorProto.INT8
        codes = _whole_numbers(f"{name}.codes", kind, found.codes)
        scale = numpy_helper.from_array(found.scale, f"{name}.scale")
        # Runtimes take a linear layer for one on integers only if they are told.
        zero = _whole_numbers(f"{name}.zero_point", kind, np.zeros(len(found.scale)))
        graph.initializer.extend([codes, scale, zero])
        nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [codes.name, scale.name, zero.name],
                [name],
                name=f"{name}.floats",
                axis=found.axis,
            )
        )
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type in _LAYERS and node.input[1] in weights and len(node.input) > 2:
            step = _step_of(node.input[0], makers, graph)
            if step is not None and node.input[2] in floats:
                bias = numpy_helper.to_array(floats[node.input[2]])
                product = step * weights[node.input[1]].scale.astype(np.float64)
                nodes.append(_whole_bias(graph, node, bias, product))
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *body])
    onnx.checker.check_model(model)


def _whole_numbers(name: str, kind: int, values: np.ndarray) -> TensorProto:
    """Integers of 4 or 8 bits in a byte or half of one.

    What `make_tensor` makes of a list has up to ten bytes for each.
    """
    codes = values.astype(np.int8).flatten().view(np.uint8)
    if kind == TensorProto.INT4:  # two in a byte, the first one in its lower half
        halves = np.append(codes, np.zeros(len(codes) % 2, np.uint8)) & np.uint8(15)
        codes = halves[::2] + 16 * halves[1::2]
    return helper.make_tensor(name, kind, values.shape, codes.tobytes(), raw=True)


def _step_of(
    value: str, makers: Mapping[str, NodeProto], graph: GraphProto
) -> float | None:
    """Step size of a rounded activation, looked at through what only carries it."""
    while value in makers and makers[value].op_type in _CARRIERS:
        value = makers[value].input[0]
    maker = makers.get(value)
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    return _constant(maker.input[1], makers, graph)


def _constant(
    name: str, makers: Mapping[str, NodeProto], graph: GraphProto
) -> float | None:
    """A number that stands in the file."""
    if name in makers:
        (held,) = makers[name].attribute
        return float(held.f if held.name == "value_float" else _number(held.t))
    return next((_number(t) for t in graph.initializer if t.name == name), None)


def _number(tensor: TensorProto) -> float:
    return float(numpy_helper.to_array(tensor))


def _whole_bias(
    graph: GraphProto, node: NodeProto, bias: np.ndarray, step: np.ndarray
) -> NodeProto:
    """Gives a layer its bias as integers; the node that makes them floats."""
    name = f"{node.output[0]}/bias"
    step = np.tile(step, len(bias) // len(step))  # by group, where it is transposed
    codes = np.rint(bias / step).astype(np.int32)
    graph.initializer.extend(
        [
            numpy_helper.from_array(codes, f"{name}.codes"),
            numpy_helper.from_array(step.astype(np.float32), f"{name}.scale"),
        ]
    )
    node.input[2] = name
    return helper.make_node(
        "DequantizeLinear",
        [f"{name}.codes", f"{name}.scale"],
        [name],
        name=f"{name}.floats",
        axis=0,
    )
