"""Rows in the order of their times, and the rule that divides them into training data and production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DAY = 86400.0
TRAINING_SHARE = 0.6
FEWEST_TRAINING_DAYS = 28


@dataclass(frozen=True, eq=False)
class Traffic:
    """Rows in time order.

    ``times`` (n,) are seconds since the epoch by the wall clock of where the data comes from. A column is an array (n,)
    of floats or of objects: texts, ``None`` for missing ones. ``together``: rows of one time came in one request.
    """

    times: Floats
    columns: Mapping[str, npt.NDArray[Any]]
    together: bool = False

    @classmethod
    def sorted(cls, times: Floats, columns: Mapping[str, Any], *, together: bool = False) -> Traffic:
        order = np.argsort(times, kind="stable")
        arrays = {name: np.asarray(column, None if _is_numeric(column) else object) for name, column in columns.items()}
        return cls(times[order], {name: column[order] for name, column in arrays.items()}, together)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def days(self) -> float:
        """From midnight before the first row to midnight after the last."""
        return float(np.floor(self.times[-1] / DAY) - np.floor(self.times[0] / DAY) + 1)

    def between(self, begin: float, end: float) -> Traffic:
        """The rows with ``begin <= time < end``."""
        return self.rows(slice(*self.times.searchsorted([begin, end])))

    def rows(self, which: Any) -> Traffic:
        return Traffic(self.times[which], {n: column[which] for n, column in self.columns.items()}, self.together)

    def thinned(self, step: int) -> Traffic:
        """Every ``step``-th request with all its rows, or every ``step``-th row where each is a request."""
        if step == 1:
            return self
        return self.rows(self._requests() % step == 0)

    def with_columns(self, columns: Mapping[str, npt.NDArray[Any]]) -> Traffic:
        return Traffic(self.times, {**self.columns, **columns}, self.together)

    def cut(self) -> tuple[Traffic, Traffic]:
        """Training data and production: the first 60 % of the days, whole weeks, at least 28 days; and the rest."""
        days = max(FEWEST_TRAINING_DAYS, int(self.days * TRAINING_SHARE) // 7 * 7)
        instant = (np.floor(self.times[0] / DAY) + days) * DAY
        return self.between(-np.inf, instant), self.between(instant, np.inf)

    def _requests(self) -> npt.NDArray[np.int64]:
        """The number of each row's request."""
        if not self.together:
            return np.arange(len(self))
        return np.cumsum(np.diff(self.times, prepend=-np.inf) > 0) - 1


def _is_numeric(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind == "f"
