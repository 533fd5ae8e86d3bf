"""The training rows in the order of their times, a column at a time, for time profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from torchserve_drift.baseline.profile import FeatureBaseline
from torchserve_drift.baseline.time_profile import TimeProfile
from torchserve_drift.stats.arrays import Floats, Indices
from torchserve_drift.training.spans import Spans
from torchserve_drift.training.spelling import hashable
from torchserve_drift.training.time_grid import TimeGrid, time_grid, unfit
from torchserve_drift.training.time_learning import profile_on_grid

if TYPE_CHECKING:
    import ibis.expr.types as ir

MOST_ROWS = 10_000_000
"""Of more rows every second, third, ... one is used, chosen at random: time profiles are learnt in memory."""

_EARLIEST, _LATEST = 631_152_000, 1_950_000_000
"""Epoch seconds, from 1990 to 2031. Dates written as one number, such as 2024013112, are larger."""


@dataclass(frozen=True, eq=False)
class TimedRows:
    """Rows of the training data that have a time: ``rows`` in any order, with their numbers in the column ``row``.

    ``order`` (n,) sorts them by time, once they are in the order of their numbers.
    """

    rows: ir.Table
    order: Indices
    grid: TimeGrid

    def numeric_profile(self, feature: FeatureBaseline, place: str) -> TimeProfile:
        """The time profile of the numeric ``feature``, which is the column ``place``."""
        values = self._column(place).to_numpy().astype(np.float64, copy=False)
        return profile_on_grid(feature, self.grid, values[self.order])

    def categorical_profile(self, feature: FeatureBaseline, place: str, codes: Mapping[Any, int]) -> TimeProfile:
        """The time profile of the categorical ``feature``.

        ``codes`` maps each raw value of the column ``place`` to the index of its category, and those that stand for a
        missing one to an index behind all categories.
        """
        parts = [np.zeros(0)]
        for chunk in self._column(place).chunks:
            # each distinct value becomes a Python object once, not once for every row
            values = chunk.dictionary_encode(null_encoding="encode")
            known = np.array([codes[hashable(value)] for value in values.dictionary.to_pylist()], np.float64)
            parts.append(known[values.indices.to_numpy()])
        places = np.concatenate(parts)
        places[places >= len(feature.feature.categories)] = np.nan
        return profile_on_grid(feature, self.grid, places[self.order])

    def _column(self, place: str) -> Any:
        return self.rows.select("row", value=self.rows[place]).order_by("row").to_pyarrow()["value"]


def timed_rows(spans: Spans) -> tuple[Optional[TimedRows], str]:
    """The rows of ``spans`` for time profiles, or None and why there can be none."""
    rows = spans.rows
    found = rows.aggregate(rows=rows.count(), middle=rows.time.approx_median()).to_pyarrow().to_pylist()[0]
    unit = spans.time_unit or _unit_of_epochs(float(found["middle"]))
    if not unit:
        return None, "--time has numbers that order the rows, and no dates, times or seconds since 1970"
    part = -(-int(found["rows"]) // MOST_ROWS)
    if part > 1:
        # the product stays far below 2**63, and its remainder depends on the row alone
        rows = rows.filter((rows["row"] * 48_271) % 2_147_483_647 % part == 0)
    numbers = rows.select("row", "time").order_by("row").to_pyarrow()["time"].to_numpy()
    seconds: Floats = numbers.astype(np.float64) * unit
    order = np.argsort(seconds, kind="stable")
    times = seconds[order]
    reason = unfit(times)
    return (None, reason) if reason else (TimedRows(rows, order, time_grid(times)), "")


def _unit_of_epochs(middle: float) -> float:
    """The seconds of one unit of times since 1970 whose median is ``middle``; 0 when they are no such times."""
    for unit in (1.0, 1e-3, 1e-6, 1e-9):
        if _EARLIEST <= middle * unit < _LATEST:
            return unit
    return 0.0
