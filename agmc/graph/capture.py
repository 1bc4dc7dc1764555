"""capture: nn.Module -> the ATen calls of its forward code, on shapes alone.

The forward code runs once on fake tensors, as inside of torch.export's non-strict mode,
but with a batch of one large prime number of inputs: every number in a call that it
divides comes from the size of the batch, which so stays free without symbolic shapes
(these make torch.export three times as slow).
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree

from agmc.graph.forward_code import (
    layers_of_nodes,
    line_of,
    module_calls,
    source_of_node,
)

#: Stands for the size of the batch; no layer is as wide as a multiple of it.
BATCH = 10007
#: A second one, to tell what comes from the batch where that is in doubt.
_OTHER_BATCH = 10009


@dataclass(frozen=True, eq=False)
class Capture:
    """What `capture` returns.

    Attributes:
        nodes: placeholders, constants, calls and output, in execution order.
        stored: name of a placeholder or constant -> qualified name of its tensor.
        constants: qualified name -> tensor that the forward code holds besides.
        inputs: names of the placeholders of the inputs.
        layers: name of a call -> qualified name of the module whose forward made it.
        sources: name of a call -> line of the forward code, "resnet.py:102".
        output_tree: how the outputs are nested.
        batch: size of the batch that stands in the shapes.
    """

    nodes: tuple[torch.fx.Node, ...]
    stored: Mapping[str, str]
    constants: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    layers: Mapping[str, str]
    sources: Mapping[str, str]
    output_tree: _pytree.TreeSpec
    batch: int


def capture(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    *,
    with_sources: bool = False,
) -> Capture:
    """The calls of a network in evaluation mode.

    Args:
        model: as of `trace`.
        example_input: as of `trace`.
        with_sources: whether to find the lines of the forward code, which takes a
            third longer.

    Raises:
        ValueError: as of `trace`.
    """
    if isinstance(example_input, Tensor):
        example_input = (example_input,)
    inputs = tuple(example_input)
    if not inputs or not all(isinstance(x, Tensor) for x in inputs):
        kinds = [type(x).__name__ for x in inputs]
        raise ValueError(f"example_input (={kinds}) must be one or more Tensors")
    _check_finite(model)
    try:
        inspect.signature(model.forward).bind(*inputs)
    except TypeError as error:
        raise ValueError(
            f"{type(model).__name__} does not take {len(inputs)} inputs: {error}"
        ) from error
    with evaluation_mode(model):
        try:
            found = _run(model, inputs, BATCH, with_sources)
            if not _in_doubt(found):
                return found
            if _alike(found, _run(model, inputs, _OTHER_BATCH, with_sources)):
                return found
        except ValueError:
            pass  # it may still run with one input; if not, that error says as much
        one = _run(model, inputs, 1, with_sources)
    logging.getLogger(__name__).warning(
        "the forward code of %s fixes the batch size: traced at batch size 1 only",
        type(model).__name__,
    )
    return one


def _run(
    model: nn.Module, inputs: Sequence[Tensor], batch: int, with_sources: bool
) -> Capture:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own deprecations
            return _captured(model, inputs, batch, with_sources)
    except Exception as error:  # torch and the forward code raise many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        shapes = [tuple(x.shape) for x in inputs]
        raise ValueError(
            f"{type(model).__name__} cannot be traced with inputs of shape {shapes}: "
            f"{reason}{line_of(error)}"
        ) from error


def _captured(
    model: nn.Module, inputs: Sequence[Tensor], batch: int, with_sources: bool
) -> Capture:
    tensors: dict[str, Tensor] = {
        **dict(model.named_parameters()),
        **dict(model.named_buffers()),
    }
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    state = {name: mode.from_tensor(tensor) for name, tensor in tensors.items()}
    with mode:
        fakes = tuple(
            torch.empty((batch, *x.shape[1:]), dtype=x.dtype, device=x.device)
            if x.ndim
            else torch.empty((), dtype=x.dtype, device=x.device)
            for x in inputs
        )
    trees: list[_pytree.TreeSpec] = []

    def forward(state: dict[str, Tensor], *xs: Tensor) -> list[Any]:
        outputs = torch.func.functional_call(model, state, xs)
        flat, tree = _pytree.tree_flatten(outputs)
        trees.append(tree)
        return flat

    with module_calls(model) as calls:
        traced = make_fx(
            forward,
            pre_dispatch=True,
            tracing_mode="real",
            record_stack_traces=with_sources,
        )(state, *fakes)
    nodes = tuple(traced.graph.nodes)
    placeholders = [node.name for node in nodes if node.op == "placeholder"]
    names = list(tensors)
    constants = {
        str(node.target): getattr(traced, str(node.target))
        for node in nodes
        if node.op == "get_attr"
    }
    if not all(isinstance(value, Tensor) for value in constants.values()):
        raise ValueError("it has control flow in its forward code; move it outside")
    stored = dict(zip(placeholders[: len(names)], names, strict=True))
    held = _held_besides(model)
    called = {key: held.get(id(value), key) for key, value in constants.items()}
    constants = {called[key]: value for key, value in constants.items()}
    stored |= {
        node.name: called[str(node.target)] for node in nodes if node.op == "get_attr"
    }
    return Capture(
        nodes=nodes,
        stored=stored,
        constants=constants,
        inputs=tuple(placeholders[len(names) :]),
        layers=layers_of_nodes(nodes, calls),
        sources={
            node.name: source
            for node in nodes
            if (source := source_of_node(node)) is not None
        },
        output_tree=trees[-1],
        batch=batch,
    )


def _held_besides(model: nn.Module) -> dict[int, str]:
    """Tensors that modules hold as plain attributes, by identity."""
    return {
        id(value): f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }


def _in_doubt(found: Capture) -> bool:
    """Whether a number may come from the batch without being a multiple of it.

    Such a number, (N + 1) // 2 say, lies near a simple fraction of the prime.
    """
    batch = found.batch
    return any(
        number % batch and min(times * number % batch, -times * number % batch) <= 16
        for number in set(_numbers(found))
        if 1000 < number < 2**40
        for times in range(1, 9)
    )


def _alike(one: Capture, other: Capture) -> bool:
    """Whether two captures differ by the size of the batch alone."""
    first, second = list(_numbers(one)), list(_numbers(other))
    return len(first) == len(second) and all(
        a == b
        or (
            a % one.batch == 0 == b % other.batch and a // one.batch == b // other.batch
        )
        for a, b in zip(first, second, strict=True)
    )


def _numbers(found: Capture) -> Iterator[int]:
    for node in found.nodes:
        if node.op == "call_function":
            for leaf in _pytree.tree_leaves((node.args, node.kwargs)):
                if isinstance(leaf, int):
                    yield leaf
            if isinstance(value := node.meta.get("val"), Tensor):
                yield from value.shape


def _check_finite(model: nn.Module) -> None:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(
                f"weights are not finite: {name} holds NaN or infinity; train or load "
                "the network again"
            )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and every module in its own mode afterwards."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
