"""write_front: the plans of a search over several budgets, as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agmc.report import charts
from agmc.report.before_after import METRICS
from agmc.search.found import FrontPoint
from agmc.whole_file import write_whole


def write_front(points: Sequence[FrontPoint], directory: Path, *, metric: str) -> None:
    """Writes `pareto.csv`, `pareto.svg` and a plan for each point under `plans/`.

    `agmc plan=FILE` carries such a plan out.

    Args:
        points: the tightest budget first.
        directory: of the run.
        metric: that the budgets are a range of.
    """
    folder = directory / "plans"
    folder.mkdir(exist_ok=True)
    rows = []
    for point in points:
        name = f"{point.budget.replace(':', '_').replace(', ', '_')}.json"
        point.plan.save(folder / name)
        cost = {k: v for k, v in asdict(point.cost).items() if v is not None}
        rows.append(
            {
                "budget": point.budget,
                "accuracy": f"{point.accuracy:.6f}",
                "reward": f"{point.reward:.6f}",
                **cost,
                "plan": f"plans/{name}",
            }
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(directory / "pareto.csv", text.getvalue())
    write_whole(directory / "pareto.svg", _chart(points, metric))


def _chart(points: Sequence[FrontPoint], metric: str) -> str:
    """Accuracy against the metric, in units of short numbers."""
    costs = [float(getattr(point.cost, metric)) for point in points]
    factor, prefix = next(
        (factor, prefix)
        for factor, prefix in ((1e9, " in G"), (1e6, " in M"), (1e3, " in k"), (1, ""))
        if max(costs) >= factor or factor == 1
    )
    name = METRICS[metric][0] + prefix
    return charts.scatter(
        (),
        [
            charts.Mark(cost / factor, 100 * point.accuracy, point.budget, "after")
            for cost, point in zip(costs, points, strict=True)
        ],
        title="The best plan within each budget, without fine-tuning",
        x_name=name,
        y_name="search accuracy, %",
        alone=True,
    )
