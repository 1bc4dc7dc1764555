from __future__ import annotations

import pytest

from agmc.embedding.columns import Column, index_of
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS
from agmc.embedding.rules import RULES_COLUMNS


@pytest.mark.parametrize("table", [NODE_COLUMNS, EDGE_COLUMNS, RULES_COLUMNS])
def test_names_are_unique_and_units_are_given(table):
    names = [column.name for column in table]
    assert len(set(names)) == len(names)
    assert all(column.unit for column in table)


def test_index_of():
    table = (Column("a", "m"), Column("b", "s"))
    assert index_of(table, "b") == 1
    with pytest.raises(ValueError, match=r"no column 'c'.*\['a', 'b'\]"):
        index_of(table, "c")
