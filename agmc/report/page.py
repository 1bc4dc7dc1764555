"""write_report: a run as one self-contained HTML page."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agmc.plan import Plan
from agmc.report import charts
from agmc.report.before_after import METRICS, before_after, budget_text
from agmc.report.latencies import latency_table
from agmc.report.page_style import STYLE
from agmc.report.quantity import duration_text, points_text, share_text
from agmc.report.run_record import EpisodeRow, RunRecord, number, section
from agmc.report.table import Table
from agmc.whole_file import write_whole

_PRUNED = (
    '<p class="note">pruned: channels removed, weights and batch norm repaired; '
    "after: fine-tuned and exported</p>\n"
)


def write_report(
    run_directory: str | os.PathLike[str], result: Mapping[str, Any] | None = None
) -> Path:
    """Writes `report.html` from the other files of a run directory.

    The page needs no network, no script and no other file, and reads well on a
    phone. It is written whole or not at all.

    Args:
        run_directory: holds `result.json`, `plan.json` and, after a search,
            `episodes.jsonl`.
        result: what will stand in `result.json`, of a run that has not written it yet;
            None reads it.

    Returns:
        Path of the page.

    Raises:
        ValueError: a file is missing or broken, or the directory cannot be written.
    """
    record = RunRecord.load(run_directory, result)
    page = _page(record)
    path = record.directory / "report.html"
    try:
        write_whole(path, page)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}") from error
    return path


def _page(record: RunRecord) -> str:
    result = record.result
    table = before_after(result)
    title = f"agmc: {table.title}" if table.title else "agmc"
    sections = [
        page_section("Before and after", html_table(table) + _PRUNED, wide=True),
        *_latencies(result),
        page_section("Channels kept", _keep_bars(record)),
        *_layers(record.plan),
        page_section("Reward per episode", _reward(record.episodes)),
        *_second(record.second),
        page_section("Cost and accuracy", _cost_accuracy(record)),
        page_section("Time", _seconds(result)),
        page_section("How it was made", _provenance(result), wide=True),
    ]
    heading = table.title or "Compressed network"
    return html_page(title, heading, _headline(result), sections)


def html_page(
    title: str, heading: str, head: str, sections: Sequence[str], style: str = ""
) -> str:
    """A page that needs no network, no script and no other file.

    Args:
        title: of the window.
        heading: of the page.
        head: HTML below the heading.
        sections: HTML, see `page_section`.
        style: added to the style sheet.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_escape(title)}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n"
        f"<body>\n<header>\n<h1>{_escape(heading)}</h1>\n{head}</header>\n<main>\n"
        f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _headline(result: Mapping[str, Any]) -> str:
    before, after = section(result, "baseline"), section(result, "compressed")
    pieces = []
    for metric, (name, _) in METRICS.items():
        whole, rest = number(before, metric), number(after, metric)
        if whole and rest is not None:
            pieces.append((share_text(rest / whole), f"of the {name} kept"))
    first, last = number(before, "accuracy", "test"), number(after, "accuracy", "test")
    if first is not None and last is not None:
        pieces.insert(0, (points_text(last - first), "test accuracy"))
    cards = "".join(
        f"<li><strong>{_escape(value)}</strong> {_escape(what)}</li>"
        for value, what in pieces[:4]
    )
    budget = budget_text(result)
    verdict = "good" if section(result, "budget").get("holds") is True else "bad"
    line = f'<p class="{verdict}">{_escape(budget)}</p>\n' if budget else ""
    return f'<ul class="cards">{cards}</ul>\n{line}'


def _latencies(result: Mapping[str, Any]) -> list[str]:
    """The section of what was timed; none of runs that did not."""
    table = latency_table(result)
    return [page_section("Latency", html_table(table))] if table.rows else []


def _keep_bars(record: RunRecord) -> str:
    if not record.plan.keep_ratio:
        return "<p>The plan keeps every channel.</p>"
    rows = [(name, r, share_text(r)) for name, r in record.plan.keep_ratio.items()]
    return charts.bars(rows, title="Share of channels kept, by channel group")


def _layers(plan: Plan) -> list[str]:
    """Sections of what a plan says of layers and blocks; none where it says nothing."""
    sections = []
    for part, what in (("weight_bits", "weights"), ("act_bits", "inputs")):
        bits: Mapping[str, int] = getattr(plan, part)
        rows = [(name, float(number), str(number)) for name, number in bits.items()]
        if rows:
            most = max(8.0, *(value for _, value, _ in rows))
            title = f"Bits of {what}"
            chart = charts.bars(rows, title=f"{title}, by layer", full=most)
            sections.append(page_section(title, chart))
    if plan.sparsity:
        shares = [(name, s, share_text(s)) for name, s in plan.sparsity.items()]
        chart = charts.bars(shares, title="Share of weights that are zero, by layer")
        sections.append(page_section("Zeros", chart))
    if plan.dropped:
        names = _escape(", ".join(sorted(plan.dropped)))
        sections.append(page_section("Dropped blocks", f"<p>{names}</p>"))
    return sections


