from __future__ import annotations

import numpy as np
from graph_nets import Net, conv, images, quiet_trace

from agmc.graph.presence import Presence


def test_nested_blocks_and_shared_parameters_by_hand():
    def forward(net, x):
        x = net.stem(x)
        inner = net.a(x)
        x = x + net.tied(inner + net.b(inner))
        return x + net.tied(x)

    layers = {name: conv(4, 4, bias=False) for name in ("a", "b", "tied")}
    net = Net(forward, stem=conv(3, 4, bias=False), **layers).eval()
    graph = quiet_trace(net, images())
    presence = Presence(graph)
    assert len(graph.blocks) == 3 and presence.num_regions == 4
    names = ["stem.weight", "a.weight", "b.weight", "tied.weight"]
    assert list(graph.parameters) == names
    inner, outer, last = range(3)
    assert set(graph.blocks[inner].operations) < set(graph.blocks[outer].operations)
    kept = np.ones((5, 3), dtype=bool)
    kept[1, inner] = kept[2, outer] = kept[3, last] = False
    kept[4, [outer, last]] = False
    assert presence.parameters(kept).tolist() == [
        [1, 1, 1, 1],
        [1, 1, 0, 1],
        [1, 0, 0, 1],  # b lies in the outer block as well
        [1, 1, 1, 1],
        [1, 0, 0, 0],  # nobody is left who reads it
    ]
    regions = presence.regions(kept)
    assert (regions[:, 0] == 1).all()
    of_a = presence.rows(op.name for op in graph.layers if op.layer == "a")
    assert regions[:, of_a].ravel().tolist() == [1, 1, 0, 1, 0]


def test_without_blocks_there_is_one_region():
    net = Net(lambda net, x: net.stem(x), stem=conv(3, 4)).eval()
    presence = Presence(quiet_trace(net, images()))
    assert presence.num_regions == 1
    assert presence.parameters(np.ones((2, 0), dtype=bool)).tolist() == [[1, 1]] * 2
