"""How much windows of training time deviate from what their hours let expect, by the windows' length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from torchserve_drift.baseline.time_profile import GROUPS, HOURS, LENGTHS, TESTED_LENGTHS
from torchserve_drift.stats.arrays import Bools, Floats, Indices
from torchserve_drift.stats.effective_rows import freedom_of
from torchserve_drift.stats.paule_mandel import correlation_of, not_increasing
from torchserve_drift.training.time_channels import Channel
from torchserve_drift.training.time_grid import TimeGrid, Windows
from torchserve_drift.training.time_requests import design_effect

FEWEST_ROWS, FEWEST_WINDOWS = 10, 30
"""Rows of a window, and windows of a length, that are enough to learn from."""

_FEWEST_IN_GROUP = 50
_LONGEST_BY_GROUP = 27000.0
"""Seconds: a longer window spans hours of all groups."""

_QUANTILES = (0.5, 0.8, 0.95)
_GROUPING = (600.0, 10800.0)
"""Seconds: of windows of these lengths the shortest is used of which an hour of the week has enough."""

_LEAST_AGREEMENT = 0.25
"""Correlation, between the halves of training time, of how unsteady the hours are. Of chance it is 0 +- 0.08."""

_WINDOWS_PER_HOUR = 20
_WILD = 6.0
"""The most that one window counts: a single event does not decide to which group an hour belongs."""


@dataclass(frozen=True, eq=False)
class Deviations:
    """What windows of one length deviate by, of those with enough rows.

    ``chosen`` (W,) among the windows; the rest is of the chosen ones alone: ``rows``, the mean ``difference`` from the
    ``expected`` score, ``variance`` of a row, and ``inverse_rows`` 1 over the number of rows that arrive alone.
    """

    chosen: Bools
    rows: Floats
    difference: Floats
    expected: Floats
    variance: Floats
    inverse_rows: Floats

    @property
    def squares(self) -> Floats:
        found: Floats = self.difference * self.difference / self.variance
        return found


def deviations_of(channel: Channel, windows: Windows, clustering: float) -> Deviations:
    """The deviations of one channel in ``windows``."""
    rows = windows.sums(channel.count)
    chosen = rows >= FEWEST_ROWS
    rows = rows[chosen]
    return Deviations(
        chosen=chosen,
        rows=rows,
        difference=windows.sums(channel.excess)[chosen] / rows,
        expected=windows.sums(channel.expected)[chosen] / rows,
        variance=np.maximum(windows.sums(channel.variance)[chosen] / rows, 1e-12),
        inverse_rows=design_effect(clustering, windows)[chosen] / rows,
    )


@dataclass(frozen=True, eq=False)
class Correlation:
    """Of one channel: ``by_group`` (len(TESTED_LENGTHS), GROUPS), ``pooled`` and ``freedom`` (len(LENGTHS),)."""

    by_group: Floats
    pooled: Floats
    freedom: Floats

    @property
    def steps(self) -> Floats:
        """(len(LENGTHS),) what each length adds to the next longer one."""
        steps: Floats = self.pooled - np.append(self.pooled[1:], 0.0)
        return steps

    def freedom_at(self, place: int, inverse: Floats) -> Floats:
        """The degrees of freedom (W,) of ``inverse``, 1 / effective rows of windows of the length at ``place``."""
        found: Floats = freedom_of(inverse, self.steps[place:], self.freedom[place:])
        return found


def correlation_by_length(found: Sequence[tuple[Windows, Deviations]], group: Indices, grid: TimeGrid) -> Correlation:
    """The correlation within windows of each length, from the deviations of those that training has."""
    pooled, freedom = np.zeros(len(LENGTHS)), np.ones(len(LENGTHS))
    by_group = np.full((len(TESTED_LENGTHS), GROUPS), np.nan)
    learnt: list[int] = []
    for windows, deviations in found:
        if len(deviations.rows) < FEWEST_WINDOWS:
            continue
        learnt.append(windows.place)
        squares = deviations.squares
        pooled[windows.place] = correlation_of(squares, deviations.inverse_rows)
        freedom[windows.place] = max(len(squares) * windows.independent_share - 1, 1.0)
        if windows.length <= _LONGEST_BY_GROUP:
            own = group[middle_hours(windows, grid)[deviations.chosen]]
            for g in range(GROUPS):
                if np.count_nonzero(own == g) > _FEWEST_IN_GROUP:
                    by_group[windows.place, g] = correlation_of(squares[own == g], deviations.inverse_rows[own == g])
    pooled = not_increasing(pooled)
    tested = pooled[: len(TESTED_LENGTHS), None]
    by_group = not_increasing(np.where(np.isnan(by_group), tested, by_group))
    if learnt:
        extend_to_shorter(pooled, freedom, by_group, learnt[0])
    return Correlation(by_group, pooled, freedom)


def extend_to_shorter(pooled: Floats, freedom: Floats, by_group: Floats, first: int) -> None:
    """Lengths below ``first`` that training cannot show: what is alike for that long is so in all of its parts."""
    for place in range(first):
        factor = LENGTHS[first] / LENGTHS[place]
        for values in (pooled, by_group):
            values[place] = np.minimum(values[first] * factor, np.maximum(values[first], 1.0))
        freedom[place] = freedom[first]


def middle_hours(windows: Windows, grid: TimeGrid) -> Indices:
    """The hour of the week (W,) in the middle of each window."""
    return grid.cell_hour[np.maximum(windows.ends - 1 - windows.cells // 2, 0)]


class Dispersion:
    """How unlike the profile each hour of the week is, over the channels that are added.

    The mean over channels and windows of d^2 / (v (1/n + rho)), of the shortest windows of which there are
    `_WINDOWS_PER_HOUR` for each hour on average. It is taken for each half of training time: where the halves do not
    agree, it is chance which hours are the unsteady ones, and chance would be learnt as correlation.
    """

    def __init__(self, grid: TimeGrid) -> None:
        self._grid = grid
        low, high = _GROUPING
        enough = (
            w
            for w in grid.windows
            if low <= w.length <= high and 4 * w.independent_share * len(w.ends) >= _WINDOWS_PER_HOUR * HOURS
        )
        self.windows = next(enough, None)
        self._sum, self._count, self._channels = np.zeros(2 * HOURS), np.zeros(2 * HOURS), 0
        if self.windows is not None:
            self._count += np.bincount(self._keys(self.windows), minlength=2 * HOURS)

    def add(self, channel: Channel, clustering: float) -> None:
        if self.windows is None:
            return
        deviations = deviations_of(channel, self.windows, clustering)
        rho = correlation_of(deviations.squares, deviations.inverse_rows)
        scores = np.minimum(deviations.squares / (deviations.inverse_rows + rho), _WILD)
        self._sum += np.bincount(self._keys(self.windows)[deviations.chosen], scores, 2 * HOURS)
        self._channels += 1

    def _keys(self, windows: Windows) -> Indices:
        """`HOURS` times the half of training time, plus the hour of the week, of the middle of each window."""
        keys: Indices = self._grid.cell_half[windows.ends - 1] * HOURS + middle_hours(windows, self._grid)
        return keys

    def _means(self, sums: Floats, counts: Floats) -> Floats:
        means: Floats = (sums / max(self._channels, 1) + _WINDOWS_PER_HOUR) / (counts + _WINDOWS_PER_HOUR)
        return means

    def groups(self, traffic: Floats) -> Indices:
        """The group (HOURS,) of each hour; by its ``traffic`` (HOURS,), quiet first, if windows do not tell."""
        sums, counts = self._sum.reshape(2, HOURS), self._count.reshape(2, HOURS)
        halves = self._means(sums, counts)
        if self.windows is None or not _agreement(halves) > _LEAST_AGREEMENT:
            return np.argsort(np.argsort(traffic, kind="stable"), kind="stable") * GROUPS // HOURS
        mean = self._means(sums.sum(axis=0), counts.sum(axis=0))
        return np.searchsorted(np.quantile(mean, _QUANTILES), mean, side="right").astype(np.intp)


def _agreement(halves: Floats) -> float:
    """The correlation of the two rows of ``halves``; 0 where one is constant."""
    first, second = halves - halves.mean(axis=1, keepdims=True)
    size = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / size if size > 0 else 0.0
