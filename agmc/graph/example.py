"""What a network must be like to be traced or exported, and the mode it is put in."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from agmc.graph.forward_code import line_of


def checked_inputs(
    model: nn.Module, example_input: Tensor | Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], inspect.BoundArguments]:
    """The inputs as a tuple, and which parameters of `forward` they go to.

    Raises:
        ValueError: they are no Tensors or not as many as the network takes, or a
            weight of the network is not finite.
    """
    if isinstance(example_input, Mapping) or not isinstance(example_input, Iterable):
        raise ValueError(
            f"example_input (=a {type(example_input).__name__}) must be a Tensor or a "
            "tuple of Tensors; wrap the network in one that takes these"
        )
    inputs = (example_input,) if isinstance(example_input, Tensor) else example_input
    inputs = tuple(inputs)
    if not inputs or not all(isinstance(x, Tensor) for x in inputs):
        kinds = [type(x).__name__ for x in inputs]
        raise ValueError(f"example_input (={kinds}) must be one or more Tensors")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        # A sum takes one pass; it may overflow where no element does.
        if value.is_floating_point() and not (
            math.isfinite(value.detach().sum()) or bool(value.isfinite().all())
        ):
            raise ValueError(
                f"weights are not finite: {name} holds NaN or infinity; train or load "
                "the network again"
            )
    try:
        return inputs, inspect.signature(model.forward).bind(*inputs)
    except (TypeError, ValueError) as error:  # no signature, or another one
        raise ValueError(
            f"{type(model).__name__} does not take {len(inputs)} inputs: {error}"
        ) from error


def untraceable(
    model: nn.Module, inputs: Sequence[Tensor], error: Exception
) -> ValueError:
    """The one line that says why torch could not run the forward code on shapes."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "HigherOrderOperator" in reason:
        reason = "it has control flow in its forward code; move it outside"
    elif "fake_quantize" in reason:
        reason = (
            "it rounds its weights or activations already; trace the network of floats "
            "that it was made from (what agmc.load returns runs without a trace)"
        )
    shapes = [tuple(x.shape) for x in inputs]
    return ValueError(
        f"{type(model).__name__} cannot be traced with inputs of shape {shapes}: "
        f"{reason}{line_of(error)}"
    )


def warn_of_one(model: nn.Module, logger: logging.Logger) -> None:
    """Says that the size of the batch could not be left free."""
    logger.warning(
        "the forward code of %s fixes the batch size: traced at batch size 1 only",
        type(model).__name__,
    )


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Afterwards every module has the mode and the attributes that it had before.

    That includes what forward code keeps for the next time in attributes of its
    modules, or in lists, sets and dictionaries that are such attributes; after a run
    on shapes it would be shapes. Elements that are written in place stay written.
    """
    kept: list[tuple[Any, Any]] = []
    for part in model.modules():
        attributes = vars(part)
        for held in (attributes, *attributes.values()):
            if isinstance(held, (dict, list, set)):  # parameters and submodules too
                kept.append((held, held.copy()))
    elements = [(x, x.data) for x in (*model.parameters(), *model.buffers())]
    try:
        yield
    finally:
        for held, before in kept:
            held.clear()
            held.extend(before) if isinstance(held, list) else held.update(before)
        for tensor, data in elements:
            if not _has_elements(tensor, data):
                tensor.data = data


def _has_elements(tensor: Tensor, data: Tensor) -> bool:
    """Whether a tensor still has the elements that it had."""
    try:
        return tensor.data_ptr() == data.data_ptr()
    except RuntimeError:  # it has none
        return False


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards the network is as it was."""
    with left_as_it_was(model):
        model.eval()
        yield
