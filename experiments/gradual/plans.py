"""What becomes of the network for MNIST: settings, and their plans for one seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import agmc
from agmc.carry_out import Carried, CarryOut
from agmc.compression.gradual import GradualPruning
from agmc.compression.importance import l1
from agmc.compression.information_dropout import InformationDropout
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import lamp_sparsity, zero
from agmc.cost.model import CostModel
from agmc.data import load_mnist
from agmc.graph.weighted import weighted_layers
from agmc.models import build
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.progress import Progress
from agmc.training import BaseRecipe, Distillation, Execution, Recipe, fit, train_base

EXECUTION = Execution(device="cpu")  # bfloat16 where there are instructions for it
BASE = BaseRecipe(epochs=3, learning_rate=0.1, max_gradient_norm=1.0)
#: Of the noise of information dropout, which comes before the fine-tuning, and how
#: fast it grows: within that epoch.
NOISE = Recipe(epochs=1, learning_rate=0.05, max_gradient_norm=1.0)
_SPEED = 0.3
_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How much of the network goes, and how the rest is trained again.

    Attributes:
        kept: channels of both convolutions, features of the linear layer.
        zeros: share of the weights between these.
        bits: of all weights; activations have 8.
        weights: see `Quantization`.
        epochs: of the fine-tuning, and of that with bits; 0 leaves it out.
        learning_rates: of the same.
        distillation: weight of the answers of the base network.
        dropout: in the fine-tuning.
        gradual: when the zeros come.
    """

    kept: tuple[int, int, int]
    zeros: float
    bits: int = 4
    weights: str = "uniform"
    epochs: tuple[int, int] = (2, 1)
    learning_rates: tuple[float, float] = (0.05, 0.01)
    distillation: float = 0.0
    dropout: float = 0.0
    gradual: GradualPruning = GradualPruning(end=0.5, frequency=10)

    def carry_out(self, seed: int) -> CarryOut:
        """Channels, then zeros in the fine-tuning, then bits and fine-tuning again."""
        recipes = [
            Distillation(
                epochs=epochs,
                learning_rate=rate,
                max_gradient_norm=1.0,
                distillation_weight=self.distillation,
            )
            if epochs
            else None
            for epochs, rate in zip(self.epochs, self.learning_rates, strict=True)
        ]
        return CarryOut(
            finetune=recipes[0],
            importance=l1,
            reconstruction_images=500,
            recalibration_images=500,
            batch_size=100,
            execution=EXECUTION,
            seed=seed,
            gradual=self.gradual,
            quantization=Quantization(weights=self.weights),
            quantized_finetune=recipes[1],
        )


class Start:
    """The trained network of a seed, ready to be compressed.

    Args:
        data: folder that holds `MNIST/raw`.
        results: folder that keeps the trained networks.
        seed: of the weights, the training and all that follows.
    """

    def __init__(self, data: str, results: Path, seed: int) -> None:
        self.seed = seed
        self.splits = load_mnist(root=data)
        torch.manual_seed(seed)
        self.model = build("conv_mnist", num_classes=10, in_channels=1)
        train_base(
            *(self.model, self.splits, BASE),
            key="conv_mnist",
            execution=EXECUTION,
            seed=seed,
            cache=results,
            on_epoch=lambda record: print(f"base {seed}: {record}", flush=True),
        )
        self.example = self.splits.example_input()
        self.graph = agmc.trace(self.model, self.example)
        self.layers = tuple(weighted_layers(self.graph.program))
        self.space = PlanSpace(self.graph, min_keep_ratio=0.05)

    def chosen(self, setting: Setting) -> Plan:
        """Channels by hand, the zeros among the weights that are left by LAMP."""
        channels = self.space.plan(setting.kept)
        small = agmc.compress(self.model, channels, self.example)
        return self._rounded(setting, channels, lamp_sparsity(small, setting.zeros))

    def uniform(self, setting: Setting) -> Plan:
        """The same share of channels and of zeros everywhere, at the same bytes."""
        plans = (
            self._rounded(
                *(setting, self.space.uniform(share / 1000)),
                dict.fromkeys(self.layers, setting.zeros),
            )
            for share in range(1, 1001)
        )
        return self._as_large(plans, setting)

    def random(self, setting: Setting) -> Plan:
        """Channels of every group and zeros of every layer drawn, at the same bytes."""
        generator = torch.Generator().manual_seed(self.seed)

        def plans() -> Iterator[Plan]:
            for _ in range(_DRAWS):
                shares = torch.rand(len(self.layers), generator=generator).tolist()
                zeros = dict(zip(self.layers, shares, strict=True))
                yield self._rounded(setting, self.space.sample(generator), zeros)

        return self._as_large(plans(), setting)

    def element_wise(self, setting: Setting) -> Plan:
        """All channels, the same share of zeros in every layer."""
        zeros = dict.fromkeys(self.layers, setting.zeros)
        return self._rounded(setting, Plan({}), zeros)

    def carried(self, plan: Plan, setting: Setting) -> Carried:
        """The plan carried out."""
        return self._carried(self.model, plan, setting)

    def noisy(self, setting: Setting, beta: float) -> Carried:
        """The channels of the setting, and of their weights those that bear no noise.

        The noisy network is then carried out as it is, without a teacher.
        """
        channels = self.space.plan(setting.kept)
        only = replace(setting, epochs=(0, 0))
        small = self._carried(self.model, channels, only).floats
        dropout = InformationDropout(
            *(small, agmc.trace(small, self.example)),
            num_images=len(self.splits.train),
            beta=beta,
            speed=_SPEED,
        )
        fit(
            *(small, self.splits, NOISE),
            execution=EXECUTION,
            seed=self.seed,
            objective=dropout.objective(_cross_entropy),
        )
        dropout.remove()
        zero(small, dropout.masks())
        plan = self._rounded(setting, Plan({}), dropout.plan().sparsity)
        at_once = GradualPruning(end=0)
        alone = replace(setting, distillation=0.0, gradual=at_once)
        return self._carried(small, plan, alone)

    def _carried(self, model: nn.Module, plan: Plan, setting: Setting) -> Carried:
        model.get_submodule("dropout").p = setting.dropout
        graph = agmc.trace(model, self.example)
        carry_out = setting.carry_out(self.seed)
        with Progress() as progress:
            return carry_out(model, graph, self.splits, plan, progress)

    def _rounded(
        self, setting: Setting, channels: Plan, zeros: dict[str, float]
    ) -> Plan:
        """Those channels and zeros, and the bits of the setting."""
        return Plan(
            channels.keep_ratio,
            sparsity=zeros,
            weight_bits=dict.fromkeys(self.layers, setting.bits),
            act_bits=dict.fromkeys(self.layers, 8),
        )

    def _as_large(self, plans: Iterator[Plan], setting: Setting) -> Plan:
        """The one whose file is nearest in size to that of the chosen plan."""
        costs = self._costs[setting.weights]
        wanted = costs.of(self.chosen(setting)).bytes
        return min(plans, key=lambda plan: abs(costs.of(plan).bytes - wanted))

    @cached_property
    def _costs(self) -> dict[str, CostModel]:
        """By the weights of a setting."""
        return {
            "uniform": CostModel(self.graph),
            "codebook": CostModel(self.graph, codebooks=True),
        }


def _cross_entropy(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)
