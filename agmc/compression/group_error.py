"""Group error: what a channel group is worth, told by least squares alone."""

from __future__ import annotations

import numpy as np

from agmc.compression.prune import Pruner
from agmc.compression.reconstruct import Reconstruction
from agmc.plan import Plan


def group_errors(
    pruner: Pruner, reconstruction: Reconstruction, *, keep_ratio: float = 0.5
) -> np.ndarray:
    """What the layers behind each channel group cannot mend when it alone is cut.

    Nothing is evaluated: all there is to it are moments of activations.

    Args:
        pruner: of the network.
        reconstruction: of the same network.
        keep_ratio: what the group keeps, in (0, 1).

    Returns:
        `Reconstruction.error`, float64 [num_groups]; NaN for groups whose readers are
        not solved.

    Raises:
        ValueError: the keep ratio is out of range.
    """
    if not 0 < keep_ratio < 1:
        raise ValueError(f"keep_ratio (={keep_ratio}) must be in (0, 1)")
    plans = (Plan({group.name: keep_ratio}) for group in pruner.graph.groups)
    errors = (reconstruction.error(pruner.kept_positions(plan)) for plan in plans)
    return np.fromiter(errors, dtype=np.float64)
