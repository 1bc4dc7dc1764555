"""What least squares says of channel groups, one at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_nets import quiet_trace
from torch import nn

from agmc.compression.group_error import group_errors
from agmc.compression.prune import Pruner
from agmc.compression.reconstruct import Reconstruction
from agmc.plan import Plan


def made():
    """Eight features are copies of two, behind them are four of their own."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Linear(2, 8), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    ).eval()
    x = torch.randn(4_000, 2)
    graph = quiet_trace(net, x)
    return Pruner(net, graph), Reconstruction(net, graph, [x])


def test_a_group_that_others_make_up_for_has_the_smaller_error():
    pruner, reconstruction = made()
    names = [group.name for group in pruner.graph.groups]
    errors = dict(zip(names, group_errors(pruner, reconstruction), strict=True))
    # Of eight linear functions of two numbers, four tell all there is.
    assert 0 <= errors["0"] < 0.01 < errors["1"]
    kept = pruner.kept_positions(Plan({"1": 0.5}))
    assert errors["1"] == reconstruction.error(kept)


def test_less_that_stays_leaves_more():
    pruner, reconstruction = made()
    some, more = (
        group_errors(pruner, reconstruction, keep_ratio=r) for r in (0.5, 0.25)
    )
    assert (more >= some).all() and more[1] > some[1]


def test_of_what_is_not_solved_nothing_is_known():
    pruner, _ = made()
    x = torch.randn(50, 2)
    narrow = Reconstruction(pruner.model, pruner.graph, [x], max_features=4)
    errors = group_errors(pruner, narrow)
    assert np.isnan(errors[0]) and errors[1] > 0


@pytest.mark.parametrize("ratio", [0, 1, -0.5])
def test_a_keep_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(ValueError, match="keep_ratio"):
        group_errors(*made(), keep_ratio=ratio)
