"""Reconstruction: weights of the layers behind a cut, by least squares.

When channels go, the layer that reads them can make up for the loss by other weights on
the channels that stay. With the second moments of its input, measured once, the best
weights for any plan solve one linear system (He et al. 2017, arXiv 1707.06168, eq. 4):
no data pass per plan.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from agmc.compression.moments import Moments, samples_of
from agmc.graph.model_graph import ModelGraph
from agmc.graph.network import GraphNetwork, tensors_of
from agmc.graph.program import Operation, name_of


class _Second(NamedTuple):
    """Mean [F] and second moments [F, F] of a layer's input, and how many were seen."""

    mean: Tensor
    products: Tensor
    samples: int


class Reconstruction:
    """Closed-form least squares for the layers that read removed channels.

    With x the input of a layer of the original network (a patch of it, for a
    convolution), W its weights, K the features that stay and R those that go, the new
    weights minimise E |W x - W' x_K|^2 + damping |W' - W_K|^2, that is
    W' = W_K + W_R M[R, K] (M[K, K] + damping I)^-1 with M = E[x x^T]. The damping is
    ridge + |K| / samples of the mean of M's diagonal: the fewer the samples, the more
    of what pruning leaves stays. A layer with a bias takes the centred moments and its
    bias takes up the difference of the means; so does the running mean of a batch norm
    that alone reads the layer.

    Convolutions with one group and linear layers are solved; others, layers whose
    weight is used twice, and inputs of more than `max_features` features keep the
    weights that pruning leaves them.

    Args:
        model: the network that was traced; left as it was.
        graph: its graph.
        batches: inputs [N, ...] of training data, on the model's device.
        ridge: part of the damping, relative to the mean of M's diagonal, > 0.
        positions: patches per image that a convolution's moments are taken from, >= 1.
        max_features: largest system to solve, >= 1.
        seed: of the choice of the patches.

    Raises:
        ValueError: a number is out of range, or there are no batches.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ModelGraph,
        batches: Iterable[Tensor],
        *,
        ridge: float = 1e-3,
        positions: int = 64,
        max_features: int = 2304,
        seed: int = 0,
    ) -> None:
        for name, value in (
            ("ridge", ridge),
            ("positions", positions),
            ("max_features", max_features),
        ):
            if value <= 0:
                raise ValueError(f"{name} (={value}) must be > 0")
        self.graph = graph
        self.ridge = ridge
        self.layers = {
            operation.layer: operation for operation in _solvable(graph, max_features)
        }
        norms = _norms(graph, self.layers)
        self._running_means = {path: mean for path, (mean, _) in norms.items()}
        self._positions = positions
        state = graph.state_of(model)
        self._scales = {
            path: state[scale].detach() for path, (_, scale) in norms.items() if scale
        }
        self._weights = {
            name: state[name].detach()
            for operation in self.layers.values()
            for name in operation.refs()
            if name in graph.parameters
        }
        # Not kept: an attribute that makes a tensor when it is pickled breaks the
        # sharing of memory with processes that are started anew.
        generator = torch.Generator().manual_seed(seed)
        network = GraphNetwork(graph.program, state)
        measured = self._measure(network, batches, generator)
        self._moments = {
            path: _Second(
                moments.mean(),
                moments.second(centred=self._has_shift(path)),
                moments.count,
            )
            for path, moments in measured.items()
        }

    def apply(
        self, small: GraphNetwork, kept: Mapping[tuple[str, int], np.ndarray]
    ) -> None:
        """Gives the layers of a pruned network their best weights, in place.

        Args:
            small: what `Pruner.prune` made of a plan.
            kept: what `Pruner.kept_positions` says of the same plan.
        """
        tensors = tensors_of(small)
        with torch.no_grad():
            for path, operation in self.layers.items():
                weight, bias = _weight_and_bias(operation)
                stays = self._stays(path, kept)
                if stays is None or weight not in tensors:  # its block was dropped
                    continue
                old = self._weights[weight].flatten(1).float().cpu()
                rows = kept.get((weight, 0))
                if rows is not None:
                    old = old[torch.from_numpy(rows)]
                new, shift = self._solve(self._moments[path], old, stays)
                tensors[weight].copy_(new.reshape(tensors[weight].shape))
                if bias is not None:
                    tensors[bias].add_(shift.to(tensors[bias]))
                elif path in self._running_means:
                    mean = tensors[self._running_means[path]]
                    mean.sub_(shift.to(mean))

    def error(self, kept: Mapping[tuple[str, int], np.ndarray]) -> float:
        """What the best weights cannot mend, in units of what the layers compute.

        The sum of E |w x - w' x_K|^2 / E |w x|^2 over the output channels of all layers
        that read removed channels; centred moments, and times the squared scale of the
        channel, where a batch norm alone reads the layer: it divides by the standard
        deviation and multiplies by the scale.

        Args:
            kept: what `Pruner.kept_positions` says of a plan.

        Returns:
            >= 0; NaN where no layer is solved that reads removed channels.
        """
        sums = []
        with torch.no_grad():
            for path, operation in self.layers.items():
                stays = self._stays(path, kept)
                if stays is None:
                    continue
                moments = self._moments[path]
                old = self._weights[_weight_and_bias(operation)[0]]
                old = old.flatten(1).float().cpu()
                new, _ = self._solve(moments, old, stays)
                away = old.clone()
                away[:, torch.from_numpy(np.flatnonzero(stays))] -= new
                lost, whole = (
                    ((rows @ moments.products) * rows).sum(1) for rows in (away, old)
                )
                shares = lost.clamp_min(0) / whole.clamp_min(1e-12)  # but for rounding
                if path in self._scales:
                    shares = shares * self._scales[path].float().cpu().square()
                sums.append(float(shares.sum()))
        return math.fsum(sums) if sums else math.nan

    def _stays(
        self, path: str, kept: Mapping[tuple[str, int], np.ndarray]
    ) -> np.ndarray | None:
        """Which features of a layer's input stay; None: all, or it is not solved."""
        weight, _ = _weight_and_bias(self.layers[path])
        stays = kept.get((weight, 1))
        if stays is None or path not in self._moments:
            return None
        return np.repeat(stays, self._weights[weight][0, 0].numel())

    def _has_shift(self, path: str) -> bool:
        """Whether something behind the layer can take up a difference of the means."""
        _, bias = _weight_and_bias(self.layers[path])
        return bias is not None or path in self._running_means

    def _solve(
        self, moments: _Second, old: Tensor, stays: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """New weights [C_out, features that stay] of old [C_out, F]; change of bias."""
        features = torch.from_numpy(np.flatnonzero(stays))
        removed = torch.from_numpy(np.flatnonzero(~stays))
        # M is symmetric, and rows are faster to pick than columns.
        rows = moments.products.index_select(0, features)
        system = rows.index_select(1, features)
        damping = self.ridge + len(system) / moments.samples
        system.diagonal().add_(damping * system.diagonal().mean().clamp_min(1e-12))
        lost = rows.index_select(1, removed) @ old.index_select(1, removed).T
        factor, failed = torch.linalg.cholesky_ex(system)
        if failed:  # the damping is too small for float32
            factor = torch.linalg.cholesky(system.double())
        change = torch.cholesky_solve(lost.to(factor), factor).T
        new = old.index_select(1, features) + change.float()
        return new, old @ moments.mean - new @ moments.mean[features]

    def _measure(
        self,
        network: GraphNetwork,
        batches: Iterable[Tensor],
        generator: torch.Generator,
    ) -> dict[str, Moments]:
        moments: dict[str, Moments] = {}

        def look(path: str, module: nn.Conv2d | nn.Linear, x: Tensor) -> None:
            samples = samples_of(
                module, x.float(), positions=self._positions, generator=generator
            ).cpu()
            if path not in moments:
                moments[path] = Moments(samples)
            moments[path].add(samples)

        hooks = []
        for path in self.layers:
            module = network.get_submodule(path)
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                hooks.append(
                    module.register_forward_pre_hook(
                        lambda m, args, path=path: look(path, m, args[0])
                    )
                )
        network.eval()
        seen = False
        with torch.no_grad():
            for batch in batches:
                network(batch)
                seen = True
        for hook in hooks:
            hook.remove()
        if not seen:
            raise ValueError("there are no batches to reconstruct from")
        return moments


def _weight_and_bias(operation: Operation) -> tuple[str, str | None]:
    weight = name_of(operation.args[1])
    assert weight is not None
    return weight, name_of(operation.args[2]) if len(operation.args) > 2 else None


def _norms(
    graph: ModelGraph, layers: Mapping[str, Operation]
) -> dict[str, tuple[str, str | None]]:
    """Path of a layer -> running mean and scale of the batch norm that alone reads it.

    The scale is None where the batch norm has none.
    """
    program = graph.program
    uses = program.reads
    makers = {operation.name: path for path, operation in layers.items()}
    found = {}
    for operation in program.operations:
        if operation.op == "aten.batch_norm.default":
            made, scale, _, mean = (name_of(arg) for arg in operation.args[:4])
            if made in makers and mean is not None and uses[made] == uses[mean] == 1:
                found[makers[made]] = mean, scale
    return found


def _solvable(graph: ModelGraph, max_features: int) -> list[Operation]:
    """Layers that read channels which can go, and whose weight is theirs alone."""
    uses = Counter(name for op in graph.program.operations for name in set(op.refs()))
    cut = {(c.parameter, c.dim) for group in graph.groups for c in group.slices}
    found = []
    for operation in graph.program.operations:
        if operation.op not in ("aten.conv2d.default", "aten.linear.default"):
            continue
        weight, bias = _weight_and_bias(operation)
        if weight != f"{operation.layer}.weight" or uses[weight] > 1:
            continue
        if (weight, 1) not in cut or (bias is not None and uses[bias] > 1):
            continue
        groups = operation.args[6] if len(operation.args) > 6 else 1
        shape = graph.parameters[weight].shape
        if groups == 1 and int(np.prod(shape[1:])) <= max_features:
            found.append(operation)
    return found
