"""The sum over a table: recovers what made the table, and says what is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agmc.cost.latency import LatencyModel
from agmc.cost.latency_table import LatencyTable
from agmc.cost.latency_terms import highest, times_of
from agmc.cost.model import CostModel
from agmc.cost.tables import Tables
from agmc.cost.units import Units
from agmc.graph.trace import trace
from agmc.plan import LayerParts


@pytest.fixture
def graph():
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3))
    return trace(net, torch.randn(1, 3, 8, 8))


def filled(graph, cost) -> LatencyTable:
    units = Units(graph)
    table = LatencyTable({"processor": "one"})
    for kept in (64, 48, 32, 16, 20, 40, 33, 50, 21, 5):
        for unit, shape in zip(
            units.units, units.shapes(np.array([kept])), strict=True
        ):
            key = tuple(int(n) for n in shape)
            table.add(unit.family, key, (cost(*key), 2 * cost(*key), cost(*key) / 4))
    return table


def blocked(inputs: int, outputs: int, following: int) -> float:
    return 0.1 + 1e-3 * (-(-inputs // 16) * 16) * (-(-outputs // 16) * 16)


def test_interpolates_between_the_measured_shapes(graph) -> None:
    model = LatencyModel(graph, filled(graph, blocked))
    units = Units(graph)
    for kept in (56, 28, 64):
        counts = np.array([kept])
        wanted = sum(blocked(*map(int, s)) for s in units.shapes(counts))
        assert model.evaluate(counts) == pytest.approx(wanted, rel=0.1)
        torch_ms = model.evaluate(counts, runtime="torch")
        assert torch_ms == pytest.approx(2 * wanted, rel=0.1)


def test_many_plans_at_once_and_more_blocks_are_never_faster(graph) -> None:
    model = LatencyModel(graph, filled(graph, blocked))
    counts = np.arange(16, 65, 16)[:, None]
    several = model.evaluate(counts)
    assert several.shape == (4,)
    assert several.tolist() == [float(model.evaluate(c)) for c in counts]
    assert (np.diff(several) >= 0).all()
    parts = model.by_unit(counts[:, None])
    assert parts.shape == (4, 1, len(model.units))


def test_odd_channels_have_a_time_of_their_own(graph) -> None:
    def odd(inputs, outputs, following):
        return blocked(inputs, outputs, following) * (3 if inputs % 4 else 1)

    model = LatencyModel(graph, filled(graph, odd))
    assert model.by_unit(np.array([41]))[1] > 1.5 * model.by_unit(np.array([44]))[1]


def bits(*numbers):
    """Of the weights of both layers; inputs have 8."""
    both = np.array(numbers, dtype=float)
    return LayerParts(np.ones(2), both, np.full(2, 8.0))


def test_layers_of_few_bits_are_computed_on_integers(graph) -> None:
    model = LatencyModel(graph, filled(graph, blocked))
    counts = np.array([48])
    floats = model.by_unit(counts)
    heads = [row for row, unit in enumerate(model.units) if unit.layer in ("0", "2")]
    both = model.by_unit(counts, None, bits(8, 2))
    assert both == pytest.approx(floats / 4, rel=0.1)
    one = model.by_unit(counts, None, bits(16, 8))
    assert one[heads] == pytest.approx([floats[heads[0]], both[heads[1]]])
    inputs = bits(8, 8)._replace(act_bits=np.array([16.0, 8.0]))
    assert (model.by_unit(counts, None, inputs) == one).all()
    torch_ms = model.evaluate(counts, None, bits(8, 8), runtime="torch")
    assert torch_ms == model.evaluate(counts, runtime="torch")


def test_the_ceiling_never_falls_with_more_bits(graph) -> None:
    # Integers are slower than floats here.
    table = filled(graph, blocked)
    for shapes in table.entries.values():
        for shape, ((floats, torch_ms, _), times) in shapes.items():
            shapes[shape] = (floats, torch_ms, 3 * floats), times
    model, counts = LatencyModel(graph, table), np.array([48])
    assert model.evaluate(counts, None, bits(8, 8)) > model.evaluate(counts)
    held = [model.ceiling(counts, None, bits(*b)) for b in ((8, 8), (16, 8), (16, 16))]
    # Where nothing is said of bits there are no integers to be slow.
    alone = LayerParts(np.full(2, 0.5), np.full(2, 32.0), np.full(2, 32.0))
    assert model.ceiling(counts, None, alone) == model.ceiling(counts) < held[0]
    assert held[0] <= held[1] <= held[2]
    assert held[0] >= model.evaluate(counts, None, bits(8, 8))


def test_many_plans_with_bits_at_once(graph) -> None:
    model = LatencyModel(graph, filled(graph, blocked))
    parts = LayerParts(
        np.ones((3, 2)), np.array([[8, 8], [16, 8], [8, 16.0]]), np.full((3, 2), 8.0)
    )
    counts = np.full((3, 1), 32)
    each = [
        model.evaluate(counts[i], None, LayerParts(*(part[i] for part in parts)))
        for i in range(3)
    ]
    assert model.evaluate(counts, None, parts) == pytest.approx(each)
    assert model.ceiling(counts, None, parts).shape == (3,)


def test_missing_entries_name_the_command(graph) -> None:
    with pytest.raises(ValueError, match="no entry for 2 operators.*`agmc profile`"):
        LatencyModel(graph, LatencyTable({}))
    with pytest.raises(ValueError, match="runtime 'tvm' is none of onnx, torch"):
        table = filled(graph, blocked)
        LatencyModel(graph, table).evaluate(np.array([8]), runtime="tvm")


def test_the_file_gives_the_table_back(graph) -> None:
    table = filled(graph, blocked)
    assert LatencyTable.from_json(table.to_json()) == table
    earlier = '{"machine": {}, "entries": {"conv2d": [[1, 2, 3, 0.5, 0.5, 1]]}}'
    start = '{"machine": {}, "entries": {"conv2d": [['
    ends = ("1]]}}", "1, 2, 3, NaN, 1, 1, 1]]}}", "1, 2, 3, 1, -1, 1, 1]]}}")
    ends += ("1, 2, 3, 1, 1, 1, 0]]}}", "Infinity, 2, 3, 1, 1, 1, 1]]}}", 5000 * "[")
    for damaged in ("", "[]", earlier, *(start + end for end in ends)):
        with pytest.raises(ValueError, match="no latency table"):
            LatencyTable.from_json(damaged)


def test_repeated_measurements_are_averaged() -> None:
    table = LatencyTable({})
    table.add("conv2d", (1, 2, 3), (1.0, 4.0, 0.5))
    table.add("conv2d", (1, 2, 3), (3.0, 8.0, 1.5))
    assert table.entries == {"conv2d": {(1, 2, 3): ((2.0, 6.0, 1.0), 2)}}


@pytest.mark.parametrize("kind", ["dense", "depthwise", "other"])
def test_the_ceiling_is_the_running_maximum_of_every_unit(kind):
    fits = np.random.default_rng(0).random((1, 11 if kind == "dense" else 5)) ** 3
    size = 41
    grid = np.stack(np.mgrid[1:size, 1:size], -1).astype(float)
    if kind == "depthwise":  # as many channels out as in
        grid[..., 1] = grid[..., 0]
    shapes = np.concatenate([grid, np.full_like(grid[..., :1], 7.0)], -1)[..., None, :]
    times = times_of(shapes, kind, fits)[..., 0]
    running = np.maximum.accumulate(np.maximum.accumulate(times, 0), 1)
    assert np.allclose(highest(shapes, kind, fits)[..., 0], running, rtol=1e-12)


def test_the_ceiling_never_falls_where_the_time_does(graph) -> None:
    def ragged(inputs, outputs, following):
        return blocked(inputs, outputs, following) + 0.5 * (inputs % 4 != 0)

    model = LatencyModel(graph, filled(graph, ragged))
    counts = np.arange(1, 65)[:, None]
    times, ceilings = model.evaluate(counts), model.ceiling(counts)
    assert (np.diff(times) < 0).any() and (np.diff(ceilings) >= 0).all()
    assert (ceilings >= times).all()


def test_a_dropped_block_takes_no_time_but_for_what_follows_outside() -> None:
    def forward(x):
        y = net[0](x).relu()
        return net[2]((y + net[1](y)).sigmoid())

    net = nn.Sequential(*(nn.Conv2d(n, m, 1) for n, m in ((3, 64), (64, 64), (64, 2))))
    net.forward = forward
    graph = trace(net, torch.randn(1, 3, 8, 8))

    def cost(inputs, outputs, following):
        return blocked(inputs, outputs, following) + 1e-4 * following

    model = LatencyModel(graph, filled(graph, cost))
    counts = np.array([[64], [32]])
    kept = np.array([[[True]], [[False]]])
    whole, left = model.by_unit(counts, kept)
    assert whole.tolist() == model.by_unit(counts).tolist()
    assert left[:, [0, 2]].tolist() == whole[:, [0, 2]].tolist()
    # The sum goes with the block, the sigmoid stays: half of what follows the unit.
    after = 1e-4 * 64 * counts[:, 0]
    assert (left[:, 1] >= 0).all() and (left[:, 1] <= 1.1 * after).all()
    assert (left[:, 1] < whole[:, 1] / 2).all()
    both = model.ceiling(counts, kept)
    assert (both[1] < both[0]).all() and (both >= model.evaluate(counts, kept)).all()


def test_weights_of_a_codebook_are_computed_with_as_floats(graph) -> None:
    tables, counts = Tables(latency=filled(graph, blocked)), np.array([48])
    even, shared = (CostModel(graph, tables, codebooks=c) for c in (False, True))
    floats = even.evaluate("latency", counts)
    assert even.evaluate("latency", counts, bits(4, 4)) < 0.5 * floats
    assert shared.evaluate("latency", counts, bits(4, 4)) == floats
    assert shared.ceiling("latency", counts, bits(4, 4)) >= floats
