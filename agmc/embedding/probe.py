"""Probe: what a linear reader finds in observations of networks it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from agmc.embedding.embedding import Embedding
from agmc.embedding.progress import PROGRESS_COLUMNS

#: Of the squared coefficients of standardised columns; chosen anew for every fold.
_PENALTIES = tuple(10.0**power for power in np.arange(-4, 2.5, 0.5))


@dataclass(frozen=True, eq=False)
class Subject:
    """A network of a probe.

    Attributes:
        name: of the network.
        family: networks of one family are never fitted on when one of them is read.
        rows: what is read, float [num_decisions, columns].
        values: what is to be found, one a decision: numbers, or labels of classes.
    """

    name: str
    family: str
    rows: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Score:
    """How much a probe found, with the 95 % bootstrap interval over the networks.

    Attributes:
        value: R^2 or a share of right answers.
        low, high: ends of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def readable_rows(embedding: Embedding, *, progress: bool = True) -> np.ndarray:
    """What an agent sees of the whole network, float64 [num_decisions, columns].

    Where an encoder is trained with the agent, that is what it makes of the rows.

    Args:
        embedding: of the network.
        progress: False leaves out the columns of `Progress`, which are the same in
            every embedding; what an encoder makes of the rows is read whole, with the
            columns that it passes on.
    """
    rows = embedding(None)
    if embedding.encoder is not None:
        with torch.no_grad():
            return embedding.encoder.eval()(rows).double().numpy()
    kept = [progress or column not in PROGRESS_COLUMNS for column in embedding.columns]
    return rows.double().numpy()[:, kept]


def probe_numbers(
    subjects: Sequence[Subject],
    *,
    within: bool = False,
    read: Sequence[str] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Score:
    """R^2 of ridge regression on networks of families that it was not fitted on.

    For every family, coefficients come from all others, with the penalty that does
    best when each of those is left out in turn. R^2 is 1 - (squared error) / (squared
    error of the mean of what was fitted on); every network counts the same, however
    many decisions it has.

    Args:
        subjects: networks of at least three families; shorter rows than the longest
            are filled up with 0.
        within: whether rows and values are taken less their means over the network:
            finds only what tells decisions of one network apart.
        read: families that count for the score; None: all. All are fitted on.
        draws: of the bootstrap, >= 1.
        seed: of the bootstrap.

    Raises:
        ValueError: there are too few families, or rows and values do not fit.
    """
    subjects = _checked(subjects)
    if within:
        subjects = [
            replace(s, rows=s.rows - s.rows.mean(0), values=s.values - s.values.mean())
            for s in subjects
        ]
    wrong, naive = [], []
    for subject, fitted, found in _folds(subjects, read):
        mean = 0.0 if within else np.mean([s.values.mean() for s in fitted])
        wrong.append(np.mean((subject.values - found[:, 0]) ** 2))
        naive.append(np.mean((subject.values - mean) ** 2))
    draw = _draws(len(wrong), draws, seed)
    errors, spreads = np.array(wrong), np.array(naive)
    return _score(1 - errors[draw].sum(axis=1) / spreads[draw].sum(axis=1))


def probe_classes(
    subjects: Sequence[Subject],
    *,
    read: Sequence[str] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Score:
    """Share of decisions put into the right class, as `probe_numbers` otherwise.

    The class is that of the largest of one ridge regression a class, on 1 and 0.
    """
    names = sorted({str(value) for s in subjects for value in s.values})
    hot = [
        replace(s, values=np.array([[str(v) == n for n in names] for v in s.values]))
        for s in subjects
    ]
    right = [
        np.mean(found.argmax(axis=1) == subject.values.argmax(axis=1))
        for subject, _, found in _folds(_checked(hot), read)
    ]
    return _score(np.array(right)[_draws(len(right), draws, seed)].mean(axis=1))


def _checked(subjects: Sequence[Subject]) -> list[Subject]:
    """The same with rows of one length and float values."""
    families = sorted({subject.family for subject in subjects})
    if len(families) < 3:
        raise ValueError(
            f"a probe needs networks of at least three families, not {families}"
        )
    for subject in subjects:
        if len(subject.rows) != len(subject.values) or not len(subject.rows):
            raise ValueError(
                f"{subject.name} has {len(subject.rows)} rows and "
                f"{len(subject.values)} values"
            )
    width = max(subject.rows.shape[1] for subject in subjects)
    return [
        replace(
            subject,
            rows=np.pad(subject.rows, ((0, 0), (0, width - subject.rows.shape[1]))),
            values=np.asarray(subject.values, dtype=float),
        )
        for subject in subjects
    ]


def _folds(
    subjects: Sequence[Subject], read: Sequence[str] | None
) -> list[tuple[Subject, list[Subject], np.ndarray]]:
    """Every network to read, those fitted on, and what was found, [decisions, values].

    Raises:
        ValueError: no network is of a family to read.
    """
    families = sorted({subject.family for subject in subjects})
    result = []
    for family in families if read is None else read:
        others = [s for s in subjects if s.family != family]
        ridge = _Ridge(others)
        slopes = ridge.slopes(_best_penalty(others))
        result += [
            (s, others, ridge.read(s.rows, slopes))
            for s in subjects
            if s.family == family
        ]
    if not result:
        raise ValueError(f"no network is of the families {read}; there are {families}")
    return result


def _best_penalty(subjects: Sequence[Subject]) -> float:
    """That with the least error on families left out in turn."""
    errors = np.zeros(len(_PENALTIES))
    for family in sorted({subject.family for subject in subjects}):
        others = [s for s in subjects if s.family != family]
        left_out = [s for s in subjects if s.family == family]
        ridge = _Ridge(others)
        for place, penalty in enumerate(_PENALTIES):
            slopes = ridge.slopes(penalty)
            for s in left_out:
                wanted = s.values.reshape(len(s.rows), -1)
                errors[place] += np.mean((ridge.read(s.rows, slopes) - wanted) ** 2)
    return _PENALTIES[int(errors.argmin())]


class _Ridge:
    """Ridge regression in which every network counts the same."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        rows = np.concatenate([s.rows for s in subjects])
        values = np.concatenate([s.values.reshape(len(s.rows), -1) for s in subjects])
        weight = np.concatenate(
            [1 / np.full(len(s.rows), len(s.rows)) for s in subjects]
        )
        weight /= len(subjects)
        self._mean, self._offset = weight @ rows, weight @ values
        spread = np.sqrt(weight @ (rows - self._mean) ** 2)
        self._scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0)
        scaled = (rows - self._mean) * self._scale
        self._gram = (scaled * weight[:, None]).T @ scaled
        self._target = (scaled * weight[:, None]).T @ (values - self._offset)

    def slopes(self, penalty: float) -> np.ndarray:
        """Coefficients of the standardised columns, [columns, values]."""
        unit = np.eye(len(self._gram))
        return np.linalg.solve(self._gram + penalty * unit, self._target)

    def read(self, rows: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """What is found in rows, [decisions, values]."""
        return self._offset + ((rows - self._mean) * self._scale) @ slopes


def _draws(count: int, draws: int, seed: int) -> np.ndarray:
    """The networks as they are, then drawn with replacement, [1 + draws, count]."""
    drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
    return np.concatenate([np.arange(count)[None], drawn])


def _score(values: np.ndarray) -> Score:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Score(float(values[0]), float(low), float(high))
