"""Stopwatch: milliseconds of a network and of its operators, on this machine."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agmc.compression.prune import Pruner
from agmc.cost.units import Unit, Units
from agmc.export.onnx import onnx_session
from agmc.export.resized import ResizedOnnx
from agmc.export.turns import WARM_UP, in_turns, quiet_median
from agmc.graph.model_graph import ModelGraph, TensorSpec
from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation, Program
from agmc.plan import Plan

_LOG = logging.getLogger(__name__)
#: Operators of ONNX Runtime that multiply weights: each begins a unit.
_HEADS = re.compile(r"Conv|Gemm|MatMul|Einsum|Attention")


@dataclass(frozen=True, eq=False)
class Measured:
    """Milliseconds of one network under one plan.

    Attributes:
        units: float64 [2, num_units], in the order of `RUNTIMES`; they sum up to the
            whole network.
        totals: float64 [2]: of the whole network, run without any profiling.
    """

    units: np.ndarray
    totals: np.ndarray


class Stopwatch:
    """Measures networks under plans: one input, one thread, in both runtimes.

    All of it takes turns, call by call: the whole network and the profiled one, in ONNX
    Runtime and in torch. The time is the processor's, which on one thread is what a
    machine with nothing else to do needs. The calls are cut into five stretches of
    time; of each stands the median, and the lowest median counts. The units are scaled
    to sum up to the whole, which spreads the time between two operators over them.

    Args:
        model: on the CPU.
        graph: its graph.
        seconds: of one measurement, about.
    """

    def __init__(
        self, model: nn.Module, graph: ModelGraph, *, seconds: float = 5.0
    ) -> None:
        self._graph, self._seconds = graph, seconds
        self._pruner = Pruner(model, graph)
        self._units = Units(graph)
        generator = torch.Generator().manual_seed(0)
        self._inputs = tuple(
            _example(graph.tensors[name], generator) for name in graph.program.inputs
        )
        self._onnx = ResizedOnnx(model, graph, self._inputs)

    def measure(self, counts: np.ndarray) -> Measured:
        """Of the plan that keeps `counts` channels, int [num_groups]."""
        plan = Plan(
            {
                group.name: int(count) / group.size
                for group, count in zip(self._graph.groups, counts, strict=True)
            }
        )
        network = self._pruner.prune(plan)
        timed = _TimedNetwork(network.program, network.state_dict(keep_vars=True))
        timed.eval()
        with tempfile.TemporaryDirectory(prefix="agmc-profile-") as folder:
            content = self._onnx.under(network)
            plain = onnx_session(content)
            profiled = onnx_session(content, profile=Path(folder) / "profile")
            del content
            feeds = {
                node.name: x.numpy()
                for node, x in zip(plain.get_inputs(), self._inputs, strict=True)
            }
            turns: list[Callable[[], Any]] = [
                lambda: plain.run(None, feeds),
                lambda: profiled.run(None, feeds),
                lambda: network(*self._inputs),
                lambda: timed(*self._inputs),
            ]
            with torch.inference_mode(), _one_thread():
                seconds = np.array(list(in_turns(turns, self._seconds)))
            events = json.loads(Path(profiled.end_profiling()).read_text())
        calls = len(seconds)
        onnx_units = self._by_unit(events, calls, counts)
        torch_units = self._by_operation(
            network.program.operations, timed.milliseconds[-calls:]
        )
        totals = 1000 * quiet_median(seconds[:, [0, 2]])
        # ONNX Runtime notes wall time, of which others take their part.
        parts = [onnx_units.min(0), quiet_median(torch_units)]
        return Measured(
            np.array(
                [
                    p * t / max(p.sum(), 1e-12)
                    for p, t in zip(parts, totals, strict=True)
                ]
            ),
            totals,
        )

    def _by_operation(
        self, operations: Sequence[Operation], milliseconds: Sequence[Sequence[float]]
    ) -> np.ndarray:
        """Sums the operations of every unit: [calls, num_units]."""
        rows = {
            name: row
            for row, unit in enumerate(self._units.units)
            for name in unit.operations
        }
        index = np.array([rows[operation.name] for operation in operations])
        result = np.zeros((len(milliseconds), len(self._units.units)))
        for row, times in zip(result, milliseconds, strict=True):
            np.add.at(row, index, times)
        return result

    def _by_unit(
        self, events: Sequence[Mapping[str, Any]], calls: int, counts: np.ndarray
    ) -> np.ndarray:
        """Sums the nodes of every unit, [calls, num_units], of the last calls."""
        nodes = [
            event
            for event in events
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        ]
        length = len(nodes) // (calls + WARM_UP)
        rows = list(self._rows_of(nodes[:length], counts))
        result = np.zeros((calls, len(self._units.units)))
        for call in range(calls):
            start = (call + WARM_UP) * length
            for row, node in zip(rows, nodes[start : start + length], strict=True):
                result[call, row] += node["dur"]
        return result

    def _rows_of(
        self, nodes: Sequence[Mapping[str, Any]], counts: np.ndarray
    ) -> Iterator[int]:
        """The unit of every node: a change of layout belongs to what comes after it."""
        shapes = self._units.shapes(counts)
        units = self._units.units
        left = [row for row, unit in enumerate(units) if unit.name]
        heads: dict[int, int] = {}
        for position, node in enumerate(nodes):
            if not _HEADS.search(node["args"]["op_name"]):
                continue
            fitting = [row for row in left if _fits(node, units[row], shapes[row])]
            if fitting:
                heads[position] = fitting[0]
                left.remove(fitting[0])
        if left:
            names = ", ".join(units[row].name for row in left[:3])
            _LOG.warning("ONNX Runtime has no operator of its own for %s", names)
        current, following = 0, list(heads.items())
        for position, node in enumerate(nodes):
            if following and following[0][0] <= position:
                current = following.pop(0)[1]
            if node["args"]["op_name"].startswith("Reorder") and following:
                yield following[0][1]
            else:
                yield current


class _TimedNetwork(GraphNetwork):
    """Keeps the milliseconds of every operation of every call."""

    def __init__(self, program: Program, state: Mapping[str, Tensor]) -> None:
        super().__init__(program, state)
        self.milliseconds: list[list[float]] = []

    def forward(self, *inputs: Tensor) -> Any:
        self.milliseconds.append([])
        return super().forward(*inputs)

    def _run(self, step: Any, values: dict[str, Any]) -> Any:
        started = time.thread_time()
        result = super()._run(step, values)
        self.milliseconds[-1].append(1000 * (time.thread_time() - started))
        return result


def _example(spec: TensorSpec, generator: torch.Generator) -> Tensor:
    """An input: normal numbers, or zeros of a type that has no fractions."""
    dtype = getattr(torch, spec.dtype)
    if dtype.is_floating_point:
        return torch.randn(spec.shape, generator=generator).to(dtype)
    return torch.zeros(spec.shape, dtype=dtype)


def whole_milliseconds(
    network: nn.Module,
    path: str | os.PathLike[str],
    inputs: Sequence[Tensor],
    *,
    seconds: float = 5.0,
) -> tuple[float, float]:
    """Of one call in ONNX Runtime and in torch, in turns: one input, one thread.

    Args:
        network: on the CPU, in evaluation mode.
        path: its ONNX file.
        inputs: an example, batch first.
        seconds: to measure for, about.
    """
    single = [x[:1] for x in inputs]
    session = onnx_session(path)
    feeds = {
        node.name: x.numpy()
        for node, x in zip(session.get_inputs(), single, strict=True)
    }
    turns = [lambda: session.run(None, feeds), lambda: network(*single)]
    with torch.inference_mode(), _one_thread():
        samples = np.array(list(in_turns(turns, seconds)))
    onnx, torch_ = (1000 * quiet_median(samples)).tolist()
    return onnx, torch_


def _fits(node: Mapping[str, Any], unit: Unit, shape: np.ndarray) -> bool:
    """Whether a node of ONNX Runtime is the head of the unit."""
    convolution = "Conv" in node["args"]["op_name"]
    if convolution != unit.family.startswith("conv"):
        return False
    if not convolution:
        return True
    weight = _shapes(node["args"]["input_type_shape"])[1]
    result = _shapes(node["args"]["output_type_shape"])[0]
    kernel, place = ("x".join(map(str, s[2:])) for s in (weight, result))
    words = unit.family.split()
    same = kernel in words[1:3] and place in words
    # The blocked layout fills channels up to whole blocks.
    return same and 0 <= result[1] - shape[1] < 32


def _shapes(record: Sequence[Mapping[str, Sequence[int]]]) -> list[Sequence[int]]:
    return [next(iter(entry.values())) for entry in record]


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
