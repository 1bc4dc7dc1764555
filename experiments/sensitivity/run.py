"""What single channel groups cost: networks of several families, on CIFAR-10.

    python experiments/sensitivity/run.py --data FOLDER --weights FOLDER \
        --results FOLDER

Trains the networks that have no weights, measures every channel group alone and keeps
weights and measurements in the results folder, so a second call goes on. Writes
the measurements to measured/, results.csv, targets.json and the table in README.md
beside this file. Both folders are for `agmc.search.measured.measured_networks`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from agmc.compression.prune import Pruner
from agmc.cost.model import CostModel
from agmc.data import Splits
from agmc.data.imagefolder import load_imagefolder
from agmc.graph.trace import trace
from agmc.models import build, load_weights, save_weights
from agmc.report.experiment import Target, write_experiment
from agmc.search.evaluator import Evaluator
from agmc.search.measured import NETWORKS as DESCRIPTION
from agmc.search.sensitivity import Sensitivity, measure_sensitivity
from agmc.training import Execution, Recipe, fit
from agmc.whole_file import write_whole

HERE = Path(__file__).parent
MEASURED = HERE / "measured"
NARROW = {"widths": (16, 32, 64, 128, 128)}
IMAGES = {
    "search_images": 1000,
    "reconstruction_images": 300,
    "recalibration_images": 300,
}


class Network(NamedTuple):
    """A network to measure: how it is built, and trained where no weights are given."""

    name: str
    family: str
    build: str
    arguments: Mapping[str, Any]
    epochs: int


#: In the order of measurement: a run that is cut short has seen several families.
NETWORKS = (
    Network("resnet20", "resnet", "resnet20", {}, 3),
    Network("vgg11_narrow", "vgg", "vgg11_bn_cifar", NARROW, 5),
    Network("resnet8", "resnet", "resnet8", {}, 4),
    Network("plain20", "plain", "plain20", {}, 3),
    Network("mobilenet_narrow", "mobilenet", "mobilenet_v2_cifar", {"width": 0.25}, 2),
    Network("densenet_narrow", "densenet", "densenet22_cifar", {"growth": 8}, 2),
    Network("shufflenet", "shufflenet", "shufflenet_v2_cifar", {}, 2),
    Network("resnet56", "resnet", "resnet56", {}, 2),
)


def main() -> None:
    """Trains and measures what is missing and writes the table of what is there."""
    names = [network.name for network in NETWORKS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, help="NETWORK_*.safetensors")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--networks", nargs="*", default=names, choices=names)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    splits = load_imagefolder(root=options.data)
    for network in NETWORKS:
        if network.name in options.networks:
            measure(network, splits, options)
    write(options.results)


def measure(network: Network, splits: Splits, options: argparse.Namespace) -> None:
    """Trains and measures one network, as far as that is not done."""
    execution = Execution(device="cpu", precision="float32")
    record_file = options.results / f"{network.name}_record.json"
    record = json.loads(record_file.read_text()) if record_file.exists() else {}
    if record.get("measured"):
        return

    def took(part: str, started: float) -> None:
        record[part] = record.get(part, 0.0) + time.process_time() - started
        write_whole(record_file, json.dumps(record) + "\n")

    started = time.process_time()
    model = trained(network, splits, execution, options, record)
    took("training_seconds", started)
    graph = trace(model, splits.example_input())
    started = time.process_time()
    evaluator = Evaluator(
        Pruner(model, graph), CostModel(graph), splits, execution, **IMAGES
    )

    def on_group(group: str, done: int, groups: int) -> None:
        nonlocal started
        took("measuring_seconds", started)
        started = time.process_time()
        print(f"{network.name}: {group}, {done} of {groups}", flush=True)

    path = options.results / f"{network.name}.json"
    measure_sensitivity(graph, evaluator, path=path, on_group=on_group)
    record["measured"] = True
    took("measuring_seconds", started)


def trained(
    network: Network,
    splits: Splits,
    execution: Execution,
    options: argparse.Namespace,
    record: dict[str, Any],
) -> nn.Module:
    """The network with the weights that were given, or that a training has left."""
    torch.manual_seed(0)
    model = build(network.build, num_classes=len(splits.classes), **network.arguments)
    given = []
    if options.weights is not None:
        given = sorted(options.weights.glob(f"{network.name}_*.safetensors"))
    own = options.results / f"{network.name}.safetensors"
    record["weights"] = "given" if given else f"{network.epochs} epochs"
    if given:
        load_weights(model, given[0])
        save_weights(model, own)  # the folder is to tell all of a network
    elif own.exists():
        load_weights(model, own)
    else:
        recipe = Recipe(epochs=network.epochs, learning_rate=0.1, batch_size=64)
        fit(
            *(model, splits, recipe),
            execution=execution,
            seed=0,
            on_epoch=lambda epoch: print(
                f"{network.name}: epoch {epoch.epoch} of {epoch.epochs}, "
                f"{epoch.accuracy:.3f} right, {epoch.seconds:.0f} s",
                flush=True,
            ),
        )
        save_weights(model, own)
    return model.eval()


def write(results: Path) -> None:
    """The table of all networks that are measured, and copies of the measurements."""
    rows, minutes, built = [], 0.0, {}
    MEASURED.mkdir(exist_ok=True)
    for network in NETWORKS:
        record_file = results / f"{network.name}_record.json"
        record = json.loads(record_file.read_text()) if record_file.exists() else {}
        if not record.get("measured"):
            continue
        found = Sensitivity.load(results / f"{network.name}.json")
        found.save(MEASURED / f"{network.name}.json")
        built[network.name] = {
            "family": network.family,
            "build": network.build,
            "arguments": network.arguments,
            "image_size": 32,
        }
        drops = 100 * found.drops
        worst = int(drops.mean(axis=1).argmax())
        training, measuring = record["training_seconds"], record["measuring_seconds"]
        minutes += (training + measuring) / 60
        rows.append(
            {
                "network": network.name,
                "family": network.family,
                "weights": record["weights"],
                "groups": str(len(found.groups)),
                "search %": f"{100 * found.baseline:.1f}",
                **{
                    f"points lost at {ratio:g}, median [5 %, 95 %]": spread(column)
                    for ratio, column in zip(found.ratios, drops.T, strict=True)
                },
                "most sensitive": found.groups[worst],
                "CPU s of training": f"{training:.0f}",
                "CPU s of measuring": f"{measuring:.0f}",
            }
        )
    if not rows:
        return
    for folder in (MEASURED, results):
        write_whole(folder / DESCRIPTION, json.dumps(built, indent=1) + "\n")
    command = (
        "python experiments/sensitivity/run.py --data FOLDER --weights FOLDER "
        "--results FOLDER"
    )
    families = len({row["family"] for row in rows})
    targets = [
        Target("families measured", ">= 5", str(families), families >= 5, command),
        Target(
            "CPU minutes of all trainings and measurements",
            "<= 60",
            f"{minutes:.0f}",
            minutes <= 60,
            command,
        ),
    ]
    note = (
        f"torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}; {IMAGES['search_images']} search "
        f"images, {IMAGES['reconstruction_images']} training images for least squares, "
        f"{IMAGES['recalibration_images']} for batch norm."
    )
    write_experiment(HERE, rows, targets, note)


def spread(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
