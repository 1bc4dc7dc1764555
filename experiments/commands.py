"""Experiments that are `agmc` commands, one after the other, as users give them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf

Key = TypeVar("Key")


def agmc(out: Path, command: str, *overrides: str) -> dict[str, Any]:
    """What a command leaves behind; it is run where it is not there yet.

    A run that was cut off in its search or in the training after it goes on.

    Args:
        out: the run directory.
        command: compress, train, ...
        overrides: of its configuration, without `out` and `cache`.

    Raises:
        ValueError: the directory has a run of another configuration.
    """
    made_with = out / ".hydra" / "overrides.yaml"
    if made_with.exists():
        words = OmegaConf.load(made_with)
        known = {w for w in words if not w.startswith(("out=", "cache="))}
        asked = {f"command={command}", *overrides}
        if known != asked:
            raise ValueError(
                f"{out} was made with {shlex.join(sorted(known - asked)) or 'less'} "
                f"instead of {shlex.join(sorted(asked - known)) or 'less'}; remove it, "
                "or name another folder"
            )
    if not (out / "result.json").exists():
        words = [command, *overrides, f"out={out}", "cache=null"]
        subprocess.run([sys.executable, "-m", "agmc", *words], check=True)
    return read(out)


def read(out: Path) -> dict[str, Any]:
    """What a finished command has left behind."""
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    return found


def finished(outs: Mapping[Key, Path]) -> dict[Key, dict[str, Any]]:
    """What those commands have left behind that are finished."""
    there = {key: out for key, out in outs.items() if (out / "result.json").exists()}
    return {key: read(out) for key, out in there.items()}


def row_of(method: str, seed: int, result: Mapping[str, Any]) -> dict[str, str]:
    """A line of the table: a network before and after."""
    before, after = result["baseline"], result["compressed"]
    return {
        "method": method,
        "seed": str(seed),
        "parameters kept": f"{after['params'] / before['params']:.3f}",
        "MACs kept": f"{after['macs'] / before['macs']:.3f}",
        "kB before": f"{before['bytes'] / 1000:.0f}",
        "kB after": f"{after['bytes'] / 1000:.0f}",
        "times smaller": f"{before['bytes'] / after['bytes']:.1f}",
        "search before": percent(before, "search"),
        "search after": percent(after, "search"),
        "test before": percent(before, "test"),
        "test after": percent(after, "test"),
        "latency ratio": f"{after['latency_ms'] / before['latency_ms']:.2f}",
    }


def percent(measured: Mapping[str, Any], split: str) -> str:
    """An accuracy."""
    return f"{100 * measured['accuracy'][split]:.2f}"


def points_lost(result: Mapping[str, Any], split: str = "test") -> float:
    """Points of accuracy between a network before and after."""
    before, after = result["baseline"], result["compressed"]
    return 100 * float(before["accuracy"][split] - after["accuracy"][split])


def times_smaller(result: Mapping[str, Any]) -> float:
    """How many times the file got smaller."""
    return float(result["baseline"]["bytes"] / result["compressed"]["bytes"])


def versions(results: Sequence[Mapping[str, Any]]) -> str:
    """A note for under the table."""
    said = ", ".join(f"{k} {v}" for k, v in results[0]["versions"].items())
    return f"Versions: {said}."
