"""Measurement: what a network costs and how good it is on its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from agmc.cost.model import Cost, cost_of
from agmc.data import Splits
from agmc.export.deployed import without_rounding
from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Ref
from agmc.graph.trace import trace
from agmc.training import Execution, accuracy, batches_of, exact


@dataclass(frozen=True)
class Measurement:
    """What `agmc train` and `agmc evaluate` say of a network.

    Attributes:
        accuracy: on the splits `search` and `test`, shares in [0, 1].
        cost: of the network; its `bytes` are those of the file, where there is one.
    """

    accuracy: Mapping[str, float]
    cost: Cost

    def record(self) -> dict[str, Any]:
        """What stands in `result.json`."""
        return {
            "accuracy": dict(self.accuracy),
            "macs": self.cost.macs,
            "params": self.cost.params,
            "bytes": self.cost.bytes,
        }

    def __str__(self) -> str:
        shares = [f"{split} {share:.2%}" for split, share in self.accuracy.items()]
        return (
            f"accuracy: {', '.join(shares)}; {self.cost.macs:,} macs, "
            f"{self.cost.params:,} params, {self.cost.bytes:,} bytes"
        )


def measure(
    model: nn.Module,
    splits: Splits,
    *,
    num_bytes: int,
    execution: Execution,
    batch_size: int,
) -> Measurement:
    """Reads the search and the test split.

    Args:
        model: from images to logits; is left placed by `execution`. Of one that rounds,
            the parameters are weights and biases.
        splits: the data.
        num_bytes: of the network's file.
        execution: device and precision.
        batch_size: images per forward pass, >= 1.

    Raises:
        ValueError: as `graph_of`.
    """
    floats = without_rounding(model.cpu())
    cost = cost_of(graph_of(floats or model, splits))
    execution = execution if floats is None else exact(execution)
    execution.place(model)
    shares = {
        split: accuracy(
            model,
            batches_of(splits, split, execution=execution, batch_size=batch_size),
            execution=execution,
        )
        for split in ("search", "test")
    }
    return Measurement(shares, replace(cost, bytes=num_bytes))


def graph_of(model: nn.Module, splits: Splits) -> ModelGraph:
    """Traces the network, which is on the CPU, with images of the data.

    Raises:
        ValueError: the network does not take these images, or does not tell as many
            classes apart as they have.
    """
    graph = trace(model, splits.example_input())
    if not isinstance(graph.program.outputs, Ref):
        raise ValueError(
            f"the network returns a {type(graph.program.outputs).__name__}; wrap it in "
            "one that returns the logits alone"
        )
    outputs = [graph.tensors[name].shape for name in graph.program.output_names()]
    if outputs != [(1, splits.num_classes)]:
        raise ValueError(
            f"the network's outputs have the shapes {outputs}, the data "
            f"{splits.name!r} have {splits.num_classes} classes and need "
            f"[(1, {splits.num_classes})]"
        )
    return graph
