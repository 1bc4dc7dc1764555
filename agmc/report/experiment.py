"""write_experiment: the result files of a folder of experiments/."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agmc.report.table import Table

_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Target:
    """A figure that an experiment was built to show, met or not.

    Attributes:
        name: what is measured, with its unit.
        target: the bound, "<= 1.5".
        measured: the figure.
        holds: whether the target is met.
        command: that measures it.
    """

    name: str
    target: str
    measured: str
    holds: bool
    command: str


def write_experiment(
    folder: str | os.PathLike[str],
    rows: Sequence[Mapping[str, str]],
    targets: Sequence[Target],
    note: str = "",
) -> None:
    """Writes `results.csv`, `targets.json` and the table inside `README.md`.

    The README keeps its text; what stands between the lines `<!-- table -->` and
    `<!-- end of table -->` is replaced by the rows, the targets and the note.

    Raises:
        ValueError: there are no rows, or the README has no place for the table.
    """
    folder = Path(folder)
    if not rows:
        raise ValueError(f"{folder}: there are no rows to write")
    readme = folder / "README.md"
    text = readme.read_text()
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"{readme} has no lines {_BEGIN} and {_END}")
    head, _, rest = text.partition(_BEGIN)
    tail = rest.partition(_END)[2]
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    record = [asdict(target) for target in targets]
    (folder / "targets.json").write_text(json.dumps(record, indent=2) + "\n")
    measured = Table(
        title="",
        columns=tuple(rows[0]),
        rows=tuple(tuple(row.values()) for row in rows),
    )
    aimed = Table(
        title="",
        columns=("target", "bound", "measured", "holds"),
        rows=tuple(
            (t.name, t.target, t.measured, "yes" if t.holds else "no") for t in targets
        ),
    )
    parts = [measured.markdown(), aimed.markdown() if targets else "", note]
    table = "\n\n".join(part.strip() for part in parts if part)
    readme.write_text(f"{head}{_BEGIN}\n\n{table}\n\n{_END}{tail}")
