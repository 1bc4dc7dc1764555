"""capture: nn.Module -> the operations of its forward code, on shapes alone.

The forward code runs on values that have no elements, with a batch of one large prime
number of inputs: every number in a call that it divides comes from the size of the
batch, which so stays free without symbolic shapes (these make torch.export thirty
times as slow). A run with two inputs has to agree in everything else. What cannot be
seen is code that does something of its own for a single input.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from agmc.graph.example import (
    checked_inputs,
    evaluation_mode,
    untraceable,
    warn_of_one,
)
from agmc.graph.forward_code import current_module
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation
from agmc.graph.recorder import Recorder

#: One of them stands for the size of the batch.
_PRIMES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079, 10091, 10093)


@dataclass(frozen=True, eq=False)
class Capture:
    """What `capture` returns.

    Attributes:
        inputs: names of the inputs, in call order.
        operations: in execution order.
        outputs: tree of `Ref` that the network returns.
        tensors: name of a value -> its shape.
        constants: qualified name -> tensor that the forward code holds besides
            parameters and buffers.
        sources: name of a value -> line of the forward code, "resnet.py:102".
        batch: size of the batch that stands in the shapes and arguments.
    """

    inputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    outputs: Any
    tensors: Mapping[str, TensorSpec]
    constants: Mapping[str, Tensor]
    sources: Mapping[str, str]
    batch: int


def capture(model: nn.Module, example_input: Tensor | Sequence[Tensor]) -> Capture:
    """The operations of a network in evaluation mode; the model stays as it was.

    Args:
        model: as of `trace`.
        example_input: as of `trace`.

    Raises:
        ValueError: as of `trace`.
    """
    inputs, bound = checked_inputs(model, example_input)
    names = _names(bound)
    try:
        pair = _run(model, inputs, names, 2)
        most = 4 * len(pair.operations) + 100  # a loop over the batch would be endless
        found = _run(model, inputs, names, _batch(model, inputs, pair), most=most)
        if _alike(found, pair):
            return found
    except ValueError:
        pass  # it may still run with one input; if not, that error says as much
    one = _run(model, inputs, names, 1)
    warn_of_one(model, logging.getLogger(__name__))
    return one


def _batch(model: nn.Module, inputs: Sequence[Tensor], pair: Capture) -> int:
    """A size that no other size or number in the forward code is a multiple of."""
    tensors = (*model.parameters(), *model.buffers(), *inputs)
    sizes = {size for tensor in tensors for size in tensor.shape}
    sizes.update(leaf for leaf in _leaves(pair) if _is_whole(leaf))
    return next(p for p in _PRIMES if all(size % p or not size for size in sizes))


def _run(
    model: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    batch: int,
    *,
    most: int | None = None,
) -> Capture:
    # The fast path of attention is one operator that says nothing of its channels.
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            warnings.catch_warnings(),
            evaluation_mode(model),
            torch.inference_mode(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
        ):
            warnings.simplefilter("ignore")  # torch's own deprecations
            return _recorded(model, inputs, names, batch, most)
    except Exception as error:  # torch and the forward code raise many kinds
        raise untraceable(model, inputs, error) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)


def _recorded(
    model: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    batch: int,
    most: int | None,
) -> Capture:
    state: dict[str, Tensor] = {
        **dict(model.named_parameters()),
        **dict(model.named_buffers()),
    }
    with current_module(model) as module:
        recorder = Recorder(state, _held_besides(model), module, most=most)
        values = [
            recorder.input(name, x, (batch, *x.shape[1:]) if x.ndim else ())
            for name, x in zip(names, inputs, strict=True)
        ]
        with recorder:
            outputs = model(*values)
    recorder.check_state()
    return Capture(
        inputs=tuple(value.value for value in values),
        operations=tuple(recorder.operations),
        outputs=_plain(outputs, recorder),
        tensors=recorder.tensors,
        constants=recorder.constants,
        sources=recorder.sources,
        batch=batch,
    )


def _plain(tree: Any, recorder: Recorder) -> Any:
    """Outputs as tuples, lists and dictionaries of `Ref` and plain values."""
    if isinstance(tree, (list, tuple)):
        kind = list if isinstance(tree, list) else tuple  # a named tuple has more
        return kind(_plain(item, recorder) for item in tree)
    if isinstance(tree, dict):
        return {key: _plain(item, recorder) for key, item in tree.items()}
    if isinstance(tree, Tensor):
        return recorder.ref(tree)
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise ValueError(
        f"it returns a {type(tree).__name__}; return tensors, or tuples, lists or "
        "dictionaries of them"
    )


def _names(bound: inspect.BoundArguments) -> list[str]:
    """Those of the parameters of the forward function, one for each input."""
    return [
        name
        for key, value in bound.arguments.items()
        for name in (
            [f"{key}_{i}" for i in range(len(value))]
            if isinstance(value, tuple)
            else [key]
        )
    ]


def _held_besides(model: nn.Module) -> dict[str, Tensor]:
    """Tensors that modules hold as plain attributes."""
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }


def _alike(one: Capture, other: Capture) -> bool:
    """Whether two captures differ by the size of the batch alone."""
    if one.constants.keys() != other.constants.keys():
        return False
    return all(
        torch.equal(value, other.constants[name])
        for name, value in one.constants.items()
    ) and all(
        a == b
        or (
            _is_whole(a)
            and _is_whole(b)
            and a % one.batch == 0 == b % other.batch
            and a // one.batch == b // other.batch
        )
        for a, b in itertools.zip_longest(_leaves(one), _leaves(other))
    )


def _is_whole(leaf: Any) -> bool:
    return isinstance(leaf, int) and not isinstance(leaf, bool)


def _leaves(found: Capture) -> Iterator[Any]:
    """Everything that calls are made of, and the shapes of their results."""
    for operation in found.operations:
        yield operation.op
        for leaf in _pytree.tree_leaves((operation.args, dict(operation.kwargs))):
            yield str(leaf) if isinstance(leaf, float) else leaf  # NaN equals NaN
        if operation.name in found.tensors:
            yield from found.tensors[operation.name].shape
    yield from _pytree.tree_leaves(found.outputs)
