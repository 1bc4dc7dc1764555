"""Standardised: vectors of decisions, each column on the scale of one network.

Decisions of one network resemble each other far more than feature maps at large, so
the columns are taken less their means over its decisions and divided by their standard
deviations. A column that does not vary has nothing to say: it becomes 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Standard deviations that become 1, where a column has to lie in [-1, 1].
REACH = 3.0
#: A column of a smaller standard deviation does not vary.
_LEAST = 1e-6


def standardised(vectors: Tensor, unpruned: Tensor) -> Tensor:
    """Columns at mean 0 and spread 1 over the decisions of the unpruned network.

    Gradients pass, and are finite where a column does not vary.

    Args:
        vectors: of decisions, [..., dim].
        unpruned: [num_decisions, dim].
    """
    variance, mean = torch.var_mean(unpruned, dim=0, correction=0)
    varies = variance > _LEAST**2
    return (vectors - mean) * torch.where(varies, variance, 1.0).rsqrt() * varies


def within_reach(vectors: Tensor, unpruned: Tensor) -> Tensor:
    """`standardised`, divided by `REACH` and cut off at [-1, 1].

    Not made of `standardised`, which rounds the last digit otherwise: a search that
    goes on must see the rows that it has seen.

    Args:
        vectors: of decisions, [..., dim].
        unpruned: [num_decisions, dim].
    """
    mean, spread = unpruned.mean(dim=0), unpruned.std(dim=0, correction=0)
    spread = torch.where(spread > _LEAST, spread, torch.inf)
    return ((vectors - mean) / spread / REACH).clamp(-1, 1)
