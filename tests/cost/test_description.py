from __future__ import annotations

from graph_nets import graph_of

from agmc.cost.description import bytes_by_region, description_bytes
from agmc.graph.blocks import without_blocks
from agmc.graph.presence import Presence


def test_regions_together_are_no_shorter_than_what_is_said_of_them():
    graph = graph_of("resnet20")
    presence = Presence(graph)
    found = bytes_by_region(graph, presence)
    assert found.shape == (8,) and found[0] == 0 and (found[1:] > 20).all()
    whole = description_bytes(graph)
    everything = {name for block in graph.blocks for name in block.operations}
    assert whole - found.sum() >= description_bytes(graph, everything)
    assert description_bytes(graph, everything) < 0.6 * whole
    # One alone is the difference itself; what reads it otherwise changes a few letters.
    row = presence.rows([graph.blocks[0].output])[0]
    alone = set(graph.blocks[0].operations)
    assert found[row] == whole - description_bytes(graph, alone)
    left = without_blocks(graph.program, graph.blocks[:1])
    assert {op.name for op in left.operations} == set(graph.operations) - alone
