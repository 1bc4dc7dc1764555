"""Program: the operations of a network in execution order, as plain data."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Ref:
    """A value named in an argument: an input, an operation's output, a parameter."""

    name: str


@dataclass(frozen=True)
class Operation:
    """One call of one ATen operator.

    Attributes:
        name: unique; also the name of the value that the operation makes.
        op: full name of the operator, `aten.conv2d.default` or `_operator.getitem`.
        args: positional arguments; `Ref` for values, constants otherwise.
        kwargs: keyword arguments, likewise.
        layer: qualified name of the module whose forward made the call; "" at the
            root.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    layer: str = ""

    @property
    def kind(self) -> str:
        """Operator without namespace and overload: `conv2d`, `relu`, `getitem`."""
        return self.op.split(".")[1]

    def refs(self) -> Iterator[str]:
        """Names of all values read, in argument order, repeats included."""
        return iter(self._refs)

    @cached_property
    def _refs(self) -> tuple[str, ...]:
        return (*refs_in(self.args), *refs_in(dict(self.kwargs)))


@dataclass(frozen=True)
class Program:
    """A network as data: enough to run it again, given its parameters.

    Attributes:
        inputs: names of the inputs, in call order.
        input_shapes: of one example each, batch first (1).
        operations: in execution order.
        outputs: tree (tuple, list or dict) of `Ref` that the network returns.
        parameters: qualified names of all parameters that operations read.
        buffers: qualified names of all buffers that operations read.
        one_at_a_time: whether it was traced for one input and computes nothing right
            for several.
    """

    inputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    operations: tuple[Operation, ...]
    outputs: Any
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    one_at_a_time: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, Operation]:
        """Name -> operation, in execution order."""
        return {operation.name: operation for operation in self.operations}

    @cached_property
    def reads(self) -> Counter[str]:
        """How often every value is read, by operations and as an output."""
        counts = Counter(self.output_names())
        for operation in self.operations:
            counts.update(operation.refs())
        return counts

    def output_names(self) -> tuple[str, ...]:
        """Names of all values that the network returns."""
        return tuple(refs_in(self.outputs))

    def check_inputs(self, inputs: Sequence[Tensor]) -> None:
        """Refuses inputs that the operations would not run on, or give nonsense for.

        Raises:
            ValueError: there are more or fewer, or several at a time where that is one.
        """
        if len(inputs) != len(self.inputs):
            raise ValueError(
                f"the network takes {len(self.inputs)} inputs, got {len(inputs)}"
            )
        if self.one_at_a_time and inputs[0].ndim and len(inputs[0]) != 1:
            raise ValueError(
                f"the network was traced for one input at a time, got {len(inputs[0])}:"
                " its forward code fixes the size of the batch; write that for any"
            )


def refs_in(tree: Any) -> Iterator[str]:
    """Names referred to in a tree of arguments, in order."""
    if isinstance(tree, Ref):
        yield tree.name
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from refs_in(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from refs_in(item)


def map_refs(tree: Any, function: Callable[[str], Any]) -> Any:
    """The same tree with `function(name)` in the place of every `Ref`."""
    if isinstance(tree, Ref):
        return function(tree.name)
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_refs(item, function) for item in tree)
    if isinstance(tree, dict):
        return {key: map_refs(item, function) for key, item in tree.items()}
    return tree


def reading(operation: Operation, new: Callable[[str], str]) -> Operation:
    """The same operation, reading `new(name)` in the place of every value."""
    if all(new(name) == name for name in operation.refs()):
        return operation

    def ref(name: str) -> Ref:
        return Ref(new(name))

    args, kwargs = map_refs(operation.args, ref), map_refs(dict(operation.kwargs), ref)
    return dataclasses.replace(operation, args=args, kwargs=kwargs)


def without_unread(operations: Sequence[Operation], outputs: Any) -> list[Operation]:
    """Those whose results reach the outputs, in the same order."""
    wanted = set(refs_in(outputs))
    result = []
    for operation in reversed(operations):
        if operation.name in wanted:
            wanted.update(operation.refs())
            result.append(operation)
    return result[::-1]


def argument(operation: Operation, position: int, default: Any = None) -> Any:
    """A positional argument, or the default where the call left it out."""
    return operation.args[position] if len(operation.args) > position else default


def name_of(value: Any) -> str | None:
    """The name that an argument refers to; None for a constant."""
    return value.name if isinstance(value, Ref) else None
