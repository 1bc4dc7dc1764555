"""What it costs to see a plan: rows of every embedding against an evaluation.

    python experiments/benchmark_embedding/run.py --data FOLDER --weights FILE

FOLDER has CIFAR-10 as an image folder, FILE the weights of ResNet-56. Processor time of
one thread. Writes results.csv, targets.json and the table in README.md beside this
file.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import agmc
from agmc.compression.importance import l1
from agmc.cost.model import CostModel
from agmc.data import load_imagefolder
from agmc.embedding.checkpoint import load_autoencoder
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.learned import autoencoder
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.starting import SHIPPED, starting_file
from agmc.models import build, load_model
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.choices import EMBEDDINGS
from agmc.search.corpus import traced
from agmc.search.evaluator import Evaluator
from agmc.search.repair import errors_of, pruner_of
from agmc.training import Execution

HERE = Path(__file__).parent
PLANS = 20  # whose rows are timed
EVALUATIONS = 5
LARGE = "regnet_y_128gf"
ENCODERS = ("gin", "dag")
COMMAND = "python experiments/benchmark_embedding/run.py --data FOLDER --weights FILE"
#: Of channels; `haq` sees layers.
SEEN: dict[str, Callable[[EmbeddingContext], Embedding]] = {
    **{name: make for name, make in EMBEDDINGS.items() if name != "haq"},
    "autoencoder, follow_plan": functools.partial(autoencoder, follow_plan=True),
    "autoencoder, trained": functools.partial(autoencoder, freeze=False),
}


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    execution = Execution(device="cpu")
    splits = load_imagefolder(root=options.data)
    model = load_model(10, 3, name="resnet56", weights=options.weights).eval()
    graph = agmc.trace(model, splits.example_input())
    space = PlanSpace(graph, round_to=1)
    pruner = pruner_of(model, graph, splits, l1, execution)
    evaluate = Evaluator(pruner, CostModel(graph), splits, execution)
    generator = torch.Generator().manual_seed(0)
    plans = [space.sample(generator) for _ in range(PLANS)]
    whole = median_seconds(evaluate, plans[:EVALUATIONS])
    errors = functools.partial(errors_of, pruner, splits, execution)
    context = EmbeddingContext(graph, space, errors=errors)
    rows, targets = [], []
    for name, make in SEEN.items():
        started = time.process_time()
        embedding = make(context)
        made = time.process_time() - started
        counts = [space.counts(plan) for plan in plans]
        seconds = median_seconds(functools.partial(seen, embedding), counts)
        share = seconds / (seconds + whole)
        rows.append(
            {
                "embedding": name,
                "s to make": f"{made:.2f}",
                "ms a plan": f"{1000 * seconds:.2f}",
                "share of an episode": f"{share:.2%}",
            }
        )
        print(rows[-1], flush=True)
        targets.append(
            Target(
                f"{name}: share of an episode of ResNet-56",
                *("<= 5 %", f"{share:.2%}", share <= 0.05, COMMAND),
            )
        )
    for encoder, seconds in large().items():
        targets.append(
            Target(
                f"seconds of embedding {LARGE}, {encoder}",
                *("<= 1", f"{seconds:.2f}", seconds <= 1, COMMAND),
            )
        )
    note = (
        f"An evaluation takes {whole:.2f} s (median of {EVALUATIONS}); processor time "
        f"of one thread, torch {torch.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, targets, note)


def median_seconds(work: Callable[[Any], object], cases: list[Any]) -> float:
    """Processor time of one case, after one that does not count."""
    work(cases[0])
    spent = []
    for case in cases:
        started = time.process_time()
        work(case)
        spent.append(time.process_time() - started)
    return statistics.median(spent)


@torch.no_grad()
def seen(embedding: Embedding, counts: np.ndarray) -> None:
    """All that an agent is shown of a plan, decision by decision."""
    for step in range(len(counts)):
        row = embedding.row(step, counts)
        if embedding.encoder is not None:
            embedding.encoder(row[None])


@torch.no_grad()
def large() -> dict[str, float]:
    """Encoder -> processor seconds for a network of 645 million parameters."""
    graph = traced(build(LARGE, num_classes=1000).eval(), 224)
    result = {}
    for encoder in ENCODERS:
        fitted = load_autoencoder(starting_file(SHIPPED, encoder=encoder)).eval()
        started = time.process_time()
        fitted(GraphConverter(graph).data())
        result[encoder] = time.process_time() - started
    return result


if __name__ == "__main__":
    main()
