from __future__ import annotations

import pytest
import torch

from agmc.finite import not_finite


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_the_first_that_is_not_finite_is_named(value):
    whole, broken = torch.arange(2), torch.tensor([0.0, value])
    assert not_finite({"a": whole, "b": broken, "c": broken}) == "b"
    assert not_finite({"a": whole, "d": torch.ones(0)}) == ""
