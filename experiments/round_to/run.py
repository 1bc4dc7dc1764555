"""Latency of half the MACs when kept channels are multiples of 1, 4 or 8.

    python experiments/round_to/run.py

Uniform plans under half of the MACs, fresh weights (they do not matter here), medians
of 100 calls of ONNX Runtime, one thread, batch 1, the files taking turns. Writes
results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime
import torch

from agmc.compression.prune import Pruner
from agmc.cost.model import CostModel
from agmc.export.latencies import onnx_latency_ms
from agmc.export.onnx import save_onnx
from agmc.graph.trace import trace
from agmc.models import build
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.budgets import Budgets
from agmc.search.uniform import uniform_plan

HERE = Path(__file__).parent
STEPS = (1, 4, 8)


def main() -> None:
    """Measures both networks and writes the table."""
    rows = []
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for network in ("resnet20", "resnet56"):
        torch.manual_seed(0)
        model = build(network, num_classes=10).eval()
        graph = trace(model, image)
        costs = CostModel(graph)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / "original.onnx"]
            save_onnx(model, paths[0], image)
            kept = [1.0]
            for step in STEPS:
                space = PlanSpace(graph, round_to=step)
                bound = Budgets.of("macs:0.5").bind(costs, space)
                plan = uniform_plan(bound)
                macs = bound.value("macs", space.counts(plan))
                kept.append(macs / bound.original["macs"])
                paths.append(Path(folder) / f"{step}.onnx")
                save_onnx(Pruner(model, graph).prune(plan), paths[-1], image)
            latencies = onnx_latency_ms(paths, (image,), rounds=100, seconds=60)
        for step, share, latency in zip(("-", *STEPS), kept, latencies, strict=True):
            rows.append(
                {
                    "network": network,
                    "multiples of": str(step),
                    "MACs kept": f"{share:.4f}",
                    "milliseconds": f"{latency:.3f}",
                    "to the original": f"{latency / latencies[0]:.2f}",
                }
            )
    worst = max(float(r["to the original"]) for r in rows if r["multiples of"] == "8")
    target = Target(
        "time at multiples of 8, share of the original, worst",
        "< 1",
        f"{worst:.2f}",
        worst < 1,
        "python experiments/round_to/run.py",
    )
    note = (
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, [target], note)


if __name__ == "__main__":
    main()
