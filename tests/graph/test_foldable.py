from __future__ import annotations

import pytest
from graph_nets import graph_of

from agmc.graph.foldable import foldable_norms


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("chain", [("conv1", "bn1"), ("conv2", "bn2")]),
        ("residual", [("stem", "bn1"), ("conv1", "bn2"), ("conv2", "bn3")]),
        ("flatten_spatial", []),
    ],
)
def test_norms_behind_their_layers(name, pairs):
    found = foldable_norms(graph_of(name).program)
    assert [(layer.layer, norm.layer) for layer, norm in found] == pairs
