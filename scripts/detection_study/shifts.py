"""The shifts whose delays are measured, each in one feature of the model (the correlation: in a pair)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable

import numpy as np

from detection_study.marginals import MODEL, Floats

Change = Callable[[np.random.Generator, Floats], Floats]


@dataclass(frozen=True)
class Shift:
    """One shift.

    ``change(rng, columns)`` turns values (n, len(features)) of ``features`` without drift into values after the onset.
    ``reported`` is the feature that must drift. ``target`` is the median delay in rows that we want, if any.
    """

    name: str
    features: tuple[str, ...]
    change: Change
    reported: str
    target: int | None = None

    @property
    def places(self) -> list[int]:
        """The columns of ``features`` in the model's rows."""
        names = list(MODEL)
        return [names.index(feature) for feature in self.features]

    def applied(self, rng: np.random.Generator, rows: Floats) -> Floats:
        """A copy of rows (n, 20) without drift, as they look after the onset."""
        after = rows.copy()
        after[:, self.places] = self.change(rng, rows[:, self.places])
        return after


CORRELATION = 0.5
STD_RATIO = 1.25
NEW_SHARE = 0.01
MISSING_SHARE = 0.05
MORE_SHARES: Floats = np.array([0.25, *[0.75 / 4] * 4])


def _mean(sigmas: float) -> Change:
    return lambda _, columns: columns + sigmas


def _replaced(share: float, value: float) -> Change:
    return lambda rng, columns: np.where(rng.random(columns.shape) < share, value, columns)


def _more_of_one(rng: np.random.Generator, columns: Floats) -> Floats:
    steps = np.cumsum(MORE_SHARES)
    return np.minimum(steps.searchsorted(rng.random(columns.shape), "right"), len(steps) - 1).astype(np.float64)


def _correlated(_: np.random.Generator, columns: Floats) -> Floats:
    first, second = columns.T
    return np.stack([first, CORRELATION * first + np.sqrt(1 - CORRELATION**2) * second], axis=1)


SHIFTS: Sequence[Shift] = (
    Shift("mean +0.1 σ", ("f0",), _mean(0.1), "f0", 3_200),
    Shift("mean +0.25 σ", ("f0",), _mean(0.25), "f0", 600),
    Shift("mean +0.5 σ", ("f0",), _mean(0.5), "f0", 200),
    Shift("mean +1 σ", ("f0",), _mean(1.0), "f0", 200),
    Shift("std × 1.25", ("f0",), lambda _, columns: columns * STD_RATIO, "f0", 400),
    Shift("category +5 points", ("f15",), _more_of_one, "f15", 2_400),
    Shift("new category 1 %", ("f16",), _replaced(NEW_SHARE, -1.0), "f16", 200),
    Shift("missing 0 → 5 %", ("f0",), _replaced(MISSING_SHARE, np.nan), "f0"),
    Shift("correlation 0 → 0.5", ("f0", "f1"), _correlated, "_joint"),
)


def named(name: str) -> Shift:
    """The shift called ``name``."""
    return next(shift for shift in SHIFTS if shift.name == name)
