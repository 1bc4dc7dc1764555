from __future__ import annotations

import numpy as np
import torch
from embedding_nets import branches_graph, chain_graph, residual_graph

from agmc.embedding.network_state import NetworkState
from agmc.embedding.operation_types import OPERATION_TYPES
from agmc.embedding.pyg import NODE_COLUMNS, GraphConverter
from agmc.graph.widths import Widths
from agmc.plan_space import PlanSpace


def counted(row: torch.Tensor) -> dict[str, int]:
    names = list(OPERATION_TYPES)
    return {names[i]: int(row[i]) for i in row.nonzero().flatten()}


def test_what_nobody_else_reads_is_drawn_together():
    state = NetworkState(residual_graph(8, 1))
    # Input, stem (batch norm, ReLU), the layers of the block, the sum (ReLU, pooling,
    # flatten), the classes.
    assert state.edge_index.T.tolist() == [
        [0, 1],
        [1, 2],
        [2, 3],
        [1, 4],
        [3, 4],
        [4, 5],
    ]
    assert state.layers.tolist() == [0, 1, 2, 5]
    assert [counted(row) for row in state.types] == [
        {"batch_norm": 1, "relu": 1},
        {"batch_norm": 1, "relu": 1},
        {"batch_norm": 1},
        {"add": 1, "relu": 1, "average_pool": 1, "reshape": 1},
        {"add": 1, "relu": 1, "average_pool": 1, "reshape": 1},
        {},
    ]
    root = [1 * 3, 3 * 2, 2 * 2, 3 * 3, 2 * 3, 3 * 1]
    np.testing.assert_allclose(state.norm, np.array(root) ** -0.5, rtol=1e-6)


def test_carriers_stay_means():
    for graph in (chain_graph(), residual_graph(8, 2), branches_graph()):
        state = NetworkState(graph)
        torch.testing.assert_close(
            state.carriers.sum(dim=1), torch.ones(len(graph.groups))
        )
    # The stem's group is carried by stem, block and sum; nothing else touches it.
    state = NetworkState(residual_graph(8, 1))
    assert (state.carriers > 0).tolist() == [
        [False, True, False, True, True, False],
        [False, False, True, False, False, False],
    ]


def test_numbers_are_those_of_the_pruned_network():
    for graph in (chain_graph(), residual_graph(8, 2), branches_graph()):
        state, space = NetworkState(graph), PlanSpace(graph)
        generator = torch.Generator().manual_seed(0)
        plans = [space.counts(space.sample(generator)) for _ in range(3)]
        sizes = np.array([decision.size for decision in space])
        shares = torch.tensor(np.stack(plans) / sizes).float()
        numbers = state.under(shares)
        logs = [column.name for column in NODE_COLUMNS].index("log_channels")
        converter, widths = GraphConverter(graph), Widths(graph)
        rows = [converter.nodes.index(name) for name in state.feature_maps]
        for p, counts in enumerate(plans):
            pruned = converter.data(counts)
            torch.testing.assert_close(numbers.nodes[:, p, 0], pruned.x[rows, logs])
            macs = widths.macs(counts)
            ordered = [e for e in converter.edges if e in widths.operations]
            found = numbers.layers[:, p, 2].square() * macs.sum()
            wanted = [macs[widths.operations.index(name)] for name in ordered]
            np.testing.assert_allclose(found, wanted, rtol=1e-4)
            read = [next(graph.operations[name].refs()) for name in ordered]
            forms = [widths.size_form((name, 1)) for name in read]
            channels = [round(constant + counts @ slope) for constant, slope in forms]
            assert numbers.channels[:, p].tolist() == channels
        whole = state.under(torch.ones(1, len(space)))
        assert torch.equal(whole.nodes[..., 1], torch.ones(len(rows), 1))
        torch.testing.assert_close(whole.layers[..., 2], whole.layers[..., 3])


def test_it_has_nothing_to_learn_or_to_save():
    state = NetworkState(chain_graph())
    assert not list(state.parameters()) and not state.state_dict()
