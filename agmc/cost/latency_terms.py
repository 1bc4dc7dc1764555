"""What the milliseconds of a unit are a sum of, and the coefficients of that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agmc.cost.latency_table import RUNTIMES, Entry, Shape

#: Vector kernels work on blocks of so many channels.
_BLOCK = 16
#: ONNX Runtime leaves its blocked layout where channels are no multiple of it.
_ALIGNMENT = 4


def fit(entries: Mapping[Shape, Entry], kind: str) -> np.ndarray:
    """Coefficients >= 0, float64 [runtimes, terms], of weighted least squares."""
    terms = _terms(np.array(list(entries), dtype=float), kind)
    times = np.array([means for means, _ in entries.values()])
    return np.array(
        [_nonnegative(terms, times[:, column]) for column in range(len(RUNTIMES))]
    )


def _nonnegative(terms: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Non-negative least squares by coordinate descent (Franc et al., 2005)."""
    # As if the variance grew with the time: relative squares would be low on average.
    weights = np.maximum(times, 0.02 * max(times.max(), 1e-9)) ** -0.5
    rows, wanted = terms * weights[:, None], times * weights
    scale = np.maximum(np.abs(rows).max(0), 1e-12)
    rows = rows / scale
    square = rows.T @ rows
    # Terms that always occur together share what they have in common.
    square += 1e-4 * np.trace(square) / len(square) * np.eye(len(square))
    pull = rows.T @ wanted
    found = np.zeros(rows.shape[1])
    for _ in range(400):
        before = found.copy()
        for i in range(len(found)):
            step = (pull[i] - square[i] @ found) / square[i, i]
            found[i] = max(0.0, found[i] + step)
        if np.abs(found - before).max() < 1e-7:
            break
    return np.where(np.abs(terms).max(0) > 0, found / scale, 0.0)


def times_of(shapes: np.ndarray, kind: str, fits: np.ndarray) -> np.ndarray:
    """Milliseconds [..., units] by coefficients [units, terms]."""
    return np.einsum("...ut,ut->...u", _terms(shapes, kind), fits)


def highest(shapes: np.ndarray, kind: str, fits: np.ndarray) -> np.ndarray:
    """The most that `times_of` is for any shape with as many channels or fewer.

    Within numbers of channels that are a multiple of 4, those that are not and those
    below a block all terms grow, so the largest of each kind is enough to look at.
    """
    if kind == "other":
        return times_of(shapes, kind, fits)
    inputs, outputs, following = (shapes[..., i] for i in range(3))
    smaller = [
        np.stack([fewer, less, following], -1)
        for fewer in (*_largest(inputs), np.minimum(inputs, _BLOCK - 1))
        for less in (_largest(outputs) if kind == "dense" else (outputs,))
    ]
    return times_of(np.stack(smaller), kind, fits).max(0)


def _largest(channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest number, not above, that is a multiple of 4; and one that is not."""
    whole = np.floor(channels / _ALIGNMENT) * _ALIGNMENT
    odd = np.where(whole == channels, channels - 1, channels)
    return np.where(channels < _ALIGNMENT, channels, whole), odd


def _terms(shapes: np.ndarray, kind: str) -> np.ndarray:
    """What the time of a unit is a sum of, float64 [..., terms]; last what follows it.

    A convolution whose input channels are no multiple of 4 leaves the blocked layout
    (inputs below one block have kernels of their own): these cases have own terms.
    """
    inputs, outputs, following = (shapes[..., i] for i in range(3))
    one = np.ones_like(inputs)
    if kind == "other":
        return np.stack([one, inputs * outputs, inputs, outputs, following], -1)
    whole_in, whole_out = (np.ceil(n / _BLOCK) * _BLOCK for n in (inputs, outputs))
    ragged = _is_odd(inputs)
    if kind == "depthwise":
        terms = [one, whole_in * (1 - ragged), ragged, inputs * ragged, following]
        return np.stack(terms, -1)
    small = (inputs < _BLOCK).astype(float)
    ragged *= 1 - small
    blocked = (1 - small) * (1 - ragged)
    odd_outputs = _is_odd(outputs)
    terms = [
        one,
        whole_in * whole_out * blocked,
        inputs * whole_out * small,
        inputs * outputs * ragged,
        *(ragged, inputs * ragged, outputs * ragged),
        *(inputs, whole_out, outputs * odd_outputs, following),
    ]
    return np.stack(terms, -1)


def _is_odd(channels: np.ndarray) -> np.ndarray:
    """1.0 where the number is no multiple of 4, else 0.0."""
    return (np.floor(channels / _ALIGNMENT) * _ALIGNMENT != channels).astype(float)
