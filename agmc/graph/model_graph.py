"""ModelGraph: a traced network as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from agmc.graph.network import tensors_of
from agmc.graph.program import Operation, Program

if TYPE_CHECKING:  # slow to load, and only `to_networkx` needs it
    import networkx


@dataclass(frozen=True)
class TensorSpec:
    """An activation: its shape in elements (batch first, as in the example input)."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @classmethod
    def of(cls, value: Tensor) -> TensorSpec:
        """That of a tensor, or of a parameter or buffer."""
        return cls(tuple(value.shape), str(value.dtype).removeprefix("torch."))


@dataclass(frozen=True, eq=False)
class Channels:
    """Where the channels of an activation lie.

    Attributes:
        dim: the one dimension along which channels can go.
        atoms: int32 [size along dim]: the channel (an id of the whole network) that
            a position belongs to, -1 where it belongs to none that can go.
    """

    dim: int
    atoms: np.ndarray


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter or buffer: shape, dtype and what its values are like.

    Attributes:
        shape: in elements.
        dtype: `float32`, `int64`, ...
        trainable: False for buffers.
        mean, std: of the values; 0 for integers.
    """

    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    mean: float
    std: float

    @property
    def numel(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False, slots=True)
class ParameterSlice:
    """Where the channels of a group lie along one dimension of one parameter.

    Attributes:
        parameter: qualified name.
        dim: dimension of the parameter.
        index: int64 array [size of the group, repeats]: row i holds the positions
            along `dim` that go when channel i of the group goes (more than one after
            a flatten or in a grouped convolution).
    """

    parameter: str
    dim: int
    index: np.ndarray


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that must go together; the unit of a decision.

    All channels of a group lie in the same slices, so that every width of the network
    is a linear function of how many channels each group keeps.

    Attributes:
        name: the layer that makes the channels first (unique).
        size: number of channels.
        slices: everything that is cut when a channel goes.
        tensors: names of the activations that carry the channels, in execution order.
        producers: names of the layers that make the channels.
    """

    name: str
    size: int
    slices: tuple[ParameterSlice, ...]
    tensors: tuple[str, ...]
    producers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Shuffle:
    """A run of operations that equals an index_select along one dimension.

    Attributes:
        source: the activation that is reordered.
        steps: names of the operations; the result is that of the last.
        dim: that is reordered.
        order: int64 [size]: position i of the result is position `order[i]` of the
            source.
    """

    source: str
    steps: tuple[str, ...]
    dim: int
    order: np.ndarray


@dataclass(frozen=True)
class Block:
    """Operations that can go as one: what is left of them is their input.

    Attributes:
        name: the module that its parameters lie in (unique).
        input: the value that takes the place of its output.
        output: the value that others read of it, of the shape of its input.
        operations: names of all that goes, in execution order; `output` is the last.
    """

    name: str
    input: str
    output: str
    operations: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ModelGraph:
    """A traced network: operations, shapes, parameters, channel groups and blocks.

    Attributes:
        program: the operations in execution order; runs again as `GraphNetwork`.
        tensors: activation name -> shape. Holds inputs and operation outputs.
        parameters: qualified name -> shape and statistics; parameters and buffers.
        groups: the prunable channel groups, in execution order.
        channels: activation name -> its channels; one that is not named carries none
            that can go.
        group_atoms: int arrays, one per group: the ids of its channels.
        shuffles: by the name of the last operation, the runs of reshapes that reorder
            channels.
        unprunable: one line for every reason why channels were left alone.
        integers: name -> values of the buffers that say which channels to select.
        sources: operation name -> line of the forward code, "resnet.py:102"; empty
            where there is nothing to say of any.
        constants: name -> tensor that the forward code holds outside the state dict.
        blocks: what can be dropped as a whole, in execution order of the outputs; any
            of them without the others.
    """

    program: Program
    tensors: Mapping[str, TensorSpec]
    parameters: Mapping[str, ParameterSpec]
    groups: tuple[ChannelGroup, ...]
    channels: Mapping[str, Channels]
    group_atoms: tuple[np.ndarray, ...]
    shuffles: Mapping[str, Shuffle]
    unprunable: tuple[str, ...]
    integers: Mapping[str, np.ndarray] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()

    @property
    def operations(self) -> Mapping[str, Operation]:
        """Name -> operation, in execution order."""
        return self.program.by_name

    def inputs_of(self, operation: Operation) -> tuple[str, ...]:
        """Names of the activations that the operation reads."""
        return tuple(name for name in operation.refs() if name in self.tensors)

    def parameters_of(self, operation: Operation) -> tuple[str, ...]:
        """Qualified names of the parameters and buffers that the operation reads."""
        return tuple(name for name in operation.refs() if name in self.parameters)

    @cached_property
    def layers(self) -> tuple[Operation, ...]:
        """The operations that own parameters, in execution order."""
        return tuple(op for op in self.program.operations if self.parameters_of(op))

    def state_of(self, model: nn.Module) -> dict[str, Tensor]:
        """All tensors that operations may read, by qualified name, ties included.

        Args:
            model: the network that was traced, or a copy of it.
        """
        return {**self.constants, **tensors_of(model)}

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Nodes are activations (attribute `spec`), edges operations (`operation`).

        Inputs come first; node and edge order is execution order.
        """
        import networkx

        result = networkx.MultiDiGraph()
        for name in self.tensors:
            result.add_node(name, spec=self.tensors[name])
        for operation in self.program.operations:
            if operation.name in self.tensors:
                for source in self.inputs_of(operation):
                    result.add_edge(
                        source, operation.name, key=operation.name, operation=operation
                    )
        return result
