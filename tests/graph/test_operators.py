from __future__ import annotations

import pytest
import torch

from agmc.graph import operators
from agmc.graph.operators import operator_of, overload_of


def test_names_lead_to_functions():
    assert operator_of("aten.relu.default") is torch.ops.aten.relu.default
    assert operator_of("_operator.mul")(3, 4) == 12


@pytest.mark.parametrize(
    "op",
    [
        "aten.add_.Tensor",
        "aten.add.out",
        "aten.from_file.default",
        "aten._print.default",
        # They trust the places that they are told.
        "aten.max_pool2d_with_indices_backward.default",
        "aten.segment_reduce.default",
        "aten.as_strided.default",
    ],
)
def test_what_might_do_harm_may_not_run(op):
    with pytest.raises(ValueError, match=f"{op!r} may not run"):
        operator_of(op)
    assert overload_of(op) is not None


@pytest.mark.parametrize(
    "op",
    ["", "aten", "aten.relu.no", "torchvision.nms.default", "os.system.x"],
)
def test_what_does_not_exist_is_unknown(op):
    with pytest.raises(ValueError, match="unknown to this version of torch"):
        operator_of(op)
    assert overload_of(op) is None


def test_what_may_run_is_there():
    for name in operators._ADMITTED:
        packet = getattr(torch.ops.aten, name)
        pure = [
            o for o in packet.overloads() if not getattr(packet, o)._schema.is_mutable
        ]
        assert pure, name
        assert operator_of(f"aten.{name}.{pure[0]}") is getattr(packet, pure[0])
