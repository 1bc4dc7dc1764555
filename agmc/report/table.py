"""Table: a small table of texts and its renderings for terminal, log and Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import rich.table
from rich.text import Text


@dataclass(frozen=True)
class Table:
    """Rows of texts under named columns.

    Attributes:
        title: one line above the table; "" for none.
        columns: the heads, one for each cell of a row.
        rows: the cells.
        left: how many columns, from the first, hold words and are aligned left; the
            others hold numbers and are aligned right.

    Raises:
        ValueError: a row has another number of cells than there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {row} has {len(row)} cells for {len(self.columns)} columns"
                )

    def rich(self) -> rich.table.Table:
        """For a `rich.console.Console`; cells are plain text, never markup."""
        table = rich.table.Table(title=Text(self.title) if self.title else None)
        for index, column in enumerate(self.columns):
            justify: Literal["left", "right"] = "left" if index < self.left else "right"
            table.add_column(Text(column), justify=justify, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def markdown(self) -> str:
        """A Markdown table, the title as a paragraph above, no newline at the end."""
        rule = ["---" if i < self.left else "---:" for i in range(len(self.columns))]
        lines = [_markdown_row(self.columns), _markdown_row(rule)]
        lines += [_markdown_row(row) for row in self.rows]
        return "\n".join([self.title, "", *lines] if self.title else lines)


def _markdown_row(cells: tuple[str, ...] | list[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(escaped) + " |"
