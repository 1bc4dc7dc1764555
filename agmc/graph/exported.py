"""exported_program: nn.Module -> torch.export's program, in evaluation mode."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def exported_program(
    model: nn.Module, example_input: Tensor | Sequence[Tensor]
) -> torch.export.ExportedProgram:
    """What `torch.export` makes of a network, in evaluation mode.

    Arguments and errors are those of `trace`.
    """
    if isinstance(example_input, Tensor):
        example_input = (example_input,)
    inputs = tuple(example_input)
    if not inputs or not all(isinstance(x, Tensor) for x in inputs):
        kinds = [type(x).__name__ for x in inputs]
        raise ValueError(f"example_input (={kinds}) must be one or more Tensors")
    _check_finite(model)
    with _evaluation_mode(model):
        return _export(model, inputs)


def _export(
    model: nn.Module, inputs: tuple[Tensor, ...]
) -> torch.export.ExportedProgram:
    # torch.export takes a size of 1 for a constant, so the batch is traced as 2.
    pairs = tuple(torch.cat([x[:1], x[:1]]) if x.ndim else x for x in inputs)
    free = tuple({0: torch.export.Dim.AUTO} if x.ndim else None for x in pairs)
    try:
        shapes = inspect.signature(model.forward).bind(*free).arguments
    except TypeError as error:
        raise ValueError(
            f"{type(model).__name__} does not take {len(inputs)} inputs: {error}"
        ) from error
    try:
        exported = _torch_export(model, pairs, shapes)
    except ValueError:
        pass  # it may still run with one input; if not, that error says as much
    else:
        nodes = {node.name: node for node in exported.graph.nodes}
        if all(
            _is_free(nodes[name].meta["val"].shape[0])
            for name in exported.graph_signature.user_inputs
            if isinstance(name, str) and nodes[name].meta["val"].ndim
        ):
            return exported
    one = _torch_export(model, tuple(x[:1] if x.ndim else x for x in inputs), None)
    logging.getLogger(__name__).warning(
        "the forward code of %s fixes the batch size: traced at batch size 1 only",
        type(model).__name__,
    )
    return one


def _is_free(size: int | torch.SymInt) -> bool:
    # A symbol that the forward code has pinned to a number is still a SymInt.
    return isinstance(size, torch.SymInt) and bool(size.node.expr.free_symbols)


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
