"""Latency of 8 bits alone, and with half of the MACs as channels or as whole blocks.

    python experiments/int8_latency/run.py [--seconds 2]

Fresh weights (they do not matter here), uniform plans; milliseconds of ONNX Runtime for
batches of 1 and of 64 on one and two threads, the files of a network taking turns.
Writes results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import agmc
from agmc.cost.model import CostModel
from agmc.export.latencies import onnx_latencies
from agmc.export.onnx import save_onnx
from agmc.graph.weighted import weighted_layers
from agmc.models import build
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.budgets import Budgets
from agmc.search.uniform import uniform_plan

HERE = Path(__file__).parent
#: Network -> pixels of an image's side.
NETWORKS = {
    "resnet56": 32,
    "vgg16_bn_cifar": 32,
    "mobilenet_v2_cifar": 32,
    "torchvision.mobilenet_v3_small": 64,  # hard-swish
    "torchvision.efficientnet_b0": 64,  # SiLU
}
#: How many times as fast as float32 half of the MACs with 8 bits should be.
WANTED = {"resnet56": 3.0, "vgg16_bn_cifar": 7.0, "mobilenet_v2_cifar": 3.0}
STEPS = (8, 16)
#: Keep ratios of the first and the last channel group, before the budget is used up.
TAPER = (1.0, 0.4)
CELL = "batch 64, 1 thread"
COMMAND = "python experiments/int8_latency/run.py"


def main() -> None:
    """Measures all networks and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    rows, targets = [], []
    for network, size in NETWORKS.items():
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(2, 3, size, size, generator=generator)
        torch.manual_seed(0)
        model = build(network, num_classes=10).eval()
        graph = agmc.trace(model, image)
        plans = plans_of(graph)
        with tempfile.TemporaryDirectory() as folder:
            networks = []
            for index, plan in enumerate(plans.values()):
                small = agmc.compress(model, plan, image, calibration=[image])
                path = Path(folder) / f"{index}.onnx"
                save_onnx(small, path, image)
                networks.append((small, path))
            found = onnx_latencies(networks, (image,), seconds=seconds)
        whole = agmc.cost_of(graph).macs
        speedups = {}
        for name, plan, times in zip(plans, plans.values(), found, strict=True):
            row = {
                "network": network,
                "plan": name,
                "MACs": f"{agmc.cost_of(graph, plan).macs / whole:.3f}",
            }
            for cell, value in times.items():
                first = found[0][cell]
                assert value is not None and first is not None
                row[f"{cell}, ms"] = f"{value:.3g}"
                row[f"{cell}, x"] = f"{first / value:.2f}"
            speedups[name] = float(row[f"{CELL}, x"])
            rows.append(row)
        if network not in WANTED:
            continue
        best = max(speedups, key=lambda name: speedups[name])
        targets.append(
            Target(
                f"{network}: times as fast as float32, {CELL} ({best})",
                *(f">= {WANTED[network]:g}", f"{speedups[best]:.2f}"),
                speedups[best] >= WANTED[network],
                COMMAND,
            )
        )
    note = (
        f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, targets, note)


def plans_of(graph: agmc.ModelGraph) -> dict[str, Plan]:
    """What is compared; the first is the network itself."""
    layers = list(weighted_layers(graph.program))
    bits = dict.fromkeys(layers, 8)
    plans = {"float32": Plan({}), "8 bits": Plan({}, {}, bits, bits)}
    costs = CostModel(graph)
    for step in STEPS:
        space = PlanSpace(graph, round_to=step, min_keep_ratio=0.1)
        try:
            bound = Budgets.of("macs:0.5").bind(costs, space)
            half = uniform_plan(bound)
        except ValueError:  # so many channels cannot go: narrow layers stay whole
            continue
        name = f"half the MACs, channels in multiples of {step}, 8 bits"
        plans[name] = Plan(half.keep_ratio, {}, bits, bits)
        counts = bound.clamp_plan(np.linspace(*TAPER, len(space)))
        fewer = space.plan(counts.tolist()).keep_ratio
        plans[f"the same, fewer and fewer with depth, {step}"] = Plan(
            fewer, {}, bits, bits
        )
    dropped = half_of_the_blocks(graph)
    if dropped:
        plans["half the MACs, blocks dropped, 8 bits"] = Plan(
            {}, {}, bits, bits, dropped
        )
    return plans


def half_of_the_blocks(graph: agmc.ModelGraph) -> frozenset[str]:
    """The blocks to drop, evenly over the depth, until half of the MACs are left."""
    names = [block.name for block in graph.blocks]
    whole = agmc.cost_of(graph).macs
    dropped: set[str] = set()
    for turn in range(2):
        for name in names[turn::2]:
            if agmc.cost_of(graph, Plan({}, dropped=dropped)).macs > whole / 2:
                dropped.add(name)
    return frozenset(dropped)


if __name__ == "__main__":
    main()
