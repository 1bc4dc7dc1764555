"""trace: nn.Module -> ModelGraph, through torch.export."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agmc.graph.exported import exported_program
from agmc.graph.groups import find_groups
from agmc.graph.in_place import without_writes
from agmc.graph.model_graph import ModelGraph, ParameterSpec, TensorSpec
from agmc.graph.program import Operation, Program, Ref, refs_in

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_FRAME = re.compile(r'File "(.+?)", line (\d+)')
_NO_VALUE = frozenset(
    {"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range"}
)


def trace(model: nn.Module, example_input: Tensor | Sequence[Tensor]) -> ModelGraph:
    """Traces a network in evaluation mode; the model is left as it was.

    The batch size becomes free where the network allows it; shapes in the graph are
    those of one input (batch 1).

    Args:
        model: any network that `torch.export` takes.
        example_input: a Tensor or a tuple of Tensors, batch first, on the model's
            device.

    Raises:
        ValueError: the network cannot be exported, the inputs do not fit it, a weight
            is not finite, or a value is read after memory that it shares was written.
    """
    return _model_graph(exported_program(model, example_input), model)


def _model_graph(
    exported: torch.export.ExportedProgram, model: nn.Module
) -> ModelGraph:
    signature = exported.graph_signature
    first_names = _first_names(model)
    stored = {
        node: first_names.get(name, name)
        for node, name in (
            *signature.inputs_to_parameters.items(),
            *signature.inputs_to_buffers.items(),
            *signature.inputs_to_lifted_tensor_constants.items(),
        )
    }
    names = _value_names(exported, stored)
    operations: list[Operation] = []
    tensors: dict[str, TensorSpec] = {}
    sources: dict[str, str] = {}
    for node in exported.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name not in stored:
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"input {node.name!r} is no Tensor but {type(value).__name__}"
                )
            tensors[names[node.name]] = _tensor_spec(value)
        elif node.op == "call_function" and _operator_name(node) not in _NO_VALUE:
            operations.append(_operation(node, names))
            if place := _source(node):
                sources[names[node.name]] = place
            if isinstance(value, Tensor):
                tensors[names[node.name]] = _tensor_spec(value)
        elif node.op == "get_attr":
            raise ValueError(
                f"{type(model).__name__} has control flow or autocast in its forward "
                f"code ({node.target}), which cannot be traced; move it outside"
            )
    operations, outputs = without_writes(operations, _outputs(exported, names))
    for operation in operations:
        if operation.kind in ("slice_scatter", "select_scatter"):
            tensors.setdefault(operation.name, tensors[next(operation.refs())])
    operations = _without_unread(operations, outputs)
    read = {name for operation in operations for name in operation.refs()}
    inputs = tuple(names[n] for n in signature.user_inputs if isinstance(n, str))
    program = Program(
        inputs=inputs,
        input_shapes=tuple(tensors[name].shape for name in inputs),
        operations=tuple(operations),
        outputs=outputs,
        parameters=_read_names(signature.inputs_to_parameters, stored, read),
        buffers=_read_names(
            {
                **signature.inputs_to_buffers,
                **signature.inputs_to_lifted_tensor_constants,
            },
            stored,
            read,
        ),
    )
    state = {**exported.state_dict, **exported.constants}
    state |= {
        first: state[name] for name, first in first_names.items() if name in state
    }
    made = {operation.name for operation in operations}
    live = {k: v for k, v in tensors.items() if k in made or k in program.inputs}
    parameters = {
        name: _parameter_spec(state[name], name in program.parameters)
        for name in program.parameters + program.buffers
    }
    own = dict(model.named_buffers(remove_duplicate=False))
    integers = _positions(program, state)
    found = find_groups(
        program,
        live,
        {name: spec.shape for name, spec in parameters.items()},
        constants=[name for name in program.buffers if name not in own],
        integers=integers,
        sources=sources,
    )
    return ModelGraph(
        program=program,
        tensors=live,
        parameters=parameters,
        groups=found.groups,
        channels=found.channels,
        group_atoms=found.group_atoms,
        shuffles=found.shuffles,
        unprunable=found.unprunable,
        integers=integers,
        sources=sources,
        constants={
            name: value
            for name, value in exported.constants.items()
            if name in program.buffers
        },
    )


def _positions(program: Program, state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Values of the buffers that say which positions an index_select takes."""
    return {
        name: state[name].cpu().numpy()
        for operation in program.operations
        if operation.kind == "index_select"
        for name in list(operation.refs())[1:]
        if name in program.buffers
    }


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer that has several -> the first of them."""
    first: dict[int, str] = {}
    result = {}
    for name, value in (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ):
        if first.setdefault(id(value), name) != name:
            result[name] = first[id(value)]
    return result


def _read_names(
    names: Mapping[str, str], stored: Mapping[str, str], read: set[str]
) -> tuple[str, ...]:
    """First names, once each, of the stored tensors that operations read."""
    return tuple(dict.fromkeys(stored[node] for node in names if stored[node] in read))


def _without_unread(operations: list[Operation], outputs: Any) -> list[Operation]:
    """Operations whose results reach the outputs (copies, checks of shapes do not)."""
    wanted = set(refs_in(outputs))
    result = []
    for operation in reversed(operations):
        if operation.name in wanted:
            wanted.update(operation.refs())
            result.append(operation)
    return result[::-1]


def _value_names(
    exported: torch.export.ExportedProgram, stored: Mapping[str, str]
) -> dict[str, str]:
    """Node name -> name in the program; never the name of a parameter."""
    taken = set(stored.values())
    names = {}
    for node in exported.graph.nodes:
        if node.name in stored:
            names[node.name] = stored[node.name]
        else:
            name = node.name
            while name in taken:
                name += "_"
            taken.add(name)
            names[node.name] = name
    return names


def _operator_name(node: torch.fx.Node) -> str:
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]


def _operation(node: torch.fx.Node, names: Mapping[str, str]) -> Operation:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        op = str(target)
    else:
        op = f"_operator.{getattr(target, '__name__', target)}"
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    layer = stack[-1][0] if stack else ""
    return Operation(
        name=names[node.name],
        op=op,
        args=tuple(_argument(arg, names) for arg in node.args),
        kwargs={
            key: _argument(arg, names)
            for key, arg in node.kwargs.items()
            if key != "device"  # a network runs where its inputs are
        },
        layer=layer if not layer.startswith("_empty_nn_module_stack") else "",
    )


def _source(node: torch.fx.Node) -> str:
    """The innermost line of the forward code outside torch: "resnet.py:102"."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not frame[0].startswith(_TORCH)]
    return f"{Path(own[-1][0]).name}:{own[-1][1]}" if own else ""


