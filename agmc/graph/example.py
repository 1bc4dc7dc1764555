"""What a network must be like to be traced or exported, and the mode it is put in."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
    except TypeError as error:
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

    That includes what forward code keeps in its modules for the next time, which
    after a run on shapes would be shapes.
    """
    parts = list(model.modules())
    kept = [
        (held, dict(held))
        for part in parts
        for held in (vars(part), part._parameters, part._buffers)
        if isinstance(held, dict)  # those of scripted modules are not
    ]
    try:
        yield
    finally:
        for held, before in kept:
            held.clear()
            held.update(before)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards the network is as it was."""
    with left_as_it_was(model):
        model.eval()
        yield
