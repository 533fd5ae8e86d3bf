"""Counts of each span of training time, by queries, and the variation of columns that follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from torchserve_drift.baseline.profile import Variation
from torchserve_drift.stats.arrays import Integers
from torchserve_drift.training import variation
from torchserve_drift.training.aggregates import bins, counts_up_to_edges, scaled_sum, squared_sum, squares_from
from torchserve_drift.training.expressions import COLUMNS_PER_QUERY, double, finite, present
from torchserve_drift.training.numeric_statistics import NumericStatistics
from torchserve_drift.training.progress import Progress
from torchserve_drift.training.spans import Spans
from torchserve_drift.training.spelling import hashable

if TYPE_CHECKING:
    import ibis.expr.types as ir

_Tallies = Mapping[str, list[Any]]
"""An aggregate's name to its value in each span."""


def numeric_variation(
    spans: Spans, columns: Sequence[NumericStatistics], total: int, progress: Progress
) -> dict[str, Variation]:
    """The variation of each of ``columns``, by its place; ``total`` rows of training data."""
    found: dict[str, Variation] = {}
    for start in range(0, len(columns), COLUMNS_PER_QUERY):
        progress("spans", start, len(columns))
        some = columns[start : start + COLUMNS_PER_QUERY]
        aggregates = {name: value for column in some for name, value in _aggregates(spans.rows, column).items()}
        tallies = _by_span(spans, aggregates)
        # A second query: only the first one tells the extremes of all other spans.
        limits = {column.place: _second_extremes(tallies, column) for column in some if column.count}
        outside = _by_span(spans, {place: _outside(spans.rows[place], *limits[place]) for place in limits})
        for column in some:
            held = _numeric_spans(column, tallies, outside.get(column.place, [0] * spans.count))
            found[column.place] = variation.numeric_effects(held, column.edge_counts, total - column.present)
    return found


def _aggregates(rows: ir.Table, column: NumericStatistics) -> dict[str, Any]:
    place, value = column.place, finite(rows[column.place])
    aggregates = {
        f"{place}_rows": rows.count(),
        f"{place}_count": value.count(),
        f"{place}_present": present(rows[place]).sum(),
    }
    if column.count:
        aggregates[f"{place}_min"] = value.min()
        aggregates[f"{place}_max"] = value.max()
        aggregates[f"{place}_sum"] = scaled_sum(rows, column)
        aggregates[f"{place}_bins"] = bins(rows, column)
    if column.varies:
        aggregates[f"{place}_squares"] = squared_sum(rows, column)
    return aggregates


def _by_span(spans: Spans, aggregates: dict[str, Any]) -> _Tallies:
    if not aggregates:
        return {}
    found = spans.rows.group_by("span").aggregate(**aggregates).order_by("span").to_pyarrow()
    return {name: found[name].to_pylist() for name in aggregates}


def _second_extremes(tallies: _Tallies, column: NumericStatistics) -> tuple[float, float]:
    lows, highs = (np.array(tallies[f"{column.place}_{end}"], np.float64) for end in ("min", "max"))
    return variation.second_extremes(lows, highs)


def _outside(values: Any, low: float, high: float) -> Any:
    """The number of values below ``low`` or above ``high``."""
    value = finite(values)
    return ((value < double(low)) | (value > double(high))).sum().fill_null(0)


def _numeric_spans(column: NumericStatistics, tallies: _Tallies, outside: list[int]) -> variation.NumericSpans:
    rows, count, present_values = (
        np.array(tallies[f"{column.place}_{what}"], np.int64) for what in ("rows", "count", "present")
    )
    no_bins = [None] * len(rows)
    below = [counts_up_to_edges(found, column) for found in tallies.get(f"{column.place}_bins", no_bins)]
    means, stds = np.zeros(len(rows)), np.ones(len(rows))
    if column.varies:
        sums, squares = tallies[f"{column.place}_sum"], tallies[f"{column.place}_squares"]
        for span in np.flatnonzero(count):
            means[span], stds[span] = _moments(column, int(count[span]), Fraction(sums[span]), squares[span])
    return variation.NumericSpans(
        count=count,
        missing=rows - present_values,
        outside=np.array(outside, np.int64),
        below=np.array(below).reshape(len(rows), -1),
        mean=means,
        std=stds,
    )


def _moments(column: NumericStatistics, count: int, total: Fraction, squares: Any) -> tuple[float, float]:
    """Mean and standard deviation of a span's values, on the scale where those of the whole data are 0 and 1."""
    # fractions up to the square root: far from zero the squares of floats would cancel
    variance = column.squares / (column.count - 1)
    mean = column.mean_difference(total, count)
    own_variance = column.squares_about(mean, count, squares_from(squares)) / max(count - 1, 1)
    return float(mean) / math.sqrt(variance), math.sqrt(own_variance / variance)


def categorical_variation(
    spans: Spans, place: str, codes: Mapping[Any, int], counts: Integers, missing: int
) -> Variation:
    """The variation of a categorical column.

    ``codes`` maps each raw value to the index of its category. Values that stand for a missing one, among them
    ``None``, have the index ``len(counts)``. ``counts`` (C,) and ``missing`` are those of the whole data.
    """
    tallies = np.zeros((spans.count, len(counts) + 1), np.int64)
    grouped = spans.rows.group_by("span", value=spans.rows[place]).aggregate(rows=spans.rows.count())
    for batch in grouped.to_pyarrow().to_batches():
        # each distinct value becomes a Python object once, not once for every span
        values = batch.column("value").dictionary_encode(null_encoding="encode")
        known = np.array([codes[hashable(value)] for value in values.dictionary.to_pylist()], np.int64)
        span_and_code = (batch.column("span").to_numpy(), known[values.indices.to_numpy()])
        np.add.at(tallies, span_and_code, batch.column("rows").to_numpy())
    return variation.categorical_effects(tallies[:, :-1], tallies[:, -1], counts, missing)
