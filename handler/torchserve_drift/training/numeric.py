"""The statistics of all columns of numbers, in a few queries for some columns at a time."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from torchserve_drift.baseline.profile import QUANTILE_LEVELS
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.training.aggregates import bins, counts_up_to_edges, scaled_sum, squared_sum, squares_from
from torchserve_drift.training.expressions import COLUMNS_PER_QUERY, double, finite, one_row, present
from torchserve_drift.training.numeric_statistics import NumericStatistics
from torchserve_drift.training.progress import Progress

if TYPE_CHECKING:
    import ibis.expr.types as ir

EXACT_QUANTILE_ROWS = 20_000_000
"""The most rows for exact quantiles, which need a whole column in memory. With more rows the sample gives them."""

Samples = Mapping[str, Floats]
"""A column's name in the table to its sampled values, NaN where there is none."""


def numeric_statistics(
    rows: ir.Table, places: Sequence[str], total: int, samples: Samples, progress: Progress
) -> dict[str, NumericStatistics]:
    """The statistics of the columns ``places`` of a table of ``total`` rows, by place."""
    columns: dict[str, NumericStatistics] = {}
    for start in range(0, len(places), COLUMNS_PER_QUERY):
        progress("numbers", start, len(places))
        some = _with_extremes(rows, places[start : start + COLUMNS_PER_QUERY])
        filled = [column for column in some if column.count]
        # each step needs the results of the steps before: the scale, then the edges, then the mean
        _set_quantiles(rows, filled, total, samples)
        _set_means_and_counts(rows, filled)
        _set_deviations(rows, [column for column in filled if column.varies])
        columns.update({column.place: column for column in some})
    return columns


def _with_extremes(rows: ir.Table, places: Sequence[str]) -> list[NumericStatistics]:
    aggregates: dict[str, Any] = {}
    for place in places:
        value = finite(rows[place])
        aggregates[f"{place}_count"] = value.count()
        aggregates[f"{place}_present"] = present(rows[place]).sum()
        aggregates[f"{place}_min"] = value.min()
        aggregates[f"{place}_max"] = value.max()
    found = one_row(rows, aggregates)
    return [
        NumericStatistics(
            place,
            count=found[f"{place}_count"],
            present=found[f"{place}_present"] or 0,
            minimum=_extreme(found[f"{place}_min"]),
            maximum=_extreme(found[f"{place}_max"]),
        )
        for place in places
    ]


def _extreme(value: Optional[float]) -> float:
    # + 0.0 makes 0.0 of -0.0: which of several zeros is the minimum depends on the order of the rows
    return math.nan if value is None else value + 0.0


def _set_quantiles(rows: ir.Table, columns: Sequence[NumericStatistics], total: int, samples: Samples) -> None:
    if total <= EXACT_QUANTILE_ROWS:
        found = _exact_quantiles(rows, columns, total)
    else:
        found = {column.place: _sampled_quantiles(samples[column.place], column) for column in columns}
    for column in columns:
        # interpolation may go beyond the two values by a rounding error
        within = np.clip(found[column.place], column.minimum, column.maximum)
        column.quantiles = np.maximum.accumulate(within) + 0.0
        # equal quantiles are one edge; the maximum closes the last bin
        column.edges = np.unique(np.append(column.quantiles, column.maximum))


def _exact_quantiles(rows: ir.Table, columns: Sequence[NumericStatistics], total: int) -> dict[str, Floats]:
    # to interpolate, DuckDB subtracts two values: they are halved when their difference would be infinite
    factors = {c.place: 1.0 if math.isfinite(c.maximum - c.minimum) else 0.5 for c in columns}
    found: dict[str, Any] = {}
    # Together they hold no more values than one column of the largest table with exact quantiles: so they fit memory.
    columns_at_once = max(1, EXACT_QUANTILE_ROWS // max(total, 1))
    for start in range(0, len(columns), columns_at_once):
        some = [column.place for column in columns[start : start + columns_at_once]]
        values = {place: finite(rows[place]) * double(factors[place]) for place in some}
        levels = list(QUANTILE_LEVELS)
        found.update(one_row(rows, {place: value.quantile(levels) for place, value in values.items()}))
    return {place: np.array(values) / factors[place] for place, values in found.items()}


def _sampled_quantiles(sample: Floats, column: NumericStatistics) -> Floats:
    known = sample[~np.isnan(sample)]
    if not len(known):  # the few values of the column are in no sampled row
        known = np.array([column.minimum])
    return np.quantile(known / 2, QUANTILE_LEVELS) * 2  # halved as in `_exact_quantiles`


def _set_means_and_counts(rows: ir.Table, columns: Sequence[NumericStatistics]) -> None:
    """Set the mean and, in the same scan of the table, the numbers of values up to each edge."""
    aggregates: dict[str, Any] = {}
    for column in columns:
        aggregates[f"{column.place}_sum"] = scaled_sum(rows, column)
        aggregates[f"{column.place}_bins"] = bins(rows, column)
    found = one_row(rows, aggregates)
    for column in columns:
        column.scaled_mean = Fraction(found[f"{column.place}_sum"]) / column.count
        column.mean = float(column.scaled_mean / Fraction(2) ** column.shift)
        column.edge_counts = counts_up_to_edges(found[f"{column.place}_bins"], column)


def _set_deviations(rows: ir.Table, columns: Sequence[NumericStatistics]) -> None:
    found = one_row(rows, {column.place: squared_sum(rows, column) for column in columns})
    for column in columns:
        column.squares = column.squares_about(Fraction(0), column.count, squares_from(found[column.place]))
        variance = float(column.squares / (column.count - 1))
        try:
            column.std = math.ldexp(math.sqrt(variance), column.exponent - column.shift)
        except OverflowError:
            column.std = sys.float_info.max
