"""Columns: the names and units of what an attribute or observation vector holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """One entry of a vector.

    Attributes:
        name: unique in its table.
        unit: what the number is, scaling included.
    """

    name: str
    unit: str


def index_of(table: Sequence[Column], name: str) -> int:
    """Position of the column called `name`.

    Raises:
        ValueError: the table has no such column.
    """
    names = [column.name for column in table]
    if name not in names:
        raise ValueError(f"no column {name!r}; the table has {names}")
    return names.index(name)
