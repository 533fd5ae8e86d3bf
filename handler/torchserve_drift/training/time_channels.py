"""One feature's training rows in its channels, and how cells of time deviate from what the other half expects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.channels import own_categories
from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline
from torchserve_drift.baseline.time_profile import HOURS, LEAST_VARIANCE, PRIOR_ROWS
from torchserve_drift.stats.arrays import Bools, Floats, Integers
from torchserve_drift.stats.bin_scores import bin_scores
from torchserve_drift.training.time_grid import TimeGrid, cumulated

_LEAST = 1e-12
"""The least variance: a channel that never has a row has none."""


@dataclass(frozen=True, eq=False)
class CodedRows:
    """Some of the training rows, each with a code below ``codes``; rows of stray times are never among them.

    ``rows`` (m,) their numbers, or None for all rows; ``code`` (m,).
    """

    grid: TimeGrid
    rows: Optional[npt.NDArray[np.intp]]
    code: npt.NDArray[np.uint8]
    codes: int

    @cached_property
    def cell(self) -> npt.NDArray[np.int32]:
        """(m,) the cell of each row."""
        return self.of(self.grid.cell)

    @cached_property
    def half_hour(self) -> npt.NDArray[np.int32]:
        """(m,) the half of training time and the hour of the week of each row, as in `TimeGrid`."""
        return self.of(self.grid.half_hour)

    @cached_property
    def table(self) -> Integers:
        """(2, HOURS, codes) rows of each half, hour of the week and code."""
        counts = np.bincount(self.half_hour * self.codes + self.code, minlength=2 * HOURS * self.codes)
        return counts.reshape(2, HOURS, self.codes)

    @cached_property
    def in_cell(self) -> Floats:
        """(cells,) rows of each cell."""
        return np.bincount(self.cell, minlength=self.grid.cells).astype(np.float64)

    def of(self, values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Those of ``values`` (n,) that belong to these rows (m,)."""
        return values if self.rows is None else values[self.rows]

    def totals(self, scores: Floats) -> Floats:
        """(cells,) the sum over the rows of each cell of ``scores`` (codes,)."""
        (some,) = np.nonzero(scores)
        if len(some) == 1:
            # a quicker way to the same sums, for shares
            counts = np.bincount(self.cell[self.code == some[0]], minlength=self.grid.cells)
            return np.multiply(counts, float(scores[some[0]]), dtype=np.float64)
        return np.bincount(self.cell, scores[self.code], self.grid.cells).astype(np.float64)


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """The training rows of one feature.

    ``values`` codes each value as its bin, or its category, all those without a channel as the last one; ``unfamiliar``
    as 1 where the other half of training time knows no such value; ``missing`` codes all rows but infinite values, as
    1 where there is none. ``scores`` (S, codes) of the first S channels. ``bins``: so many codes are real, fewer than
    ``values`` has for a numeric feature without values.
    """

    values: CodedRows
    unfamiliar: CodedRows
    missing: CodedRows
    scores: Floats
    bins: int
    is_numeric: bool

    def channels(self) -> Iterator[tuple[CodedRows, Floats]]:
        """The rows and the score of each code, of each channel but ``ks``, in the order of `channels.names_of`."""
        for scores in self.scores:
            yield self.values, scores
        for rows in (self.unfamiliar, self.missing):
            yield rows, np.array([0.0, 1.0])

    def is_share(self, place: int) -> bool:
        """Whether the channel at ``place`` has the scores 0 and 1."""
        return not self.is_numeric or place >= len(self.scores)


def feature_rows(feature: FeatureBaseline, grid: TimeGrid, values: Floats) -> FeatureRows:
    """The rows ``values`` (n,) of ``feature``: numbers, or indices of categories; NaN where missing."""
    is_numeric = isinstance(feature, NumericBaseline)
    valid = grid.on_grid & (np.isfinite(values) if is_numeric else values >= 0)
    known, half = values[valid], grid.half[valid]
    if isinstance(feature, NumericBaseline):
        codes, scores = len(feature.edges), _numeric_scores(feature)
        # training has no value above the last edge
        code = np.minimum(feature.edges.searchsorted(known), codes - 1)
        unfamiliar = _outside_other_half(known, half)
    else:
        codes = own_categories(feature) + 1
        scores = np.eye(codes)
        category = known.astype(np.int32)
        code = np.minimum(category, codes - 1)
        unfamiliar = _is_unfamiliar(feature, category, half)[category]
    present = valid | grid.on_grid & np.isnan(values)
    return FeatureRows(
        values=_coded(grid, valid, code, max(codes, 1)),
        unfamiliar=_coded(grid, valid, unfamiliar, 2),
        missing=_coded(grid, present, np.isnan(values[present]), 2),
        scores=scores,
        bins=codes,
        is_numeric=is_numeric,
    )


