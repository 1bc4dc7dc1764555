"""not_finite: finds NaN and infinity among tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def not_finite(state: Mapping[str, Tensor]) -> str:
    """Name of the first tensor with NaN or infinity; empty where there is none."""
    return next((name for name, t in state.items() if not t.isfinite().all()), "")
