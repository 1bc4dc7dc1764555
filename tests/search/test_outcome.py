from __future__ import annotations

import pytest

from agmc.cost.model import Cost
from agmc.search.outcome import Outcome


def test_shares_of_what_the_network_was():
    outcome = Outcome(
        *(0.6, Cost(50, 20, 80, 3, 5, latency=0.5)),
        *(0.8, Cost(100, 100, 400, 4, 10, latency=2.0)),
    )
    shares = {m: outcome.share(m) for m in outcome.cost.known()}
    assert shares == {
        **{"macs": 0.5, "params": 0.2, "bytes": 0.2, "activation_bytes": 0.75},
        **{"bops": 0.5, "latency": 0.25},
    }
    assert outcome.accuracy_share == pytest.approx(0.75)
    with pytest.raises(ValueError, match="'energy' is none of macs, .* energy_table="):
        outcome.share("energy")
