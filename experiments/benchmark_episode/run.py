"""Benchmark: seconds of one search episode on ResNet-56, against two yardsticks.

    python experiments/benchmark_episode/run.py --data FOLDER --weights FILE

Every round takes one plan within half of the MACs and times, one after the other:
*episode*: what the search does (decisions, pruning, recalibration on 500 images,
accuracy on 1,000, learning of the DDPG agent); *floor*: bare forward passes of the
pruned network over the same 1,500 images, in the search's precision and in bfloat16;
*usual*: float32, contiguous, zero masks instead of removal, the same recalibration and
accuracy. Writes results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from agmc.agents import DDPG, AgentContext
from agmc.compression.prune import Pruner
from agmc.cost.model import CostModel
from agmc.data import load_imagefolder
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.learned import autoencoder
from agmc.graph.trace import trace
from agmc.models import load_model
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.budgets import Budgets
from agmc.search.candidate import conclude, propose, worth
from agmc.search.env import CompressionEnv
from agmc.search.evaluator import Evaluator
from agmc.search.reward import error
from agmc.search.uniform import uniform_plan
from agmc.training import Batches, Execution, batches_of, recalibrate_batch_norm

HERE = Path(__file__).parent
WARMUP, ROUNDS = 4, 16
SEARCH_IMAGES, RECALIBRATION_IMAGES = 1000, 500


def forward_seconds(
    module: nn.Module, batches: list[Batches], execution: Execution
) -> float:
    """Bare forward passes in evaluation mode; nothing is read from the outputs."""
    module.eval()
    started = time.perf_counter()
    with torch.inference_mode(), execution.autocast():
        for images in batches:
            for x, _ in images:
                module(x)
    return time.perf_counter() - started


def usual_seconds(masked: nn.Module, recalibration: Batches, search: Batches) -> float:
    """Masks, float32, contiguous images: as research code of this field does it."""
    execution = Execution(device="cpu", precision="float32")
    started = time.perf_counter()
    recalibrate_batch_norm(masked, recalibration, execution=execution)
    with torch.inference_mode():
        hits = sum(int((masked(x).argmax(1) == y).sum()) for x, y in search)
    assert hits >= 0
    return time.perf_counter() - started


def main() -> None:
    """Runs all rounds and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    arguments = parser.parse_args()
    splits = load_imagefolder(root=arguments.data)
    model = load_model(10, 3, name="resnet56", weights=arguments.weights).eval()
    graph = trace(model, splits.example_input())
    space, costs = PlanSpace(graph), CostModel(graph)
    bound = Budgets.of("macs:0.5").bind(costs, space)
    execution = Execution(device="cpu")
    pruner = Pruner(model, graph)
    evaluator = Evaluator(
        pruner,
        costs,
        splits,
        execution,
        search_images=SEARCH_IMAGES,
        recalibration_images=RECALIBRATION_IMAGES,
        reconstruction_images=0,
    )
    observe = autoencoder(EmbeddingContext(graph, space))
    original = evaluator(Plan({}))
    env = CompressionEnv([bound], observe, evaluator, error, original=original)
    agent = DDPG(
        AgentContext(
            observation_dim=env.observation_dim,
            num_decisions=env.num_decisions,
            num_episodes=WARMUP + ROUNDS,
            seed=0,
            uniform_keep_ratios=tuple(uniform_plan(bound).keep_ratio.values()),
        ),
        warmup_share=WARMUP / (WARMUP + ROUNDS),
    )
    both = [
        batches_of(splits, "train", execution=execution, limit=RECALIBRATION_IMAGES),
        batches_of(splits, "search", execution=execution, limit=SEARCH_IMAGES),
    ]
    contiguous = [Batches(b.images.contiguous(), b.labels, b.batch_size) for b in both]
    bfloat16 = Execution(device="cpu", precision="bfloat16")
    rows = []
    for index in range(WARMUP + ROUNDS):
        candidate = propose(env, agent, index)
        evaluation = env.evaluate(candidate.plan)
        record = conclude(candidate, evaluation, worth(evaluation, env, ()), agent)
        small = execution.place(pruner.prune(record.plan))
        row = {
            "episode": record.seconds,
            "floor": forward_seconds(small, both, execution),
            "floor bfloat16": forward_seconds(small, both, bfloat16),
            "usual": usual_seconds(pruner.mask(record.plan), *contiguous),
        }
        if index >= WARMUP and not record.cached:
            rows.append(row)
            print({name: round(value, 3) for name, value in row.items()}, flush=True)
    write(rows, str(execution.dtype).removeprefix("torch."))


def write(rows: list[dict[str, float]], dtype: str) -> None:
    """The result files; the last row holds the medians."""
    texts = [{"round": str(i), **_text(row)} for i, row in enumerate(rows)]
    median = {name: statistics.median(r[name] for r in rows) for name in rows[0]}
    texts.append({"round": "median", **_text(median)})
    to_floor = statistics.median(r["episode"] / r["floor"] for r in rows)
    to_bfloat16 = statistics.median(r["episode"] / r["floor bfloat16"] for r in rows)
    faster = statistics.median(r["usual"] / r["episode"] for r in rows)
    command = "python experiments/benchmark_episode/run.py --data FOLDER --weights FILE"
    targets = [
        Target(name, bound, f"{value:.2f}", holds, command)
        for name, bound, value, holds in (
            (
                "episode / bare bfloat16 passes",
                "<= 1.5",
                to_bfloat16,
                to_bfloat16 <= 1.5,
            ),
            (f"episode / bare {dtype} passes", "<= 1.5", to_floor, to_floor <= 1.5),
            ("usual way / episode", ">= 3", faster, faster >= 3),
        )
    ]
    note = (
        f"Seconds; ratios are medians over the rounds. {torch.get_num_threads()} "
        f"threads, search precision {dtype}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {cpu()}."
    )
    write_experiment(HERE, texts, targets, note)


def _text(row: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.3f}" for name, value in row.items()}


def cpu() -> str:
    """What matters of the processor for these figures."""
    bfloat16 = Execution(device="cpu").dtype == torch.bfloat16
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{capability} {'with' if bfloat16 else 'without'} bfloat16 instructions"


if __name__ == "__main__":
    main()
