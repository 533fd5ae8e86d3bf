"""The checks of features that have a time profile, in windows of time: against what the hours of the rows let expect.

They take the place of the checks by which features without a time profile are judged, under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from torchserve_drift.baseline.time_profile import DAY_SECONDS
from torchserve_drift.checks.categorical import BATCH_FEATURES
from torchserve_drift.checks.evidence import CheckedModel, FeatureEvidence, WindowView
from torchserve_drift.checks.time_channels import is_timed
from torchserve_drift.checks.time_deviations import Deviations, deviations_of
from torchserve_drift.checks.time_evidence import TimedFeatures
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.window.hours import RowsInTime
from torchserve_drift.window.merge import WindowRows

UNEVEN_SECONDS = 3600.0
"""Rows of a window of at most this length are judged however they come."""

LEAST_SPREAD, LEAST_SPREAD_OF_DAYS = 0.25, 0.5
"""The part of its length over which the rows of a longer window must lie, and of a window of a day or more: 200 rows of
the night are no verdict on a day. The latter is a part of what the training data's days show: shops close at night."""


def is_spread(in_time: RowsInTime, usual_day: float = 1.0) -> bool:
    """Whether a window's rows lie over enough of its time for a verdict on features with time profiles.

    ``usual_day`` in (0, 1]: the part of a day over which the rows of a day lie in the training data.
    """
    if in_time.seconds is None or in_time.seconds <= UNEVEN_SECONDS:
        return True
    if in_time.seconds < DAY_SECONDS:
        return in_time.spread >= LEAST_SPREAD
    return in_time.spread >= LEAST_SPREAD_OF_DAYS * usual_day


def usual_day_of(rows: Floats) -> float:
    """The part of a day over which its rows lie, from training ``rows`` (HOURS,) by hour of the week.

    Examples
    --------
    >>> usual_day_of(np.tile(np.r_[np.zeros(9), np.full(8, 50.0), np.zeros(7)], 7)) * 24
    8.0
    """
    days = rows.reshape(-1, 24)
    total, squares = days.sum(axis=1), (days**2).sum(axis=1)
    # rows that are spread evenly over h hours have total² / squares = h
    return float((total**2).sum() / max(squares.sum(), 1e-12)) / 24


@dataclass(frozen=True, eq=False)
class TimedWindow:
    """What was measured in a window of time: the deviations of each batch of features."""

    batches: Sequence[Deviations]


class TimeChecks:
    """The checks of all features of a model that have time profiles. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        timed = [i for i, feature in enumerate(model.profile.features) if is_timed(feature)] if model.in_time else []
        self.places = timed
        self._usual_day = usual_day_of(_rows_by_hour(model, timed[0])) if timed else 1.0
        self._features = len(model.profile.features)
        self._batches = [
            TimedFeatures(model, timed[start : start + BATCH_FEATURES])
            for start in range(0, len(timed), BATCH_FEATURES)
        ]

    def measured(self, window: WindowView) -> Optional[TimedWindow]:
        """The deviations in a window; ``None`` for a window of rows, and without features that have time profiles."""
        if not self._batches or window.rows.in_time.seconds is None:
            return None
        return TimedWindow([deviations_of(batch.channels, window) for batch in window.paced(self._batches)])

    def correlations(self, found: TimedWindow) -> dict[int, float]:
        """By feature, how much the rows of the whole window are correlated in time: in the location of a numeric
        feature, in the most correlated share of a categorical one."""
        pairs = zip(self._batches, found.batches)
        return {place: rho for batch, of_batch in pairs for place, rho in batch.main_correlations(of_batch)}

    def needs_more_time(self, rows: WindowRows) -> bool:
        """Whether no feature can be judged in a window, since all have time profiles and its rows came too unevenly."""
        return len(self.places) == self._features and not is_spread(rows.in_time, self._usual_day)

    def revised(
        self, window: WindowView, found: TimedWindow, evidence: Sequence[FeatureEvidence]
    ) -> Iterator[tuple[int, FeatureEvidence]]:
        """By feature, what takes the place of its ``evidence``: nothing where rows do not lie over enough time."""
        if not is_spread(window.rows.in_time, self._usual_day):
            yield from ((place, {}) for place in self.places)
            return
        for batch, of_batch in zip(self._batches, found.batches):
            yield from batch.revised(window, of_batch, evidence)


def _rows_by_hour(model: CheckedModel, place: int) -> Floats:
    """Training rows (HOURS,) by hour of the week, as the feature at ``place`` has them."""
    time = model.profile.features[place].time
    assert time is not None
    rows: Floats = (time.counts.sum(axis=1) + time.missing).astype(np.float64)
    return rows
