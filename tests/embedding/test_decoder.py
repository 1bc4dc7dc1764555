from __future__ import annotations

import torch
from torch_geometric.data import Batch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.decoder import absent_links, summaries
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS, NUM_TYPES, GraphConverter
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph


def test_shapes():
    data = GraphConverter(chain_graph()).data()
    model = GraphAutoencoder(dim=8, hidden=16, layers=1)
    made = model.decoder(model.vectors(data), data.edge_index)
    edges = data.edge_index.shape[1]
    assert made.nodes.shape == (data.num_nodes, len(NODE_COLUMNS))
    assert made.edges.shape == (edges, len(EDGE_COLUMNS) - NUM_TYPES)
    assert made.types.shape == (edges, NUM_TYPES)
    assert made.networks.shape == summaries(data).shape
    assert model.decoder.link_logits(model(data), data.edge_index).shape == (edges,)


def test_absent_links_are_absent_and_stay_in_their_graph():
    graphs = [chain_graph(), residual_graph(), branches_graph()]
    batch = Batch.from_data_list([GraphConverter(graph).data() for graph in graphs])
    pairs = absent_links(batch, torch.Generator().manual_seed(0))
    present = set(map(tuple, batch.edge_index.T.tolist()))
    assert not present & set(map(tuple, pairs.T.tolist()))
    assert torch.equal(batch.batch[pairs[0]], batch.batch[pairs[1]])
    backwards = set(map(tuple, batch.edge_index.flip(0).T.tolist()))
    assert backwards <= set(map(tuple, pairs.T.tolist()))
    again = absent_links(batch, torch.Generator().manual_seed(0))
    assert torch.equal(pairs, again)


def test_summaries_are_means_of_every_network():
    graphs = [chain_graph(), residual_graph()]
    data = [GraphConverter(graph).data() for graph in graphs]
    rows = summaries(Batch.from_data_list(data))
    for row, one in zip(rows, data, strict=True):
        size = torch.tensor([1.0 + one.num_nodes]).log2() / 10
        expected = torch.cat([one.x.mean(dim=0), one.edge_attr.mean(dim=0), size])
        assert torch.allclose(row, expected, atol=1e-6)
        assert torch.allclose(summaries(one), row, atol=1e-6)
