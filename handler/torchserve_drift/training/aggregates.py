"""Aggregates of a column of numbers that do not depend on the order of the rows, and how to read their results."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from torchserve_drift.stats.arrays import Integers
from torchserve_drift.training.expressions import double, finite
from torchserve_drift.training.numeric_statistics import FIXED_POINT_BITS, NumericStatistics

if TYPE_CHECKING:
    import ibis.expr.types as ir


def scaled_sum(rows: ir.Table, column: NumericStatistics) -> Any:
    """The exact sum of the values times 2**`column.shift`."""
    return _fixed_point(_scaled(finite(rows[column.place]), column.shift)).sum()


def squared_sum(rows: ir.Table, column: NumericStatistics) -> Any:
    """The sum of the squared differences of scaled values from `column.centre`; read it with `squares_from`."""
    differences = _scaled(finite(rows[column.place]), column.shift) - double(column.centre)
    at_most_one = differences * double(math.ldexp(1.0, -column.exponent))
    return _fixed_point(at_most_one * at_most_one * double(2.0**FIXED_POINT_BITS)).sum()


def squares_from(found: Any) -> Fraction:
    """The sum that `squared_sum` found, each difference divided by 2**`column.exponent`."""
    total: Fraction = Fraction(found) / 2**FIXED_POINT_BITS
    return total


def bins(rows: ir.Table, column: NumericStatistics) -> Any:
    """The number of values in each bin between the edges; read it with `counts_up_to_edges`."""
    import ibis

    # as texts, for the same reason as in `expressions.double`
    edges = ibis.literal([repr(edge) for edge in column.edges.tolist()], type="array<string>")
    return _histogram(finite(rows[column.place]), edges.cast("array<float64>"))


def counts_up_to_edges(found: Any, column: NumericStatistics) -> Integers:
    """The numbers of values <= each edge, from what `bins` found; it finds nothing when there is no value."""
    counts = dict(found or ())
    return np.cumsum([counts.get(edge, 0) for edge in column.edges.tolist()], dtype=np.int64)


def _histogram(values: Any, edges: Any) -> Any:
    """DuckDB's function of this name: for each of ``edges`` the number of values up to it and above the edge before."""
    import ibis

    signature = (("float64", "array<float64>"), "map<float64, int64>")
    return ibis.udf.agg.builtin(_histogram_parameters, name="histogram", signature=signature)(values, edges)


def _histogram_parameters(values: Any, edges: Any) -> None:
    """Ibis reads the parameters of DuckDB's function from this signature."""


def _scaled(value: Any, shift: int) -> Any:
    # in two steps, because 2**shift itself may be larger than the largest double
    return value * double(math.ldexp(1.0, shift // 2)) * double(math.ldexp(1.0, shift - shift // 2))


def _fixed_point(value: Any) -> Any:
    return value.cast("decimal(38, 0)")
