"""The end of the line, from a compressed network to the files of a run directory."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from agmc.carry_out import Carried, CarryOut
from agmc.data import Splits
from agmc.export.checkpoint import load, save, to_bytes
from agmc.export.latencies import ONE, onnx_latencies
from agmc.export.onnx import save_onnx
from agmc.graph.agreement import TOLERANCE, relative_difference
from agmc.plan import Plan
from agmc.report.page import write_report
from agmc.report.progress import Progress
from agmc.search.bound import BoundBudget
from agmc.search.verdict import broken, verdict
from agmc.training import Execution, accuracy
from agmc.whole_file import write_whole

#: The names of more classes would make a small file large.
_MOST_CLASS_NAMES = 100


@dataclass(frozen=True)
class Pipeline:
    """What happens after the plan is found, and the record of the whole.

    Attributes:
        carry_out: has made the small network.
        entropy: packs the checkpoint, and the original that its size is compared with;
            see `agmc.save`.
        int4: whether the ONNX file has weights of at most 4 bits in 4, see `save_onnx`.
    """

    carry_out: CarryOut
    entropy: str | None = None
    int4: bool = False

    def run(
        self,
        model: nn.Module,
        splits: Splits,
        carried: Carried,
        budgets: Sequence[BoundBudget],
        directory: Path,
        progress: Progress,
        *,
        record: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Exports, evaluates and writes the files of a run.

        Args:
            model: the trained network.
            splits: the data; `test` is read once, at the end.
            carried: what the plan has made of the network.
            budgets: of the searches, one after the other; the first is of the network.
            directory: of the run.
            progress: told about every stage.
            record: what else stands in the result: `settings` (model, data, ...),
                `search`, `seed`, `command`.

        Returns:
            the content of `result.json`.

        Raises:
            ValueError: the compressed network breaks a budget, or a saved file
                differs from the network.
        """
        example = splits.example_input()
        carried.plan.save(directory / "plan.json")
        small = carried.network

        progress.stage("export")
        info = info_of(splits, record)
        packed = directory / "compressed.safetensors"
        num_bytes = save(small, packed, info=info, entropy=self.entropy)
        # As files are loaded: sums in another order would fall to the other side of a
        # rounding here and there.
        small, model = _as_loaded(small), _as_loaded(model)
        final = load(packed)
        _must_agree(small, final, example)
        execution = self.carry_out.execution
        original_bytes = len(
            to_bytes(model, example_input=example, entropy=self.entropy)
        )
        save_onnx(final, directory / "compressed.onnx", example, int4=self.int4)
        with TemporaryDirectory(dir=directory, prefix=".baseline-") as folder:
            original = Path(folder) / "original.onnx"
            save_onnx(model, original, example)
            files = [(model, original), (final, directory / "compressed.onnx")]
            if carried.plan.rounds:  # the network of floats takes another time
                files.append((carried.floats.cpu(), Path(folder) / "floats.onnx"))
                save_onnx(*files[-1], example)
            slow, fast, *between = onnx_latencies(files, (example,))

        # From here on nothing is chosen any more, so the test split may be read.
        progress.stage("evaluate")
        search, test = (self.carry_out.batches(splits, s) for s in ("search", "test"))

        def shares(module: nn.Module, by: Execution) -> dict[str, float]:
            by.place(module)
            return {
                "search": accuracy(module, search, execution=by),
                "test": accuracy(module, test, execution=by),
            }

        compressed = shares(final, carried.execution)
        baseline = shares(model, execution)
        before = {}
        for stage, state in carried.states.items():
            carried.floats.load_state_dict(state)
            before[stage] = shares(carried.floats, execution)

        floats = replace(carried.plan, weight_bits={}, act_bits={})
        float_bytes = len(to_bytes(carried.floats, info=info, entropy=self.entropy))
        whole = _sizes(budgets, None, original_bytes)
        sizes = _sizes(budgets, carried.plan, num_bytes)
        result: dict[str, Any] = {
            "baseline": {
                "accuracy": baseline,
                **whole,
                **_latencies(slow),
            },
            "pre_finetune": {
                "accuracy": before["pruned"],
                "accuracy_without_recalibration": before["raw"],
                **_sizes(budgets, floats, float_bytes),
                **_latencies(between[0] if between else fast),
            },
            "compressed": {
                "accuracy": compressed,
                **sizes,
                **_latencies(fast),
            },
            "budget": verdict(
                budgets, sizes, num_bytes=num_bytes, accuracy=compressed["search"]
            ),
            "seconds": {k: round(v, 3) for k, v in progress.seconds.items()},
            "versions": versions(),
            **record,
        }
        # Who finds the result takes the run for finished: it comes last.
        write_report(directory, result)
        write_json(directory / "result.json", result)
        if wrong := broken(result["budget"]):
            raise ValueError(f"{wrong}; see {directory / 'result.json'}")
        return result


def info_of(splits: Splits, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the files of a run say besides the network; known before the search.

    Args:
        splits: with the names of the classes and the statistics of the images.
        record: of the run, with its `settings`.
    """
    return {
        "classes": list(splits.classes[:_MOST_CLASS_NAMES]),
        "mean": list(splits.mean),
        "std": list(splits.std),
        **record.get("settings", {}),
    }


def versions() -> dict[str, str]:
    """Of what decides the numbers of a run."""
    packages = ("agmc", "torch", "torchvision", "torch-geometric", "onnxruntime")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {
        "python": platform.python_version(),
        **found,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file whole or not at all."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def _sizes(
    budgets: Sequence[BoundBudget], plan: Plan | None, num_bytes: int
) -> dict[str, int | float]:
    """What stands in every record, and the metrics that a budget is on."""
    cost = budgets[0].cost_model.of(plan).known()
    asked = (metric for bound in budgets for metric in bound.budgets.metrics)
    metrics = dict.fromkeys(("macs", "params", "bytes", *asked))
    return {**{metric: cost[metric] for metric in metrics}, "bytes": num_bytes}


def _latencies(by_cell: Mapping[str, float | None]) -> dict[str, Any]:
    """What stands in every record: one input on one thread, and all that was timed."""
    return {"latency_ms": by_cell[ONE], "latencies": by_cell}


def _as_loaded(module: nn.Module) -> nn.Module:
    """On the CPU, in the layout that tensors have when they are read."""
    # torch's stubs lack this form of the call.
    module.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return module


def _must_agree(module: nn.Module, loaded: nn.Module, example: torch.Tensor) -> None:
    with torch.no_grad():
        difference = relative_difference(loaded(example), module(example))
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the saved network differs from the one in memory by {difference:.1e} of "
            f"the largest output, more than {TOLERANCE:.0e}"
        )
