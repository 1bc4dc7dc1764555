"""Codebooks: the few numbers that all weights of a layer share, by k-means."""

from __future__ import annotations

import torch
from torch import Tensor

_ITERATIONS = 100


def codebook(values: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Numbers that many values are rounded to with a small squared error.

    Lloyd's iterations on sorted values, until nothing changes, begun twice: with
    centroids evenly spaced from the smallest value to the largest, which serves the few
    large ones (Han et al. 2016, Deep Compression, arXiv 1510.00149, section 3.2), and
    with the means of equally many values each. A centroid that is left without values
    takes half of the widest cluster, and the iterations go on. The better end is taken.

    Args:
        values: float of any shape; of none there is one centroid, 0.
        size: of the codebook, >= 1.

    Returns:
        centroids, float32 [k], ascending, k = size or as many as there are distinct
        values (in float32); and for every value the index of the nearest one, int64 of
        the shape of `values`.
    """
    if not values.numel():
        none = torch.zeros(values.shape, dtype=torch.int64, device=values.device)
        return values.new_zeros(1).float(), none
    ordered, order = values.detach().float().double().flatten().sort()
    by_rank = torch.linspace(0, len(ordered), size + 1, device=ordered.device).long()
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    even = torch.linspace(0, 1, size).to(ordered)
    begun = (
        ordered[0] + even * (ordered[-1] - ordered[0]),
        ordered[((by_rank[1:] + by_rank[:-1]) // 2).clamp_max(len(ordered) - 1)],
    )
    ended = [_all_used(ordered, sums, centroids) for centroids in begun]

    def explained(centroids: Tensor, ends: Tensor) -> float:
        """Squares of the means: the less is lost to the error, the larger."""
        return float((ends.diff() * centroids.square()).sum())

    centroids, ends = max(ended, key=lambda end: explained(*end))
    used = ends.diff() > 0
    codes = torch.repeat_interleave(
        torch.arange(int(used.sum()), device=values.device), ends.diff()[used]
    )
    index = torch.empty_like(codes)
    index[order] = codes
    return centroids[used].float(), index.reshape(values.shape)


def _all_used(
    ordered: Tensor, sums: Tensor, centroids: Tensor
) -> tuple[Tensor, Tensor]:
    """`_lloyd`, again and again from smaller clusters in the place of empty ones.

    Every time begins with a smaller error than the last one ended with.
    """
    centroids, ends = _lloyd(ordered, sums, centroids)
    for _ in range(_ITERATIONS):
        halved = _halved(ordered, ends)
        if len(halved) == len(ends.unique()):
            break
        means = sums[halved].diff() / halved.diff()
        centroids, ends = _lloyd(ordered, sums, means)
    return centroids, ends


def _halved(ordered: Tensor, ends: Tensor) -> Tensor:
    """The widest cluster cut at its middle, once for each empty one.

    Returns:
        where the values of each cluster end, from 0, without empty ones; no more than
        there are if all values of every cluster are the same.
    """
    cuts = ends.unique()
    for _ in range(len(ends) - len(cuts)):
        first, last = ordered[cuts[:-1]], ordered[cuts[1:] - 1]
        widest = int((last - first).argmax())
        if first[widest] == last[widest]:
            break
        # In float64 there is a middle between any two numbers of float32.
        middle = (first[widest] + last[widest]) / 2
        cut = torch.searchsorted(ordered, middle)
        cuts = torch.cat([cuts[: widest + 1], cut[None], cuts[widest + 1 :]])
    return cuts


def _lloyd(ordered: Tensor, sums: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Centroids that are the means of what is nearest to them, and where that ends."""
    ends = _ends(ordered, centroids)
    for _ in range(_ITERATIONS):
        sizes = ends.diff()
        means = sums[ends].diff() / sizes.clamp_min(1)
        centroids = torch.where(sizes > 0, means, centroids).sort().values
        before, ends = ends, _ends(ordered, centroids)
        if torch.equal(before, ends):
            break
    return centroids, ends


def _ends(ordered: Tensor, centroids: Tensor) -> Tensor:
    """Where the values of each centroid end, int64 [size + 1], from 0."""
    middles = (centroids[1:] + centroids[:-1]) / 2
    inner = torch.searchsorted(ordered, middles)
    return torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(ordered))])
