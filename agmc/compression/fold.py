"""Folding: batch norms become part of the layers that they follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from agmc.graph.foldable import bias_of, foldable_norms, without_foldable_norms
from agmc.graph.network import GraphNetwork, tensors_of
from agmc.graph.program import Operation, argument, name_of
from agmc.graph.weighted import OUTPUT_DIM, weight_of


def fold_batch_norms(network: GraphNetwork) -> GraphNetwork:
    """A network that computes the same in evaluation mode with fewer batch norms.

    A batch norm that alone reads the output of a layer of `weighted_layers` is an
    affine function of every channel, and the layer takes it over: its weights are
    multiplied by gamma / sqrt(variance + eps), and its bias b becomes beta + (b - mean)
    gamma / sqrt(variance + eps) (Jacob et al. 2018, arXiv 1712.05877, eq. 14). Batch
    norms elsewhere stay as they are.

    Args:
        network: with the running statistics that shall hold; left as it was.

    Returns:
        the new network, in evaluation mode; a layer without a bias gets one.
    """
    program, state = network.program, state_of(network)
    biases = [_fold(*both, state) for both in foldable_norms(program)]
    operations, outputs = without_foldable_norms(program)
    return rebuilt(network, operations, state, outputs=outputs, parameters=biases)


def state_of(network: GraphNetwork) -> dict[str, Tensor]:
    """Qualified name -> tensor, parameters and buffers."""
    return {name: value.detach() for name, value in tensors_of(network).items()}


def rebuilt(
    network: GraphNetwork,
    operations: Sequence[Operation],
    state: Mapping[str, Tensor],
    *,
    outputs: object = None,
    parameters: Collection[str] = (),
) -> GraphNetwork:
    """The network with other operations, in evaluation mode.

    Args:
        network: whose inputs, outputs, `info` and `requires_grad` stay.
        operations: in execution order.
        state: name -> tensor; what no operation reads is dropped.
        outputs: others than those of the network.
        parameters: which of the new names are parameters; the others are buffers.
    """
    program = network.program
    outputs = program.outputs if outputs is None else outputs
    read = {name for operation in operations for name in operation.refs()}
    names = [name for name in state if name in read]
    trained = {*program.parameters, *parameters}
    rewritten = dataclasses.replace(
        program,
        operations=tuple(operations),
        outputs=outputs,
        parameters=tuple(name for name in names if name in trained),
        buffers=tuple(name for name in names if name not in trained),
    )
    result = GraphNetwork(rewritten, {n: state[n].detach().clone() for n in names})
    result.info = dict(network.info)
    learns = {name: p.requires_grad for name, p in network.named_parameters()}
    for name, parameter in result.named_parameters():
        parameter.requires_grad_(learns.get(name, True))
    return result.eval()


def _fold(operation: Operation, norm: Operation, state: dict[str, Tensor]) -> str:
    """Writes the new weight and bias into the state; the name of the bias."""
    gamma, beta, mean, variance = (
        state[name].double() if (name := name_of(norm.args[i])) else None
        for i in (1, 2, 3, 4)
    )
    assert mean is not None and variance is not None
    scale = (variance + norm.args[7]).rsqrt()
    if gamma is not None:
        scale = scale * gamma
    weight, bias = weight_of(operation), name_of(argument(operation, 2))
    old = state[weight]
    shape = [1] * old.ndim
    shape[OUTPUT_DIM[operation.kind]] = -1
    state[weight] = (old.double() * scale.reshape(shape)).to(old.dtype)
    shift = -mean * scale
    if bias is not None:
        shift = shift + state[bias].double() * scale
    if beta is not None:
        shift = shift + beta
    name = bias_of(operation)
    state[name] = shift.to(old.dtype)
    return name
