"""Stopwatch: milliseconds of a network and of its operators, on this machine."""

from __future__ import annotations

import functools
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime import InferenceSession
from torch import Tensor, nn

from agmc.compression.prune import Pruner
from agmc.cost.latency_table import FLOATS, INTEGERS, RUNTIMES
from agmc.cost.units import Units
from agmc.export.onnx import onnx_session
from agmc.export.operator_events import times_by_unit
from agmc.export.resized import ResizedOnnx
from agmc.export.turns import WARM_UP, in_turns, quiet_median
from agmc.graph.model_graph import ModelGraph, TensorSpec
from agmc.graph.network import GraphNetwork
from agmc.graph.program import Operation, Program
from agmc.plan import Plan

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Measured:
    """Milliseconds of one network under one plan.

    Attributes:
        units: float64 [runtimes, num_units], in the order of `RUNTIMES`; they sum up to
            the whole network.
        totals: float64 [runtimes]: of the whole network, run without any profiling.
    """

    units: np.ndarray
    totals: np.ndarray


class Stopwatch:
    """Measures networks under plans: one input, one thread, in all runtimes.

    All of it takes turns, call by call: the whole network and the profiled one, in
    torch and in ONNX Runtime, there with floats and with 8 bits everywhere; a network
    that cannot be written with 8 bits counts as it is. The time is the processor's,
    which on one thread is what a machine with nothing else to do needs. The calls are
    cut into five stretches of time; of each stands the median, and the lowest median
    counts. The units are scaled to sum up to the whole, which spreads the time between
    two operators over them.

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
        self._files = [ResizedOnnx(model, graph, self._inputs)]
        try:
            self._files.append(ResizedOnnx(model, graph, self._inputs, integers=True))
        except ValueError as error:
            _LOG.warning("8 bits count as floats: %s", error)
        self._kinds = (FLOATS, INTEGERS)[: len(self._files)]

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
        shapes = self._units.shapes(counts)
        with tempfile.TemporaryDirectory(prefix="agmc-profile-") as folder:
            sessions = [
                session
                for number, onnx in enumerate(self._files)
                for session in _sessions(onnx.under(network), Path(folder), number)
            ]
            turns: list[Callable[[], Any]] = [
                lambda: network(*self._inputs),
                lambda: timed(*self._inputs),
                *(_call(session, self._inputs) for session in sessions),
            ]
            with torch.inference_mode(), _one_thread():
                seconds = np.array(list(in_turns(turns, self._seconds)))
            profiles = [
                json.loads(Path(session.end_profiling()).read_text())
                for session in sessions[1::2]
            ]
        calls = len(seconds)
        # ONNX Runtime notes wall time, of which others take their part.
        noted = [
            times_by_unit(
                events, self._units.units, shapes, calls=calls, skipped=WARM_UP
            ).min(0)
            for events in profiles
        ]
        by_torch = self._by_operation(
            network.program.operations, timed.milliseconds[-calls:]
        )
        whole = 1000 * quiet_median(seconds[:, ::2])
        parts = {"torch": (quiet_median(by_torch), whole[0])}
        parts |= dict(zip(self._kinds, zip(noted, whole[1:], strict=True), strict=True))
        parts.setdefault(INTEGERS, parts[FLOATS])
        totals = np.array([parts[runtime][1] for runtime in RUNTIMES])
        units = [
            parts[r][0] * parts[r][1] / max(parts[r][0].sum(), 1e-12) for r in RUNTIMES
        ]
        return Measured(np.array(units), totals)

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


def _sessions(
    content: bytes, folder: Path, number: int
) -> tuple[InferenceSession, InferenceSession]:
    """A plain one, and one that notes its operators in the folder."""
    profile = folder / f"profile-{number}"
    return onnx_session(content), onnx_session(content, profile=profile)


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
    integers: str | os.PathLike[str] | None = None,
    seconds: float = 5.0,
) -> tuple[float, ...]:
    """Of one call in the order of `RUNTIMES`, in turns: one input, one thread.

    Args:
        network: on the CPU, in evaluation mode.
        path: its ONNX file.
        inputs: an example, batch first.
        integers: its ONNX file with 8 bits; None leaves that runtime out.
        seconds: to measure for, about.
    """
    single = tuple(x[:1] for x in inputs)
    turns = [_call(onnx_session(path), single), lambda: network(*single)]
    if integers is not None:
        turns.append(_call(onnx_session(integers), single))
    with torch.inference_mode(), _one_thread():
        samples = np.array(list(in_turns(turns, seconds)))
    return tuple((1000 * quiet_median(samples)).tolist())


def _call(session: InferenceSession, inputs: Sequence[Tensor]) -> Callable[[], Any]:
    """Runs the session once."""
    feeds = {
        node.name: x.numpy()
        for node, x in zip(session.get_inputs(), inputs, strict=True)
    }
    return functools.partial(session.run, None, feeds)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
