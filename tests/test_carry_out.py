from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from search_nets import tiny_net, tiny_splits

from agmc.carry_out import CarryOut
from agmc.compression.gradual import GradualPruning
from agmc.compression.importance import l1
from agmc.compression.prune import Pruner, compress
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import Thinned
from agmc.cost.model import CostModel
from agmc.fine_tuning import FineTuning
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.progress import Progress
from agmc.search.evaluator import Evaluator
from agmc.training import Distillation, Execution, Team, accuracy

CPU = Execution(device="cpu", precision="float32")


def carry_out(*, finetune=None, repair=0, batch_size=4, **options):
    return CarryOut(
        finetune=finetune,
        importance=l1,
        reconstruction_images=repair,
        recalibration_images=repair,
        batch_size=batch_size,
        execution=CPU,
        seed=0,
        **options,
    )


def test_before_fine_tuning_the_network_is_what_an_evaluator_sees():
    net, splits = tiny_net(), tiny_splits()
    graph = trace(net, splits.example_input())
    channels = Plan.uniform(PlanSpace(graph), 0.5)
    plan = Plan(channels.keep_ratio, sparsity={"0": 0.5, "3": 0.8})
    made = carry_out(finetune=Distillation(epochs=1), repair=10, batch_size=10)
    with Progress() as progress:
        carried = made(net, graph, splits, plan, progress)
    carried.floats.load_state_dict(carried.states["pruned"])
    images = {"reconstruction_images": 10, "recalibration_images": 10}
    rooms = (Pruner(net, graph), CostModel(graph), splits, CPU)
    evaluator = Evaluator(*rooms, **images, batch_size=10)
    share = accuracy(carried.floats, made.batches(splits, "search"), execution=CPU)
    assert share == evaluator(plan).accuracy


@dataclass(frozen=True, kw_only=True)
class Counting(Quantization):
    """Notes how many images every batch has."""

    sizes: list[int] = field(default_factory=list)

    def apply(self, network, plan, batches=()):
        batches = list(batches)
        self.sizes.extend(map(len, batches))
        return super().apply(network, plan, batches)


@pytest.mark.parametrize(
    ("images", "sizes"),
    [(1, [1]), (10, [4, 3, 3]), (500, [4] * 6)],
    ids=["one", "some", "all there are"],
)
def test_activations_are_measured_on_as_many_images_as_asked_for(images, sizes):
    net, splits, quantization = tiny_net(), tiny_splits(), Counting()
    plan = Plan({}, weight_bits={"3": 8}, act_bits={"3": 8})
    made = carry_out(quantization=quantization, calibration_images=images)
    with Progress() as progress:
        made(net, trace(net, splits.example_input()), splits, plan, progress)
    assert quantization.sizes == sizes


@pytest.mark.parametrize("images", [0, -3])
def test_without_an_image_there_is_nothing_to_measure_on(images):
    with pytest.raises(ValueError, match=rf"calibration_images \(={images}\) must be"):
        carry_out(calibration_images=images)


def test_a_plan_that_removes_nothing_leaves_the_network_as_it_was():
    net, splits = tiny_net(), tiny_splits()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    graph = trace(net, splits.example_input())
    with Progress() as progress:
        carried = carry_out(repair=10)(net, graph, splits, Plan({"0": 1.0}), progress)
    for name, value in carried.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_fine_tuned_network_is_known_by_its_augmentation_and_precision(tmp_path):
    splits, kept = tiny_splits(), tmp_path / "kept.safetensors"
    recipe = Distillation(epochs=1)

    def tuned(data, execution):
        torch.manual_seed(0)
        teacher, twins = tiny_net(), tiny_net()
        twins[1].twin = twins[0]  # tensors under two names are kept as well
        small = compress(twins, Plan({}), splits.example_input())
        with Progress() as progress:
            FineTuning(
                teacher=teacher,
                splits=data,
                recipe=recipe,
                zeros=None,
                gradual=GradualPruning(),
                execution=execution,
                seed=0,
                team=Team(),
                progress=progress,
            )(small, Thinned(small, {}), kept=kept)
        return kept.read_bytes()

    plain = tuned(splits, CPU)
    assert tuned(splits, CPU) == plain
    bfloat16 = Execution(device="cpu", precision="bfloat16")
    for other in ((replace(splits, flip=True), CPU), (splits, bfloat16)):
        assert tuned(*other) != plain
        assert tuned(splits, CPU) == plain