def _coded(grid: TimeGrid, rows: Bools, code: npt.NDArray[np.generic], codes: int) -> CodedRows:
    return CodedRows(grid, None if rows.all() else np.flatnonzero(rows), code.astype(np.uint8), codes)


def _numeric_scores(feature: NumericBaseline) -> Floats:
    if not feature.count:
        return np.zeros((2, 1))
    scores = bin_scores(np.diff(feature.edge_counts, prepend=0)[None].astype(np.float64))
    return np.concatenate([scores.location, scores.scale])


def _outside_other_half(values: Floats, half: npt.NDArray[np.int8]) -> Bools:
    outside = np.zeros(len(values), bool)
    for own in (0, 1):
        other = values[half == 1 - own]
        if len(other):
            outside |= (half == own) & ((values < other.min()) | (values > other.max()))
    return outside


def _is_unfamiliar(feature: CategoricalBaseline, category: npt.NDArray[np.int32], half: npt.NDArray[np.int8]) -> Bools:
    """Which categories (C,) one half of training time lacks."""
    counts = [np.bincount(category[half == own], minlength=len(feature.categories)) for own in (0, 1)]
    lacking: Bools = (counts[0] == 0) | (counts[1] == 0)
    return lacking


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel over training time.

    ``is_share`` whether scores are 0 and 1; ``skewness`` of all rows' scores. The running sums (cells + 1,): ``count``
    of rows, ``excess`` of scores less what the other half of training time expects at this hour of the week,
    ``expected`` of that, ``variance`` of the variances within an hour.
    """

    is_share: bool
    skewness: float
    count: Floats
    excess: Floats
    expected: Floats
    variance: Floats


def channels_of(rows: FeatureRows) -> Iterator[Channel]:
    """The channels in the order of `channels.names_of`, but without ``ks``; one at a time, for each is large."""
    for place, (coded, scores) in enumerate(rows.channels()):
        # whether a value is unfamiliar already is what the other half says; all of training says how often that is
        expected = _overall_mean(coded, scores) if coded is rows.unfamiliar else _other_half_means(coded, scores)
        yield _channel(coded, scores, expected, is_share=rows.is_share(place))


def _overall_mean(rows: CodedRows, scores: Floats) -> Floats:
    counts = rows.table.sum(axis=(0, 1))
    return np.full((2, HOURS), float(counts @ scores) / max(int(counts.sum()), 1))


def _other_half_means(rows: CodedRows, scores: Floats) -> Floats:
    """What each half of training time is held against, (2, HOURS): the other half.

    Production comes after training, so a week must not be held against the weeks around it.
    """
    return np.stack([_shrunk_means(table, scores) for table in rows.table[::-1]])


def _channel(rows: CodedRows, scores: Floats, expected: Floats, *, is_share: bool) -> Channel:
    """The channel of ``scores`` (codes,), of which each half and hour should have ``expected`` (2, HOURS)."""
    grid, count = rows.grid, rows.table.sum(axis=2)
    shares = rows.table.sum(axis=(0, 1)) / max(int(count.sum()), 1)
    mean, mean_square = float(shares @ scores), float(shares @ scores**2)
    overall = max(mean_square - mean * mean, _LEAST)
    hourly = hourly_means(rows, scores)
    hourly_square = hourly_means(rows, scores**2)
    within = np.maximum(hourly_square - hourly * hourly, LEAST_VARIANCE * overall)
    expected_in_cell = rows.in_cell * expected[grid.cell_half, grid.cell_hour]
    return Channel(
        is_share=is_share,
        skewness=float(shares @ (scores - mean) ** 3) / overall**1.5,
        count=cumulated(rows.in_cell),
        excess=cumulated(rows.totals(scores) - expected_in_cell),
        expected=cumulated(expected_in_cell),
        variance=cumulated(rows.in_cell * within[grid.cell_hour]),
    )


def hourly_means(rows: CodedRows, scores: Floats) -> Floats:
    """The mean score (HOURS,) of each hour of the week."""
    return _shrunk_means(rows.table.sum(axis=0), scores)


def _shrunk_means(table: Integers, scores: Floats) -> Floats:
    """The mean of ``scores`` (codes,) of each hour, of ``table`` (HOURS, codes) rows and `PRIOR_ROWS` of all hours'."""
    count = table.sum(axis=1)
    total = table @ scores
    mean = float(total.sum()) / max(int(count.sum()), 1)
    found: Floats = (total + PRIOR_ROWS * mean) / (count + PRIOR_ROWS)
    return found
