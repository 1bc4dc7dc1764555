"""Weighted layers: the operations whose weights can be made sparse or quantised."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agmc.graph.program import Operation, Program, name_of

#: Operator -> dimension of the weight that counts the channels it makes.
OUTPUT_DIM = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "linear"), 0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1),
}


def weighted_layers(program: Program) -> dict[str, Operation]:
    """Layer name -> the convolution or linear layer, in execution order.

    The name is that of the weight without its `.weight`. Left out are weights that
    anything else reads as well: what is done to them would be done to others.
    """
    found = {}
    for operation in program.operations:
        if operation.kind not in OUTPUT_DIM or len(operation.args) < 2:
            continue
        weight = name_of(operation.args[1])
        if weight in program.parameters and program.reads[weight] == 1:
            found[layer_name(weight)] = operation
    return found


def left_out(program: Program) -> list[str]:
    """Names of the layers that `weighted_layers` leaves out, each once.

    A function called in the forward code of the network itself goes by its own name.
    """
    known = {operation.name for operation in weighted_layers(program).values()}
    layers = (op for op in program.operations if op.kind in OUTPUT_DIM)
    others = (op for op in layers if op.name not in known)
    return list(dict.fromkeys(op.layer or op.name for op in others))


def check_layers(named: Iterable[str], layers: Collection[str]) -> None:
    """Refuses names that are none of the network's weighted layers.

    Raises:
        ValueError: there are such names; the message has those to choose from.
    """
    if unknown := sorted(set(named) - set(layers)):
        raise ValueError(
            f"there are no layers {unknown} with weights of their own; the network has "
            f"{list(layers)}"
        )


def layer_name(weight: str) -> str:
    """`conv1` of the parameter `conv1.weight`; other names are left as they are."""
    return weight.removesuffix(".weight")


def weight_of(operation: Operation) -> str:
    """Qualified name of the weight of a layer of `weighted_layers`."""
    weight = name_of(operation.args[1])
    assert weight is not None
    return weight


def beside(weight: str, part: str) -> str:
    """Name for another tensor of the same layer: `conv1.bias` beside `conv1.weight`."""
    layer = layer_name(weight)
    return f"{layer}_{part}" if layer == weight else f"{layer}.{part}"
