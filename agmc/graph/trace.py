"""trace: nn.Module -> ModelGraph."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from agmc.graph.capture import Capture, capture
from agmc.graph.groups import UnprunableWarning, find_groups
from agmc.graph.in_place import without_writes
from agmc.graph.model_graph import ModelGraph, ParameterSpec, TensorSpec
from agmc.graph.program import Operation, Program, Ref, refs_in

_NO_VALUE = frozenset(
    {
        *("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range"),
        "_set_grad_enabled",
    }
)
_UNTRACEABLE = frozenset({"_enter_autocast", "cond", "while_loop", "map_impl", "scan"})


def trace(model: nn.Module, example_input: Tensor | Sequence[Tensor]) -> ModelGraph:
    """Traces a network in evaluation mode; the model is left as it was.

    The batch size becomes free where the network allows it; shapes in the graph are
    those of one input (batch 1).

    Args:
        model: any network whose forward code torch can run on shapes alone, as
            `torch.export` does.
        example_input: a Tensor or a tuple of Tensors, batch first, on the model's
            device.

    Raises:
        ValueError: the network cannot be traced, the inputs do not fit it, a weight
            is not finite, or a value is read after memory that it shares was written.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UnprunableWarning)
        graph = _model_graph(capture(model, example_input), model)
    if said:  # again, so that the warnings name the lines of the forward code
        graph = _model_graph(capture(model, example_input, with_sources=True), model)
    return graph


def _model_graph(captured: Capture, model: nn.Module) -> ModelGraph:
    names = _value_names(captured, model)
    made = _Made(captured, names)
    for node in captured.nodes:
        made.add(node, type(model).__name__)
    operations, outputs = without_writes(made.operations, made.outputs)
    tensors = made.tensors
    for operation in operations:
        if operation.kind in ("slice_scatter", "select_scatter"):
            tensors.setdefault(operation.name, tensors[next(operation.refs())])
    operations = _without_unread([*made.sizes(), *operations], outputs)
    read = {name for operation in operations for name in operation.refs()}
    inputs = tuple(names[name] for name in captured.inputs)
    own = dict(model.named_buffers())
    trained = dict(model.named_parameters())
    state: dict[str, Tensor] = {**captured.constants, **own, **trained}
    program = Program(
        inputs=inputs,
        input_shapes=tuple(tensors[name].shape for name in inputs),
        operations=tuple(operations),
        outputs=outputs,
        parameters=tuple(name for name in trained if name in read),
        buffers=tuple(n for n in (*own, *captured.constants) if n in read),
    )
    known = {operation.name for operation in operations}
    live = {k: v for k, v in tensors.items() if k in known or k in inputs}
    parameters = {
        name: _parameter_spec(state[name], name in trained)
        for name in program.parameters + program.buffers
    }
    integers = _positions(program, state)
    sources = {names[n]: place for n, place in captured.sources.items() if n in names}
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
        constants={n: v for n, v in captured.constants.items() if n in program.buffers},
    )


