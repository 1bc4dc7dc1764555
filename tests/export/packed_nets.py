"""Small networks with weights of every kind that a file can hold."""

from __future__ import annotations

import torch

from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation, Program, Ref

LEARNABLE = "aten._fake_quantize_learnable_per_{}_affine.default"


def linear(name, source, weight, bias=None):
    return Operation(name, "aten.linear.default", (Ref(source), weight, bias))


def network(operations, parameters, buffers=None, inputs=16):
    """The last operation makes the output."""
    program = Program(
        *(("x",), ((1, inputs),), tuple(operations), Ref(operations[-1].name)),
        *(tuple(parameters), tuple(buffers or {})),
    )
    return GraphNetwork(program, {**parameters, **(buffers or {})}).eval()


def sparse_weight(sparsity=0.0, shape=(24, 16), seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    return weight * (torch.rand(shape, generator=generator) >= sparsity)


def dense():
    """float32 with a bias, nothing special."""
    parameters = {"fc.weight": sparse_weight(), "fc.bias": torch.arange(24.0)}
    return network([linear("y", "x", Ref("fc.weight"), Ref("fc.bias"))], parameters)


def sparse(sparsity=0.9, shape=(24, 16)):
    """float32 with zeros."""
    weight = sparse_weight(sparsity, shape)
    parameters = {"fc.weight": weight}
    return network([linear("y", "x", Ref("fc.weight"))], parameters, inputs=shape[1])


def quantised(bits=4, sparsity=0.5, by_channel=True, shape=(24, 16), offset=0.0):
    """One weight behind a learnable fake quantisation, as training leaves it."""
    low = -(2 ** (bits - 1)) if bits > 1 else 0
    weight = sparse_weight(sparsity, shape)
    extremes = weight.abs().amax(1) if by_channel else weight.abs().max()[None]
    scale = (extremes / max(1, low + 2**bits - 1)).clamp(min=1e-3)
    kind = "channel" if by_channel else "tensor"
    axis = (0,) if by_channel else ()
    call = Operation(
        "q",
        LEARNABLE.format(kind),
        (
            *(Ref("fc.weight"), Ref("fc.scale"), Ref("fc.zero_point")),
            *(*axis, low, low + 2**bits - 1, 1.0),
        ),
    )
    return network(
        [call, linear("y", "x", Ref("q"))],
        {"fc.weight": weight, "fc.scale": scale},
        {"fc.zero_point": torch.full_like(scale, offset)},
        inputs=shape[1],
    )


def codebook(entries=6, shape=(24, 16)):
    """One weight that is looked up, most of it at the second entry."""
    generator = torch.Generator().manual_seed(0)
    book = torch.randn(entries, generator=generator)
    index = torch.randint(0, entries, shape, generator=generator)
    index[torch.rand(shape, generator=generator) < 0.7] = 1
    return network(
        [
            Operation("q", "aten.take.default", (Ref("fc.codebook"), Ref("fc.index"))),
            linear("y", "x", Ref("q")),
        ],
        {"fc.codebook": book},
        {"fc.index": index},
        inputs=shape[1],
    )


KINDS = {
    "dense": dense,
    "sparse": sparse,
    "quantised": quantised,
    "codebook": codebook,
}
