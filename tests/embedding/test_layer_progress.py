from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.embedding.columns import index_of
from agmc.embedding.layer_progress import LayerProgress
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph

#: Of the layers of `chain_graph`: multiply-adds, and weights.
MACS = np.array([6912, 3456, 480, 10])
WEIGHTS = np.array([108, 216, 30, 10])


def test_hand_computed_progress_of_bits():
    space = PlanSpace(chain_graph(), parts=["weight_bits"], end_bits=None)
    rows = LayerProgress(space).rows(np.array([4, 2, 8, 8]))
    # All inputs have 8 bits, so that bits of the weight are what a share is made of.
    total, bits = 8 * MACS.sum(), 8 * WEIGHTS.sum()
    kinds = [0, 0, 0, 1, 0]
    assert rows[0] == pytest.approx([0, 0, 8 * MACS[1:].sum() / total, 1, *kinds])
    saved = [4 * MACS[0] / total, 4 * WEIGHTS[0] / bits]
    assert rows[1] == pytest.approx([*saved, 8 * MACS[2:].sum() / total, 0.5, *kinds])
    saved = [(4 * MACS[0] + 6 * MACS[1]) / total, (4 * 108 + 6 * 216) / bits]
    assert rows[2] == pytest.approx([*saved, 8 * MACS[3] / total, 0.25, *kinds])
    assert rows[3] == pytest.approx([*saved, 0, 1, *kinds])


def test_hand_computed_progress_of_channels_and_zeros():
    space = PlanSpace(chain_graph(), parts=["keep_ratio", "sparsity"])
    assert [d.part for d in space] == ["keep_ratio"] * 3 + ["sparsity"] * 4
    rows = LayerProgress(space).rows(np.array([2, 6, 5, 10, 20, 20, 20]))
    # Half of the first channels: half of the first layer and of the second.
    macs = (MACS[0] + MACS[1]) / 2 / MACS.sum()
    weights = (WEIGHTS[0] + WEIGHTS[1]) / 2 / WEIGHTS.sum()
    assert rows[1, :2] == pytest.approx([macs, weights])
    assert rows[1, 3:] == pytest.approx([0.5, 1, 0, 0, 0, 0])
    # Zeros change no bit operations: half of the 54 weights that the first layer has.
    assert rows[4, :2] == pytest.approx([macs, weights + 27 / WEIGHTS.sum()])
    assert rows[4, 3:] == pytest.approx([0.5, 0, 0, 1, 0, 0])


@pytest.mark.parametrize("make", [chain_graph, residual_graph, branches_graph])
@pytest.mark.parametrize("part", ["keep_ratio", "act_bits"])
def test_row_is_a_row_of_rows_and_sees_no_future(make, part):
    space = PlanSpace(make(), parts=[part, "weight_bits", "sparsity"], end_bits=None)
    counts = space.counts(space.sample(torch.Generator().manual_seed(1)))
    progress = LayerProgress(space)
    rows = progress.rows(counts)
    assert rows.shape == (len(space), len(progress.columns))
    for step in range(len(space)):
        future = counts.copy()
        future[step:] = [d.counts[0] for d in space[step:]]
        assert np.array_equal(progress.row(step, future), rows[step])
    assert rows.min() >= 0 and rows.max() <= 1
    assert (np.diff(rows[:, index_of(progress.columns, "reduced_bits")]) >= 0).all()
