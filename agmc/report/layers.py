"""Layers and blocks of a network, with what they cost and whether they can shrink."""

from __future__ import annotations

from dataclasses import dataclass

from agmc.cost.model import CostModel
from agmc.graph.model_graph import ModelGraph
from agmc.plan import kept_channels
from agmc.report.quantity import count_text, share_text
from agmc.report.table import Table

#: A picture of more blocks than these is no overview.
_MOST_BLOCKS = 60


@dataclass(frozen=True)
class Layer:
    """A layer that multiplies or holds parameters.

    Attributes:
        name: qualified name of the module.
        kind: of its first operation.
        shape: of its result, for one input.
        macs: multiply-adds for one input.
        params: elements of its parameters.
        groups: names of the channel groups that its result carries.
        source: line of the forward code.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    macs: int
    params: int
    groups: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Block:
    """Layers under one prefix of the module path.

    Attributes:
        name: the prefix.
        layers: in execution order.
        macs: of its layers.
        params: of its layers.
        groups: names of the channel groups that lie in its layers.
        readers: positions of the blocks that read what it makes.
    """

    name: str
    layers: tuple[Layer, ...]
    macs: int
    params: int
    groups: tuple[str, ...]
    readers: tuple[int, ...]


def layers_of(graph: ModelGraph) -> tuple[Layer, ...]:
    """All layers in execution order."""
    costs = CostModel(graph).by_layer(kept_channels(graph, None))
    carried: dict[str, list[str]] = {}
    for group in graph.groups:
        for tensor in group.tensors:
            carried.setdefault(tensor, []).append(group.name)
    by_layer = {op.layer: op for op in reversed(graph.program.operations)}
    made = {op.layer: op for op in graph.program.operations if op.name in graph.tensors}
    return tuple(
        Layer(
            name=cost.name,
            kind=by_layer[cost.name].kind,
            shape=graph.tensors[made[cost.name].name].shape,
            macs=cost.macs,
            params=cost.params,
            groups=tuple(carried.get(made[cost.name].name, ())),
            source=graph.sources.get(by_layer[cost.name].name, ""),
        )
        for cost in costs
        if cost.name in made
    )


def blocks_of(graph: ModelGraph) -> tuple[Block, ...]:
    """The network at the finest depth of the module path that is still an overview.

    Operations of the network's own forward code, outside of its modules, are blocks
    called by what they do.
    """
    paths = {op.layer for op in graph.program.operations if op.layer}
    deepest = max((path.count(".") + 1 for path in paths), default=1)
    # The last part of a path is a layer, and a layer inside of a block is no block.
    depth = max(
        d
        for d in range(1, max(2, deepest))
        if d == 1 or len({_prefix(path, d) for path in paths}) <= _MOST_BLOCKS
    )
    home = _homes(graph, depth)
    position = {name: i for i, name in enumerate(dict.fromkeys(home.values()))}
    readers: list[set[int]] = [set() for _ in position]
    for operation in graph.program.operations:
        for name in operation.refs():
            if operation.name in home and name in home:
                one, other = home[name], home[operation.name]
                if one != other:
                    readers[position[one]].add(position[other])
    first_home = {
        op.layer: home[op.name]
        for op in reversed(graph.program.operations)
        if op.name in home
    }
    result = []
    layers = layers_of(graph)
    for name, index in position.items():
        inside = [x for x in layers if first_home.get(x.name) == name]
        result.append(
            Block(
                name=name,
                layers=tuple(inside),
                macs=sum(layer.macs for layer in inside),
                params=sum(layer.params for layer in inside),
                groups=tuple(dict.fromkeys(g for x in inside for g in x.groups)),
                readers=tuple(sorted(readers[index])),
            )
        )
    return tuple(result)


def _homes(graph: ModelGraph, depth: int) -> dict[str, str]:
    """Operation that makes an activation -> its block."""
    home: dict[str, str] = {}
    run: list[str] = []  # operations of the forward code itself, one after another
    taken: set[str] = set()

    def end_of_run() -> None:
        if not run:
            return
        kinds = dict.fromkeys(graph.operations[name].kind for name in run)
        name = " ".join(list(kinds)[:3])
        while name in taken:
            name += "'"
        taken.add(name)
        home.update(dict.fromkeys(run, name))
        run.clear()

    for operation in graph.program.operations:
        if operation.name not in graph.tensors:
            continue
        if operation.layer:
            end_of_run()
            home[operation.name] = _prefix(operation.layer, depth)
            taken.add(home[operation.name])
        else:
            run.append(operation.name)
    end_of_run()
    order = [op.name for op in graph.program.operations if op.name in home]
    return {name: home[name] for name in order}


def _prefix(path: str, depth: int) -> str:
    return ".".join(path.split(".")[:depth])


def layers_table(graph: ModelGraph) -> Table:
    """One row for every layer that multiplies."""
    layers = [layer for layer in layers_of(graph) if layer.macs]
    total = max(1, sum(layer.macs for layer in layers))
    rows = [
        (
            layer.name or "(forward)",
            ", ".join(layer.groups[:2]) + (" ..." if len(layer.groups) > 2 else "")
            if layer.groups
            else "stays whole",
            " x ".join(map(str, layer.shape[1:])),
            share_text(layer.macs / total),
            count_text(layer.params),
        )
        for layer in layers
    ]
    columns = ("layer", "channel group", "result", "MACs", "parameters")
    return Table(title="", columns=columns, rows=tuple(rows), left=2)
