"""Replaces operators that write into their argument by those that do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agmc.graph.operators import operator_of, overload_of
from agmc.graph.program import Operation, Ref, map_refs

#: Return their argument itself in evaluation mode, though their schema hides it.
_HIDDEN_ALIASES = frozenset({"getitem", "dropout", "feature_dropout", "alpha_dropout"})


def without_writes(
    operations: Sequence[Operation], outputs: Any
) -> tuple[list[Operation], Any]:
    """The same computation with `relu` for `relu_`, `add` for `add_`, and so on.

    What is read after a write is the written value, so later readers are pointed to
    the result of the replaced operation.

    Args:
        operations: in execution order.
        outputs: tree of `Ref` that the network returns.

    Returns:
        The operations and the outputs.

    Raises:
        ValueError: a value is read after something that shares its memory was written
            into, or an operator has no form that does not write.
    """
    renamed: dict[str, str] = {}
    memory: dict[str, str] = {}  # value -> the one whose memory it may lie in
    stale: dict[str, str] = {}  # value -> the operation that wrote into its memory
    result = []

    def current(name: str) -> Ref:
        name = renamed.get(name, name)
        if name in stale:
            raise ValueError(
                f"the forward code reads {name!r} after {stale[name]!r} has written "
                "into memory that both share; write it without in-place operations"
            )
        return Ref(name)

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
            name, _, overload = operation.op.removeprefix("aten.").partition(".")
            operation = replace(operation, op=f"aten.{name[:-1]}.{overload}")
            operator_of(operation.op)
            for other, home in memory.items():
                if home == memory[first] and other not in (first, operation.name):
                    stale.setdefault(other, operation.name)
            renamed = {
                old: operation.name if new == first else new
                for old, new in renamed.items()
            }
            renamed[first] = operation.name
        result.append(operation)
    return result, map_refs(outputs, current)


def _writes(operation: Operation) -> bool:
    """By ATen's convention: `relu_`, but not `__and__`."""
    kind = operation.kind
    return (
        operation.op.startswith("aten.")
        and kind.endswith("_")
        and not kind.endswith("__")
    )


def _may_share_memory(operation: Operation) -> bool:
    """Whether the result may be a view of an argument."""
    if operation.kind in _HIDDEN_ALIASES:
        return True
    function = overload_of(operation.op)
    return function is not None and any(
        argument.alias_info is not None for argument in function._schema.arguments
    )
