"""Ranges: what the activations of a network are like, measured on training images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agmc.graph.network import GraphNetwork, tensors_of

#: Values of one activation that are drawn from every batch, and kept in the end.
_DRAWN = 4096
_KEPT = 16384


@dataclass(frozen=True, eq=False)
class Range:
    """Values of one activation.

    Attributes:
        low, high: the smallest and the largest of all values seen.
        sample: float32 [n], some of the values, ascending.
        features: elements for one input.
    """

    low: float
    high: float
    sample: Tensor
    features: int


def measure_ranges(
    network: GraphNetwork,
    names: Collection[str],
    batches: Iterable[Tensor | Sequence[Tensor]],
    *,
    seed: int = 0,
) -> dict[str, Range]:
    """The ranges of some activations, in evaluation mode; only of those of floats.

    Args:
        network: left as it was.
        names: of inputs or operations of its program.
        batches: inputs [N, ...] of training data, on the network's device; a tuple
            where the network takes several.
        seed: of the choice of the values that are kept.

    Raises:
        ValueError: there are no batches, or a value is not finite.
    """
    watch = _Watch(set(names), torch.Generator().manual_seed(seed))
    watched = _Watched(network, watch)
    seen = False
    with torch.no_grad():
        for batch in batches:
            inputs = (batch,) if isinstance(batch, Tensor) else tuple(batch)
            for name, value in zip(network.program.inputs, inputs, strict=True):
                watch(name, value)
            watched(*inputs)
            seen = True
    if not seen:
        raise ValueError("there are no batches to measure the activations on")
    return {name: watch.range(name) for name in names if name in watch.sizes}


class _Watch:
    """Looks at the values as they are made."""

    def __init__(self, names: set[str], generator: torch.Generator) -> None:
        self.names = names
        self.generator = generator
        self.sizes: dict[str, int] = {}
        self._ends: dict[str, list[tuple[float, float]]] = {}
        self._samples: dict[str, list[Tensor]] = {}

    def __call__(self, name: str, value: Any) -> None:
        if name not in self.names or not value.is_floating_point():
            return
        flat = value.detach().float().reshape(-1)
        low, high = (float(end) for end in flat.aminmax())
        if not -torch.inf < low <= high < torch.inf:
            raise ValueError(f"activation {name!r} is not finite: {low} to {high}")
        place = torch.randint(len(flat), (_DRAWN,), generator=self.generator)
        self.sizes[name] = len(flat) // len(value)
        self._ends.setdefault(name, []).append((low, high))
        self._samples.setdefault(name, []).append(flat[place.to(flat.device)].cpu())

    def range(self, name: str) -> Range:
        lows, highs = zip(*self._ends[name], strict=True)
        drawn = torch.cat(self._samples[name]).sort().values
        sample = drawn[:: -(-len(drawn) // _KEPT)]
        return Range(min(lows), max(highs), sample, self.sizes[name])


class _Watched(GraphNetwork):
    """The same network, watched; shares its tensors."""

    def __init__(self, network: GraphNetwork, watch: _Watch) -> None:
        super().__init__(network.program, tensors_of(network))
        self.eval()
        self._watch = watch

    def _run(self, step: Any, values: dict[str, Any]) -> Any:
        value = super()._run(step, values)
        self._watch(step.operation.name, value)
        return value
