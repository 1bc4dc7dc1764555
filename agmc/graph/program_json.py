"""A Program as JSON, and back: what a saved network says of its operations."""

from __future__ import annotations

import math
from typing import Any

import torch

from agmc.graph.operators import operator_of
from agmc.graph.program import Operation, Program, Ref, refs_in


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
        **({"one_at_a_time": True} if program.one_at_a_time else {}),
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
            one_at_a_time=record.get("one_at_a_time") is True,
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


_TYPES: dict[str, type] = {
    "ScalarType": torch.dtype,
    "MemoryFormat": torch.memory_format,
    "Layout": torch.layout,
}


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
    by_name = {argument.name: argument for argument in taken}
    given_values = [*zip(taken, operation.args, strict=False)]
    given_values += [
        (by_name[k], v) for k, v in operation.kwargs.items() if k in by_name
    ]
    for argument, value in given_values:
        kind = str(argument.real_type).removeprefix("Optional[").removesuffix("]")
        # torch takes numbers for them, whether there is such a type or not.
        if kind in _TYPES and not (value is None or isinstance(value, _TYPES[kind])):
            raise ValueError(
                f"the network's description is damaged: {operation.name!r} has "
                f"{value!r:.40} for {argument.name!r}"
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
        if all(isinstance(key, str) for key in tree):
            return {"dict": {key: _encode(item) for key, item in tree.items()}}
        return {"pairs": [[_encode(key), _encode(item)] for key, item in tree.items()]}
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
    if kind == "pairs":
        return {_decode(key): _decode(item) for key, item in content}
    if kind == "float":
        return float(content)
    raise ValueError(f"unknown kind of argument {kind!r}")
