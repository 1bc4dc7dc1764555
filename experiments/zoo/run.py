"""Prunes every network of torchvision and compares with masking, in float64.

    python experiments/zoo/run.py --results FOLDER [--networks resnet18,vgg11]

One process a network, one thread; rows are kept in FOLDER, so a second call goes on.
Writes results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from agmc import torchvision_ops  # noqa: F401  (before torchvision)
from agmc.compression.original_class import in_original_class
from agmc.compression.prune import Pruner
from agmc.cost.model import CostModel
from agmc.graph.trace import trace
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment

HERE = Path(__file__).parent
SEGMENTATION = (
    *("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"),
    *("fcn_resnet50", "deeplabv3_resnet50"),
)
TRANSFORMERS = ("vit_", "swin_", "maxvit")


def networks() -> list[str]:
    """Classifiers and segmentation networks, those with fewest parameters first."""
    import torchvision.models as zoo

    names = zoo.list_models(module=zoo) + list(SEGMENTATION)

    def parameters(name: str) -> float:
        weights = zoo.get_model_weights(name).DEFAULT
        return float(weights.meta["num_params"])

    return sorted(names, key=parameters)


def build(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random statistics, and two images."""
    import torchvision.models as zoo

    torch.manual_seed(0)
    options: dict[str, Any] = {"weights": None}
    if name in SEGMENTATION:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    model = zoo.get_model(name, **options).eval().double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    for key, parameter in model.named_parameters():
        if key.endswith("layer_scale"):  # 1e-6 would hide every difference
            parameter.data.uniform_(0.5, 1.5)
        elif not parameter.any():  # so would zeros, in heads and biases
            parameter.data.normal_(0, 0.02)
    size = 224 if name.startswith(TRANSFORMERS) else 64
    size = 96 if name == "inception_v3" else size
    return model, torch.randn(2, 3, size, size, dtype=torch.float64)


def leaves(outputs: Any) -> list[Tensor]:
    """The tensors among the outputs."""
    return [x for x in torch.utils._pytree.tree_leaves(outputs)]


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def measure(name: str) -> dict[str, str]:
    """The row of one network."""
    torch.set_num_threads(1)
    model, images = build(name)
    one = images[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        graph = trace(model, one)
        trace_seconds = time.perf_counter() - started
    space, pruner, costs = PlanSpace(graph), Pruner(model, graph), CostModel(graph)
    full = space.counts(None)
    most, least = (costs.widths.macs(c) for c in (full, np.ones_like(full)))
    error, effect, exact, seconds, kind = 0.0, math.inf, True, [], ""
    with torch.no_grad():
        whole = leaves(model(one))
    for seed in range(3):
        plan = space.sample(torch.Generator().manual_seed(seed))
        with torch.no_grad():  # the masked copy goes before the pruned one comes
            expected = leaves(pruner.mask(plan)(one))
        started = time.perf_counter()
        small = pruner.prune(plan)
        seconds.append(time.perf_counter() - started)
        with (
            torch.no_grad(),
            FlopCounterMode(display=False) as counter,
            sdpa_kernel(SDPBackend.MATH),
        ):
            found = leaves(small(one))
        for ours, theirs in zip(found, expected, strict=True):
            error = float(np.maximum(error, difference(ours, theirs)))  # keeps a NaN
        effect = min(effect, *map(difference, expected, whole))
        cost = costs.cost(space.counts(plan))
        exact &= counter.get_total_flops() == 2 * cost.macs
        exact &= sum(p.numel() for p in small.parameters()) == cost.params
        sum(x.square().mean() for x in leaves(small(one))).backward()
        gradients = [p.grad for p in small.parameters() if p.grad is not None]
        assert gradients and all(bool(g.isfinite().all()) for g in gradients)
        if not kind:
            kind = type(in_original_class(model, small, one)).__name__
        del small, gradients
    return {
        "network": name,
        "groups": str(len(graph.groups)),
        "prunable": f"{most[most != least].sum() / most.sum():.3f}",
        "trace s": f"{trace_seconds:.2f}",
        "prune s": f"{np.median(seconds):.2f}",
        "error": f"{error:.1e}",
        "effect": f"{effect:.1e}",
        "exact": "yes" if exact else "no",
        "left alone": str(len(graph.unprunable)),
        "class": kind,
    }


def main() -> None:
    """Measures what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--networks", default="", help="comma separated; all if empty")
    parser.add_argument("--one", help="measure one network and print its row")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    names = options.networks.split(",") if options.networks else networks()
    options.results.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--results", str(options.results), "--one"]
    rows = []
    for name in names:
        kept = options.results / f"{name}.json"
        if not kept.exists():
            ran = subprocess.run([*command, name], capture_output=True, text=True)
            if ran.returncode:
                print(f"{name}: {ran.stderr.strip().splitlines()[-1:]}", flush=True)
                continue
            kept.write_text(ran.stdout.strip().splitlines()[-1])
        rows.append(json.loads(kept.read_text()))
        print(rows[-1], flush=True)
    if options.networks:
        return
    right = [r for r in rows if float(r["error"]) <= 1e-9]
    exact = [r for r in rows if r["exact"] == "yes"]
    convolutional = [r for r in rows if not r["network"].startswith(TRANSFORMERS)]
    everything = len(names)
    repeat = "python experiments/zoo/run.py --results FOLDER"
    targets = [
        Target(
            f"networks {what}",
            f"{everything} of {everything}",
            str(len(found)),
            len(found) == everything,
            repeat,
        )
        for what, found in (
            ("with a relative error of at most 1e-9", right),
            ("whose cost is exact", exact),
        )
    ]
    note = (
        f"{len(rows)} of {everything} networks measured, {len(convolutional)} of them "
        f"without attention over patches; torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}. Images of 64 x 64, inception_v3 "
        "of 96 x 96, transformers of 224 x 224."
    )
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
