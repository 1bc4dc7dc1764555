"""Replaces operators that write into their argument by those that do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from agmc.graph.model_graph import TensorSpec
from agmc.graph.operators import HIDDEN_ALIASES, operator_of, overload_of
from agmc.graph.program import Operation, Ref, map_refs

#: They give truth values, and written in place numbers of the target's type.
_TRUTHS = frozenset(
    {
        *("eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal"),
        *("greater", "greater_equal"),
        *("logical_and", "logical_or", "logical_xor", "logical_not"),
    }
)


def without_writes(
    operations: Sequence[Operation], outputs: Any, tensors: Mapping[str, TensorSpec]
) -> tuple[list[Operation], Any, dict[str, TensorSpec]]:
    """The same computation with `relu` for `relu_`, `add` for `add_`, and so on.

    What is read after a write is the written value, so later readers are pointed to
    the result of the replaced operation. A write into a slice of something is followed
    by an operation that puts the slice back (slice_scatter, select_scatter). What is
    written takes the type of what it is written into, where that is another by `to`.

    Args:
        operations: in execution order.
        outputs: tree of `Ref` that the network returns.
        tensors: what is known of values, parameters and buffers, by name.

    Returns:
        The operations, the outputs and `tensors` with what is new among the values.

    Raises:
        ValueError: a value is read after something that shares its memory was written
            into, or an operator has no form that does not write.
    """
    renamed: dict[str, str] = {}
    memory: dict[str, str] = {}  # value -> the one whose memory it may lie in
    stale: dict[str, str] = {}  # value -> the operation that wrote into its memory
    slices: dict[str, Operation] = {}
    result = []
    tensors = dict(tensors)

    def current(name: str) -> Ref:
        name = renamed.get(name, name)
        if name in stale:
            raise ValueError(
                f"the forward code reads {name!r} after {stale[name]!r} has written "
                "into memory that both share; write it without in-place operations"
            )
        return Ref(name)

    def point_to(new: str, old: str) -> None:
        """Later readers of `old` read `new`."""
        for name in [name for name, now in renamed.items() if now == old]:
            renamed[name] = new
        renamed[old] = new

    for operation in operations:
        operation = replace(
            operation,
            args=map_refs(operation.args, current),
            kwargs=map_refs(dict(operation.kwargs), current),
        )
        first = next(operation.refs(), None)
        writes = _writes(operation)
        if first is not None and (writes or _may_share_memory(operation)):
            memory.setdefault(first, first)
            memory[operation.name] = memory[first]
        if writes:
            if first is None or operation.args[0] != Ref(first):
                raise ValueError(f"{operation.op} writes into more than one value")
            copies = operation.kind == "copy_"
            operation = replace(operation, op=_without_writing(operation.op))
            if copies:  # `copy` has no derivative
                into, values = operation.args[:2]
                operation = replace(
                    operation, op="aten.expand_as.default", args=(values, into)
                )
            operator_of(operation.op)
            for other, home in memory.items():
                if home == memory[first] and other not in (first, operation.name):
                    stale.setdefault(other, operation.name)
            point_to(operation.name, first)
            own = tensors[first]
            if (kind := _type_of_result(operation, first, tensors)) != own.dtype:
                made = f"{operation.name}_before_to"
                tensors[made] = replace(own, dtype=kind)
                result.append(replace(operation, name=made))
                to = (Ref(made), getattr(torch, own.dtype))
                operation = replace(operation, op="aten.to.dtype", args=to, kwargs={})
            result.append(operation)
            for scatter in _put_back(slices, first, operation.name):
                whole = next(scatter.refs())
                stale.pop(whole, None)
                tensors[scatter.name] = tensors[whole]
                memory[scatter.name] = memory[first]
                point_to(scatter.name, whole)
                result.append(scatter)
            continue
        if operation.kind in ("slice", "select"):
            slices[operation.name] = operation
        result.append(operation)
    return result, map_refs(outputs, current), tensors


def _put_back(
    slices: dict[str, Operation], part: str, written: str
) -> Iterator[Operation]:
    """Operations that make the wholes of which `part` is a slice, of a slice, ..."""
    source = written
    while part in slices:
        cut = slices[part]
        part = next(cut.refs())
        name = f"{part}_after_{written}"
        yield replace(
            cut,
            name=name,
            op=f"aten.{cut.kind}_scatter.default",
            args=(Ref(part), Ref(source), *cut.args[1:]),
        )
        source = name


def _type_of_result(
    operation: Operation, into: str, tensors: Mapping[str, TensorSpec]
) -> str:
    """Without the write; with it, it is that of what is written into."""
    if operation.kind in _TRUTHS:
        return "bool"
    if operation.kind == "expand_as":  # it was a copy
        return tensors[next(operation.refs())].dtype
    found = _stand_in(tensors[into])
    for name in operation.refs():
        if name in tensors:
            both = torch.result_type(found, _stand_in(tensors[name]))
            found = found.to(both)
    return str(found.dtype).removeprefix("torch.")


def _stand_in(spec: TensorSpec) -> Tensor:
    """Of the same type; without dimensions it counts for less in a promotion."""
    shape = (1,) * bool(spec.shape)
    return torch.empty(shape, dtype=getattr(torch, spec.dtype), device="meta")


def _writes(operation: Operation) -> bool:
    """By ATen's convention: `relu_`, but not `__and__`."""
    kind = operation.kind
    return (
        operation.op.startswith("aten.")
        and kind.endswith("_")
        and not kind.endswith("__")
    )


def _without_writing(op: str) -> str:
    """`aten.transpose.int` for `aten.transpose_.default`."""
    name, _, overload = op.removeprefix("aten.").partition(".")
    same = f"aten.{name[:-1]}.{overload}"
    if overload_of(same) is not None:
        return same
    writing = overload_of(op)
    packet = getattr(torch.ops.aten, name[:-1], None)
    if writing is None or packet is None:
        return same
    wanted = [str(argument.type) for argument in writing._schema.arguments]
    for other in packet.overloads():
        function = getattr(packet, other)
        if [str(argument.type) for argument in function._schema.arguments] == wanted:
            return str(function)
    return same


def _may_share_memory(operation: Operation) -> bool:
    """Whether the result may be a view of an argument."""
    if operation.kind in HIDDEN_ALIASES:
        return True
    function = overload_of(operation.op)
    return function is not None and any(
        argument.alias_info is not None for argument in function._schema.arguments
    )
