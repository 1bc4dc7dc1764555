"""Program: the operations of a network in execution order, as plain data."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from agmc.graph.operators import operator_of


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
    """

    inputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    operations: tuple[Operation, ...]
    outputs: Any
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]

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


def program_to_json(program: Program) -> dict[str, Any]:
    """The program as values that `json.dumps` takes; `program_from_json` reverses."""
    return {
        "inputs": list(program.inputs),
        "input_shapes": [list(shape) for shape in program.input_shapes],
        "operations": [
            [
                operation.name,
                operation.op,
                _encode(operation.args),
                _encode(dict(operation.kwargs)),
                operation.layer,
            ]
            for operation in program.operations
        ],
        "outputs": _encode(program.outputs),
        "parameters": list(program.parameters),
        "buffers": list(program.buffers),
    }


def program_from_json(record: Any) -> Program:
    """Reads what `program_to_json` made; nothing in the record is trusted.

    Raises:
        ValueError: the record has another form, names an operator that may not run,
            or reads a value before it is made.
    """
    try:
        operations = tuple(
            Operation(
                _text(name), _text(op), _decode(args), dict(_decode(kw)), _text(layer)
            )
            for name, op, args, kw, layer in record["operations"]
        )
        program = Program(
            inputs=_texts(record["inputs"]),
            input_shapes=tuple(
                tuple(map(int, shape)) for shape in record["input_shapes"]
            ),
            operations=operations,
            outputs=_decode(record["outputs"]),
            parameters=_texts(record["parameters"]),
            buffers=_texts(record["buffers"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"the network's description is damaged: {error}") from error
    known = {*program.inputs, *program.parameters, *program.buffers}
    for operation in program.operations:
        _check_arguments(operation)
        for name in operation.refs():
            if name not in known:
                raise ValueError(
                    f"the network's description is damaged: {operation.name!r} reads "
                    f"{name!r} before it is made"
                )
        if operation.name in known:
            raise ValueError(
                f"the network's description is damaged: {operation.name!r} twice"
            )
        known.add(operation.name)
    if missing := set(refs_in(program.outputs)) - known:
        raise ValueError(
            f"the network's description is damaged: no output {sorted(missing)}"
        )
    return program


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.40} is no list")
    return tuple(_text(item) for item in value)


def _check_arguments(operation: Operation) -> None:
    """The operator may run and is called with as many arguments as it takes."""
    function = operator_of(operation.op)
    if not isinstance(operation.args, tuple):
        raise ValueError(
            f"the network's description is damaged: {operation.name!r} has no arguments"
        )
    if not isinstance(function, torch._ops.OpOverload):
        return
    taken = function._schema.arguments
    given = len(operation.args)
    if given > len(taken):
        raise ValueError(
            f"the network's description is damaged: {operation.name!r} calls "
            f"{operation.op} with {given} arguments"
        )
    for argument in taken[given:]:
        if not argument.has_default_value() and argument.name not in operation.kwargs:
            raise ValueError(
                f"the network's description is damaged: {operation.name!r} calls "
                f"{operation.op} without {argument.name!r}"
            )


def _encode(tree: Any) -> Any:
    if isinstance(tree, Ref):
        return {"ref": tree.name}
    if isinstance(tree, torch.dtype):
        return {"dtype": str(tree).removeprefix("torch.")}
    if isinstance(tree, torch.memory_format):
        return {"memory_format": str(tree).removeprefix("torch.")}
    if isinstance(tree, tuple):
        return {"tuple": [_encode(item) for item in tree]}
    if isinstance(tree, list):
        return [_encode(item) for item in tree]
    if isinstance(tree, dict):
        return {"dict": {str(key): _encode(item) for key, item in tree.items()}}
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"float": str(tree)}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise TypeError(f"an argument of type {type(tree).__name__} cannot be stored")


def _decode(record: Any) -> Any:
    if isinstance(record, list):
        return [_decode(item) for item in record]
    if not isinstance(record, dict):
        return record
    ((kind, content),) = record.items()
    if kind == "ref":
        return Ref(str(content))
    if kind in ("dtype", "memory_format"):
        value = getattr(torch, str(content), None)
        if not isinstance(value, getattr(torch, kind)):
            raise ValueError(f"no {kind} {content!r}")
        return value
    if kind == "tuple":
        return tuple(_decode(item) for item in content)
    if kind == "dict":
        return {key: _decode(item) for key, item in content.items()}
    if kind == "float":
        return float(content)
    raise ValueError(f"unknown kind of argument {kind!r}")