def _second(episodes: Sequence[EpisodeRow]) -> list[str]:
    """The section of a second search; none where there was none."""
    if not episodes:
        return []
    return [page_section("Reward per episode, second search", _reward(episodes))]


def _reward(episodes: Sequence[EpisodeRow]) -> str:
    points = [
        (float(e.index), e.reward)
        for e in episodes
        if e.reward is not None and e.counts
    ]
    if not points:
        return "<p>No episode was recorded.</p>"
    chart = charts.rising_line(
        points, title="Reward per episode", x_name="episode", y_name="reward"
    )
    keys = legend(("dot", "one episode"), ("best", "best so far"))
    return chart + keys


def _cost_accuracy(record: RunRecord) -> str:
    # Of several limits the first that was asked for: it is the first search's.
    budget = section(record.result, "budget")
    limits = budget.get("limits")
    budget = limits[0] if isinstance(limits, list) and limits else budget
    metric = str(budget.get("metric"))
    if not any(metric in episode.cost for episode in record.episodes):
        metric = "macs"
    before = section(record.result, "baseline")
    whole = number(before, metric)
    if not whole:
        return "<p>No cost was recorded.</p>"
    points = [
        (episode.cost[metric] / whole, episode.accuracy)
        for episode in record.episodes
        if metric in episode.cost
        and episode.accuracy is not None
        and not episode.failed
    ]
    marks = []
    after = section(record.result, "compressed")
    for stage, name, style in ((before, "before", "before"), (after, "after", "after")):
        cost, accuracy = number(stage, metric), number(stage, "accuracy", "search")
        if cost is not None and accuracy is not None:
            marks.append(charts.Mark(cost / whole, accuracy, name, style))
    if not points and not marks:
        return "<p>No accuracy was recorded.</p>"
    limit = number(budget, "limit") if budget.get("metric") == metric else None
    name = METRICS.get(metric, (metric,))[0]
    chart = charts.scatter(
        points,
        marks,
        title=f"Accuracy on the search split against {name}",
        x_name=f"{name}, share of the original",
        y_name="search accuracy",
        limit=None if limit is None else limit / whole,
        text=lambda value: f"{100 * value:g} %",
    )
    return chart + legend(
        ("dot", "one episode, not fine-tuned"),
        ("before", "before"),
        ("after", "after fine-tuning"),
        *([("limit", "budget")] if limit is not None else []),
    )


def _seconds(result: Mapping[str, Any]) -> str:
    stages = section(result, "seconds")
    seconds = {
        stage: number(stages, stage) or 0.0 for stage in stages if stage != "total"
    }
    if not seconds:
        return "<p>No time was recorded.</p>"
    total = number(stages, "total") or sum(seconds.values())
    rows = [(stage, value, duration_text(value)) for stage, value in seconds.items()]
    chart = charts.bars(
        rows, title="Seconds of every stage", full=max(*seconds.values(), 1e-9)
    )
    return f'{chart}<p class="note">{_escape(duration_text(total))} in all</p>'


def _provenance(result: Mapping[str, Any]) -> str:
    rows = [(key, value) for key, value in section(result, "settings").items()]
    rows.append(("seed", result.get("seed")))
    rows += list(section(result, "versions").items())
    table = html_table(
        Table(
            title="",
            columns=("setting or version", "value"),
            rows=tuple((str(k), str(v)) for k, v in rows if v is not None),
            left=2,
        )
    )
    command = result.get("command")
    if isinstance(command, list):
        command = " ".join(str(word) for word in command)
    shown = f"<pre><code>{_escape(str(command))}</code></pre>\n" if command else ""
    return shown + table


def html_table(table: Table) -> str:
    """A table that scrolls by itself where it is too wide."""
    heads = "".join(f'<th scope="col">{_escape(head)}</th>' for head in table.columns)
    words = ' class="words"' if table.left == len(table.columns) else ""
    rows = "".join(
        f'<tr><th scope="row">{_escape(row[0])}</th>'
        + "".join(f"<td>{_escape(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table{words}>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def legend(*entries: tuple[str, str]) -> str:
    """What the marks of a chart mean: CSS class and name of each."""
    items = "".join(
        f'<li><span class="key {style}"></span>{_escape(name)}</li>'
        for style, name in entries
    )
    return f'<ul class="legend">{items}</ul>\n'


def page_section(title: str, body: str, *, wide: bool = False) -> str:
    """A framed part of a page; `wide` takes both columns."""
    shape = ' class="wide"' if wide else ""
    return f"<section{shape}>\n<h2>{_escape(title)}</h2>\n{body}</section>\n"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
