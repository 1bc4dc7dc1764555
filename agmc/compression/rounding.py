"""Rounding: fake-quantise operators put into the program of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from agmc.compression.calibration import Grid
from agmc.compression.codebook import codebook
from agmc.compression.fold import rebuilt, state_of
from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation
from agmc.graph.rounded_program import RoundedProgram
from agmc.graph.weighted import OUTPUT_DIM, weight_of

#: Fewest bits of a weight on an even grid: the codes -1, 0, 1.
LEAST_EVEN_BITS = 2
#: From so many bits on, clipping the largest weights gains nothing.
_UNCLIPPED_BITS = 8
#: On finer grids LSQ's gradient moves a step size by many times the step itself.
_MOST_LEARNED_BITS = 8
_SHARES = torch.linspace(0.2, 1.0, 33).tolist()


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
        self._rounded = RoundedProgram(network.program)
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
        scale, zero = self._rounded.weight(layer, most, rows[0].numel())
        self._add_scale(scale, self._steps[name, bits], bits)
        self._follow(name, scale)
        self._add(zero, torch.zeros(len(rows)))

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
        table, codes_of = self._rounded.shared(layer, sparse=sparse)
        self._add(table, centroids)
        self._tables.append(table)
        self._follow(name, table)
        self._add(codes_of, index)

    def value(self, name: str, grid: Grid, bits: int, features: int) -> None:
        """An activation where it is made, for all its readers.

        Args:
            name: of the activation.
            grid: that it is rounded to.
            bits: of the grid.
            features: elements for one input.
        """
        self._add_grid(self._rounded.value(name, bits, features), grid, bits)

    def read(
        self, reader: str, name: str, grid: Grid, bits: int, features: int
    ) -> None:
        """An activation for one operation alone; arguments as of `value`."""
        self._add_grid(self._rounded.read(reader, name, bits, features), grid, bits)

    def network(self) -> GraphNetwork:
        """The network that rounds; what is rounded and returned is returned rounded."""
        result = rebuilt(
            self._network,
            self._rounded.operations(),
            self._state,
            outputs=self._rounded.outputs(),
            parameters=[*self._scales, *self._tables],
        )
        for name in self._frozen:
            result.get_parameter(name).requires_grad_(False)
        return result

    def _follow(self, weight: str, other: str) -> None:
        """What belongs to a frozen weight is frozen."""
        if not self._network.get_parameter(weight).requires_grad:
            self._frozen.append(other)

    def _add(self, name: str, value: Tensor) -> None:
        if name in self._state:
            raise ValueError(f"the network has a tensor {name!r} already; rename it")
        device = next(iter(self._state.values())).device
        self._state[name] = value.to(device)

    def _add_scale(self, name: str, value: Tensor, bits: int) -> None:
        self._scales.append(name)
        if not self._learns or bits > _MOST_LEARNED_BITS:
            self._frozen.append(name)
        self._add(name, value)

    def _add_grid(self, names: tuple[str, str], grid: Grid, bits: int) -> None:
        scale, zero = names
        self._add_scale(scale, torch.tensor([grid.scale]), bits)
        self._add(zero, torch.tensor([float(grid.zero_point)]))


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
