"""Sparsity: which weights go, and how a network's share is spread over its layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agmc.compression.importance import share_of_no_smaller
from agmc.compression.original_class import program_of
from agmc.graph.weighted import check_layers, weight_of, weighted_layers


def sparsify(network: nn.Module, sparsity: Mapping[str, float]) -> None:
    """Sets the smallest weights of layers to zero, in place.

    Args:
        network: what `compress`, `Pruner.prune` or `agmc.load` returned.
        sparsity: layer name -> share of its weights, in [0, 1]: the nearest whole
            number of them, and below 1 never all. Of equal magnitudes the first go
            first.

    Raises:
        ValueError: the network has no such layer, or a share is out of range.
    """
    zero(network, smallest_weights(network, sparsity))


class Thinned:
    """Makes the weights of a network sparse, and can take that back.

    Args:
        network: as of `sparsify`; stays at hand.
        sparsity: layer name -> share of its weights that becomes zero.
    """

    def __init__(self, network: nn.Module, sparsity: Mapping[str, float]) -> None:
        self.sparsity = sparsity
        held = layer_weights(network).items()
        self._weights = {name: w for name, w in held if name in sparsity}
        self._dense = {name: w.detach().clone() for name, w in self._weights.items()}
        sparsify(network, sparsity)

    def restore(self) -> None:
        """The weights as they were: a fine-tuning takes them a few at a time."""
        for name, weight in self._weights.items():
            weight.data.copy_(self._dense[name])


def smallest_weights(
    network: nn.Module, sparsity: Mapping[str, float]
) -> dict[str, Tensor]:
    """What `sparsify` sets to zero: layer name -> bool, of the shape of its weight."""
    weights = layer_weights(network)
    check_layers(sparsity, weights)
    for name, share in sparsity.items():
        if not 0 <= share <= 1:
            raise ValueError(f"sparsity of {name!r} (={share}) must be in [0, 1]")
    return {
        name: smallest(weights[name].detach().abs(), zeros_of(weights[name], share))
        for name, share in sparsity.items()
    }


def zero(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Sets weights to zero, in place.

    Args:
        network: as of `sparsify`.
        masks: layer name -> bool, of the shape of its weight; True goes.

    Raises:
        ValueError: the network has no such layer.
    """
    weights = layer_weights(network)
    check_layers(masks, weights)
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].masked_fill_(mask, 0)


def uniform_sparsity(network: nn.Module, share: float) -> dict[str, float]:
    """The same share in every layer.

    Args:
        network: as of `sparsify`.
        share: of all weights that are to be zero, in [0, 1).

    Returns:
        layer name -> share in [0, 1), as `Plan.sparsity` takes it.

    Raises:
        ValueError: the share is out of range.
    """
    return dict.fromkeys(layer_weights(network), _checked(share))


def global_sparsity(network: nn.Module, share: float) -> dict[str, float]:
    """One threshold of magnitude for all layers.

    Arguments, result and errors as of `uniform_sparsity`, and: one weight of every
    layer always stays, so a share that leaves fewer is refused.
    """
    weights = layer_weights(network)
    return _spread({k: w.detach().abs().flatten() for k, w in weights.items()}, share)


def lamp_sparsity(network: nn.Module, share: float) -> dict[str, float]:
    """One threshold for all layers of LAMP's score (Lee et al. 2021, arXiv 2010.07611).

    The score of a weight is its square over the sum of those squares of its layer that
    are not smaller: what the weights that go take away from a layer, in its own units.

    Arguments, result and errors as of `global_sparsity`.
    """
    scores = {
        name: share_of_no_smaller(weight.detach().square().flatten())
        for name, weight in layer_weights(network).items()
    }
    return _spread(scores, share)


@dataclass(frozen=True, kw_only=True)
class MagnitudePruning:
    """A share of all weights that goes, the smallest of every layer.

    Attributes:
        share: of the weights of all layers, in [0, 1).
        spread: how the layers share it: "uniform", "global" or "lamp", see
            `uniform_sparsity`, `global_sparsity` and `lamp_sparsity`.

    Raises:
        ValueError: the share is out of range, or there is no such spread.
    """

    share: float = 0.9
    spread: str = "lamp"

    def __post_init__(self) -> None:
        _checked(self.share)
        if self.spread not in _SPREADS:
            raise ValueError(
                f"spread (={self.spread!r}) must be one of {', '.join(_SPREADS)}"
            )

    def shares(self, network: nn.Module) -> dict[str, float]:
        """Layer name -> share in [0, 1), as `Plan.sparsity` takes it.

        Args:
            network: as of `sparsify`.

        Raises:
            ValueError: less than one weight of a layer would stay.
        """
        return _SPREADS[self.spread](network, self.share)


def shares_of_zeros(network: nn.Module) -> dict[str, float]:
    """Layer -> share of its weights that is zero, of those that have any."""
    shares = {
        name: float((weight == 0).double().mean())
        for name, weight in layer_weights(network).items()
    }
    return {name: share for name, share in shares.items() if share}


def layer_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Layer name -> weight, in execution order.

    Raises:
        ValueError: nothing is known of the operations of the network.
    """
    layers = weighted_layers(program_of(network))
    return {name: network.get_parameter(weight_of(op)) for name, op in layers.items()}


def zeros_of(weight: Tensor, share: float) -> int:
    """How many elements of a weight that share is; below 1 one of them stays."""
    most = weight.numel() - (share < 1)
    return min(round(share * weight.numel()), most)


def smallest(values: Tensor, count: int) -> Tensor:
    """The `count` smallest values, the first of equals: bool, of the same shape."""
    flat = values.flatten()
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = flat.kthvalue(count).values
    chosen = flat < threshold
    ties = (flat == threshold).nonzero().flatten()
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen.view(values.shape)


def _spread(scores: Mapping[str, Tensor], share: float) -> dict[str, float]:
    """Shares of the layers when the lowest scores of all go; the highest of each stays.

    Args:
        scores: layer name -> [weights], on one device.
        share: of all weights.
    """
    for values in scores.values():
        values[values.argmax()] = math.inf
    every = torch.cat([*scores.values()])
    count = round(_checked(share) * len(every))
    if count > len(every) - len(scores):
        most = (len(every) - len(scores)) / len(every)
        raise ValueError(
            f"share (={share}) leaves less than one weight to each of {len(scores)} "
            f"layers; ask for at most {most:.6f}"
        )
    parts = smallest(every, count).split([len(values) for values in scores.values()])
    return {
        name: int(part.sum()) / len(part)
        for name, part in zip(scores, parts, strict=True)
    }


def _checked(share: float) -> float:
    if not 0 <= share < 1:
        raise ValueError(f"share (={share}) must be in [0, 1)")
    return share


_SPREADS = {
    "uniform": uniform_sparsity,
    "global": global_sparsity,
    "lamp": lamp_sparsity,
}
