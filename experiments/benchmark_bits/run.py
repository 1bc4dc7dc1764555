"""What bits cost: packing and loading a file, and a candidate of a search of bits.

    python experiments/benchmark_bits/run.py --data FOLDER --weights FOLDER --results F

Candidates are of ResNet-56 and of what is left of it at half of its MACs (see
experiments/two_stage, made in the results folder where it is not there yet). Writes
results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import agmc
from agmc.compression.importance import l1
from agmc.graph.weighted import weighted_layers
from agmc.models import build
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.evaluator import Evaluator
from agmc.search.repair import pruner_of
from agmc.training.execution import exact
from experiments.searches import EVALUATOR, EXECUTION, Place, places
from experiments.two_stage.run import Small

HERE = Path(__file__).parent
COMMAND = "python experiments/benchmark_bits/run.py --data F --weights F --results F"
#: Of 14.7 million parameters, as in the target.
LARGE = "vgg16_bn_cifar"
TURNS = 5
#: Of candidates: step sizes of weights, once chosen, serve a whole search.
CANDIDATES = 20
MOST_SECONDS, MOST_TIMES = 2.0, 1.3
BITS = 4


def main() -> None:
    """Measures, and writes the table."""
    options = places(__doc__).parse_args()
    torch.set_num_threads(1)
    rows = [*packing(), *candidates(Place.of(options))]
    slowest = max(float(row["seconds"]) for row in rows[:-3])
    times = float(rows[-1]["seconds"]) / float(rows[-2]["seconds"])
    targets = [
        Target(
            f"seconds to pack or to load {LARGE}, the slowest of all",
            *(f"<= {MOST_SECONDS:g}", f"{slowest:.2f}", slowest <= MOST_SECONDS),
            COMMAND,
        ),
        Target(
            "a candidate with bits, times one with fewer channels",
            *(f"<= {MOST_TIMES:g}", f"{times:.2f}", times <= MOST_TIMES, COMMAND),
        ),
    ]
    note = (
        f"Processor seconds of one thread, medians of {TURNS}, of candidates "
        f"{CANDIDATES}; torch "
        f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, targets, note)


def packing() -> list[dict[str, str]]:
    """Files of a large network with fresh weights."""
    torch.manual_seed(0)
    model = build(LARGE, num_classes=10).eval()
    images = torch.randn(8, 3, 32, 32)
    layers = weighted_layers(agmc.trace(model, images).program)
    four = dict.fromkeys(layers, BITS)
    eight = dict.fromkeys(layers, 8)
    plans = {
        "float32": Plan({}),
        "4 bits": Plan({}, weight_bits=four, act_bits=eight),
        "4 bits, 90 % zeros": Plan(
            {}, dict.fromkeys(layers, 0.9), weight_bits=four, act_bits=eight
        ),
    }
    rows = []
    for name, plan in plans.items():
        network = agmc.compress(model, plan, images, calibration=[images])
        for entropy in (None, "zlib"):
            what = f"{LARGE}, {name}{', zlib' if entropy else ''}"
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "network.safetensors"
                pack = functools.partial(agmc.save, network, file, entropy=entropy)
                rows.append(row_of(f"{what}: packed", pack))
                unpack = functools.partial(agmc.load, file)
                rows.append(row_of(f"{what}: loaded", unpack))
    return rows


def candidates(place: Place) -> list[dict[str, str]]:
    """An evaluation of fewer channels, and one of bits on what they have left."""
    network = place.prepared("resnet56")
    small = Small.of(place, "resnet56")
    draw = np.random.default_rng(0)
    space = PlanSpace(small.graph, parts=("weight_bits",))
    channels = [  # others every time: evaluators know what they have seen
        network.uniform(f"macs:{share}")
        for share in np.linspace(0.4, 0.6, CANDIDATES + 1)
    ]
    bits = [
        space.plan([int(draw.choice(decision.counts)) for decision in space])
        for _ in range(CANDIDATES + 1)
    ]
    inexact = str(EXECUTION.dtype).removeprefix("torch.")
    floats = exact(EXECUTION)
    pruner = pruner_of(network.model, network.graph, network.splits, l1, floats)
    whole = Evaluator(pruner, network.costs, network.splits, floats, **EVALUATOR)
    return [
        row_of(
            f"candidate with {name}",
            functools.partial(next, map(evaluate, plans)),
            CANDIDATES,
        )
        for name, evaluate, plans in (
            ("fewer channels, float32", whole, channels),
            (f"fewer channels, {inexact}", network.evaluator, channels),
            ("bits, float32", small.evaluator, bits),
        )
    ]


def row_of(what: str, do: Callable[[], Any], turns: int = TURNS) -> dict[str, str]:
    """The median of some turns, after one that is not counted."""
    do()
    seconds = []
    for _ in range(turns):
        started = time.process_time()
        do()
        seconds.append(time.process_time() - started)
    print(what, seconds, flush=True)
    return {"what": what, "seconds": f"{statistics.median(seconds):.2f}"}


if __name__ == "__main__":
    main()
