"""Replaces operators that write into their argument by those that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agmc.graph.program import Operation, Ref, map_refs, operator_of

#: Operators whose result may share memory with their first argument.
_VIEWS = frozenset(
    {
        *("view", "reshape", "flatten", "slice", "select", "getitem", "chunk", "split"),
        *("permute", "transpose", "squeeze", "unsqueeze", "narrow", "expand", "unbind"),
        *("detach", "alias", "to", "contiguous", "dropout"),
    }
)


def without_writes(
    operations: Sequence[Operation],
) -> tuple[list[Operation], dict[str, str]]:
    """The same computation with `relu` for `relu_`, `add` for `add_`, and so on.

    What is read after a write is the written value, so later readers are pointed to
    the result of the replaced operation.

    Returns:
        The operations, and for every value written into the name that replaces it.

    Raises:
        ValueError: an operation writes into a part of a value that is read later.
    """
    renamed: dict[str, str] = {}
    base: dict[str, str] = {}
    spoilt: dict[str, str] = {}
    result = []
    for operation in operations:
        for name in operation.refs():
            if name in spoilt:
                raise ValueError(
                    f"{operation.name!r} reads {name!r} after {spoilt[name]!r} has "
                    "written into a part of it; write the forward code without that"
                )
        operation = _with_renamed_refs(operation, renamed)
        first = next(operation.refs(), None)
        if first is not None and operation.kind in _VIEWS:
            base[operation.name] = first
        if first is not None and operation.op.startswith("aten."):
            name, _, overload = operation.op.removeprefix("aten.").partition(".")
            if name.endswith("_") and not name.endswith("__"):
                operation = replace(operation, op=f"aten.{name[:-1]}.{overload}")
                operator_of(operation.op)
                shared = base.get(first)
                while shared is not None:
                    spoilt[shared] = operation.name
                    shared = base.get(shared)
                renamed = {
                    old: operation.name if new == first else new
                    for old, new in renamed.items()
                }
                renamed[first] = operation.name
        result.append(operation)
    return result, renamed


def _with_renamed_refs(operation: Operation, renamed: Mapping[str, str]) -> Operation:
    def rename(name: str) -> Ref:
        return Ref(renamed.get(name, name))

    return replace(
        operation,
        args=map_refs(operation.args, rename),
        kwargs=map_refs(dict(operation.kwargs), rename),
    )
