"""What the columns of numbers hold, by Ibis expressions whose results do not depend on the order of the rows.

Sums of floats do depend on it, and so on the number of threads. So the sums here are of fixed-point numbers of 78 bits,
scaled to the largest value: exact, hence the same in any order.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import QUANTILE_LEVELS
from torchserve_drift.training.source import Progress

if TYPE_CHECKING:
    import ibis.expr.types as ir

EXACT_QUANTILE_ROWS = 20_000_000
"""Beyond so many rows the quantiles are those of the sample: DuckDB holds a whole column in memory for exact ones."""

Samples = Mapping[str, npt.NDArray[np.float64]]

_LARGEST = sys.float_info.max
_BITS = 78
_AT_ONCE = 16
"""Columns looked at by one query."""


@dataclass
class Numbers:
    """One column: see `profile.NumericBaseline`. Filled step by step by `profiled`.

    ``scaled_mean`` of the values times 2**`shift`; ``squares`` the sum of the squared differences from it, each
    difference divided by 2**`exponent`.
    """

    place: str
    count: int
    present: int
    minimum: float
    maximum: float
    mean: float = math.nan
    scaled_mean: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)
    std: float = 0.0
    quantiles: npt.NDArray[np.float64] = field(default_factory=lambda: np.full(len(QUANTILE_LEVELS), np.nan))
    edges: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    edge_counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def shift(self) -> int:
        """The power of two by which values are scaled to at most `_BITS` bits."""
        return _BITS - math.frexp(max(abs(self.minimum), abs(self.maximum)))[1]

    @property
    def exponent(self) -> int:
        """The power of two by which differences of scaled values from `centre` are divided to be at most 1."""
        above = _times(self.maximum, self.shift) - self.centre
        below = self.centre - _times(self.minimum, self.shift)
        return math.frexp(max(above, below))[1]

    @property
    def centre(self) -> float:
        """The double nearest to ``scaled_mean``: far from zero that is not the mean."""
        return float(self.scaled_mean)

    def deviation(self, total: Fraction, count: int) -> Fraction:
        """How far the mean of ``count`` scaled values that sum to ``total`` is from the mean, over 2**`exponent`."""
        return (total / count - self.scaled_mean) / Fraction(2) ** self.exponent

    def squares_about(self, mean: Fraction, count: int, about_centre: Fraction) -> Fraction:
        """The sum of squares of ``count`` values about their own mean (as `deviation` gives it), from those about
        `centre`."""
        offset = mean + (self.scaled_mean - Fraction(self.centre)) / Fraction(2) ** self.exponent
        return max(about_centre - count * offset**2, Fraction(0))


def profiled(
    rows: ir.Table, places: Sequence[str], total: int, samples: Samples, progress: Progress
) -> dict[str, Numbers]:
    """Every column of ``places``; ``samples`` (NaN where there is no value) give the quantiles of huge tables."""
    columns: dict[str, Numbers] = {}
    for start in range(0, len(places), _AT_ONCE):
        progress("numbers", start, len(places))
        some = _extremes(rows, places[start : start + _AT_ONCE])
        filled = [column for column in some if column.count]
        _set_quantiles(rows, filled, total, samples)
        _set_means(rows, filled)
        _set_deviations(rows, [column for column in filled if column.minimum < column.maximum])
        columns.update({column.place: column for column in some})
    return columns


def finite(column: Any) -> Any:
    """The expression of the column's finite values: null elsewhere (NaN is above every number in DuckDB's order)."""
    import ibis

    return ibis.ifelse(column.abs() <= double(_LARGEST), column, None)


def present(column: Any) -> Any:
    """The expression that a value is not missing: finite or infinite."""
    return column.notnull() & ~column.isnan()


def double(value: float) -> Any:
    """The expression of exactly this number."""
    import ibis

    # as text: a bare literal would be read as a decimal first, and not be the same double
    return ibis.literal(repr(value)).cast("float64")


def one_row(rows: ir.Table, expressions: dict[str, Any]) -> dict[str, Any]:
    """The values of some aggregates of the whole table, by name."""
    found: dict[str, Any] = rows.aggregate(**expressions).to_pyarrow().to_pylist()[0] if expressions else {}
    return found


def _extremes(rows: ir.Table, places: Sequence[str]) -> list[Numbers]:
    expressions: dict[str, Any] = {}
    for place in places:
        value = finite(rows[place])
        expressions[f"{place}_count"] = value.count()
        expressions[f"{place}_present"] = present(rows[place]).sum()
        expressions[f"{place}_min"] = value.min()
        expressions[f"{place}_max"] = value.max()
    found = one_row(rows, expressions)
    return [
        Numbers(
            place,
            count=found[f"{place}_count"],
            present=found[f"{place}_present"] or 0,
            minimum=_number(found[f"{place}_min"]),
            maximum=_number(found[f"{place}_max"]),
        )
        for place in places
    ]


def _number(value: Optional[float]) -> float:
    return math.nan if value is None else value + 0.0  # no -0.0, which may or may not be the least of several zeros


def _set_quantiles(rows: ir.Table, columns: Sequence[Numbers], total: int, samples: Samples) -> None:
    # halved where the difference of two values would be infinite
    factors = {c.place: 1.0 if math.isfinite(c.maximum - c.minimum) else 0.5 for c in columns}
    found = {column.place: _sampled_quantiles(samples[column.place], column) for column in columns}
    if total <= EXACT_QUANTILE_ROWS:
        found = {}
        at_once = max(1, EXACT_QUANTILE_ROWS // max(total, 1))
        for start in range(0, len(columns), at_once):
            some = [column.place for column in columns[start : start + at_once]]
            values = {place: finite(rows[place]) * double(factors[place]) for place in some}
            levels = list(QUANTILE_LEVELS)
            found.update(one_row(rows, {place: value.quantile(levels) for place, value in values.items()}))
        found = {place: np.array(values) / factors[place] for place, values in found.items()}
    for column in columns:
        # interpolation may overstep by a rounding
        within = np.clip(found[column.place], column.minimum, column.maximum)
        column.quantiles = np.maximum.accumulate(within) + 0.0
        column.edges = np.unique(np.append(column.quantiles, column.maximum))


def _sampled_quantiles(sample: npt.NDArray[np.float64], column: Numbers) -> npt.NDArray[np.float64]:
    known = sample[~np.isnan(sample)] if not np.isnan(sample).all() else np.array([column.minimum])
    # halved, as above
    return np.quantile(known / 2, QUANTILE_LEVELS) * 2


def _set_means(rows: ir.Table, columns: Sequence[Numbers]) -> None:
    """Means, and with the same scan the counts up to each edge."""
    expressions: dict[str, Any] = {}
    for column in columns:
        expressions[f"{column.place}_sum"] = scaled_sum(rows, column)
        expressions[f"{column.place}_bins"] = binned(rows, column)
    found = one_row(rows, expressions)
    for column in columns:
        column.scaled_mean = Fraction(found[f"{column.place}_sum"]) / column.count
        column.mean = float(column.scaled_mean / Fraction(2) ** column.shift)
        column.edge_counts = cumulative(found[f"{column.place}_bins"], column)


def scaled_sum(rows: ir.Table, column: Numbers) -> Any:
    """The expression of the sum of scaled values, exact."""
    return _fixed(_scaled(finite(rows[column.place]), column.shift)).sum()


def binned(rows: ir.Table, column: Numbers) -> Any:
    """The expression of the numbers of values in each bin, for `cumulative`."""
    import ibis

    edges = ibis.literal([repr(edge) for edge in column.edges.tolist()], type="array<string>")
    return _histogram(finite(rows[column.place]), edges.cast("array<float64>"))


def cumulative(bins: Any, column: Numbers) -> npt.NDArray[np.int64]:
    """The counts up to each edge, from what `binned` gave (nothing where there was no value)."""
    counts = dict(bins or ())
    return np.cumsum([counts.get(edge, 0) for edge in column.edges.tolist()], dtype=np.int64)


def squared_sum(rows: ir.Table, column: Numbers) -> Any:
    """The expression of the sum of squared differences from `Numbers.centre`, in fixed point: see `from_fixed`."""
    share = (_scaled(finite(rows[column.place]), column.shift) - double(column.centre)) * double(
        math.ldexp(1.0, -column.exponent)
    )
    return _fixed(share * share * double(2.0**_BITS)).sum()


def from_fixed(found: Any) -> Fraction:
    """The sum that `squared_sum` found."""
    total: Fraction = Fraction(found) / 2**_BITS
    return total


def _histogram(values: Any, edges: Any) -> Any:
    """DuckDB's: a map from each of ``edges`` to the number of values up to it and above the one before."""
    import ibis

    signature = (("float64", "array<float64>"), "map<float64, int64>")
    return ibis.udf.agg.builtin(_declared, name="histogram", signature=signature)(values, edges)


def _declared(values: Any, edges: Any) -> None:
    """The parameters of a function that DuckDB has."""


def _set_deviations(rows: ir.Table, columns: Sequence[Numbers]) -> None:
    found = one_row(rows, {column.place: squared_sum(rows, column) for column in columns})
    for column in columns:
        column.squares = column.squares_about(Fraction(0), column.count, from_fixed(found[column.place]))
        variance = float(column.squares / (column.count - 1))
        try:
            column.std = math.ldexp(math.sqrt(variance), column.exponent - column.shift)
        except OverflowError:
            column.std = _LARGEST


def _scaled(value: Any, shift: int) -> Any:
    # in two steps, since 2**shift itself may be no double
    return value * double(math.ldexp(1.0, shift // 2)) * double(math.ldexp(1.0, shift - shift // 2))


def _times(value: float, shift: int) -> float:
    return math.ldexp(math.ldexp(value, shift // 2), shift - shift // 2)


def _fixed(value: Any) -> Any:
    return value.cast("decimal(38, 0)")
