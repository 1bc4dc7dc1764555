"""Physical removal of channels: nn.Module x Plan -> a new, smaller nn.Module."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from agmc.compression.importance import Importance, group_importance, l1
from agmc.compression.literals import rewrite_literals
from agmc.graph.model_graph import ModelGraph
from agmc.graph.network import GraphNetwork
from agmc.graph.trace import trace
from agmc.plan import Plan, kept_channels


def compress(
    model: nn.Module,
    plan: Plan,
    example_input: Tensor | Sequence[Tensor],
    *,
    importance: Importance = l1,
) -> nn.Module:
    """Carries out a plan on a network; the network is left as it was.

    Args:
        model: a trained network.
        plan: for every channel group the share of channels to keep.
        example_input: a Tensor or a tuple of Tensors, batch first.
        importance: scores the channels; those with the highest stay.

    Returns:
        The smaller network in evaluation mode; of the same class where its code still
        runs, else a `GraphNetwork` with the literals of the code rewritten. Batch norm
        statistics are those of the original: recalibrate or fine-tune it.

    Raises:
        ValueError: the network cannot be traced, or the plan names other groups.
    """
    graph = trace(model, example_input)
    return Pruner(model, graph, importance=importance).prune(plan)


class Pruner:
    """Ranks the channels of one network once, and carries out many plans.

    Args:
        model: the network that was traced; later changes of its weights are seen, but
            the ranking stays.
        graph: its graph.
        importance: scores the channels; those with the highest stay.
    """

    def __init__(
        self, model: nn.Module, graph: ModelGraph, *, importance: Importance = l1
    ) -> None:
        self.model = model
        self.graph = graph
        self._state = _tensors(model, graph)
        self._convolutions = frozenset(
            name
            for name, module in model.named_modules(remove_duplicate=False)
            if isinstance(module, nn.modules.conv._ConvNd)
        )
        self._ranking = [
            torch.argsort(
                group_importance(group, self._state, importance),
                descending=True,
                stable=True,
            ).numpy()
            for group in graph.groups
        ]

    def prune(self, plan: Plan) -> nn.Module:
        """The network without the channels that go, in evaluation mode."""
        state = {name: tensor.detach() for name, tensor in self._state.items()}
        for (name, dim), keeps in self._kept_positions(plan).items():
            index = torch.from_numpy(np.flatnonzero(keeps)).to(state[name].device)
            state[name] = state[name].index_select(dim, index)
        program, broken = rewrite_literals(
            self.graph, self._removed_atoms(plan), self._convolutions
        )
        if broken or isinstance(self.model, GraphNetwork):
            small: nn.Module = GraphNetwork(
                program, {n: t.clone() for n, t in state.items()}
            )
            for name, parameter in small.named_parameters():
                parameter.requires_grad_(self._state[name].requires_grad)
        else:
            small = _copy_with(self.model, self._state, state)
            _mend_attributes(small)
            # So that it can be saved without being traced again.
            small.__dict__["agmc_program"] = program
            small.__dict__["agmc_constants"] = dict(self.graph.constants)
        return small.eval()

    def mask(self, plan: Plan) -> nn.Module:
        """A copy in which the channels are zeroed and nothing is removed.

        Weights, biases and batch norm are zeroed at the same positions, so that in
        evaluation mode it computes what `prune` computes. For comparison only.
        """
        masked = copy.deepcopy(self.model)
        state = _tensors(masked, self.graph)
        with torch.no_grad():
            for (name, dim), keeps in self._kept_positions(plan).items():
                gone = torch.from_numpy(np.flatnonzero(~keeps)).to(state[name].device)
                state[name].index_fill_(dim, gone, 0)
        return masked.eval()

    def _removed_rows(self, plan: Plan) -> list[np.ndarray]:
        counts = kept_channels(self.graph, plan)
        return [
            ranking[count:]
            for ranking, count in zip(self._ranking, counts, strict=True)
        ]

    def _removed_atoms(self, plan: Plan) -> np.ndarray:
        return np.concatenate(
            [
                np.empty(0, dtype=np.int64),
                *(
                    atoms[rows]
                    for atoms, rows in zip(
                        self.graph.group_atoms, self._removed_rows(plan), strict=True
                    )
                ),
            ]
        )

    def _kept_positions(self, plan: Plan) -> dict[tuple[str, int], np.ndarray]:
        """(parameter, dim) -> bool [size along dim]; only where something goes."""
        keeps: dict[tuple[str, int], np.ndarray] = {}
        for group, rows in zip(
            self.graph.groups, self._removed_rows(plan), strict=True
        ):
            if len(rows) == 0:
                continue
            for cut in group.slices:
                key = (cut.parameter, cut.dim)
                if key not in keeps:
                    size = self.graph.parameters[cut.parameter].shape[cut.dim]
                    keeps[key] = np.ones(size, dtype=bool)
                keeps[key][cut.index[rows]] = False
        return keeps


def _tensors(model: nn.Module, graph: ModelGraph) -> dict[str, Tensor]:
    """All parameters and buffers of a network by qualified name, ties included."""
    return {
        **graph.constants,
        **dict(model.named_buffers(remove_duplicate=False)),
        **dict(model.named_parameters(remove_duplicate=False)),
    }


def _copy_with(
    model: nn.Module, old: dict[str, Tensor], new: dict[str, Tensor]
) -> nn.Module:
    """A deep copy of the model with other tensors in the place of its own."""
    memo: dict[int, object] = {}
    for name, tensor in old.items():
        if id(tensor) not in memo:
            value = new[name].clone()
            if isinstance(tensor, nn.Parameter):
                value = nn.Parameter(value, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = value
    return copy.deepcopy(model, memo)


def _mend_attributes(model: nn.Module) -> None:
    """Makes what layers say of their sizes agree with their weights again."""
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd) and not module.transposed:
            weight = module.weight
            if 1 < module.groups == module.in_channels:  # depthwise
                per_input = module.out_channels // module.groups
                module.groups = weight.shape[0] // per_input
            module.out_channels = weight.shape[0]
            module.in_channels = weight.shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            held = module.weight if module.weight is not None else module.running_mean
            if held is not None:
                module.num_features = held.shape[0]
