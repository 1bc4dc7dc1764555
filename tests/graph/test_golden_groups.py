"""The channel groups of eight networks, as they were when a person looked at them.

`python tests/graph/test_golden_groups.py` writes them anew.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import pytest
import torch

from agmc.graph.groups import UnprunableWarning
from agmc.graph.trace import trace
from agmc.models import build

FILE = Path(__file__).parent / "golden_groups.json"
NETWORKS = (
    *("resnet20", "resnet18", "mobilenet_v2", "densenet121", "googlenet"),
    *("shufflenet_v2_x0_5", "efficientnet_b0", "convnext_tiny"),
)


def described(name):
    """Group name -> channels, digest of all that goes with them; and what is left."""
    options = {"init_weights": False} if name == "googlenet" else {}
    model = build(name, num_classes=10, **options)
    size = 32 if name == "resnet20" else 64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnprunableWarning)
        graph = trace(model, torch.randn(1, 3, size, size))
    groups = {}
    for group in graph.groups:
        cuts = sorted((c.parameter, c.dim, c.index.tolist()) for c in group.slices)
        digest = hashlib.sha256(json.dumps(cuts).encode()).hexdigest()[:8]
        groups[group.name] = [group.size, len(cuts), digest]
    return {"groups": groups, "left alone": len(graph.unprunable)}


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_those_that_were_looked_at(name):
    assert described(name) == json.loads(FILE.read_text())[name]


if __name__ == "__main__":
    lines = [f' "{name}": {json.dumps(described(name))}' for name in NETWORKS]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
