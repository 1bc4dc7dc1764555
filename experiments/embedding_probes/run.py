"""What a linear probe reads from every embedding, on families it has not seen.

    python experiments/embedding_probes/run.py [--measured FOLDER]

Writes results.csv, targets.json and the table in README.md beside this file. The
sensitivities are those of experiments/sensitivity; its results folder has the weights
as well, which some embeddings look at.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.carriers import carriers_of
from agmc.embedding.checkpoint import load_autoencoder
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.probe import Subject, probe_classes, probe_numbers, readable_rows
from agmc.embedding.probe_targets import depths, macs_shares, makers, meetings
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.starting import SHIPPED, starting_file
from agmc.graph.groups import UnprunableWarning
from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace
from agmc.models import build, names
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.choices import EMBEDDINGS
from agmc.search.measured import NETWORKS, measured_networks
from agmc.search.sensitivity import Sensitivity
from experiments.parts import is_partial

HERE = Path(__file__).parent
MEASURED = HERE.parent / "sensitivity" / "measured"
#: Family -> networks, with fresh weights; those for 32 x 32 images see such.
STRUCTURES = {
    "resnet": ("resnet8", "resnet20", "resnet56", "resnet18", "resnet50"),
    "plain": ("plain20", "plain32"),
    "vgg": ("vgg11_bn_cifar", "vgg16_bn_cifar", "vgg11_bn"),
    "mobilenet": ("mobilenet_v2_cifar", "mobilenet_v2", "mobilenet_v3_small"),
    "shufflenet": ("shufflenet_v2_cifar", "shufflenet_v2_x1_0"),
    "densenet": ("densenet22_cifar", "densenet40_cifar", "densenet121"),
    "squeezenet": ("squeezenet1_1",),
    "mnasnet": ("mnasnet0_5",),
    "regnet": ("regnet_y_400mf",),
    "efficientnet": ("efficientnet_b0",),
    "googlenet": ("googlenet",),
    "alexnet": ("alexnet",),
}
#: Those of which the fitted encoder has learned nothing.
UNSEEN = ("plain", "densenet", "efficientnet", "googlenet", "alexnet")
#: Embeddings of layers, not of channels, and of what was measured on the network.
NOT_FROM_STRUCTURE = ("haq", "measured")
#: Vectors of an encoder as they are, neither standardised nor cut off.
RAW = "raw vectors, untrained", "raw vectors, fitted"


@dataclass(frozen=True, eq=False)
class Network:
    """A traced network; `sensitivity` where it was measured."""

    name: str
    family: str
    graph: ModelGraph
    sensitivity: Sensitivity | None = None


def main() -> None:
    """Probes all embeddings and writes the table."""
    read = [name for name in EMBEDDINGS if name not in NOT_FROM_STRUCTURE]
    every = ["nothing", "progress", *read, *RAW]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    parser.add_argument("--embeddings", nargs="+", default=every, choices=every)
    shipped = starting_file(SHIPPED, encoder="gin")
    parser.add_argument(
        "--encoder", type=Path, default=shipped, help="of raw vectors, fitted"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    structures = [
        Network(name, family, traced(name))
        for family, members in STRUCTURES.items()
        for name in members
    ]
    measured = []
    if (options.measured / NETWORKS).exists():
        measured = [
            Network(name, *network)
            for name, network in measured_networks(options.measured).items()
        ]
    rows = []
    for name in options.embeddings:
        started = time.perf_counter()
        rows += probed(name, structures, measured, options)
        print(rows[-1], f"{time.perf_counter() - started:.0f} s", flush=True)
    if is_partial(parser, options, "embeddings"):
        return
    command = "python experiments/embedding_probes/run.py --measured FOLDER"
    note = (
        f"torch {torch.__version__}; {len(structures)} networks of {len(STRUCTURES)} "
        f"families for structure, {len(measured)} of "
        f"{len({network.family for network in measured})} for sensitivity; seed "
        f"{options.seed}."
    )
    write_experiment(HERE, rows, targets(rows, command), note)


def traced(name: str) -> ModelGraph:
    """The graph of a network with fresh weights (seed 0)."""
    torch.manual_seed(0)
    model = build(name, num_classes=10).eval()
    side = 32 if name in names() else 64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnprunableWarning)
        return trace(model, torch.zeros(2, 3, side, side))


def observations(
    name: str, graph: ModelGraph, options: argparse.Namespace
) -> np.ndarray:
    """What is read of one network, [num_decisions, columns]."""
    if name in RAW:
        model = GraphAutoencoder(seed=options.seed)
        if name == RAW[1]:
            model = load_autoencoder(options.encoder)
        with torch.no_grad():
            vectors = model.eval()(GraphConverter(graph).data())
        return (carriers_of(graph) @ vectors).double().numpy()
    context = EmbeddingContext(graph, PlanSpace(graph), options.seed)
    if name in EMBEDDINGS:
        return readable_rows(EMBEDDINGS[name](context), progress=False)
    empty = FixedEmbedding(PlanSpace(graph), (), np.zeros((len(graph.groups), 0)))
    return readable_rows(empty, progress=name == "progress")


def probed(
    name: str,
    structures: Sequence[Network],
    measured: Sequence[Network],
    options: argparse.Namespace,
) -> list[dict[str, str]]:
    """The rows of the table that are about one embedding."""
    observed = {
        id(network): observations(name, network.graph, options)
        for network in (*structures, *measured)
    }

    def subjects(
        networks: Sequence[Network], value: Callable[[Network], np.ndarray]
    ) -> list[Subject]:
        return [Subject(n.name, n.family, observed[id(n)], value(n)) for n in networks]

    result = []
    for title, read in (("all", None), ("new to the encoder", UNSEEN)):
        row = {
            "embedding": name,
            "columns": str(max(len(rows[0]) for rows in observed.values())),
            "families read": title,
        }
        for target, of, probe in (
            ("maker, right", makers, probe_classes),
            ("meets, right", meetings, probe_classes),
            ("MACs share, R2", log_macs_shares, probe_numbers),
            ("depth, R2", depths, probe_numbers),
        ):
            given = subjects(structures, lambda n, of=of: of(n.graph))
            row[target] = str(probe(given, read=read))
        result.append(row)
        enough = len({network.family for network in measured}) >= 3
        for target, column, within in (
            ("sensitivity, R2", slice(None), False),
            ("sensitivity within, R2", slice(None), True),
        ):
            row[target] = "-"
            if enough and read is None:
                given = subjects(
                    measured,
                    lambda n, column=column: n.sensitivity.drops[:, column].mean(1),
                )
                row[target] = str(probe_numbers(given, within=within))
    return result


def log_macs_shares(graph: ModelGraph) -> np.ndarray:
    return np.log10(np.maximum(1e-4, macs_shares(graph)))


def targets(rows: Sequence[dict[str, str]], command: str) -> list[Target]:
    """Whether the learned embedding says more than the hand-written features."""
    found = {row["embedding"]: row for row in rows if row["families read"] == "all"}
    if not {"rules", "autoencoder"} <= set(found):
        return []
    result = []
    for column, text in found["autoencoder"].items():
        known = found["rules"][column]
        if "[" in text and "[" in known:
            ours, theirs = float(text.split()[0]), float(known.split()[0])
            result.append(
                Target(
                    f"{column}, autoencoder",
                    f"> {theirs:.2f} (rules)",
                    f"{ours:.2f}",
                    ours > theirs,
                    command,
                )
            )
    return result


if __name__ == "__main__":
    main()
