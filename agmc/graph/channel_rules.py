"""What each operator does to channels: one small rule per kind, in one table.

A rule reads the labels of the operation's inputs and sets that of its result; an
operator without a rule leaves all its channels alone.
"""

from __future__ import annotations

from collections.abc import Callable

from agmc.graph import layer_rules, mixing_rules, part_rules, shape_rules
from agmc.graph.labels import Labels
from agmc.graph.pointwise_rules import is_pointwise, pointwise
from agmc.graph.program import Operation

Rule = Callable[[Labels, Operation], None]


def rule_of(operation: Operation) -> Rule:
    """The rule of an operation; unknown operators leave channels alone."""
    if operation.op.startswith("_operator.") and operation.kind != "getitem":
        return _arithmetic_on_shapes
    if operation.op in ("aten.max.other", "aten.min.other"):
        return pointwise
    if operation.kind in _RULES:
        return _RULES[operation.kind]
    if is_pointwise(operation):
        return pointwise
    if operation.kind.startswith(("upsample_", "_upsample_")):
        return mixing_rules.pool
    return _unknown


def _unknown(labels: Labels, operation: Operation) -> None:
    labels.leave_alone(operation, f"no rule says what {operation.op} does to channels")


def _arithmetic_on_shapes(labels: Labels, operation: Operation) -> None:
    """Makes no activation; numbers of channels are constants when it is traced."""


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), layer_rules.convolution),
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        layer_rules.convolution,
    ),
    "linear": layer_rules.linear,
    "batch_norm": layer_rules.batch_norm,
    "instance_norm": layer_rules.instance_norm,
    "group_norm": layer_rules.group_norm,
    **dict.fromkeys(("layer_norm", "rms_norm"), layer_rules.layer_norm),
    "prelu": layer_rules.prelu,
    **dict.fromkeys(
        (
            *("max_pool1d", "max_pool2d", "max_pool3d"),
            *("max_pool1d_with_indices", "max_pool2d_with_indices"),
            *("avg_pool1d", "avg_pool2d", "avg_pool3d", "grid_sampler"),
            *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
            *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        ),
        mixing_rules.pool,
    ),
    **dict.fromkeys(
        (
            *("sum", "mean", "amax", "amin", "max", "min", "norm", "prod", "var"),
            *("std", "logsumexp", "linalg_vector_norm", "argmax", "argmin"),
        ),
        mixing_rules.reduction,
    ),
    **dict.fromkeys(
        ("softmax", "log_softmax", "cumsum", "cumprod", "flip", "roll"),
        mixing_rules.along_dimensions,
    ),
    **dict.fromkeys(("matmul", "mm", "bmm", "einsum"), mixing_rules.product),
    "scaled_dot_product_attention": mixing_rules.attention,
    **dict.fromkeys(("cat", "concat", "concatenate"), part_rules.concatenate),
    "stack": part_rules.stack,
    **dict.fromkeys(("slice", "narrow"), part_rules.slice_),
    "select": part_rules.select,
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk"),
        part_rules.split,
    ),
    "unbind": part_rules.unbind,
    "getitem": part_rules.getitem,
    "index_select": part_rules.index_select,
    **dict.fromkeys(("pad", "constant_pad_nd"), part_rules.pad),
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unsqueeze", "_unsafe_view"), shape_rules.reshape
    ),
    "squeeze": shape_rules.squeeze,
    **dict.fromkeys(
        (
            "permute",
            "transpose",
            "t",
            "mT",
            "movedim",
            "moveaxis",
            "swapaxes",
            "swapdims",
        ),
        shape_rules.permute,
    ),
    "expand": shape_rules.expand,
    "repeat": shape_rules.repeat,
    "repeat_interleave": shape_rules.repeat_interleave,
    "pixel_shuffle": shape_rules.pixel_shuffle,
    "pixel_unshuffle": shape_rules.pixel_unshuffle,
    "im2col": shape_rules.unfold,
    "channel_shuffle": shape_rules.channel_shuffle,
    "clone": shape_rules.same,
    "sym_size": _arithmetic_on_shapes,
}
