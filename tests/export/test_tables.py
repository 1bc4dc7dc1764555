from __future__ import annotations

import json

import pytest

from agmc.cost.latency_table import LatencyTable
from agmc.export.profile import table_path
from agmc.export.tables import tables_for


def test_only_what_is_needed_is_read(tmp_path):
    assert tables_for(("macs",)) == tables_for((), cache=str(tmp_path))
    assert tables_for(("macs",)).latency is None


def test_latency_takes_the_machines_own_table(tmp_path):
    with pytest.raises(ValueError, match="no latency table .*run `agmc profile`"):
        tables_for(("latency",), cache=str(tmp_path))
    path = table_path(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LatencyTable({"processor": "one"}).to_json())
    assert tables_for(("latency",), cache=str(tmp_path)).latency is not None
    with pytest.raises(ValueError, match="needs the table .* latency_table=FILE"):
        tables_for(("latency",))


def test_files_by_name(tmp_path):
    energy = tmp_path / "energy.json"
    energy.write_text(json.dumps({"*": {"mac": 1}}))
    tables = tables_for((), energy_table=str(energy))
    assert tables.energy is not None and tables.energy.of("add") == (1.0, 0.0)
    with pytest.raises(ValueError, match="no latency table .*missing.json"):
        tables_for((), latency_table=str(tmp_path / "missing.json"))
