"""Operation types: the fixed vocabulary of the edges, and their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation
from agmc.graph.weighted import OUTPUT_DIM

#: Type -> the operators (`Operation.kind`, in-place underscore dropped) it stands for.
OPERATION_TYPES: dict[str, frozenset[str]] = {
    "conv": frozenset({"conv1d", "conv2d", "conv3d", "convolution"}),
    "depthwise_conv": frozenset(),  # a conv with one group per input channel
    "linear": frozenset({"linear", "addmm", "matmul", "bmm", "mm"}),
    "batch_norm": frozenset({"batch_norm", "instance_norm"}),
    "other_norm": frozenset({"layer_norm", "group_norm", "rms_norm"}),
    "relu": frozenset({"relu", "leaky_relu", "prelu", "elu"}),
    "clipped_relu": frozenset({"hardtanh", "relu6", "clamp"}),
    "swish": frozenset({"silu", "hardswish", "gelu", "mish"}),
    "sigmoid": frozenset({"sigmoid", "hardsigmoid", "tanh", "softmax"}),
    "max_pool": frozenset(
        {"max_pool2d", "adaptive_max_pool2d", "amax", "max_pool2d_with_indices"}
    ),
    "average_pool": frozenset({"avg_pool2d", "adaptive_avg_pool2d", "mean"}),
    "add": frozenset({"add", "sub"}),
    "multiply": frozenset({"mul", "div"}),
    "concat": frozenset({"cat", "stack"}),
    "reshape": frozenset(
        {
            "flatten",
            "view",
            "reshape",
            "_unsafe_view",
            "squeeze",
            "unsqueeze",
            "transpose",
            "permute",
            "channel_shuffle",
        }
    ),
    "slice": frozenset({"slice", "getitem", "select", "narrow", "index"}),
    "pad": frozenset({"pad", "constant_pad_nd"}),
    "identity": frozenset({"dropout", "contiguous", "clone", "detach", "alias", "to"}),
    "other": frozenset(),  # whatever stands in no other line
}

_TYPE_OF_KIND = {k: name for name, kinds in OPERATION_TYPES.items() for k in kinds}


class Window(NamedTuple):
    """How an operation moves over its input.

    Attributes:
        kernel: (height, width), elements.
        stride: (height, width), elements.
        groups: into how many its channels are cut.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    groups: int = 1


def operation_type(graph: ModelGraph, operation: Operation) -> str:
    """The entry of `OPERATION_TYPES` that an operation belongs to."""
    found = _TYPE_OF_KIND.get(operation.kind.rstrip("_"), "other")
    if found == "conv":
        groups = window(graph, operation).groups
        if groups > 1 and groups == _shape(graph, next(operation.refs()))[1]:
            return "depthwise_conv"
    return found


def window(graph: ModelGraph, operation: Operation) -> Window:
    """Kernel, stride and groups of an operation; ones where it has none."""
    kind = operation.kind.rstrip("_")
    if kind in OUTPUT_DIM and kind != "linear":  # convolutions
        weight = _shape(graph, list(operation.refs())[1])
        return Window(
            _pair(weight[2:]),
            _pair(_argument(operation, 3, "stride", 1)),
            int(_argument(operation, 6, "groups", 1)),
        )
    if kind in {"max_pool2d", "max_pool2d_with_indices", "avg_pool2d"}:
        kernel = _pair(_argument(operation, 1, "kernel_size", 1))
        stride = _argument(operation, 2, "stride", None)
        return Window(kernel, _pair(stride) if stride else kernel)
    if kind in {"adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "amax"}:
        return _whole_windows(graph, operation)
    return Window()


def channels_through(graph: ModelGraph, layer: Operation) -> tuple[int, int]:
    """How many channels a convolution or linear layer takes and makes."""
    weight = _shape(graph, list(layer.refs())[1])
    groups = window(graph, layer).groups
    if OUTPUT_DIM.get(layer.kind, 0):  # a transposed convolution
        return weight[0], weight[1] * groups
    return weight[1] * groups, weight[0]


def _whole_windows(graph: ModelGraph, operation: Operation) -> Window:
    """Window of an operation that says what comes out instead of its kernel."""
    before = spatial_size(_shape(graph, next(operation.refs())))
    after = (
        spatial_size(graph.tensors[operation.name].shape)
        if operation.name in graph.tensors
        else (1, 1)
    )
    size = tuple(max(1, b // max(1, a)) for b, a in zip(before, after, strict=True))
    return Window((size[0], size[1]), (size[0], size[1]))


def spatial_size(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of an activation, elements; 1 where it has none."""
    if len(shape) < 3:
        return (1, 1)
    return (shape[-2], shape[-1]) if len(shape) > 3 else (shape[2], 1)


def _shape(graph: ModelGraph, name: str) -> tuple[int, ...]:
    stored = graph.parameters if name in graph.parameters else graph.tensors
    return stored[name].shape


def _argument(operation: Operation, position: int, name: str, default: Any) -> Any:
    if name in operation.kwargs:
        return operation.kwargs[name]
    return operation.args[position] if len(operation.args) > position else default


def _pair(value: Any) -> tuple[int, int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value, value]
    values += [1] * (2 - len(values))
    return (int(values[0]), int(values[1]))
