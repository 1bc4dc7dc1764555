from __future__ import annotations

import io

import pytest
from rich.console import Console

from agmc.report.table import Table

TABLE = Table("Nets", ("name", "MACs"), (("a|b", "1"), ("[red]c", "20")))


def test_markdown_escapes_bars() -> None:
    assert TABLE.markdown().split("\n") == [
        "Nets",
        "",
        "| name | MACs |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
        "| [red]c | 20 |",
    ]


def test_rich_takes_no_cell_for_markup() -> None:
    out = io.StringIO()
    Console(file=out, width=60).print(TABLE.rich())
    assert "[red]c" in out.getvalue()
    assert "Nets" in out.getvalue()


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\('x',\) has 1 cells for 2 columns"):
        Table("", ("a", "b"), (("x",),))
