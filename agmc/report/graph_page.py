"""write_graph_page: a network as one picture and one self-contained HTML page."""

from __future__ import annotations

import colorsys
import html
from collections.abc import Sequence
from pathlib import Path

from agmc.cost.model import CostModel
from agmc.graph.model_graph import ModelGraph
from agmc.plan import Plan
from agmc.report.layers import Block, Layer, blocks_of
from agmc.report.page_style import STYLE
from agmc.report.quantity import count_text, share_text
from agmc.whole_file import write_whole

_ROW, _BOX, _LEFT, _LANE = 34, 240, 70, 12
#: Curves next to each other before they share a lane.
_LANES = 5
#: Coloured dots on a box.
_DOTS = 8

_OWN_STYLE = """\
svg.network { max-width: 30rem; }
.box { fill: var(--panel); stroke: var(--line); }
.work { fill: var(--blue); fill-opacity: .3; }
.flow { fill: none; stroke: var(--soft); stroke-width: 1.2; }
.skip { fill: none; stroke: var(--orange); stroke-width: 1.2; stroke-opacity: .8; }
details { border-top: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary small { color: var(--soft); }
.chip { display: inline-block; width: .7rem; height: .7rem; border-radius: .2rem; }
.meter { display: inline-block; width: 4rem; height: .5rem; background: var(--panel); }
.meter i { display: block; height: 100%; background: var(--blue); }
"""
#: For the picture that stands alone.
_SVG_STYLE = """\
text { font: 11px system-ui, sans-serif; fill: #1b1f24; }
.box { fill: #f5f7f9; stroke: #d9dee3; } .work { fill: #1f6fd0; fill-opacity: .3; }
.flow { fill: none; stroke: #59636e; } .skip { fill: none; stroke: #c2500a; }
"""


def write_graph_page(
    graph: ModelGraph, directory: Path, *, title: str
) -> tuple[Path, Path]:
    """Writes `graph.html` and `graph.svg`, each whole or not at all.

    The page needs no network, no script and no other file. Blocks are the modules of
    one depth; each opens to its layers.

    Args:
        graph: the traced network.
        directory: exists.
        title: name of the network.

    Returns:
        The paths of the page and of the picture.

    Raises:
        OSError: a file cannot be written.
    """
    blocks = blocks_of(graph)
    colours = _colours(graph)
    page, picture = directory / "graph.html", directory / "graph.svg"
    drawn = _drawing(blocks, colours, title)
    write_whole(picture, drawn.replace(">", f"><style>{_SVG_STYLE}</style>", 1))
    write_whole(page, _page(graph, blocks, colours, drawn, title))
    return page, picture


def _colours(graph: ModelGraph) -> dict[str, str]:
    """Hues that stay apart from their neighbours': steps of the golden angle."""
    result = {}
    for index, group in enumerate(graph.groups):
        parts = colorsys.hls_to_rgb(index * 137.508 % 360 / 360, 0.55, 0.65)
        result[group.name] = "#" + "".join(f"{round(255 * x):02x}" for x in parts)
    return result


def _drawing(blocks: Sequence[Block], colours: dict[str, str], title: str) -> str:
    """Boxes from top to bottom; curves are connections that pass over boxes."""
    total = max(1, sum(block.macs for block in blocks))
    height = len(blocks) * _ROW + 10
    width = _LEFT + _BOX + 10
    parts = [
        f'<svg class="network" viewBox="0 0 {width} {height}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{html.escape(title)}</title>'
    ]
    skips = 0
    for index, block in enumerate(blocks):
        for reader in block.readers:
            parts.append(_connection(index, reader, skips % _LANES))
            skips += abs(reader - index) > 1
    for index, block in enumerate(blocks):
        top = 5 + index * _ROW
        share = block.macs / total
        detail = (
            f"{block.name}: {count_text(block.macs)} MACs ({share_text(share)}), "
            f"{count_text(block.params)} parameters, {len(block.groups)} channel groups"
        )
        parts.append(
            f"<g><title>{html.escape(detail)}</title>"
            f'<rect class="box" x="{_LEFT}" y="{top}" width="{_BOX}" height="24" '
            'rx="4"/>'
            f'<rect class="work" x="{_LEFT}" y="{top}" '
            f'width="{max(1.0, share * _BOX):.1f}" height="24" rx="4"/>'
            f'<text x="{_LEFT + 6}" y="{top + 16}">{html.escape(_short(block.name))}'
            "</text>"
        )
        for place, group in enumerate(block.groups[:_DOTS]):
            x = _LEFT + _BOX - 9 - 10 * place
            parts.append(
                f'<circle cx="{x}" cy="{top + 12}" r="4" fill="{colours[group]}">'
                f"<title>{html.escape(group)}</title></circle>"
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def _connection(start: int, end: int, lane: int) -> str:
    top, bottom = 5 + start * _ROW + 24, 5 + end * _ROW
    middle = _LEFT + _BOX // 2
    if end - start == 1:
        return f'<path class="flow" d="M{middle} {top}V{bottom}"/>'
    out, into = top - 12, bottom + 12
    x = _LEFT - 8 - _LANE * lane
    return (
        f'<path class="skip" d="M{_LEFT} {out}C{x} {out} {x} {out} {x} '
        f'{(out + into) // 2}S{x} {into} {_LEFT} {into}"/>'
    )


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"...{name[3 - most :]}"


def _page(
    graph: ModelGraph,
    blocks: Sequence[Block],
    colours: dict[str, str],
    drawn: str,
    title: str,
) -> str:
    macs = max(1, sum(block.macs for block in blocks))
    params = sum(block.params for block in blocks)
    cards = (
        (count_text(macs), "MACs for one input"),
        (count_text(params), "parameters"),
        (str(len(graph.groups)), "channel groups"),
        (str(len(graph.blocks)), "residual blocks that can go"),
        (str(len(graph.unprunable)), "reasons why channels stay"),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}{_OWN_STYLE}</style>\n"
        f"</head>\n<body>\n<header>\n<h1>{html.escape(title)}</h1>\n"
        f'<ul class="cards">{"".join(_card(*card) for card in cards)}</ul>\n</header>\n'
        f"<main>\n<section><h2>Blocks</h2>\n{drawn}"
        '<p class="note">Filled: share of all MACs. Dots: channel groups. Orange: '
        "connections that pass over blocks.</p></section>\n"
        f"<section><h2>Layers</h2>\n"
        f"{''.join(_details(block, macs, colours) for block in blocks)}</section>\n"
        f"<section><h2>Channel groups</h2>\n{_groups(graph, colours)}</section>\n"
        f"<section><h2>Residual blocks that can go</h2>\n{_dropped(graph)}</section>\n"
        f"<section><h2>What stays whole, and why</h2>\n{_reasons(graph)}</section>\n"
        "</main>\n</body>\n</html>\n"
    )


