"""trace: nn.Module -> ModelGraph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from agmc.graph.blocks import find_blocks
from agmc.graph.capture import Capture, capture
from agmc.graph.groups import find_groups
from agmc.graph.in_place import without_writes
from agmc.graph.model_graph import ModelGraph, ParameterSpec, TensorSpec
from agmc.graph.operators import operator_of
from agmc.graph.program import Operation, Program, Ref, refs_in, without_unread


def trace(model: nn.Module, example_input: Tensor | Sequence[Tensor]) -> ModelGraph:
    """Traces a network in evaluation mode; the model is left as it was.

    The batch size becomes free where the network allows it; shapes in the graph are
    those of one input (batch 1).

    Args:
        model: any network whose forward code torch can run on shapes alone.
        example_input: a Tensor or a tuple of Tensors, batch first, on the model's
            device.

    Raises:
        ValueError: the network cannot be traced, the inputs do not fit it, a weight
            is not finite, or a value is read after memory that it shares was written.
    """
    captured = capture(model, example_input)
    own = dict(model.named_buffers())
    trained = dict(model.named_parameters())
    state: dict[str, Tensor] = {**captured.constants, **own, **trained}
    with_size = _BatchSize(captured, state)
    tensors = {n: with_size.spec(spec) for n, spec in captured.tensors.items()}
    operations, outputs, tensors = without_writes(
        [with_size.operation(operation) for operation in captured.operations],
        with_size.arguments(captured.outputs),
        {name: TensorSpec.of(value) for name, value in state.items()} | tensors,
    )
    for operation in operations:
        _check_operator(operation, captured.sources)
    operations = without_unread([*with_size.made(), *operations], outputs)
    read = {name for operation in operations for name in operation.refs()}
    read.update(refs_in(outputs))
    program = Program(
        inputs=captured.inputs,
        input_shapes=tuple(tensors[name].shape for name in captured.inputs),
        operations=tuple(operations),
        outputs=outputs,
        parameters=tuple(name for name in trained if name in read),
        buffers=tuple(n for n in (*own, *captured.constants) if n in read),
        one_at_a_time=captured.batch == 1,
    )
    known = {*captured.inputs, *(operation.name for operation in operations)}
    live = {name: spec for name, spec in tensors.items() if name in known}
    parameters = {
        name: _parameter_spec(state[name], name in trained)
        for name in program.parameters + program.buffers
    }
    integers = _positions(program, state)
    found = find_groups(
        program,
        live,
        {name: spec.shape for name, spec in parameters.items()},
        constants=[name for name in program.buffers if name not in own],
        integers=integers,
        sources=captured.sources,
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
        sources=captured.sources,
        constants={n: v for n, v in captured.constants.items() if n in program.buffers},
        blocks=find_blocks(program, live),
    )


def _check_operator(operation: Operation, sources: Mapping[str, str]) -> None:
    """A network with an operator that could not be run again is refused at once."""
    try:
        operator_of(operation.op)
    except ValueError as error:
        place = f" in {operation.layer!r}" if operation.layer else ""
        line = sources.get(operation.name)
        raise ValueError(
            f"the network cannot be rebuilt: {error}{place}"
            + (f" ({line})" if line else "")
        ) from error


class _BatchSize:
    """Puts the size of the batch, as a value of its own, in the place of its number."""

    def __init__(self, captured: Capture, taken: Collection[str]) -> None:
        self._batch = captured.batch
        self._input = next(
            (n for n in captured.inputs if captured.tensors[n].shape), ""
        )
        self._multiples: dict[int, str] = {}
        self._name = "batch_size"
        while self._name in taken or self._name in captured.tensors:
            self._name += "_"

    def made(self) -> list[Operation]:
        """The operations that make the size and those multiples of it that are read."""
        return [
            Operation(self._name, "aten.sym_size.int", (Ref(self._input), 0)),
            *(
                Operation(name, "_operator.mul", (Ref(self._name), times))
                for times, name in self._multiples.items()
                if times != 1
            ),
        ]

    def operation(self, operation: Operation) -> Operation:
        """The same call with the size as a `Ref`."""
        return replace(
            operation,
            args=self.arguments(operation.args),
            kwargs=self.arguments(dict(operation.kwargs)),
        )

    def arguments(self, tree: Any) -> Any:
        """The same tree, likewise."""
        if isinstance(tree, (list, tuple)):
            return type(tree)([self.arguments(item) for item in tree])
        if isinstance(tree, dict):
            return {key: self.arguments(item) for key, item in tree.items()}
        if not self._is_of_batch(tree):
            return tree
        times = tree // self._batch
        name = self._name if times == 1 else f"{self._name}_times_{times}"
        return Ref(self._multiples.setdefault(times, name))

    def spec(self, spec: TensorSpec) -> TensorSpec:
        """The shape at a batch of one."""
        return TensorSpec(
            tuple(n // self._batch if self._is_of_batch(n) else n for n in spec.shape),
            spec.dtype,
        )

    def _is_of_batch(self, size: Any) -> bool:
        whole = isinstance(size, int) and not isinstance(size, bool) and size > 0
        return whole and self._batch > 1 and size % self._batch == 0 and size < 2**40


def _positions(program: Program, state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Values of the buffers that say which positions an index_select takes."""
    return {
        name: state[name].cpu().numpy()
        for operation in program.operations
        if operation.kind == "index_select"
        for name in list(operation.refs())[1:]
        if name in program.buffers
    }


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
