"""FineTuning: the trainings of a small network, with the large one as its teacher."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from agmc.compression.gradual import GradualMasks, GradualPruning
from agmc.compression.held import Held
from agmc.compression.sparsify import MagnitudePruning, Thinned
from agmc.compression.whole_biases import round_biases
from agmc.data import Splits
from agmc.graph.network import GraphNetwork
from agmc.noise_pruning import NoisePruning
from agmc.report.progress import Progress
from agmc.search.run_key import run_key
from agmc.tensor_file import read_tensors, write_tensors
from agmc.training import Distillation, EpochRecord, Execution, Team, distil

#: The file that a run which goes on takes the fine-tuned network from.
KEPT = "agmc fine-tuned network 1"
#: When weights go that are zero already.
_AT_ONCE = GradualPruning(end=0)


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How a small network is trained again.

    Attributes:
        teacher: the large network.
        splits: only `train` is read.
        recipe: None leaves the training out.
        gradual: when weights become zero in its course.
        zeros: see `CarryOut`.
        execution: device and precision.
        seed: of the trainings.
        team: that shares them.
        progress: told about every stage.
    """

    teacher: nn.Module
    splits: Splits
    recipe: Distillation | None
    gradual: GradualPruning
    zeros: NoisePruning | MagnitudePruning | None
    execution: Execution
    seed: int
    team: Team
    progress: Progress

    def __call__(
        self, small: nn.Module, thin: Thinned, *, kept: Path | None = None
    ) -> None:
        """Trains the network, or takes what an interrupted run has left of that.

        Args:
            small: changed in place.
            thin: of it.
            kept: file for the trained network; None keeps nothing.
        """
        if kept is None:
            self._floats(small, thin)
            return
        how: dict[str, Any] = {"finetune": self.recipe, "gradual": self.gradual}
        how |= {} if self.zeros is None else {"zeros": self.zeros}
        how |= {"augmented": [self.splits.crop_padding, self.splits.flip]}
        how |= {"precision": str(self.execution.dtype)}
        teacher = run_key(self.teacher, self.splits)
        key = run_key(
            *(small, self.splits),
            **{"teacher": teacher, "sparsity": thin.sparsity, "seed": self.seed, **how},
        )
        state = self.team.told(lambda: _kept(kept, key))
        if state is not None:
            small.load_state_dict(state)
            return
        self._floats(small, thin)
        if self.team.rank == 0:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(kept, KEPT, {"run": key}, small.state_dict())

    def with_zeros(
        self, small: nn.Module, thin: Thinned, gradual: GradualPruning | None = None
    ) -> None:
        """Trains a network in the course of which, or before, weights become zero.

        Args:
            small: changed in place.
            thin: of it.
            gradual: when; None: as the others.
        """
        self._tuned(small, thin, "fine-tune zeros", gradual or self.gradual)

    def with_bits(self, rounded: GraphNetwork, sparsity: Mapping[str, float]) -> None:
        """Trains a network that rounds, in place; what is zero stays that.

        Args:
            rounded: the network.
            sparsity: layer -> share of zeros.
        """
        assert self.recipe is not None
        self.progress.stage("fine-tune bits", total=self.recipe.epochs, unit="epoch")
        self.execution.place(rounded)
        self._train(rounded, self.recipe, Held(rounded, sparsity))
        round_biases(rounded)

    def _floats(self, small: nn.Module, thin: Thinned) -> None:
        """Where there are to be more zeros, once more with these."""
        self._tuned(small, thin, "fine-tune", self.gradual)
        if isinstance(self.zeros, MagnitudePruning):
            self.with_zeros(small, Thinned(small, self.zeros.shares(small)))
        elif self.zeros is not None:
            self.progress.stage("noise", total=self.zeros.epochs, unit="epoch")
            shares = self.zeros.apply(
                *(small, self.splits),
                execution=self.execution,
                seed=self.seed,
                on_epoch=show_epochs(self.progress),
                team=self.team,
            )
            self.with_zeros(small, Thinned(small, shares), _AT_ONCE)

    def _tuned(
        self, small: nn.Module, thin: Thinned, stage: str, gradual: GradualPruning
    ) -> None:
        if self.recipe is None:
            return
        self.progress.stage(stage, total=self.recipe.epochs, unit="epoch")
        thin.restore()
        self._train(small, self.recipe, GradualMasks(small, thin.sparsity, gradual))

    def _train(
        self,
        small: nn.Module,
        recipe: Distillation,
        after_step: Callable[[int, int], None],
    ) -> None:
        distil(
            *(small, self.teacher, self.splits, recipe),
            execution=self.execution,
            seed=self.seed,
            on_epoch=show_epochs(self.progress),
            after_step=after_step,
            team=self.team,
        )


def show_epochs(progress: Progress) -> Callable[[EpochRecord], None]:
    """Tells of every epoch of a training."""

    def show(record: EpochRecord) -> None:
        note = f"loss {record.loss:.3f}, train accuracy {record.accuracy:.3f}"
        progress.step(record.epoch, note=note)
        values = ("loss", "accuracy", "learning_rate")
        progress.track(record.epoch, {name: getattr(record, name) for name in values})

    return show


def _kept(path: Path, key: str) -> dict[str, Tensor] | None:
    """The weights of the fine-tuned network of that name; None: there are none."""
    with contextlib.suppress(ValueError):
        header, state = read_tensors(path, KEPT, way_out="it is made again")
        if header.get("run") == key:
            return state
    return None
