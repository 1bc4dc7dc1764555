"""What agmc's own networks refuse: numbers of classes, layers and channels below 1."""

from __future__ import annotations

from collections.abc import Sequence


def positive(**counts: int) -> None:
    """Raise ValueError for a count below 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} (={value}) must be >= 1")


def positive_each(length: int, /, **lists: Sequence[int]) -> None:
    """Raise ValueError for a list of another length, or with a count below 1."""
    for name, values in lists.items():
        if len(values) != length or min(values) < 1:
            raise ValueError(
                f"{name} (={tuple(values)}) must be {length} numbers, all >= 1"
            )
