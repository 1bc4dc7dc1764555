from __future__ import annotations

from agmc.embedding.operation_types import (
    OPERATION_TYPES,
    Window,
    operation_type,
    spatial_size,
    window,
)
from tests.embedding.embedding_nets import (
    Halves,
    branches_graph,
    chain_graph,
    graph_of,
)


def types_by_kind(graph):
    return {op.kind: operation_type(graph, op) for op in graph.program.operations}


def test_no_operator_has_two_types():
    kinds = [kind for kinds in OPERATION_TYPES.values() for kind in kinds]
    assert len(set(kinds)) == len(kinds)


def test_types_of_a_network():
    graph = branches_graph()
    convolutions = [
        (op.layer, operation_type(graph, op))
        for op in graph.program.operations
        if op.kind == "conv2d"
    ]
    assert convolutions == [
        ("stem", "conv"),
        ("depthwise", "depthwise_conv"),
        ("left", "conv"),
        ("right", "conv"),
    ]
    types = types_by_kind(graph)
    assert types["cat"] == "concat"
    assert types["max_pool2d"] == "max_pool"
    assert types["flatten"] == "reshape"
    assert types["slice"] == "slice"
    assert types["relu6"] == "clipped_relu"


def test_an_unknown_operator_is_other():
    types = types_by_kind(graph_of(Halves()))
    assert types["getitem"] == "slice"
    assert types["special_gammaln"] == "other"


def test_windows():
    windows = {op.layer: window(chain_graph(), op) for op in chain_graph().layers}
    assert windows["0"] == Window((3, 3), (1, 1), 1)
    assert windows["2"] == Window((3, 3), (2, 2), 1)
    assert windows["7"] == Window()
    by_kind = {op.kind: op for op in chain_graph().program.operations}
    pool = by_kind["adaptive_avg_pool2d"]
    assert window(chain_graph(), pool) == Window((4, 4), (4, 4), 1)
    graph = branches_graph()
    by_kind = {op.kind: op for op in graph.program.operations}
    assert window(graph, by_kind["max_pool2d"]) == Window((2, 2), (2, 2), 1)
    assert window(graph, graph.layers[1]).groups == 8


def test_spatial_size():
    assert spatial_size((1, 7)) == (1, 1)
    assert spatial_size((1, 7, 5)) == (5, 1)
    assert spatial_size((1, 7, 5, 3)) == (5, 3)
    assert spatial_size((1, 2, 7, 5, 3)) == (5, 3)
