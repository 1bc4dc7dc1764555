"""Predicted against measured latency of three networks at three plans each.

    python experiments/latency/run.py [FOLDER]

The table is built in FOLDER (default: runs/latency; kept there, so an interrupted run
goes on where it stopped). Then every plan is measured whole: the files that agmc
exports in ONNX Runtime, as floats and with 8 bits in all layers, and the module in
torch, the lowest of three rounds over the plans; fresh weights (they do not matter
here), one input, one thread. Writes results.csv, targets.json and the table in
README.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from agmc.compression.prune import Pruner
from agmc.compression.quantize import Quantization
from agmc.cost.latency import LatencyModel
from agmc.cost.latency_table import RUNTIMES
from agmc.export.onnx import save_onnx
from agmc.export.profile import Profiler, machine, table_path
from agmc.export.stopwatch import whole_milliseconds
from agmc.graph.model_graph import ModelGraph
from agmc.graph.network import GraphNetwork
from agmc.graph.trace import trace
from agmc.graph.weighted import weighted_layers
from agmc.models import build
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment

HERE = Path(__file__).parent
NETWORKS = {
    "resnet56": ((3, 32, 32), 10),
    "torchvision.mobilenet_v2": ((3, 224, 224), 1000),
    "torchvision.vgg16_bn": ((3, 224, 224), 1000),
}
COMMAND = "python experiments/latency/run.py"


def main(folder: str) -> None:
    """Builds the table, measures the plans and writes the results."""
    rows = []
    errors: dict[str, list[float]] = {runtime: [] for runtime in RUNTIMES}
    path = table_path(folder)
    for name, (shape, classes) in NETWORKS.items():
        torch.manual_seed(0)
        model = build(name, num_classes=classes).eval()
        image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        graph = trace(model, image)
        table = Profiler().extend(
            model, graph, path, on_plan=lambda done: print("measured", done)
        )
        latency = LatencyModel(graph, table)
        eights, ones = PlanSpace(graph, round_to=8), PlanSpace(graph)
        plans = {
            "keep 1.0": Plan({}),
            "keep 0.5, multiples of 8": Plan.uniform(eights, 0.5),
            "random, any number": ones.sample(torch.Generator().manual_seed(7)),
        }
        measured = _measured(model, graph, list(plans.values()), image)
        for (title, plan), times in zip(plans.items(), measured, strict=True):
            counts = ones.counts(plan)
            row = {"network": name.removeprefix("torchvision."), "plan": title}
            for runtime, milliseconds in zip(RUNTIMES, times, strict=True):
                predicted = float(latency.evaluate(counts, runtime=runtime))
                error = predicted / milliseconds - 1
                errors[runtime].append(abs(error))
                row |= {
                    f"{runtime} ms": f"{milliseconds:.2f}",
                    f"{runtime} predicted": f"{predicted:.2f}",
                    f"{runtime} error": f"{error:+.1%}",
                }
            print(row, flush=True)
            rows.append(row)
    targets = [
        Target(
            f"largest error of the predicted latency, {runtime}",
            "<= 15 %",
            f"{max(found):.1%}",
            bool(np.max(found) <= 0.15),
            COMMAND,
        )
        for runtime, found in errors.items()
    ]
    note = (
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, "
        f"{machine()['processor']}, {machine()['vectors']}, one thread."
    )
    write_experiment(HERE, rows, targets, note)


def _measured(
    model: nn.Module, graph: ModelGraph, plans: Sequence[Plan], image: torch.Tensor
) -> np.ndarray:
    """Milliseconds [plans, runtimes]: the lowest of three rounds over the plans."""
    pruner, passes = Pruner(model, graph), []
    networks = [pruner.prune(plan) for plan in plans]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.onnx" for index in range(len(plans))]
        rounded = [file.with_suffix(".int8") for file in files]
        for network, *both in zip(networks, files, rounded, strict=True):
            save_onnx(network, both[0], image)
            save_onnx(_with_8_bits(network, image), both[1], image, batch_size=1)
        for _ in range(3):
            passes.append(
                [
                    whole_milliseconds(net, file, (image,), integers=other, seconds=4)
                    for net, file, other in zip(networks, files, rounded, strict=True)
                ]
            )
    return np.min(passes, axis=0)


def _with_8_bits(network: GraphNetwork, image: torch.Tensor) -> nn.Module:
    bits = dict.fromkeys(weighted_layers(network.program), 8)
    plan = Plan({}, weight_bits=bits, act_bits=bits)
    return Quantization().apply(network, plan, [image])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/latency")