class _Made:
    """Operations and shapes, with the size of the batch as a value of its own."""

    def __init__(self, captured: Capture, names: Mapping[str, str]) -> None:
        self.captured = captured
        self.names = names
        self.operations: list[Operation] = []
        self.tensors: dict[str, TensorSpec] = {}
        self.outputs: Any = None
        self._multiples: dict[int, str] = {}
        taken = set(names.values())
        self._size = "batch_size"
        while self._size in taken:
            self._size += "_"

    def add(self, node: torch.fx.Node, model: str) -> None:
        value = node.meta.get("val")
        if node.op == "call_function":
            kind = _operator_name(node)
            if kind in _UNTRACEABLE:
                raise ValueError(
                    f"{model} has control flow or autocast in its forward code "
                    f"({kind}), which cannot be traced; move it outside"
                )
            if kind in _NO_VALUE:
                return
            self.operations.append(self._operation(node))
        elif node.op == "output":
            flat = [self._argument(arg) for arg in node.args[0]]  # type: ignore[union-attr]
            self.outputs = _pytree.tree_unflatten(flat, self.captured.output_tree)
            return
        if isinstance(value, Tensor) and node.name not in self.captured.stored:
            self.tensors[self.names[node.name]] = TensorSpec(
                tuple(self._at_batch_one(size) for size in value.shape),
                str(value.dtype).removeprefix("torch."),
            )

    def sizes(self) -> list[Operation]:
        """The operations that make the size of the batch and its multiples."""
        source = next(
            (
                name
                for name in map(self.names.__getitem__, self.captured.inputs)
                if self.tensors[name].shape
            ),
            "",
        )
        size = Operation(self._size, "aten.sym_size.int", (Ref(source), 0))
        return [
            size,
            *(
                Operation(name, "_operator.mul", (Ref(self._size), times))
                for times, name in self._multiples.items()
                if times != 1
            ),
        ]

    def _operation(self, node: torch.fx.Node) -> Operation:
        target = node.target
        if isinstance(target, torch._ops.OpOverload):
            op = str(target)
        else:
            op = f"_operator.{getattr(target, '__name__', target)}"
        return Operation(
            name=self.names[node.name],
            op=op,
            args=tuple(self._argument(arg) for arg in node.args),
            kwargs={
                key: self._argument(arg)
                for key, arg in node.kwargs.items()
                if key not in ("device", "pin_memory")  # it runs where its inputs are
            },
            layer=self.captured.layers[node.name],
        )

    def _argument(self, arg: Any) -> Any:
        if isinstance(arg, torch.fx.Node):
            return Ref(self.names[arg.name])
        if isinstance(arg, tuple):
            return tuple(self._argument(item) for item in arg)
        if isinstance(arg, list):  # fx keeps lists of a kind of its own
            return [self._argument(item) for item in arg]
        if isinstance(arg, dict):
            return {key: self._argument(item) for key, item in arg.items()}
        if self._is_of_batch(arg):
            times = arg // self.captured.batch
            name = self._size if times == 1 else f"{self._size}_times_{times}"
            return Ref(self._multiples.setdefault(times, name))
        return arg

    def _is_of_batch(self, size: Any) -> bool:
        batch = self.captured.batch
        whole = isinstance(size, int) and not isinstance(size, bool) and size > 0
        return whole and batch > 1 and size % batch == 0 and size < 2**40

    def _at_batch_one(self, size: int) -> int:
        return size // self.captured.batch if self._is_of_batch(size) else size


def _positions(program: Program, state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Values of the buffers that say which positions an index_select takes."""
    return {
        name: state[name].cpu().numpy()
        for operation in program.operations
        if operation.kind == "index_select"
        for name in list(operation.refs())[1:]
        if name in program.buffers
    }


def _without_unread(operations: list[Operation], outputs: Any) -> list[Operation]:
    """Operations whose results reach the outputs (copies, checks of shapes do not)."""
    wanted = set(refs_in(outputs))
    result = []
    for operation in reversed(operations):
        if operation.name in wanted:
            wanted.update(operation.refs())
            result.append(operation)
    return result[::-1]


def _value_names(captured: Capture, model: nn.Module) -> dict[str, str]:
    """Node name -> name in the program; never the name of a parameter."""
    taken = set(captured.stored.values())
    names = dict(captured.stored)
    arguments = dict(zip(captured.inputs, _input_names(model, captured), strict=True))
    for node in captured.nodes:
        if node.name not in names:
            name = arguments.get(node.name, node.name)
            while name in taken:
                name += "_"
            taken.add(name)
            names[node.name] = name
    return names


def _input_names(model: nn.Module, captured: Capture) -> list[str]:
    """Those of the parameters of the forward function."""
    bound = inspect.signature(model.forward).bind(*captured.inputs).arguments
    return [
        name
        for key, value in bound.items()
        for name in (
            [f"{key}_{i}" for i in range(len(value))]
            if isinstance(value, tuple)
            else [key]
        )
    ]


def _operator_name(node: torch.fx.Node) -> str:
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]


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
