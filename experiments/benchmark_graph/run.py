"""Seconds from a network to its half, agmc against Torch-Pruning.

    python experiments/benchmark_graph/run.py --results FOLDER [--networks a b]

Rows are kept in FOLDER, so a second call goes on. Writes results.csv, targets.json and
the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agmc import torchvision_ops  # noqa: F401  (before torchvision)
from agmc.compression.prune import Pruner
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from experiments.parts import is_partial

PAGE = os.sysconf("SC_PAGE_SIZE")
HERE = Path(__file__).parent
#: Larger networks take their time in copying weights, not in the graph.
MOST_PARAMETERS = 150e6
REPETITIONS = 200
#: Traced in a process of its own: the widest network, and the one with most layers.
LARGE = ("densenet201", "regnet_y_128gf")


def networks() -> list[str]:
    """Convolutional classifiers of torchvision, those with fewest parameters first."""
    import torchvision.models as zoo

    sizes = {
        name: float(zoo.get_model_weights(name).DEFAULT.meta["num_params"])
        for name in zoo.list_models(module=zoo)
        if not name.startswith(("vit_", "swin_", "maxvit"))
    }
    small = [name for name, size in sizes.items() if size < MOST_PARAMETERS]
    return sorted(small, key=sizes.__getitem__)


def ours(model: nn.Module, image: Tensor) -> float:
    """CPU seconds of agmc."""
    gc.collect()
    started = time.process_time()
    graph = trace(model, image)
    Pruner(model, graph).prune(Plan.uniform(PlanSpace(graph), 0.5))
    return time.process_time() - started


def theirs(model: nn.Module, image: Tensor) -> float:
    """CPU seconds of Torch-Pruning; NaN where it raises an error."""
    import torch_pruning

    model = copy.deepcopy(model)
    linear = [part for part in model.modules() if isinstance(part, nn.Linear)]
    gc.collect()
    started = time.process_time()
    try:
        torch_pruning.pruner.BasePruner(
            model,
            image,
            importance=torch_pruning.importance.MagnitudeImportance(p=1),
            pruning_ratio=0.5,
            ignored_layers=linear[-1:],
        ).step()
        seconds = time.process_time() - started
        model(image)
    except Exception as error:
        print(f"Torch-Pruning: {error!r}"[:160], flush=True)
        return float("nan")
    return seconds


def build_network(name: str) -> tuple[nn.Module, Tensor]:
    """With fresh weights, and one image."""
    import torchvision.models as zoo

    options: dict[str, Any] = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    return zoo.get_model(name, **options).eval(), torch.randn(1, 3, 224, 224)


def measure(name: str) -> dict[str, str]:
    """The row of one network."""
    model, image = build_network(name)
    pairs = [(ours(model, image), theirs(model, image)) for _ in range(3)]
    mine = statistics.median(a for a, _ in pairs)
    other = statistics.median(b for _, b in pairs)
    known = other == other
    return {
        "network": name,
        "agmc s": f"{mine:.2f}",
        "Torch-Pruning s": f"{other:.2f}" if known else "-",
        "ratio": f"{mine / other:.2f}" if known else "-",
    }


def growth() -> float:
    """Share by which memory grows from repetition 50 to repetition 200."""
    from agmc.models import build

    model, image = build("resnet20", num_classes=10).eval(), torch.randn(1, 3, 32, 32)
    sizes = []
    for _ in range(REPETITIONS):
        ours(model, image)
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages)
    return sizes[-1] / sizes[49] - 1


def trace_alone(name: str) -> dict[str, float]:
    """Seconds of `trace`, and peak memory over what was there before it.

    Memory counts the weights too and is given as a multiple of theirs. A tiny network
    is traced first, because torch loads some 6 MB of its own code at the first use.
    """
    model, image = build_network(name)
    tiny = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    trace(nn.Sequential(tiny, nn.Conv2d(4, 2, 1)).eval(), image)
    weights = sum(x.numel() * x.element_size() for x in model.state_dict().values())
    before = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    started = time.perf_counter()
    trace(model, image)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "memory": (peak - before + weights) / weights}


def in_own_process(name: str) -> dict[str, float]:
    """What `trace_alone` finds where nothing else has been done before."""
    done = subprocess.run(
        [sys.executable, __file__, "--alone", name], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measures what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("runs/benchmark_graph"))
    parser.add_argument("--alone", default="", help="only trace this network, once")
    parser.add_argument("--networks", nargs="+", default=networks())
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.alone:
        print(json.dumps(trace_alone(options.alone)))
        return
    options.results.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.networks:
        kept = options.results / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(measure(name)))
        rows.append(json.loads(kept.read_text()))
        print(rows[-1], flush=True)
    if is_partial(parser, options, "networks"):
        return
    ratios = [float(row["ratio"]) for row in rows if row["ratio"] != "-"]
    grown = growth()
    command = "python experiments/benchmark_graph/run.py --results FOLDER"
    middle, worst = statistics.median(ratios), max(ratios)
    targets = [
        Target("median ratio", "<= 1.0", f"{middle:.2f}", middle <= 1, command),
        Target("largest ratio", "<= 3", f"{worst:.2f}", worst <= 3, command),
        Target(
            "memory grows from repetition 50 to 200 by",
            "< 2 %",
            f"{100 * grown:.1f} %",
            grown < 0.02,
            command,
        ),
    ]
    for name in LARGE:
        alone = in_own_process(name)
        memory, seconds = alone["memory"], alone["seconds"]
        targets += [
            Target(
                f"memory of tracing {name}, weights included",
                "<= 1.3 x the weights",
                f"{memory:.2f}",
                memory <= 1.3,
                command,
            ),
            Target(
                f"seconds of tracing {name}",
                "<= 60",
                f"{seconds:.1f}",
                seconds <= 60,
                command,
            ),
        ]
    note = (
        f"{len(ratios)} networks that Torch-Pruning {version('torch-pruning')} "
        f"handles; torch {torch.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
