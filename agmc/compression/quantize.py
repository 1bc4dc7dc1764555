"""Quantisation: weights and activations on few numbers, as operations of the network.

The quantised network is a `GraphNetwork` whose program rounds: behind every weight and
behind the activations that are to be coarse stands a fake-quantise operator of torch,
with its step size as a parameter. So it trains like any other network (the gradient
passes the rounding straight through, and that of the step sizes is LSQ's: Esser et al.
2020, arXiv 1902.08153), is saved and loaded without code of its own, and computes in
float32 what integers would compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from agmc.compression.calibration import Calibration, Grid, check_calibration, mse
from agmc.compression.fold import fold_batch_norms
from agmc.compression.original_class import program_of
from agmc.compression.ranges import Range, measure_ranges
from agmc.compression.rounding import LEAST_EVEN_BITS, Rounding
from agmc.compression.whole_biases import round_biases
from agmc.graph.network import GraphNetwork, tensors_of
from agmc.graph.quantized_values import QuantizedValues, rounded_reads
from agmc.graph.weighted import check_layers, weighted_layers
from agmc.plan import Plan

WEIGHTS = ("uniform", "codebook")


class Measured:
    """A network that is to be rounded: its batch norms folded, its activations known.

    Args:
        network: with the running statistics that shall hold; left as it was.
        batches: inputs [N, ...] of training data on the network's device; read when the
            first activation is to be rounded.

    Raises:
        ValueError: a parameter is of another type than float32.
    """

    def __init__(
        self, network: GraphNetwork, batches: Iterable[Tensor | Sequence[Tensor]]
    ) -> None:
        for name, parameter in network.named_parameters():
            if parameter.dtype is not torch.float32:
                raise ValueError(
                    f"{name} is of type {parameter.dtype}, and bits are of networks in "
                    "torch.float32; call .float() on the network before"
                )
        self.folded = fold_batch_norms(network)
        self._batches = batches
        self._grids: dict[tuple[Calibration, str, int], Grid] = {}
        self.steps: dict[tuple[str, int], Tensor] = {}

    def grid(self, calibration: Calibration, value: str, bits: int) -> Grid:
        """What a calibration makes of an activation of `ranges`, chosen once."""
        key = calibration, value, bits
        if key not in self._grids:
            self._grids[key] = calibration(self.ranges[value], bits)
        return self._grids[key]

    @cached_property
    def ranges(self) -> Mapping[str, Range]:
        """Of every activation of floats that a plan could round.

        Raises:
            ValueError: there are no batches, or a value is not finite.
        """
        program = self.folded.program
        reads = rounded_reads(program, [*weighted_layers(program)])
        names = {name for read in reads for name in (read.source, read.value)}
        return measure_ranges(self.folded, names, self._batches)


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a network is quantised.

    Attributes:
        weights: "uniform", evenly spaced numbers, symmetric around 0, a step size for
            each output channel; or "codebook", numbers of k-means for each layer.
        calibration: chooses the grid of an activation, see
            `agmc.compression.calibration`.
        learn_scales: whether a training moves the step sizes of weights and
            activations of up to 8 bits; those of a codebook always move.

    Raises:
        ValueError: there are no such weights, or the calibration is none.
    """

    weights: str = "uniform"
    calibration: Calibration = mse
    learn_scales: bool = True

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise ValueError(
                f"weights (={self.weights!r}) must be one of {', '.join(WEIGHTS)}"
            )
        check_calibration(self.calibration)

    def check(self, plan: Plan) -> None:
        """Refuses bits that the weights cannot have.

        Raises:
            ValueError: there are such bits.
        """
        if self.weights == "uniform":
            for name, bits in plan.weight_bits.items():
                if bits < LEAST_EVEN_BITS:
                    raise ValueError(
                        f"weight_bits of {name!r} (={bits}) must be >= "
                        f"{LEAST_EVEN_BITS} for evenly spaced weights; take more, or "
                        "weights=codebook"
                    )

    @property
    def shares_numbers(self) -> bool:
        """Whether weights with bits are from codebooks."""
        return self.weights == "codebook"

    def apply(
        self,
        network: GraphNetwork,
        plan: Plan,
        batches: Iterable[Tensor | Sequence[Tensor]] = (),
    ) -> GraphNetwork:
        """The network with its batch norms folded and the bits of the plan.

        Args:
            network: pruned, float32; left as it was.
            plan: whose `weight_bits` and `act_bits` are carried out. Zeros of layers
                that its `sparsity` names stay zeros.
            batches: training inputs [N, ...] to measure the activations on, tuples
                where the network takes several; needed where the plan has `act_bits`.

        Raises:
            ValueError: the plan names other layers or too few bits, there are no
                batches, or the network is of another type.
        """
        return self.rounded(Measured(network, batches), plan)

    def rounded(self, measured: Measured, plan: Plan) -> GraphNetwork:
        """`apply` to a network that was measured before, for any number of plans.

        Args:
            measured: left as it was.
            plan: see `apply`.

        Raises:
            ValueError: as `apply`.
        """
        self.check(plan)
        folded = measured.folded
        layers = weighted_layers(folded.program)
        check_layers(plan.weight_bits, layers)
        values = QuantizedValues.of(folded.program, plan.act_bits)
        # Without those that are no floats, but true or false, say.
        ranges = measured.ranges if plan.act_bits else {}
        rounding = Rounding(folded, learns=self.learn_scales, steps=measured.steps)
        for name, bits in plan.weight_bits.items():
            if self.shares_numbers:
                sparse = plan.sparsity.get(name, 0) > 0
                rounding.shared(layers[name], bits, sparse=sparse)
            else:
                rounding.weight(layers[name], bits)
        for value, bits in values.made.items():
            if seen := ranges.get(value):
                grid = measured.grid(self.calibration, value, bits)
                rounding.value(value, grid, bits, seen.features)
        for (reader, value), bits in values.read.items():
            if seen := ranges.get(value):
                grid = measured.grid(self.calibration, value, bits)
                rounding.read(reader, value, grid, bits, seen.features)
        result = rounding.network()
        round_biases(result)
        return result


def graph_network(module: nn.Module) -> GraphNetwork:
    """A compressed network as one that can be rewritten; it shares the tensors.

    Args:
        module: what `Pruner.prune`, `in_original_class` or `agmc.load` returned.

    Raises:
        ValueError: it is another network.
    """
    program = program_of(module)
    if isinstance(module, GraphNetwork):
        return module
    constants = getattr(module, "agmc_constants", {})
    device = next((p.device for p in module.parameters()), None)
    state = {
        **{name: value.to(device) for name, value in constants.items()},
        **tensors_of(module),
    }
    return GraphNetwork(program, state).eval()
