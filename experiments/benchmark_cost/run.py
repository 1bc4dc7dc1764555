"""Plans of ResNet-50 that are costed per second, by metric.

    OMP_NUM_THREADS=1 python experiments/benchmark_cost/run.py

Writes results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch

from agmc.cost.model import METRICS, CostModel
from agmc.graph.trace import trace
from agmc.models import build
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment

HERE = Path(__file__).parent
PLANS, BATCH, TURNS = 4096, 512, 7


def main() -> None:
    """Measures every metric and writes the table."""
    graph = trace(build("resnet50", num_classes=1000), torch.randn(1, 3, 224, 224))
    costs, space = CostModel(graph), PlanSpace(graph)
    draw = np.random.default_rng(0)
    sizes = np.array([decision.size for decision in space])
    plans = draw.integers(1, sizes + 1, (PLANS, len(space)))
    rates = {}
    for metric in METRICS:
        costs.evaluate(metric, plans[:1])
        seconds = []
        for _ in range(TURNS):
            started = time.process_time()
            for first in range(0, PLANS, BATCH):
                costs.evaluate(metric, plans[first : first + BATCH])
            seconds.append(time.process_time() - started)
        rates[metric] = PLANS / statistics.median(seconds)
    rows = [
        {"metric": metric, "plans per second": f"{rate:,.0f}"}
        for metric, rate in rates.items()
    ]
    slowest = min(rates.values())
    target = Target(
        "plans per second, slowest metric",
        ">= 20,000",
        f"{slowest:,.0f}",
        slowest >= 20_000,
        "OMP_NUM_THREADS=1 python experiments/benchmark_cost/run.py",
    )
    note = f"numpy {np.__version__}, {torch.backends.cpu.get_cpu_capability()}."
    write_experiment(HERE, rows, [target], note)


if __name__ == "__main__":
    main()
