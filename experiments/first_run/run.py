"""First run: uniform, random and DDPG on the CIFAR ResNets under half of the MACs.

    python experiments/first_run/run.py --data FOLDER --weights FOLDER --runs FOLDER

FOLDER of --data holds train/CLASS/* and test/CLASS/*; that of --weights holds
resnet20_cifar10jpeg.safetensors and resnet56_cifar10jpeg.safetensors. Every run is one
`agmc` command; a run that is finished is skipped, one that was cut off goes on. Writes
results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from agmc.report.experiment import Target, write_experiment
from experiments.commands import agmc, versions
from experiments.parts import is_partial

HERE = Path(__file__).parent
METHODS = {
    "uniform": ("agent=uniform", "embedding=rules"),
    "random": ("agent=random", "embedding=rules"),
    "DDPG, rules": ("agent=ddpg", "embedding=rules"),
    "DDPG, auto-encoder": ("agent=ddpg", "embedding=autoencoder"),
}
EPISODES = 60
SEARCH_IMAGES = 1000
EPOCHS = {"resnet20": 1, "resnet56": 1}
SEED = 0


def overrides(model: str, method: str, data: Path, weights: Path) -> list[str]:
    """The whole difference of one run from the defaults."""
    return [
        f"model={model}",
        f"model.weights={weights / f'{model}_cifar10jpeg.safetensors'}",
        "data=imagefolder",
        f"data.root={data}",
        *METHODS[method],
        "compression=channels",
        "compression.round_to=1",
        "search.evaluator.reconstruction_images=0",
        f"search.episodes={EPISODES}",
        f"search.evaluator.search_images={SEARCH_IMAGES}",
        f"finetune.epochs={EPOCHS[model]}",
        "finetune.learning_rate=0.02",
        f"seed={SEED}",
    ]


def row_of(model: str, method: str, result: dict) -> dict[str, str]:
    """One line of the table."""
    before, after = result["pre_finetune"], result["compressed"]
    base = result["baseline"]
    return {
        "network": model,
        "method": method,
        "MACs kept": f"{after['macs'] / base['macs']:.4f}",
        "parameters kept": f"{after['params'] / base['params']:.4f}",
        "evaluations": str(result["search"]["evaluations"]),
        "reward": f"{result['search']['reward']:.4f}",
        "search before": f"{before['accuracy']['search']:.4f}",
        "test before": f"{before['accuracy']['test']:.4f}",
        "test before, no recalibration": (
            f"{before['accuracy_without_recalibration']['test']:.4f}"
        ),
        "test after": f"{after['accuracy']['test']:.4f}",
        "test baseline": f"{base['accuracy']['test']:.4f}",
        "change": f"{after['accuracy']['test'] - base['accuracy']['test']:+.4f}",
        "latency ratio": f"{after['latency_ms'] / base['latency_ms']:.2f}",
        "bytes kept": f"{after['bytes'] / base['bytes']:.4f}",
    }


def main() -> None:
    """Runs what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=list(EPOCHS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    arguments = parser.parse_args()
    data, weights = arguments.data.resolve(), arguments.weights.resolve()
    rows, results = [], []
    for model in arguments.networks:
        for method in arguments.methods:
            name = f"{model}-{method}".replace(", ", "-").replace(" ", "-")
            out = arguments.runs.resolve() / name
            words = overrides(model, method, data, weights)
            results.append(agmc(out, "compress", *words))
            rows.append(row_of(model, method, results[-1]))
    if not is_partial(parser, arguments, "networks", "methods"):
        write(rows, versions(results))


def write(rows: list[dict[str, str]], note: str) -> None:
    """The result files, with the better of both DDPG rows against the baselines."""
    command = "python experiments/first_run/run.py --data FOLDER --weights FOLDER"
    targets = []
    for model in EPOCHS:
        by_method = {r["method"]: r for r in rows if r["network"] == model}
        if len(by_method) < len(METHODS):
            continue
        for column, when in (("reward", "before"), ("test after", "after")):
            best = {m: float(row[column]) for m, row in by_method.items()}
            ours = max(value for m, value in best.items() if m.startswith("DDPG"))
            theirs = max(best["uniform"], best["random"])
            name = f"{model}: best DDPG, {column} ({when} fine-tuning)"
            targets.append(
                Target(name, f"> {theirs:.4f}", f"{ours:.4f}", ours > theirs, command)
            )
    kept = max(float(row["MACs kept"]) for row in rows)
    targets.append(
        Target("MACs kept, worst", "<= 0.5", f"{kept:.4f}", kept <= 0.5, command)
    )
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
