"""trace: nn.Module -> ModelGraph, through torch.export."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agmc.graph.groups import find_groups
from agmc.graph.in_place import without_writes
from agmc.graph.model_graph import ModelGraph, ParameterSpec, TensorSpec
from agmc.graph.program import Operation, Program, Ref, map_refs, refs_in

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
        ValueError: the network cannot be exported, or a weight is not finite.
    """
    return _model_graph(exported_program(model, example_input), model)


def exported_program(
    model: nn.Module, example_input: Tensor | Sequence[Tensor]
) -> torch.export.ExportedProgram:
    """What `torch.export` makes of a network, in evaluation mode.

    Arguments and errors are those of `trace`.
    """
    if isinstance(example_input, Tensor):
        example_input = (example_input,)
    _check_finite(model)
    with _evaluation_mode(model):
        return _export(model, tuple(example_input))


def _export(
    model: nn.Module, inputs: tuple[Tensor, ...]
) -> torch.export.ExportedProgram:
    # torch.export takes a size of 1 for a constant, so the batch is traced as 2.
    pairs = tuple(torch.cat([x[:1], x[:1]]) if x.ndim else x for x in inputs)
    free = tuple({0: torch.export.Dim.AUTO} if x.ndim else None for x in pairs)
    shapes = inspect.signature(model.forward).bind(*free).arguments
    exported = _torch_export(model, pairs, shapes)
    nodes = {node.name: node for node in exported.graph.nodes}
    if all(
        isinstance(nodes[name].meta["val"].shape[0], torch.SymInt)
        for name in exported.graph_signature.user_inputs
        if isinstance(name, str) and nodes[name].meta["val"].ndim
    ):
        return exported
    logging.getLogger(__name__).warning(
        "the forward code of %s fixes the batch size: traced at batch size 1 only",
        type(model).__name__,
    )
    return _torch_export(model, tuple(x[:1] if x.ndim else x for x in inputs), None)


def _torch_export(
    model: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: Any
) -> torch.export.ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own deprecations
            return torch.export.export(
                model, inputs, dynamic_shapes=dynamic_shapes, strict=False
            )
    except Exception as error:  # torch.export raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        shapes = [tuple(x.shape) for x in inputs]
        raise ValueError(
            f"{type(model).__name__} cannot be traced with inputs of shape {shapes}: "
            f"{reason}"
        ) from error


def _model_graph(
    exported: torch.export.ExportedProgram, model: nn.Module
) -> ModelGraph:
    signature = exported.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    names = _value_names(exported, stored)
    operations: list[Operation] = []
    tensors: dict[str, TensorSpec] = {}
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
            if isinstance(value, Tensor):
                tensors[names[node.name]] = _tensor_spec(value)
        elif node.op == "get_attr":
            raise ValueError(
                f"{type(model).__name__} has control flow that cannot be traced "
                f"({node.target})"
            )
    outputs = _outputs(exported, names)
    operations, renamed = without_writes(operations)
    outputs = map_refs(outputs, lambda name: Ref(renamed.get(name, name)))
    operations = _without_unread(operations, outputs)
    read = {name for operation in operations for name in operation.refs()}
    inputs = tuple(names[n] for n in signature.user_inputs if isinstance(n, str))
    program = Program(
        inputs=inputs,
        input_shapes=tuple(tensors[name].shape for name in inputs),
        operations=tuple(operations),
        outputs=outputs,
        parameters=tuple(
            n for n in signature.inputs_to_parameters.values() if n in read
        ),
        buffers=tuple(
            n
            for n in (
                *signature.inputs_to_buffers.values(),
                *signature.inputs_to_lifted_tensor_constants.values(),
            )
            if n in read
        ),
    )
    state = {**exported.state_dict, **exported.constants}
    made = {operation.name for operation in operations}
    live = {k: v for k, v in tensors.items() if k in made or k in program.inputs}
    parameters = {
        name: _parameter_spec(state[name], name in program.parameters)
        for name in program.parameters + program.buffers
    }
    found = find_groups(program, live, {n: s.shape for n, s in parameters.items()})
    return ModelGraph(
        program=program,
        tensors=live,
        parameters=parameters,
        groups=found.groups,
        atoms=found.atoms,
        group_atoms=found.group_atoms,
        unprunable=found.unprunable,
        constants={
            name: value
            for name, value in exported.constants.items()
            if name in program.buffers
        },
    )


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


def _check_finite(model: nn.Module) -> None:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(
                f"weights are not finite: {name} holds NaN or infinity; train or load "
                "the network again"
            )


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
