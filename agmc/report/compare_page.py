"""write_comparison: a comparison as one page, pictures and tables of numbers."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from agmc.report.compare import Comparison, Group
from agmc.report.curves import INTERVAL, Mean
from agmc.report.line_chart import LINE_STYLE, Line, line_chart, style_of
from agmc.report.page import html_page, html_table, legend, page_section
from agmc.whole_file import write_whole

_NOTE = (
    f"± and bands: {INTERVAL}. Best reward: of the whole search, before fine-tuning. "
    "Area: mean of the best so far over the episodes; episodes before the first plan "
    "within the budget count with the lowest reward of all. Episodes to reference: "
    "when the mean of the best so far is at the final mean of the reference. Probes "
    "and plans that failed count as episodes, never as best. Pruned: repaired, not "
    "fine-tuned; after: fine-tuned and exported. Unfinished runs are in no mean."
)


def write_comparison(comparison: Comparison, directory: Path) -> Path:
    """Writes the files of a comparison, each whole or not at all.

    `compare.html` is a page that needs nothing else, `compare.md` its tables,
    `compare.csv` the numbers of every group, `runs.csv` those of every run,
    `curves.csv` best so far against episodes, and `curves.svg` (with a number where the
    runs have several tasks) the pictures of it.

    Args:
        comparison: what to write.
        directory: exists.

    Returns:
        The path of the page.

    Raises:
        OSError: a file cannot be written.
    """
    tables = comparison.tables()
    text = "\n\n".join([*(table.markdown() for table in tables), _NOTE])
    write_whole(directory / "compare.md", text + "\n")
    _write_csv(directory / "compare.csv", _group_rows(comparison))
    _write_csv(directory / "runs.csv", _run_rows(comparison))
    _write_csv(directory / "curves.csv", _curve_rows(comparison))
    charts = {
        task: lines
        for task, groups in comparison.tasks.items()
        if (lines := _lines(comparison, groups))
    }
    for number, (task, lines) in enumerate(charts.items()):
        name = f"curves_{number}.svg" if len(charts) > 1 else "curves.svg"
        write_whole(directory / name, _chart(task, lines, alone=True) + "\n")
    page = directory / "compare.html"
    sections = [
        page_section(
            task or "Best reward so far",
            _chart(task, lines)
            + legend(*((f"line {line.style}", line.name) for line in lines)),
            wide=len(charts) == 1,
        )
        for task, lines in charts.items()
    ]
    sections += [
        page_section(table.title, html_table(table), wide=True) for table in tables
    ]
    note = f'<p class="note">{html.escape(_NOTE)}</p>\n'
    heading = f"{len(comparison.runs)} runs in {len(comparison.groups)} groups"
    write_whole(page, html_page("agmc compare", heading, note, sections, LINE_STYLE))
    return page


def _lines(comparison: Comparison, groups: Sequence[Group]) -> list[Line]:
    """A group looks the same on every chart."""
    names = list(dict.fromkeys(group.name for group in comparison.groups))
    return [
        Line(group.name, style_of(names.index(group.name)), *group.curve)
        for group in groups
        if not np.isnan(group.curve[0]).all()
    ]


def _chart(task: str, lines: Sequence[Line], *, alone: bool = False) -> str:
    return line_chart(
        lines,
        title=f"Best reward so far, mean over seeds{f'; {task}' if task else ''}",
        x_name="episodes",
        y_name="best reward so far",
        alone=alone,
    )


def _group_rows(comparison: Comparison) -> list[dict[str, object]]:
    keys = _keys(comparison)
    rows = []
    for group in comparison.groups:
        until, reaching = comparison.reached(group)
        goal = comparison.goal(group)
        means: dict[str, Mean | None] = {
            "best_reward": Mean.of([run.best for run in group.runs]),
            "area": comparison.area(group),
            **{key: group.mean(key) for key in keys},
        }
        rows.append(
            {
                "about": group.task,
                "group": group.name,
                "runs": len(group.runs),
                "seeds": " ".join(run.config.seed for run in group.runs),
                "reference": comparison.reference,
                "reference_best": goal,
                "episodes_to_reference": until,
                "runs_that_reach_it": None if goal is None else reaching,
                **{
                    f"{key}{part}": None if mean is None else asdict(mean)[field]
                    for key, mean in means.items()
                    for part, field in (("", "value"), ("_interval", "half"))
                },
            }
        )
    return rows


def _run_rows(comparison: Comparison) -> list[dict[str, object]]:
    named = {run.name: group for group in comparison.groups for run in group.runs}
    return [
        {
            "run": run.name,
            "about": named[run.name].task if run.name in named else "",
            "group": named[run.name].name if run.name in named else "",
            "seed": run.config.seed,
            "state": run.state,
            "episodes": len(run.episodes),
            "best_reward": run.best,
            **{key: run.values.get(key) for key in _keys(comparison)},
        }
        for run in comparison.runs
    ]


def _curve_rows(comparison: Comparison) -> list[dict[str, object]]:
    return [
        {
            "about": group.task,
            "group": group.name,
            "episodes": index + 1,
            "best_reward": float(mean),
            "low": float(mean - half),
            "high": float(mean + half),
            "runs": len(group.runs),
        }
        for group in comparison.groups
        for index, (mean, half) in enumerate(zip(*group.curve, strict=True))
    ]


def _keys(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(key for run in comparison.runs for key in run.values))


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """What is missing or not known is an empty cell."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            missing = {k: "" for k, v in row.items() if v is None or v != v}
            writer.writerow({**row, **missing})
    write_whole(path, text.getvalue())
