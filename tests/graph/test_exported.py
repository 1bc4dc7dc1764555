from __future__ import annotations

import torch
from graph_nets import make

from agmc.graph.exported import exported_program


def test_exported_program_is_in_evaluation_mode():
    net, inputs = make("dropout")
    exported = exported_program(net.train(), inputs)
    assert torch.allclose(exported.module()(*inputs), net.eval()(*inputs), atol=1e-6)
