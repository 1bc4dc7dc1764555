from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from search_nets import tiny_net, tiny_splits

from agmc.carry_out import CarryOut
from agmc.compression.importance import l1
from agmc.compression.quantize import Quantization
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.report.progress import Progress
from agmc.training import Execution


def carry_out(**options):
    return CarryOut(
        finetune=None,
        importance=l1,
        reconstruction_images=0,
        recalibration_images=0,
        batch_size=4,
        execution=Execution(device="cpu", precision="float32"),
        seed=0,
        **options,
    )


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
