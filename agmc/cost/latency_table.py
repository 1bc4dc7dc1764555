"""LatencyTable: milliseconds of units, as they were measured on one machine."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: ONNX Runtime, on floats and on 8-bit integers.
FLOATS, INTEGERS = "onnx", "onnx_int8"
#: Who runs the network; the columns of the table.
RUNTIMES = (FLOATS, "torch", INTEGERS)

#: (channels in, channels out, elements of what follows) of one unit.
Shape = tuple[int, int, int]
#: Milliseconds, in the order of `RUNTIMES`, and how many measurements each is the mean
#: of.
Entry = tuple[tuple[float, ...], int]
#: What a text that is no table can bring about.
_BROKEN = (
    *(LookupError, TypeError, AttributeError),
    *(ValueError, ArithmeticError, RecursionError),
)


@dataclass
class LatencyTable:
    """Measured milliseconds of units: family -> shape -> entry.

    Attributes:
        machine: what the numbers hold for: processor and versions.
        entries: the measurements.
    """

    machine: Mapping[str, str]
    entries: dict[str, dict[Shape, Entry]] = field(default_factory=dict)

    def add(self, family: str, shape: Shape, milliseconds: Sequence[float]) -> None:
        """One more measurement, in the order of `RUNTIMES`; repeats are averaged."""
        shapes = self.entries.setdefault(family, {})
        before, times = shapes.get(shape, ((0.0,) * len(RUNTIMES), 0))
        means = [
            (mean * times + new) / (times + 1)
            for mean, new in zip(before, milliseconds, strict=True)
        ]
        shapes[shape] = tuple(means), times + 1

    def to_json(self) -> str:
        """Text that `from_json` reads."""
        record = {
            "machine": dict(self.machine),
            "columns": ["in", "out", "following", *RUNTIMES, "times"],
            "entries": {
                family: [[*shape, *means, n] for shape, (means, n) in shapes.items()]
                for family, shapes in self.entries.items()
            },
        }
        return json.dumps(record, indent=1)

    @classmethod
    def from_json(cls, text: str) -> LatencyTable:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is no table.
        """
        try:
            record = json.loads(text)
            table = cls({str(k): str(v) for k, v in record["machine"].items()})
            for family, rows in record["entries"].items():
                entries = table.entries[str(family)] = {}
                for a, b, c, *means, times in rows:
                    if len(means) != len(RUNTIMES):
                        raise ValueError("of an earlier version")
                    if not all(0 <= float(x) < math.inf for x in means) or times < 1:
                        raise ValueError(f"{times} times {means} ms for {family}")
                    shape = int(a), int(b), int(c)
                    entries[shape] = tuple(map(float, means)), int(times)
        except _BROKEN as error:
            raise ValueError(
                f"no latency table ({error}); remove the file and run `agmc profile`"
            ) from error
        return table
