"""Bits searched on a network whose channels were: agents, uniform bits, HAQ's scheme.

    python experiments/two_stage/run.py --data FOLDER --weights FOLDER --results FOLDER

The plan of `critic` for half of the MACs (experiments/search_comparison, seed 0) is
carried out and trained for 200 steps. On the network that is left, bits of weights are
searched under the bytes that 4, 3 and 2.5 bits everywhere take (2.5: 2 and 3 in turns);
inputs have 8 bits, the first and the last layer 8. *Jointly*: one search of the
original network for channels and bits, under both limits, the tighter one on bytes,
with the evaluations of both stages. What is measured is kept in the results folder, so
a second call goes on. Writes results.csv, runs.jsonl (every measurement), targets.json
and the table in README.md.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import agmc
from agmc.agents import DDPG
from agmc.compression.held import Held
from agmc.compression.importance import l1
from agmc.compression.quantize import Quantization, graph_network
from agmc.compression.whole_biases import round_biases
from agmc.cost.model import CostModel
from agmc.graph.weighted import weighted_layers
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.evaluator import Evaluator
from agmc.search.repair import pruner_of, reconstruction_of
from agmc.training import Distillation, accuracy, batches_of, distil
from agmc.whole_file import write_whole
from experiments.parts import is_partial
from experiments.searches import EPISODES as CHANNEL_EPISODES
from experiments.searches import (
    EVALUATOR,
    EXECUTION,
    Case,
    Place,
    Prepared,
    best_of,
    curve_of,
    median,
    percent,
    places,
)

HERE = Path(__file__).parent
EPISODES = 60
#: Name of a row -> agent, embedding and how actions become bits.
SEARCHES: dict[str, tuple[Any, str, str]] = {
    "random": ("random", "onehot", "share"),
    "tpe": ("tpe", "onehot", "share"),
    "ddpg, HAQ's state and mapping": (
        functools.partial(DDPG, warmup_share=0.3),
        "haq",
        "haq",
    ),
    "critic, rules": ("critic", "rules", "share"),
    "critic, autoencoder": ("critic", "autoencoder", "share"),
}
UNIFORM = (4.0, 3.0, 2.5)
JOINT = "critic, rules, jointly"
JOINT_BITS = 3
#: Half an hour of a core each.
JOINT_SEEDS = (0,)
IMAGES = 12_800
RECIPE = Distillation(epochs=1, learning_rate=0.02, batch_size=64)
ROUNDED_RECIPE = dataclasses.replace(RECIPE, learning_rate=0.01, max_gradient_norm=1.0)
COMMAND = "python experiments/two_stage/run.py --data F --weights F --results F"


def folder_of(place: Place) -> Path:
    """For what is measured here; the runs of other experiments are outside of it."""
    folder = place.results / "bits"
    folder.mkdir(exist_ok=True)
    return folder


@dataclass(frozen=True, eq=False)
class Small:
    """A network at half of its MACs, trained again, and its bits."""

    network: Prepared
    module: nn.Module
    graph: agmc.ModelGraph
    costs: CostModel

    @classmethod
    def of(cls, place: Place, name: str) -> Small:
        """Made, or read where it was made before."""
        network = place.prepared(name)
        file = folder_of(place) / f"{name}_half.safetensors"
        if not file.exists():
            case = Case(name, "macs:0.5", "critic", 0)
            place.run(case)
            (run,) = (run for run in place.records() if run["name"] == case.name)
            agmc.save(trained(network, Plan(run["keep_ratio"])), file)
        module = agmc.load(file).eval()
        graph = agmc.trace(module, network.splits.example_input())
        return cls(network, module, graph, CostModel(graph))

    def uniform(self, bits: float) -> Plan:
        """The same bits everywhere but at the ends; a half: one more in every other."""
        layers = weighted_layers(self.graph.program)
        first, *inner, last = layers
        said = {first: 8, last: 8}
        for i, name in enumerate(inner):
            said[name] = math.floor((i + 1) * bits) - math.floor(i * bits)
        return Plan({}, weight_bits=said, act_bits=dict.fromkeys(layers, 8))

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """That of the searches."""
        splits = self.network.splits
        pruner = pruner_of(self.module, self.graph, splits, l1, EXECUTION)
        return Evaluator(pruner, self.costs, splits, EXECUTION, **EVALUATOR)

    def trained(self, plan: Plan) -> float:
        """Accuracy on the whole search split after 200 steps with the rounding."""
        return with_bits(self.network, self.module, plan)


def with_bits(network: Prepared, module: nn.Module, plan: Plan) -> float:
    """Accuracy of a network that rounds, after 200 steps, on the whole search split."""
    splits = network.splits
    some = batches_of(splits, "train", execution=EXECUTION, limit=500, batch_size=100)
    rounded = Quantization().apply(
        graph_network(module), plan, (images for images, _ in some)
    )
    held = Held(rounded, ())
    teach(network, rounded, ROUNDED_RECIPE, after_step=held)
    round_biases(rounded)
    return on_search(network, rounded)


def trained(network: Prepared, plan: Plan) -> nn.Module:
    """The pruned network after 200 steps of distillation."""
    pruner = pruner_of(network.model, network.graph, network.splits, l1, EXECUTION)
    small = pruner.prune(plan)
    repair = reconstruction_of(
        *(network.model, network.graph, network.splits, EXECUTION),
        images=EVALUATOR["reconstruction_images"],
        batch_size=EVALUATOR["batch_size"],
    )
    assert repair is not None
    repair.apply(small, pruner.kept_positions(plan))
    teach(network, small, RECIPE)
    return small


def teach(
    network: Prepared, small: nn.Module, recipe: Distillation, **options: Any
) -> None:
    """Distillation from the original on the first images of the training split."""
    train = network.splits.train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    splits = dataclasses.replace(network.splits, train=train.select(order[:IMAGES]))
    distil(
        *(small, network.model, splits, recipe),
        execution=EXECUTION,
        seed=0,
        **options,
    )


def on_search(network: Prepared, module: nn.Module) -> float:
    """Accuracy on all images of the search split."""
    batches = batches_of(network.splits, "search", execution=EXECUTION, batch_size=100)
    return accuracy(module, batches, execution=EXECUTION)


def kept(file: Path, make: Any) -> dict[str, Any]:
    """What a file says; it is made where it is missing."""
    if not file.exists():
        started = time.process_time()
        record = make()
        record["cpu_seconds"] = time.process_time() - started
        write_whole(file, json.dumps(record) + "\n")
    found: dict[str, Any] = json.loads(file.read_text())
    print(file.stem, {k: v for k, v in found.items() if k != "curve"}, flush=True)
    return found


def searched(
    small: Small, place: Place, name: str, row: str, bits: float, seed: int
) -> dict[str, Any]:
    """One search of bits."""
    agent, embedding, mapping = SEARCHES[row]
    stem = f"{name}_bits{bits:g}_{key_of(row)}_{seed}"

    def make() -> dict[str, Any]:
        limit = small.costs.of(small.uniform(bits)).bytes
        found = agmc.find_plan(
            small.module,
            small.network.splits,
            f"bytes:{limit}",
            agent=agent,
            embedding=embedding,
            evaluator=functools.partial(Evaluator, **EVALUATOR),
            space=PlanSpace(small.graph, parts=("weight_bits",), mapping=mapping),
            episodes=EPISODES,
            seed=seed,
            execution=EXECUTION,
            directory=folder_of(place) / stem,
        )
        return record_of(found, seed)

    return kept(folder_of(place) / f"{stem}.json", make)


def searched_jointly(
    small: Small, place: Place, name: str, bits: float, seed: int
) -> dict[str, Any]:
    """One search of channels and bits, and what its plan is worth after both trainings.

    Channels are trained for 200 steps and then, with the bits, for 200 more.
    """
    network = small.network
    stem = f"{name}_bits{bits:g}_{key_of(JOINT)}_{seed}"

    def make() -> dict[str, Any]:
        limit = small.costs.of(small.uniform(bits)).bytes
        found = agmc.find_plan(
            network.model,
            network.splits,
            ["macs:0.5", f"bytes:{limit}"],
            agent="critic",
            embedding="rules",
            evaluator=functools.partial(Evaluator, **EVALUATOR),
            space=PlanSpace(network.graph, parts=("keep_ratio", "weight_bits")),
            episodes=CHANNEL_EPISODES + EPISODES,
            seed=seed,
            execution=EXECUTION,
            directory=folder_of(place) / stem,
        )
        module = trained(network, Plan(found.plan.keep_ratio))
        after = with_bits(
            network, module, dataclasses.replace(found.plan, keep_ratio={})
        )
        return {**record_of(found, seed), "trained": after}

    return kept(folder_of(place) / f"{stem}.json", make)


def record_of(found: agmc.Found, seed: int) -> dict[str, Any]:
    """What is kept of a search."""
    seconds = [r.seconds for r in found.episodes if not r.cached]
    return {
        "curve": curve_of(found),
        "seed": seed,
        "weight_bits": dict(found.plan.weight_bits),
        "act_bits": dict(found.plan.act_bits),
        "bytes": found.cost.bytes,
        "seconds_per_evaluation": statistics.median(seconds),
    }


def main() -> None:
    """Searches what is missing and writes the table."""
    parser = places(__doc__)
    parser.add_argument("--networks", nargs="+", default=["resnet56"])
    parser.add_argument("--seeds", nargs="*", type=int, default=range(5))
    parser.add_argument("--bits", nargs="+", type=float, default=UNIFORM)
    options = parser.parse_args()
    place = Place.of(options)
    rows: list[dict[str, str]] = []
    targets: list[Target] = []
    for name in options.networks:
        small = Small.of(place, name)
        floats = small.evaluator(Plan({})).accuracy
        after = on_search(small.network, small.module)
        rows.append(row_of(name, "float32", small, Plan({}), [floats], after))
        rows.append(uniform_row(small, place, name, 8)[0])
        for bits in options.bits:
            found, target = searches_of(small, place, name, bits, options.seeds)
            rows += found
            targets.append(target)
    if is_partial(parser, options, "networks", "seeds", "bits"):
        return
    note = (
        f"{len(options.seeds)} seeds, {EPISODES} evaluations on 500 images of the "
        f"search split; torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, targets, note)
    write_whole(HERE / "runs.jsonl", "".join(raw_lines(folder_of(place))))


def raw_lines(folder: Path) -> list[str]:
    """A line for every file: what was found, without the 8 bits of all inputs."""
    lines = []
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text())
        record.pop("act_bits", None)
        lines.append(json.dumps({"name": file.stem, **record}) + "\n")
    return lines


def searches_of(
    small: Small, place: Place, name: str, bits: float, seeds: Sequence[int]
) -> tuple[list[dict[str, str]], Target]:
    """All rows with the bytes of the same bits everywhere."""
    row, share = uniform_row(small, place, name, bits)
    rows, means = [row], {f"{bits:g} bits": share}
    for title in SEARCHES:
        runs = [searched(small, place, name, title, bits, seed) for seed in seeds]
        middle = median(runs)
        plan = Plan({}, weight_bits=middle["weight_bits"], act_bits=middle["act_bits"])
        after = kept(
            folder_of(place) / f"{name}_trained{bits:g}_{key_of(title)}.json",
            functools.partial(trained_record, small, plan),
        )
        shares = [best_of(run, EPISODES) for run in runs]
        means[title] = statistics.mean(shares)
        said = f"{title}, as {bits:g} bits"
        rows.append(row_of(name, said, small, plan, shares, after["trained"]))
    if bits == JOINT_BITS:
        rows.append(joint_row(small, place, name, bits))
    ours = max(v for k, v in means.items() if k.startswith("critic"))
    others = {k: v for k, v in means.items() if not k.startswith("critic")}
    best = max(others, key=lambda k: others[k])
    gained = 100 * (ours - others[best])
    return rows, Target(
        f"{name}, bytes of {bits:g} bits: points of critic over the best other "
        f"({best})",
        *("> 0", f"{gained:+.2f}", gained > 0, COMMAND),
    )


def joint_row(small: Small, place: Place, name: str, bits: float) -> dict[str, str]:
    """Channels and bits in one search, with the bytes of the same bits everywhere."""
    runs = [searched_jointly(small, place, name, bits, seed) for seed in JOINT_SEEDS]
    shares = [best_of(run, CHANNEL_EPISODES + EPISODES) for run in runs]
    middle = median(runs)
    said = f"{JOINT}, as {bits:g} bits"
    row = row_of(name, said, small, Plan({}), shares, middle["trained"])
    return {**row, "kB": f"{middle['bytes'] / 1000:.1f}"}


def uniform_row(
    small: Small, place: Place, name: str, bits: float
) -> tuple[dict[str, str], float]:
    """The same bits everywhere, and their accuracy on 500 images."""
    plan = small.uniform(bits)

    def make() -> dict[str, Any]:
        share = small.evaluator(plan).accuracy
        return {"accuracy": share, **trained_record(small, plan)}

    record = kept(folder_of(place) / f"{name}_uniform{bits:g}.json", make)
    share, after = record["accuracy"], record["trained"]
    return row_of(name, f"{bits:g} bits", small, plan, [share], after), share


def trained_record(small: Small, plan: Plan) -> dict[str, Any]:
    return {"trained": small.trained(plan)}


def key_of(title: str) -> str:
    """Of a row, for names of files."""
    return title.replace(",", "").replace("'", "").replace(" ", "_")


def row_of(
    network: str,
    what: str,
    small: Small,
    plan: Plan,
    shares: list[float],
    after: float,
) -> dict[str, str]:
    """A line of the table."""
    return {
        "network": network,
        "bits": what,
        "kB": f"{small.costs.of(plan).bytes / 1000:.1f}",
        "500 images": percent(shares),
        "5,000, median, trained": percent([after]),
    }


if __name__ == "__main__":
    main()