def _argument(arg: Any, names: Mapping[str, str]) -> Any:
    if isinstance(arg, torch.fx.Node):
        return Ref(names[arg.name])
    if isinstance(arg, list):
        return [_argument(item, names) for item in arg]
    if isinstance(arg, tuple):
        return tuple(_argument(item, names) for item in arg)
    if isinstance(arg, dict):
        return {key: _argument(item, names) for key, item in arg.items()}
    return arg


def _outputs(exported: torch.export.ExportedProgram, names: Mapping[str, str]) -> Any:
    output = next(node for node in exported.graph.nodes if node.op == "output")
    flat = [_argument(arg, names) for arg in output.args[0]]
    spec = exported.call_spec.out_spec
    assert spec is not None
    return torch.utils._pytree.tree_unflatten(flat, spec)


def _tensor_spec(value: Tensor) -> TensorSpec:
    return TensorSpec(
        tuple(_at_batch_one(size) for size in value.shape),
        str(value.dtype).removeprefix("torch."),
    )


def _at_batch_one(size: int | torch.SymInt) -> int:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, 1)))


def _parameter_spec(value: Tensor, trainable: bool) -> ParameterSpec:
    floating = value.is_floating_point() and value.numel() > 0
    data = value.detach().float()
    return ParameterSpec(
        shape=tuple(value.shape),
        dtype=str(value.dtype).removeprefix("torch."),
        trainable=trainable,
        mean=float(data.mean()) if floating else 0.0,
        std=float(data.std(correction=0)) if floating else 0.0,
    )
