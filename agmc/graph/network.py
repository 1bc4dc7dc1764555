"""GraphNetwork: runs a Program as an nn.Module, without the model's source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from agmc.graph.program import Operation, Program, Ref, map_refs, refs_in
from agmc.graph.quick_rounding import quick_form

#: Called with (input, share that goes, whether in training mode).
_DROPOUTS = frozenset(
    {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}
)


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over dimension 1 of inputs of any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


#: Drawing takes longer than all else in making a layer.
_UNDRAWN: dict[type[nn.Module], type[nn.Module]] = {
    kind: type(kind.__name__, (kind,), {"reset_parameters": lambda self: None})
    for kind in (nn.Conv2d, nn.Linear, BatchNorm)
}


class GraphNetwork(nn.Module):
    """A network rebuilt from its operations.

    Convolutions, linear layers and batch norms are ordinary modules at their original
    qualified names, so the state dict has the original names; the other operations are
    called one after the other. `train()` and `eval()` switch batch norm and dropout.

    Args:
        program: the operations.
        state: qualified name -> tensor, for all parameters and buffers of the program;
            others are taken where a layer has a place for them.

    Raises:
        ValueError: a tensor is missing, or does not fit the layer that reads it.
    """

    def __init__(self, program: Program, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.program = program
        self.info: dict[str, Any] = {}
        self._steps: list[_Step] = []
        self._stored: tuple[str, ...] = ()
        if missing := [
            name for name in program.parameters + program.buffers if name not in state
        ]:
            raise ValueError(f"tensors {missing[:3]} of the network are missing")
        known = frozenset(program.parameters), frozenset(program.buffers)
        layers = {op.name: _layer(op, *known, state) for op in program.operations}
        for operation in program.operations:
            layer = layers[operation.name]
            if layer is not None and not _attach(self, _layer_path(operation), layer):
                layers[operation.name] = None
        for name in program.parameters:
            _place(self, name, nn.Parameter(state[name]))
        for name in program.buffers:
            _place(self, name, state[name])
        for name, buffer in list(self.named_buffers()):
            if buffer.is_meta:  # num_batches_tracked: no operation reads it
                _place(self, name, state.get(name, torch.zeros((), dtype=buffer.dtype)))
        used_by_layers = {
            op.name: _layer_path(op) for op in program.operations if layers[op.name]
        }
        last_use = {
            name: i for i, op in enumerate(program.operations) for name in op.refs()
        }
        kept = {*refs_in(program.outputs), *program.parameters, *program.buffers}
        self._steps = [
            _Step(
                operation,
                used_by_layers.get(operation.name),
                tuple(
                    name
                    for name in dict.fromkeys(operation.refs())
                    if last_use[name] == i and name not in kept
                ),
            )
            for i, operation in enumerate(program.operations)
        ]
        read_directly = set(refs_in(program.outputs)) | {
            name
            for step in self._steps
            for name in ([step.input] if step.layer else step.operation.refs())
        }
        stored = program.parameters + program.buffers
        self._stored = tuple(name for name in stored if name in read_directly)

    def forward(self, *inputs: Tensor) -> Any:
        """Inputs and outputs are those of the traced network.

        Raises:
            ValueError: the program does not take such inputs.
        """
        self.program.check_inputs(inputs)
        values: dict[str, Any] = dict(zip(self.program.inputs, inputs, strict=True))
        for name in self._stored:
            values[name] = attrgetter(name)(self)
        for step in self._steps:
            values[step.operation.name] = self._run(step, values)
            for name in step.frees:
                del values[name]
        return map_refs(self.program.outputs, values.__getitem__)

    def _run(self, step: _Step, values: dict[str, Any]) -> Any:
        return step.run(self, values)


class _Step:
    """One operation, made ready to run."""

    def __init__(
        self, operation: Operation, layer: str | None, frees: tuple[str, ...]
    ) -> None:
        self.operation = operation
        self.layer = layer
        self.frees = frees
        self.function: Callable[..., Any] = quick_form(operation.op)
        self.input = next(operation.refs(), "")
        self.is_dropout = operation.kind in _DROPOUTS and operation.args[2] is False
        # A flat argument list is the common case and needs no walk over the tree.
        self.flat = not operation.kwargs and not any(
            isinstance(arg, (list, tuple, dict)) and any(refs_in(arg))
            for arg in operation.args
        )

    def run(self, network: GraphNetwork, values: dict[str, Any]) -> Any:
        if self.layer is not None:
            return network.get_submodule(self.layer)(values[self.input])
        args = self.operation.args
        if self.is_dropout:
            return self.function(values[self.input], args[1], network.training)
        if self.flat:
            return self.function(
                *[values[a.name] if isinstance(a, Ref) else a for a in args]
            )
        return self.function(
            *map_refs(args, values.__getitem__),
            **map_refs(dict(self.operation.kwargs), values.__getitem__),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> _Step:
        return self  # frozen in effect, and operators cannot be copied

    def __reduce__(self) -> tuple[Any, ...]:
        return _Step, (self.operation, self.layer, self.frees)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Qualified name -> buffer or parameter, ties included."""
    return {
        **dict(module.named_buffers(remove_duplicate=False)),
        **dict(module.named_parameters(remove_duplicate=False)),
    }