def _card(value: str, what: str) -> str:
    return f"<li><strong>{html.escape(value)}</strong> {html.escape(what)}</li>"


def _details(block: Block, total: int, colours: dict[str, str]) -> str:
    rows = "".join(_layer(layer, total, colours) for layer in block.layers)
    table = (
        '<div class="scroll"><table><thead><tr><th>layer</th><th>result</th><th>MACs'
        f"</th><th>parameters</th><th>channel groups</th></tr></thead>{rows}</table>"
        "</div>"
        if rows
        else "<p>No weights and no multiply-adds.</p>"
    )
    return (
        f"<details><summary>{html.escape(block.name)} <small>"
        f"{share_text(block.macs / total)} of the MACs, {count_text(block.params)} "
        f"parameters</small></summary>{table}</details>\n"
    )


def _layer(layer: Layer, total: int, colours: dict[str, str]) -> str:
    share = layer.macs / total
    chips = "".join(
        f'<span class="chip" style="background:{colours[group]}" '
        f'title="{html.escape(group)}"></span> '
        for group in layer.groups[:_DOTS]
    )
    meter = f'<span class="meter"><i style="width:{100 * share:.1f}%"></i></span>'
    shape = " &times; ".join(map(str, layer.shape[1:]))
    return (
        f'<tr title="{html.escape(f"{layer.kind} {layer.source}")}"><th>'
        f"{html.escape(layer.name or '(forward)')}</th><td>{shape}</td><td>{meter} "
        f"{share_text(share)}</td><td>{count_text(layer.params)}</td>"
        f"<td>{chips or 'stays whole'}</td></tr>"
    )


def _groups(graph: ModelGraph, colours: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th><span class="chip" style="background:{colours[group.name]}"></span> '
        f"{html.escape(group.name)}</th><td>{group.size}</td>"
        f"<td>{len(group.slices)}</td>"
        f"<td>{html.escape(', '.join(group.producers[:4]))}"
        f"{' ...' if len(group.producers) > 4 else ''}</td></tr>"
        for group in graph.groups
    )
    return (
        '<div class="scroll"><table><thead><tr><th>group</th><th>channels</th>'
        "<th>parameters cut</th><th>made by</th></tr></thead>"
        f"{rows}</table></div>"
    )


def _dropped(graph: ModelGraph) -> str:
    """What a plan that drops a block alone saves."""
    if not graph.blocks:
        return "<p>None: no part is x + f(x) whose f nothing else reads.</p>"
    model = CostModel(graph)
    whole = model.of(None)
    rows = []
    for block in graph.blocks:
        left = model.of(Plan({}, dropped=(block.name,)))
        macs, params = whole.macs - left.macs, whole.params - left.params
        rows.append(
            f"<tr><th>{html.escape(block.name)}</th>"
            f"<td>{share_text(macs / max(1, whole.macs))}</td>"
            f"<td>{count_text(params)}</td></tr>"
        )
    return (
        '<div class="scroll"><table><thead><tr><th>block</th><th>its MACs</th>'
        f"<th>its parameters</th></tr></thead>{''.join(rows)}</table></div>"
    )


def _reasons(graph: ModelGraph) -> str:
    if not graph.unprunable:
        return "<p>All channels between input and output can go.</p>"
    lines = "".join(f"<li>{html.escape(reason)}</li>" for reason in graph.unprunable)
    return f"<ul>{lines}</ul>"
