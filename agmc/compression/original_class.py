"""in_original_class: the pruned network as an instance of the model's own class."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree

from agmc.graph.agreement import TOLERANCE, relative_difference
from agmc.graph.example import evaluation_mode, left_as_it_was
from agmc.graph.network import GraphNetwork, tensors_of
from agmc.graph.program import Operation, Program, argument


def in_original_class(
    model: nn.Module, small: GraphNetwork, example_input: Tensor | Sequence[Tensor]
) -> nn.Module:
    """A copy of the model that holds the pruned tensors, if its code still runs.

    Code that holds numbers of channels, or that branches or scales by them, may stop or
    compute something else with fewer channels. So the copy is run beside `small`, in
    evaluation mode on the first example and in training mode on shapes alone (extra
    heads that only training uses read pruned activations too).

    Args:
        model: the original network; left as it was.
        small: what `Pruner.prune` made of it.
        example_input: a Tensor or a tuple of Tensors, batch first.

    Returns:
        The copy, in evaluation mode; `small` itself where the copy fails.
    """
    if isinstance(model, GraphNetwork):
        return small
    single = isinstance(example_input, Tensor)
    inputs = (example_input,) if single else tuple(example_input)
    candidate: nn.Module = small
    try:
        candidate = _copy_with(model, small)
        _mend_attributes(candidate, small)
    except Exception as error:  # what the model holds may not be for copying
        problem: str | None = f"it cannot be copied and mended: {_line(error)}"
    else:
        problem = _problem(model, candidate, small, inputs)
    if problem is not None:
        logging.getLogger(__name__).info(
            "%s is rebuilt from its graph, since its own code does not fit fewer "
            "channels: %s",
            type(model).__name__,
            problem,
        )
        return small
    # So that it can be saved without being traced again.
    held = {name for name, _ in candidate.named_buffers(remove_duplicate=False)}
    candidate.__dict__["agmc_program"] = small.program
    candidate.__dict__["agmc_constants"] = {
        name: value
        for name, value in small.named_buffers(remove_duplicate=False)
        if name in small.program.buffers and name not in held
    }
    return candidate.eval()


def program_of(network: nn.Module) -> Program:
    """The operations of what `compress`, `Pruner.prune` or `agmc.load` returned.

    Raises:
        ValueError: it is another network, whose operations are unknown.
    """
    if isinstance(network, GraphNetwork):
        return network.program
    program = getattr(network, "agmc_program", None)
    if isinstance(program, Program):
        return program
    raise ValueError(
        f"the operations of this {type(network).__name__} are unknown; take what "
        "agmc.compress returns, under Plan({}) if nothing is to go"
    )


def _copy_with(model: nn.Module, small: GraphNetwork) -> nn.Module:
    """A deep copy of the model with the tensors of `small` in the place of its own."""
    new = tensors_of(small)
    memo: dict[int, Any] = {}
    for name, tensor in (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ):
        if name in new and id(tensor) not in memo:
            memo[id(tensor)] = new[name]
    return copy.deepcopy(model, memo)


def _mend_attributes(candidate: nn.Module, small: GraphNetwork) -> None:
    """Makes what layers say of their sizes agree with their weights again."""
    modules = dict(candidate.named_modules(remove_duplicate=False))
    for operation in small.program.operations:
        module = modules.get(operation.layer)
        if isinstance(module, nn.modules.conv._ConvNd):
            _mend_convolution(module, operation)
        elif isinstance(module, nn.GroupNorm) and operation.kind == "group_norm":
            module.num_groups = operation.args[1]
            if module.weight is not None:
                module.num_channels = module.weight.shape[0]
    for module in modules.values():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            held = module.weight if module.weight is not None else module.running_mean
            if held is not None:
                module.num_features = held.shape[0]
        elif isinstance(module, nn.PReLU):
            module.num_parameters = module.weight.shape[0]


def _mend_convolution(module: nn.modules.conv._ConvNd, operation: Operation) -> None:
    if "conv" not in operation.kind:
        return
    module.groups = argument(operation, 6, 1)
    first, second = module.weight.shape[:2]
    if module.transposed:
        module.in_channels, module.out_channels = first, second * module.groups
    else:
        module.out_channels, module.in_channels = first, second * module.groups


def _problem(
    model: nn.Module,
    candidate: nn.Module,
    small: GraphNetwork,
    inputs: Sequence[Tensor],
) -> str | None:
    """Why the copy does not do what `small` does; None where it does."""
    first = [x[:2] if x.ndim else x for x in inputs]
    buffers = [(buffer, buffer.clone()) for buffer in candidate.buffers()]
    with torch.no_grad(), evaluation_mode(candidate):
        try:
            expected = _pytree.tree_leaves(small.eval()(*first))
            found = _pytree.tree_leaves(candidate(*first))
        except Exception as error:  # the model's own code raises what it likes
            return _line(error)
        finally:
            for buffer, before in buffers:  # forward code may count in them
                buffer.copy_(before)
        if len(found) != len(expected):
            return f"it returns {len(found)} values for {len(expected)}"
        for ours, theirs in zip(expected, found, strict=True):
            if not _agree(ours, theirs):
                return "its results differ"
    problem = _problem_in_training(candidate, inputs)
    # Inputs too small to train on are not the fault of the copy.
    return None if problem is None or _problem_in_training(model, inputs) else problem


def _problem_in_training(module: nn.Module, inputs: Sequence[Tensor]) -> str | None:
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it tells of errors that are expected here
    try:
        with left_as_it_was(module):
            _run_on_shapes(module.train(), inputs)
    except Exception as error:  # the model's own code raises what it likes
        return f"in training mode, {_line(error)}"
    finally:
        logger.setLevel(level)
    return None


def _run_on_shapes(module: nn.Module, inputs: Sequence[Tensor]) -> None:
    """One forward pass that computes shapes only and changes nothing."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        state: Mapping[str, Tensor] = {
            name: mode.from_tensor(tensor)
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
        }
        # Two inputs: batch norm does not train on one value per channel.
        shapes = [torch.cat([x[:1], x[:1]]) if x.ndim else x for x in inputs]
        torch.func.functional_call(
            module, dict(state), tuple(mode.from_tensor(x) for x in shapes)
        )


def _agree(ours: Tensor, theirs: Any) -> bool:
    if not isinstance(theirs, Tensor) or theirs.shape != ours.shape:
        return False
    return relative_difference(theirs, ours) <= TOLERANCE


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