def _layer_path(operation: Operation) -> str:
    """Where the layer's parameters live: `conv1` of `conv1.weight`."""
    names = list(operation.refs())
    return names[1].rpartition(".")[0] if len(names) > 1 else ""


def _layer(
    operation: Operation,
    parameters: frozenset[str],
    buffers: frozenset[str],
    state: Mapping[str, Tensor],
) -> nn.Module | None:
    """An empty module that does the same, or None where there is none."""
    path = _layer_path(operation)
    named: list[Any] = [
        arg.name if isinstance(arg, Ref) else arg for arg in operation.args
    ]
    if not path or operation.kwargs:
        return None
    if operation.op == "aten.batch_norm.default":
        return _batch_norm(path, named, parameters, buffers, state)
    held = [name for name in named[1:3] if isinstance(name, str)]
    if named[1] != f"{path}.weight" or not parameters.issuperset(held):
        return None
    weight = state[named[1]]
    if operation.op == "aten.conv2d.default" and weight.ndim == 4:
        defaults: list[Any] = [None, 1, 0, 1, 1]
        given = named[2:] + defaults[len(named) - 2 :]
        bias, stride, padding, dilation, groups = given
        if bias not in (None, f"{path}.bias") or not isinstance(groups, int):
            return None
        return _empty(
            nn.Conv2d,
            weight.shape[1] * groups,
            weight.shape[0],
            _pair(list(weight.shape[2:])),
            _pair(stride),
            _pair(padding),
            _pair(dilation),
            groups,
            bias=bias is not None,
        )
    if operation.op == "aten.linear.default" and weight.ndim == 2:
        bias = named[2] if len(named) > 2 else None
        if bias not in (None, f"{path}.bias"):
            return None
        inputs, outputs = weight.shape[1], weight.shape[0]
        return _empty(nn.Linear, inputs, outputs, bias=bias is not None)
    return None


def _batch_norm(
    path: str,
    named: Sequence[Any],
    parameters: frozenset[str],
    buffers: frozenset[str],
    state: Mapping[str, Tensor],
) -> nn.Module | None:
    """With or without scale and shift; the running statistics must be there."""
    scale_and_shift = [f"{path}.weight", f"{path}.bias"]
    statistics = [f"{path}.running_mean", f"{path}.running_var"]
    affine = list(named[1:3]) == scale_and_shift
    if not (affine or list(named[1:3]) == [None, None]) or named[5] is not False:
        return None
    if list(named[3:5]) != statistics or not buffers.issuperset(statistics):
        return None
    if affine and not parameters.issuperset(scale_and_shift):
        return None
    size = state[statistics[0]].shape[0]
    return _empty(BatchNorm, size, eps=named[7], momentum=named[6], affine=affine)


def _empty(kind: type[nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """A layer without elements, and without the values that torch would draw first."""
    layer = _UNDRAWN[kind](*args, device="meta", **kwargs)
    layer.__class__ = kind
    return layer


def _pair(value: int | list[int]) -> tuple[int, int]:
    numbers = [value, value] if isinstance(value, int) else list(value)
    return (numbers[0], numbers[-1])


def _attach(network: nn.Module, path: str, layer: nn.Module) -> bool:
    """Puts the layer at its path; False where something else is there already."""
    parent = _container(network, path.rpartition(".")[0])
    name = path.rpartition(".")[2]
    present = getattr(parent, name, None)
    if present is None:
        if name in parent.__dict__ or hasattr(type(parent), name):
            return False
        parent.add_module(name, layer)
        return True
    # Not the whole `repr`: what stands inside a container can be the whole network.
    return type(present) is type(layer) and present.extra_repr() == layer.extra_repr()


def _container(network: nn.Module, path: str) -> nn.Module:
    for name in filter(None, path.split(".")):
        if name not in network._modules:
            if hasattr(network, name):
                raise _taken(name)
            network.add_module(name, nn.Module())
        network = network._modules[name]  # type: ignore[assignment]
    return network


def _place(network: nn.Module, name: str, value: Tensor) -> None:
    parent = _container(network, name.rpartition(".")[0])
    key = name.rpartition(".")[2]
    expected = parent._parameters.get(key, parent._buffers.get(key))
    if expected is None and hasattr(parent, key):
        raise _taken(key)
    if expected is not None and expected.shape != value.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, its layer takes "
            f"{tuple(expected.shape)}"
        )
    if isinstance(value, nn.Parameter):
        parent.register_parameter(key, value)
    else:
        parent.register_buffer(key, value)


def _taken(name: str) -> ValueError:
    return ValueError(
        f"a layer or parameter cannot be called {name!r}: GraphNetwork itself has an "
        "attribute of this name; rename it"
    )
