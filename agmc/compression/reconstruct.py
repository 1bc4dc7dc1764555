"""Reconstruction: weights of the layers behind a cut, by least squares.

When channels go, the layer that reads them can make up for the loss by other weights on
the channels that stay. With the second moments of its input, measured once, the best
weights for any plan solve one linear system (He et al. 2017, arXiv 1707.06168, eq. 4):
no data pass per plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agmc.graph.model_graph import ModelGraph
from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation, name_of


@dataclass(eq=False)
class _Moments:
    """Sums over the samples of one layer's input, features [C_in * k_h * k_w]."""

    products: Tensor
    sums: Tensor
    count: int = 0

    def add(self, samples: Tensor) -> None:
        """Samples are [number, features]."""
        self.products.addmm_(samples.T, samples)
        self.sums += samples.sum(0)
        self.count += len(samples)


class Reconstruction:
    """Closed-form least squares for the layers that read removed channels.

    With x the input of a layer of the original network (a patch of it, for a
    convolution), W its weights and K the features that stay, the new weights minimise
    E |W x - W' x_K|^2 + ridge |W'|^2, that is
    W' = W M[:, K] (M[K, K] + ridge I)^-1 with M = E[x x^T]. A layer with a bias takes
    the centred moments and its bias takes up the difference of the means.

    Convolutions with one group and linear layers are solved; others, layers whose
    weight is used twice, and inputs of more than `max_features` features keep the
    weights that pruning leaves them.

    Args:
        model: the network that was traced; left as it was.
        graph: its graph.
        batches: inputs [N, ...] of training data, on the model's device.
        ridge: relative to the mean of the diagonal of M, > 0.
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
        self._generator = torch.Generator().manual_seed(seed)
        self._positions = positions
        state = {
            **graph.constants,
            **dict(model.named_buffers(remove_duplicate=False)),
            **dict(model.named_parameters(remove_duplicate=False)),
        }
        self._weights = {
            name: state[name].detach()
            for operation in self.layers.values()
            for name in operation.refs()
            if name in graph.parameters
        }
        self._moments = self._measure(GraphNetwork(graph.program, state), batches)

    def apply(
        self, small: GraphNetwork, kept: Mapping[tuple[str, int], np.ndarray]
    ) -> None:
        """Gives the layers of a pruned network their best weights, in place.

        Args:
            small: what `Pruner.prune` made of a plan.
            kept: what `Pruner.kept_positions` says of the same plan.
        """
        parameters = dict(small.named_parameters())
        with torch.no_grad():
            for path, operation in self.layers.items():
                weight, bias = _weight_and_bias(operation)
                stays = kept.get((weight, 1))
                if stays is None or path not in self._moments:
                    continue
                rows = kept.get((weight, 0))
                new, shift = self._solve(path, weight, stays, rows, bias is not None)
                parameters[weight].copy_(new.reshape(parameters[weight].shape))
                if bias is not None:
                    parameters[bias].add_(shift.to(parameters[bias]))

    def _solve(
        self,
        path: str,
        weight: str,
        stays: np.ndarray,
        rows: np.ndarray | None,
        centred: bool,
    ) -> tuple[Tensor, Tensor]:
        """New weights [C_out that stay, features that stay] and change of the bias."""
        moments = self._moments[path]
        mean = moments.sums / moments.count
        second = moments.products / moments.count
        if centred:
            second = second - torch.outer(mean, mean)
        original = self._weights[weight]
        old = original.flatten(1).float().cpu()
        if rows is not None:
            old = old[torch.from_numpy(rows)]
        window = original[0, 0].numel()
        features = torch.from_numpy(np.flatnonzero(np.repeat(stays, window)))
        columns = second.index_select(1, features)
        system = columns.index_select(0, features)
        damping = self.ridge * system.diagonal().mean().clamp_min(1e-12)
        system.diagonal().add_(damping)
        # M is symmetric: (M_KK + ridge) W'^T = M_K: W^T.
        factor = torch.linalg.cholesky(system)
        new = torch.cholesky_solve(columns.T @ old.T, factor).T
        return new, old @ mean - new @ mean[features]

    def _measure(
        self, network: GraphNetwork, batches: Iterable[Tensor]
    ) -> dict[str, _Moments]:
        moments: dict[str, _Moments] = {}

        def look(path: str, module: nn.Module, x: Tensor) -> None:
            samples = self._samples(module, x.float()).cpu()
            if path not in moments:
                size = samples.shape[1]
                moments[path] = _Moments(torch.zeros(size, size), torch.zeros(size))
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

    def _samples(self, module: nn.Module, x: Tensor) -> Tensor:
        """[samples, features] of one batch."""
        if isinstance(module, nn.Linear):
            return x.flatten(0, -2)
        assert isinstance(module, nn.Conv2d)
        assert not isinstance(module.padding, str)
        (top, left), (down, right) = module.padding, module.stride
        padded = F.pad(x, (left, left, top, top))
        spans = [
            dilation * (size - 1) + 1
            for dilation, size in zip(module.dilation, module.kernel_size, strict=True)
        ]
        height = (padded.shape[2] - spans[0]) // down + 1
        width = (padded.shape[3] - spans[1]) // right + 1
        # The same places in all images of a batch; other places in every batch.
        order = torch.randperm(height * width, generator=self._generator)
        chosen = order[: self._positions].to(x.device)
        rows, columns = chosen // width * down, chosen % width * right
        taps = [
            padded[
                :, :, rows + i * module.dilation[0], columns + j * module.dilation[1]
            ]
            for i in range(module.kernel_size[0])
            for j in range(module.kernel_size[1])
        ]
        return torch.stack(taps, 2).flatten(1, 2).transpose(1, 2).flatten(0, 1)


def _weight_and_bias(operation: Operation) -> tuple[str, str | None]:
    weight = name_of(operation.args[1])
    assert weight is not None
    return weight, name_of(operation.args[2]) if len(operation.args) > 2 else None


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
