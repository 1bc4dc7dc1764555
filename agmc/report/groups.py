"""groups_table: what may be saved on every channel group of a network."""

from __future__ import annotations

from agmc.cost.model import METRICS, CostModel
from agmc.graph.model_graph import ModelGraph
from agmc.plan import kept_channels
from agmc.report.table import Table


def groups_table(graph: ModelGraph) -> Table:
    """One row a channel group: its size, and what keeping half of it alone saves."""
    costs = CostModel(graph)
    sizes = kept_channels(graph, None)
    whole = costs.cost(sizes)
    rows = []
    for index, group in enumerate(graph.groups):
        half = sizes.copy()
        half[index] = max(1, group.size // 2)
        saved = [
            1 - int(costs.evaluate(metric, half)) / getattr(whole, metric)
            for metric in METRICS
        ]
        rows.append((group.name, str(group.size), *(f"{share:.1%}" for share in saved)))
    columns = ("channel group", "channels", *(f"{m} saved by half" for m in METRICS))
    return Table(title="", columns=columns, rows=tuple(rows))
