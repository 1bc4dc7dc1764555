"""Latencies: what ONNX files take, one input or many, on one thread or two.

All files take turns call by call, so that a busy machine slows all alike, and what
counts is the median. Time is the clock's: threads share the work.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor, nn

from agmc.export.onnx import fixed_batch_size, onnx_session, save_onnx
from agmc.graph.exported import of_batch_size

_LOG = logging.getLogger(__name__)
MANY = 64
THREADS = (1, 2)
#: Name of a cell -> its batch size and its threads.
CELLS = {
    f"batch {size}, {threads} thread{'s' if threads > 1 else ''}": (size, threads)
    for threads in THREADS
    for size in (1, MANY)
}
#: One input on one thread.
ONE = next(iter(CELLS))
#: Seconds of one call; a cell that is expected to take more is left out.
_LONGEST = 10.0
_WARM_UP, _FEWEST = 3, 3


def onnx_latencies(
    networks: Sequence[tuple[nn.Module, str | os.PathLike[str]]],
    inputs: Sequence[Tensor],
    *,
    seconds: float = 0.5,
) -> list[dict[str, float | None]]:
    """Median milliseconds of one call of every network in all of `CELLS`.

    A file with a fixed batch size is written once more for the large batch, beside it
    and for as long as it is measured.

    Args:
        networks: each with the file that `save_onnx` made of it.
        inputs: an example for all of them, batch first.
        seconds: of a cell, about; at least three calls are made of everything.

    Returns:
        for each network milliseconds by cell; None for a large batch that the network
        does not take, or of which one call would take more than 10 s.
    """
    paths = [Path(path) for _, path in networks]
    found: list[dict[str, float | None]] = [{} for _ in networks]
    with TemporaryDirectory(dir=paths[0].parent, prefix=".batch-") as folder:
        files = {1: paths, MANY: _files_of_many(networks, inputs, Path(folder))}
        expected = 0.0
        for cell, (size, threads) in CELLS.items():
            values: Sequence[float | None] = [None] * len(networks)
            if size == 1 or (files[MANY] and expected <= _LONGEST):
                values = measured = onnx_latency_ms(
                    files[size],
                    inputs,
                    batch_size=size,
                    threads=threads,
                    seconds=seconds,
                )
                if size == 1:
                    expected = MANY * max(measured) / 1000
            for row, value in zip(found, values, strict=True):
                row[cell] = value
    return found


def onnx_latency_ms(
    paths: Sequence[str | os.PathLike[str]],
    inputs: Sequence[Tensor],
    *,
    batch_size: int = 1,
    threads: int = 1,
    rounds: int = 50,
    seconds: float = 0.5,
) -> list[float]:
    """Median milliseconds of one call of every file.

    Args:
        paths: ONNX files with the same inputs.
        inputs: an example, batch first.
        batch_size: inputs of a call, all of them the first of the example.
        threads: that share a call, >= 1.
        rounds: calls of every file at most, >= 3.
        seconds: after which there are no more than three rounds.
    """
    feeds = [x.numpy() for x in of_batch_size(inputs, batch_size)]
    sessions = [onnx_session(path, threads=threads) for path in paths]
    named = [
        {node.name: x for node, x in zip(session.get_inputs(), feeds, strict=True)}
        for session in sessions
    ]
    samples: list[list[float]] = []
    began = time.perf_counter()
    # The first rounds warm up: several of what is quick, one of what is slow.
    for _ in range(_WARM_UP):
        for session, feed in zip(sessions, named, strict=True):
            session.run(None, feed)
        if time.perf_counter() - began > seconds / 4:
            break
    began = time.perf_counter()
    while len(samples) < _FEWEST or (
        len(samples) < rounds and time.perf_counter() - began < seconds
    ):
        samples.append([])
        for session, feed in zip(sessions, named, strict=True):
            started = time.perf_counter()
            session.run(None, feed)
            samples[-1].append(time.perf_counter() - started)
    return [1000 * statistics.median(times) for times in zip(*samples, strict=True)]


def _files_of_many(
    networks: Sequence[tuple[nn.Module, str | os.PathLike[str]]],
    inputs: Sequence[Tensor],
    folder: Path,
) -> list[Path]:
    """Files that take the large batch; none if one of the networks does not."""
    files = []
    for number, (module, path) in enumerate(networks):
        if fixed_batch_size(onnx_session(path)) is None:
            files.append(Path(path))
            continue
        files.append(folder / f"{number}.onnx")
        try:
            save_onnx(module, files[-1], inputs, batch_size=MANY)
        except ValueError as error:
            _LOG.warning("a batch of %d is not measured: %s", MANY, error)
            return []
    return files
