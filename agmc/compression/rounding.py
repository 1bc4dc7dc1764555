"""Rounding: fake-quantise operators put into the program of a network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from agmc.compression.calibration import Grid
from agmc.compression.codebook import codebook
from agmc.compression.fold import rebuilt, state_of
from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation, Ref, map_refs, reading
from agmc.graph.weighted import OUTPUT_DIM, beside, weight_of

#: Fewest bits of a weight on an even grid: the codes -1, 0, 1.
LEAST_EVEN_BITS = 2
#: From so many bits on, clipping the largest weights gains nothing.
_UNCLIPPED_BITS = 8
#: On finer grids LSQ's gradient moves a step size by many times the step itself.
_MOST_LEARNED_BITS = 8
_SHARES = torch.linspace(0.2, 1.0, 33).tolist()
#: (values, scale [C], zero_point [C], axis, first code, last code, gain)
PER_CHANNEL = "aten._fake_quantize_learnable_per_channel_affine.default"
#: (values, scale [1], zero_point [1], first code, last code, gain)
PER_TENSOR = "aten._fake_quantize_learnable_per_tensor_affine.default"
#: (numbers [k], codes)
SHARED = "aten.take.default"


class Rounding:
    """Collects what is to be rounded in a network, and rebuilds it with that.

    Args:
        network: without the batch norms that can be folded; left as it was.
        learns: whether a training moves the step sizes of up to 8 bits.
        steps: step sizes of weights of this network, by name and bits, that were chosen
            before; those that are chosen now are added.
    """

    def __init__(
        self,
        network: GraphNetwork,
        *,
        learns: bool,
        steps: dict[tuple[str, int], Tensor] | None = None,
    ) -> None:
        self._steps = {} if steps is None else steps
        self._network = network
        self._learns = learns
        self._state = state_of(network)
        self._before: dict[str, list[Operation]] = {}
        self._behind: dict[str, Operation] = {}
        self._read: dict[tuple[str, str], str] = {}
        self._scales: list[str] = []
        self._tables: list[str] = []
        self._frozen: list[str] = []

    def weight(self, layer: Operation, bits: int) -> None:
        """The weight of a layer on an even grid, symmetric around 0.

        The codes are -(2^(bits-1) - 1) to 2^(bits-1) - 1, with a step size for each
        output channel: the one with the smallest squared error.

        Args:
            layer: of the network.
            bits: >= `LEAST_EVEN_BITS`.
        """
        name = weight_of(layer)
        most = 2 ** (bits - 1) - 1
        dim = OUTPUT_DIM[layer.kind]
        weight = self._state[name]
        rows = weight.movedim(dim, 0).flatten(1)
        if (name, bits) not in self._steps:
            self._steps[name, bits] = _steps(rows, most, bits)
        scale = self._add_scale(beside(name, "scale"), self._steps[name, bits], bits)
        self._follow(name, scale)
        zero = self._add(beside(name, "zero_point"), torch.zeros(len(rows)))
        args = (Ref(name), scale, zero, dim, -most, most, _gain(rows[0].numel(), most))
        made = Operation(f"{name}_q", PER_CHANNEL, args, layer=layer.layer)
        self._put_before(layer.name, name, made)

    def shared(self, layer: Operation, bits: int, *, sparse: bool) -> None:
        """The weight of a layer from 2^bits numbers of k-means.

        Args:
            layer: of the network.
            bits: >= 1.
            sparse: whether one of the numbers is 0 and stays it, for the weights that
                are 0.
        """
        name = weight_of(layer)
        weight = self._state.pop(name)
        index = torch.zeros(weight.shape, dtype=torch.int64, device=weight.device)
        others = weight != 0 if sparse else torch.ones_like(index, dtype=torch.bool)
        size = 2**bits - (1 if sparse else 0)
        centroids, codes = codebook(weight[others], size)
        index[others] = codes + (1 if sparse else 0)
        table = self._add(beside(name, "codebook"), centroids)
        self._tables.append(table.name)
        self._follow(name, table)
        if sparse:
            padded = f"{name}_q_table"
            padding = Operation(
                padded, "aten.constant_pad_nd.default", (table, [1, 0], 0.0)
            )
            self._before.setdefault(layer.name, []).append(padding)
            table = Ref(padded)
        codes_of = self._add(beside(name, "codes"), index)
        made = Operation(f"{name}_q", SHARED, (table, codes_of), layer=layer.layer)
        self._put_before(layer.name, name, made)

    def value(self, name: str, grid: Grid, bits: int, features: int) -> None:
        """An activation where it is made, for all its readers.

        Args:
            name: of the activation.
            grid: that it is rounded to.
            bits: of the grid.
            features: elements for one input.
        """
        self._behind[name] = self._activation(name, f"{name}_q", grid, bits, features)

    def read(
        self, reader: str, name: str, grid: Grid, bits: int, features: int
    ) -> None:
        """An activation for one operation alone; arguments as of `value`."""
        made = self._activation(name, f"{reader}_reads_{name}", grid, bits, features)
        self._put_before(reader, name, made)

    def network(self) -> GraphNetwork:
        """The network that rounds; what is rounded and returned is returned rounded."""
        program = self._network.program
        operations = [self._behind[n] for n in program.inputs if n in self._behind]
        for operation in program.operations:
            operations += map(self._reading, self._before.get(operation.name, ()))
            operations.append(self._reading(operation))
            if operation.name in self._behind:
                operations.append(self._behind[operation.name])
        outputs = map_refs(program.outputs, lambda n: Ref(self._new(n)))
        result = rebuilt(
            self._network,
            operations,
            self._state,
            outputs=outputs,
            parameters=[*self._scales, *self._tables],
        )
        for name in self._frozen:
            result.get_parameter(name).requires_grad_(False)
        return result

    def _new(self, name: str) -> str:
        return self._behind[name].name if name in self._behind else name

    def _reading(self, operation: Operation) -> Operation:
        """The same operation, reading what was rounded."""

        def new(name: str) -> str:
            return self._read.get((operation.name, name), self._new(name))

        return reading(operation, new)

    def _activation(
        self, name: str, made: str, grid: Grid, bits: int, features: int
    ) -> Operation:
        most = 2**bits - 1
        scale = self._add_scale(f"{made}.scale", torch.tensor([grid.scale]), bits)
        zero = self._add(f"{made}.zero_point", torch.tensor([float(grid.zero_point)]))
        args = (Ref(name), scale, zero, 0, most, _gain(features, most))
        return Operation(made, PER_TENSOR, args)

    def _follow(self, weight: str, other: Ref) -> None:
        """What belongs to a frozen weight is frozen."""
        if not self._network.get_parameter(weight).requires_grad:
            self._frozen.append(other.name)

    def _put_before(self, reader: str, name: str, made: Operation) -> None:
        self._before.setdefault(reader, []).append(made)
        self._read[reader, name] = made.name

    def _add(self, name: str, value: Tensor) -> Ref:
        if name in self._state:
            raise ValueError(f"the network has a tensor {name!r} already; rename it")
        device = next(iter(self._state.values())).device
        self._state[name] = value.to(device)
        return Ref(name)

    def _add_scale(self, name: str, value: Tensor, bits: int) -> Ref:
        self._scales.append(name)
        if not self._learns or bits > _MOST_LEARNED_BITS:
            self._frozen.append(name)
        return self._add(name, value)


def _gain(features: int, most: int) -> float:
    """LSQ's factor on the gradient of a step size (its section 2.2)."""
    return 1 / math.sqrt(features * most)


def _steps(rows: Tensor, most: int, bits: int) -> Tensor:
    """The step size of every row [C, n] with the smallest squared error, [C]."""
    largest = rows.abs().amax(1)
    # A channel of zeros has any step size.
    whole = torch.where(largest > 0, largest, torch.ones_like(largest)) / most
    if bits >= _UNCLIPPED_BITS:
        return whole
    best, least = whole, torch.full_like(whole, torch.inf)
    zero = torch.zeros_like(whole)
    for share in _SHARES:
        steps = whole * share
        near = torch.fake_quantize_per_channel_affine(rows, steps, zero, 0, -most, most)
        error = (near - rows).square().sum(1)
        best = torch.where(error < least, steps, best)
        least = torch.minimum(error, least)
    return best
