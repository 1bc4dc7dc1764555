"""Physical removal of channels and blocks: nn.Module x Plan -> a smaller nn.Module."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from agmc.compression.importance import Importance, l1
from agmc.compression.literals import rewrite_literals
from agmc.compression.original_class import in_original_class
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import sparsify
from agmc.graph.blocks import without_blocks
from agmc.graph.model_graph import ModelGraph
from agmc.graph.network import GraphNetwork
from agmc.graph.trace import trace
from agmc.plan import Plan, dropped_blocks, kept_channels, of_what_stays


def compress(
    model: nn.Module,
    plan: Plan,
    example_input: Tensor | Sequence[Tensor],
    *,
    importance: Importance = l1,
    gradients: Mapping[str, Tensor] | None = None,
    quantization: Quantization | None = None,
    calibration: Iterable[Tensor | Sequence[Tensor]] = (),
) -> nn.Module:
    """Carries out a plan on a network; the network is left as it was.

    Args:
        model: a trained network.
        plan: for every channel group the share of channels to keep; for every layer the
            share of the weights that are left to set to zero, and the bits of its
            weights and of its input; the blocks that go as a whole.
        example_input: a Tensor or a tuple of Tensors, batch first.
        importance: scores the channels; those with the highest stay.
        gradients: of the loss, for importances that need them; see
            `agmc.compression.importance.gradients`.
        quantization: how the network is rounded, where the plan has bits; None: evenly
            spaced numbers, see `Quantization`.
        calibration: training inputs [N, ...] to measure activations on, where the plan
            has `act_bits`.

    Returns:
        The smaller network in evaluation mode; of the same class where its code still
        computes the right thing (see `in_original_class`), else a `GraphNetwork` with
        the literals of the code rewritten, as it always is where blocks were dropped.
        Batch norm statistics are those of the original: recalibrate or fine-tune it.
        Under a plan with bits it is a `GraphNetwork` without the batch norms that can
        be folded; fine-tune the network of the same plan without bits first, and
        `Quantization.apply` the bits then.

    Raises:
        ValueError: the network cannot be traced, the plan names other groups, layers
            or blocks, or there is nothing to measure the activations on.
    """
    graph = trace(model, example_input)
    pruner = Pruner(model, graph, importance=importance, gradients=gradients)
    small = pruner.prune(plan)
    plan = of_what_stays(graph, plan)
    sparsify(small, plan.sparsity)
    if plan.rounds:
        return (quantization or Quantization()).apply(small, plan, calibration)
    # The model's own code would run the blocks that are gone.
    return small if plan.dropped else in_original_class(model, small, example_input)


class Pruner:
    """Ranks the channels of one network once, and carries out many plans.

    Args:
        model: the network that was traced; later changes of its weights are seen, but
            the ranking stays.
        graph: its graph.
        importance: scores the channels; those with the highest stay.
        gradients: of the loss, for importances that need them.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ModelGraph,
        *,
        importance: Importance = l1,
        gradients: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.model = model
        self.graph = graph
        self._state = graph.state_of(model)
        self._ranking = [
            torch.argsort(
                importance(group, self._state, gradients),
                descending=True,
                stable=True,
            ).numpy()
            for group in graph.groups
        ]

    def prune(self, plan: Plan) -> GraphNetwork:
        """The network without the channels and blocks that go, in evaluation mode.

        Of the plan's sparsity nothing is carried out: see `sparsify`.

        Rebuilt from the traced operations with every number of channels mended, so it
        is right whatever the model's own code says. Channels first: they hang together
        by the blocks that go as well, and their groups are those of the whole network.
        """
        program, positions = rewrite_literals(self.graph, self._removed_atoms(plan))
        program = without_blocks(program, dropped_blocks(self.graph, plan))
        read = {*program.parameters, *program.buffers}
        state = {}
        kept = self.kept_positions(plan)
        for name, tensor in self._state.items():
            if name in positions or (name not in read and not _is_counter(name)):
                continue
            state[name] = _cut(
                tensor.detach(),
                [kept.get((name, dim)) for dim in range(tensor.ndim)],
            )
        device = next(iter(state.values())).device if state else None
        state |= {name: value.to(device) for name, value in positions.items()}
        small = GraphNetwork(program, state)
        for name, parameter in small.named_parameters():
            parameter.requires_grad_(self._state[name].requires_grad)
        return small.eval()

    def mask(self, plan: Plan) -> nn.Module:
        """A copy in which the channels are zeroed and nothing is removed.

        Weights, biases and batch norm are zeroed at the same positions, so that in
        evaluation mode it computes what `prune` computes. For comparison only.

        Raises:
            ValueError: the plan drops blocks, which no zeros can.
        """
        if plan.dropped:
            raise ValueError(
                f"zeros do not drop blocks {sorted(plan.dropped)}; compare with `prune`"
            )
        masked = copy.deepcopy(self.model)
        state = self.graph.state_of(masked)
        with torch.no_grad():
            for (name, dim), keeps in self.kept_positions(plan).items():
                if not state[name].is_floating_point():
                    continue  # says which channels to select, zeroed or not
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

    def kept_positions(self, plan: Plan) -> dict[tuple[str, int], np.ndarray]:
        """What stays: (parameter, dim) -> bool [size along dim].

        Dimensions of which nothing goes are not named.
        """
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


def _is_counter(name: str) -> bool:
    """Batch norm counts its batches; no operation reads the counter."""
    return name.endswith("num_batches_tracked")


def _cut(tensor: Tensor, keeps: Sequence[np.ndarray | None]) -> Tensor:
    """A copy of the positions that stay along each dimension; None keeps all."""
    cut = False
    for dim, stays in enumerate(keeps):
        if stays is not None:
            index = torch.from_numpy(np.flatnonzero(stays)).to(tensor.device)
            tensor = tensor.index_select(dim, index)
            cut = True
    return tensor if cut else tensor.clone()
