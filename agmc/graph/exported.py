"""exported_program: nn.Module -> torch.export's program, in evaluation mode."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agmc.graph.example import (
    checked_inputs,
    evaluation_mode,
    untraceable,
    warn_of_one,
)


def exported_program(
    model: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    *,
    batch_size: int | None = None,
) -> torch.export.ExportedProgram:
    """What `torch.export` makes of a network, in evaluation mode.

    Errors are those of `trace`.

    Args:
        model: as of `trace`.
        example_input: as of `trace`.
        batch_size: the only one that the program takes, >= 1; None leaves it free, or
            makes it 1 where the forward code fixes it.
    """
    inputs, bound = checked_inputs(model, example_input)
    if batch_size is not None:
        return _torch_export(model, of_batch_size(inputs, batch_size), None)
    # torch.export takes a size of 1 for a constant, so the batch is traced as 2.
    pairs = of_batch_size(inputs, 2)
    free = tuple({0: torch.export.Dim.AUTO} if x.ndim else None for x in pairs)
    shapes = bound.signature.bind(*free).arguments
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
    one = _torch_export(model, of_batch_size(inputs, 1), None)
    warn_of_one(model, logging.getLogger(__name__))
    return one


def of_batch_size(inputs: Sequence[Tensor], size: int) -> tuple[Tensor, ...]:
    """The first of a batch as often as is asked for; numbers stay as they are."""
    return tuple(torch.cat([x[:1]] * size) if x.ndim else x for x in inputs)


def _is_free(size: int | torch.SymInt) -> bool:
    # A symbol that the forward code has pinned to a number is still a SymInt.
    return isinstance(size, torch.SymInt) and bool(size.node.expr.free_symbols)


def _torch_export(
    model: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: Any
) -> torch.export.ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad(), evaluation_mode(model):
            warnings.simplefilter("ignore")  # torch's own deprecations
            return torch.export.export(
                model, inputs, dynamic_shapes=dynamic_shapes, strict=False
            )
    except Exception as error:  # torch.export raises many kinds
        raise untraceable(model, inputs, error) from error
