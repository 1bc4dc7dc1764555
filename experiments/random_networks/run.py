"""Prunes random networks by random plans and compares with masking, in float64.

    python experiments/random_networks/run.py [--count 1000] [--first-seed 0]

Seed s draws the blocks, widths, weights and the plan. Writes results.csv,
targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections import defaultdict
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from agmc.compression.prune import Pruner
from agmc.cost.model import cost_of
from agmc.graph.trace import trace
from agmc.models.random_cnn import BLOCKS, random_net
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment

HERE = Path(__file__).parent


def measure(seed: int) -> tuple[list[str], float, bool, int]:
    """Blocks of the network, relative error, whether the cost is exact, groups."""
    draw = random.Random(seed)
    blocks = draw.choices(BLOCKS, k=draw.randint(1, 6))
    net, inputs = random_net(blocks, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = trace(net, inputs)
    space, pruner = PlanSpace(graph, min_keep_ratio=0.01), Pruner(net, graph)
    plan = space.sample(torch.Generator().manual_seed(seed))
    small, masked = pruner.prune(plan), pruner.mask(plan)
    with torch.no_grad():
        expected = masked(*inputs)
        found = small(*inputs)
        with FlopCounterMode(display=False) as counter:
            small(*(x[:1] for x in inputs))
    error = float((found - expected).abs().max() / expected.abs().max())
    cost = cost_of(graph, plan)
    numel = sum(parameter.numel() for parameter in small.parameters())
    exact = counter.get_total_flops() == 2 * cost.macs and numel == cost.params
    small.train()(*inputs).square().sum().backward()
    gradients = [p.grad for p in small.parameters()]
    exact &= all(g is not None and bool(g.isfinite().all()) for g in gradients)
    return blocks, error, exact, len(graph.groups)


def main() -> None:
    """Runs all seeds and writes one row for each block."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    seen: dict[str, list[float]] = defaultdict(list)
    worst, right, exact_ones, groups = 0.0, 0, 0, 0
    seeds = range(options.first_seed, options.first_seed + options.count)
    for seed in seeds:
        try:
            blocks, error, exact, number = measure(seed)
        except Exception as reason:  # one bad network must not hide the others
            print(f"seed {seed}: {reason!r}", flush=True)
            continue
        right += error <= 1e-9  # not of a NaN
        exact_ones += exact
        groups += number
        if not (error <= 1e-9 and exact):
            print(f"seed {seed}: {blocks} {error:.1e} {exact}", flush=True)
        worst = max(worst, error)
        for block in set(blocks):
            seen[block].append(error)
    rows = [
        {
            "block": block,
            "networks": str(len(seen[block])),
            "worst error": f"{max(seen[block], default=0):.1e}",
        }
        for block in BLOCKS
    ]
    everything = len(seeds)
    repeat = "python experiments/random_networks/run.py"
    targets = [
        Target(
            "networks with a relative error of at most 1e-9",
            f"{everything} of {everything}",
            str(right),
            right == everything,
            repeat,
        ),
        Target(
            "networks with exact cost and finite gradients",
            f"{everything} of {everything}",
            str(exact_ones),
            exact_ones == everything,
            repeat,
        ),
    ]
    note = (
        f"Seeds {seeds[0]} to {seeds[-1]}, one plan each; {groups} channel groups; "
        f"worst relative error {worst:.1e}; "
        f"{time.perf_counter() - started:.0f} s, torch {torch.__version__}."
    )
    print(note, [(t.name, t.measured) for t in targets])
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
