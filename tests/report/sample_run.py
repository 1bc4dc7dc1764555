"""A realistic run directory, made up: the digits job with forty episodes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GROUPS = [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in (0, 1, 2)]

#: As a run on the digits writes it.
RESULT: dict[str, Any] = {
    "settings": {
        "model": "resnet20",
        "data": "digits",
        "embedding": "autoencoder",
        "agent": "ddpg",
        "episodes": 40,
    },
    "baseline": {
        "accuracy": {"search": 0.9889, "test": 0.9861},
        "macs": 40_813_184,
        "params": 272_186,
        "bytes": 1_098_344,
        "latency_ms": 11.62,
        "latencies": {
            "batch 1, 1 thread": 11.62,
            "batch 64, 1 thread": 702.1,
            "batch 1, 2 threads": 7.35,
            "batch 64, 2 threads": 411.0,
        },
    },
    "pre_finetune": {
        "accuracy": {"search": 0.9333, "test": 0.9278},
        "accuracy_without_recalibration": {"search": 0.4111, "test": 0.4028},
        "macs": 20_341_092,
        "params": 121_530,
        "bytes": 494_720,
        "latency_ms": 6.9,
        "latencies": {
            "batch 1, 1 thread": 6.9,
            "batch 64, 1 thread": 398.4,
            "batch 1, 2 threads": 7.94,
            "batch 64, 2 threads": 233.5,
        },
    },
    "compressed": {
        "accuracy": {"search": 0.9833, "test": 0.9806},
        "macs": 20_341_092,
        "params": 121_530,
        "bytes": 494_720,
        "latency_ms": 6.9,
        "latencies": {
            "batch 1, 1 thread": 6.9,
            "batch 64, 1 thread": 398.4,
            "batch 1, 2 threads": 7.94,
            "batch 64, 2 threads": 233.5,
        },
    },
    "budget": {
        "metric": "macs",
        "limit": 20_406_592,
        "value": 20_341_092,
        "holds": True,
    },
    "seconds": {
        "data": 0.4,
        "train": 61.2,
        "trace": 1.1,
        "embedding": 21.8,
        "search": 38.9,
        "compress": 0.6,
        "finetune": 33.7,
        "export": 2.2,
    },
    "seed": 0,
    "versions": {"agmc": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
    "command": "agmc compress model=resnet20 data=digits budget=macs:0.5 seed=0",
}


def write_run(
    directory: Path,
    *,
    episodes: int = 40,
    rewards: Sequence[float | None] | None = None,
    **changes: Any,
) -> Path:
    """Writes `result.json`, `plan.json` and `episodes.jsonl`; returns the directory.

    Args:
        directory: is made.
        episodes: lines of `episodes.jsonl`.
        rewards: of the episodes, in the place of made-up ones; None for a probe.
        changes: keys of `result.json` with another value; None takes the key out.
    """
    directory.mkdir(parents=True, exist_ok=True)
    result = {k: v for k, v in {**RESULT, **changes}.items() if v is not None}
    (directory / "result.json").write_text(json.dumps(result))
    generator = random.Random(0)
    ratios = {name: generator.randint(4, 16) / 16 for name in GROUPS}
    (directory / "plan.json").write_text(json.dumps({"keep_ratio": ratios}))
    rows = [episode(index, generator) for index in range(episodes)]
    if rewards is not None:
        # A probe promises much: it keeps nearly everything.
        rows = [
            {**row, "reward": 9.0 if r is None else r, "probe": r is None}
            for row, r in zip(map(dict, rows), rewards, strict=False)
        ]
    lines = [json.dumps(row) for row in rows]
    text = "".join(line + "\n" for line in lines)
    (directory / "episodes.jsonl").write_text(text)
    return directory


def write_config(
    directory: Path, choices: Mapping[str, str], values: Mapping[str, Any]
) -> Path:
    """Writes `.hydra/` as Hydra does; returns the directory.

    Args:
        directory: of the run; is made.
        choices: group -> name of the file chosen.
        values: the configuration, nested as in YAML.
    """
    folder = directory / ".hydra"
    folder.mkdir(parents=True, exist_ok=True)
    node = {"hydra": {"runtime": {"choices": {**choices, "hydra/job_logging": "x"}}}}
    # JSON is YAML.
    (folder / "hydra.yaml").write_text(json.dumps(node))
    (folder / "config.yaml").write_text(json.dumps({"command": "compress", **values}))
    return directory


def episode(index: int, generator: random.Random) -> dict[str, Any]:
    """One line of `episodes.jsonl`; later episodes are better on average."""
    accuracy = 0.55 + 0.38 * min(1.0, index / 30) - 0.25 * generator.random() ** 2
    macs = 20_406_592 - generator.randint(0, 300_000)
    return {
        "episode": index,
        "plan": {"digest": f"{index:012x}", "keep_ratio": {}},
        "reward": accuracy,
        "accuracy": accuracy,
        "cost": {"macs": macs, "params": macs // 160, "bytes": macs // 40},
        "seconds": 0.9,
        "cached": False,
        "run": "c0ffee",
    }
