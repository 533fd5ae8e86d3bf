"""Spans of training time: rows in the order of their times, cut into spans of equal numbers, looked at one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import Variation
from torchserve_drift.errors import BaselineError
from torchserve_drift.training import numeric, variation
from torchserve_drift.training.columns import key_of
from torchserve_drift.training.numeric import Numbers
from torchserve_drift.training.source import Progress, is_beyond

if TYPE_CHECKING:
    import ibis.expr.types as ir

_AT_ONCE = 16
"""Columns looked at by one query."""


@dataclass(frozen=True)
class Spans:
    """The ``rows`` that have a time, with their number ``row`` in the training data and their ``span``: 0 to ``count``
    - 1, none of them empty."""

    rows: ir.Table
    count: int


def cut(rows: ir.Table, names: Sequence[str], most: int) -> Spans:
    """The rows of `source.staged` in at most ``most`` spans of equal numbers of rows, in order of their times.

    ``names`` of the columns t0, t1, ...: rows are ordered by the first, where that is equal by the second, and so on.
    Rows of equal times are of one span, that of the middle one of them.

    Raises
    ------
    BaselineError
        When a column holds neither numbers nor times, or no two spans can be told apart.
    """
    keys = {f"t{i}": _key(rows, f"t{i}", name) for i, name in enumerate(names)}
    kept = [name for name in rows.columns if name not in keys]
    keyed = rows.select(*kept, **keys, row=rows.rowid())
    timed = keyed.filter([_is_time(keyed[key]) for key in keys])
    starts = _starts(timed, list(keys), most)
    if len(starts) < 2:
        found = "rows at one time only" if starts else "no row with a time"
        raise BaselineError(f"--time must tell at least two times apart, got {found} in {_listed(names)}")
    span = _place([timed[key] for key in keys], starts[1:], 0)
    return Spans(timed.select(*kept, "row", span=span), len(starts))


def of_rows(spans: Spans, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The span (m,) of each of the training data's ``rows`` (m,), given by their numbers in rising order; -1 for a row
    without a time."""
    import ibis
    import pyarrow as pa

    chosen = ibis.memtable(pa.table({"row": rows}))
    timed = spans.rows.semi_join(chosen, "row").select("row", "span").to_pyarrow()
    found = np.full(len(rows), -1, np.int64)
    found[rows.searchsorted(timed["row"].to_numpy())] = timed["span"].to_numpy()
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _key(rows: ir.Table, place: str, name: str) -> Any:
    """The expression of a number that rises with time: null where there is none."""
    import ibis

    column = rows[place]
    if column.type().is_string():
        instant = ibis.dtype("timestamp('UTC')")
        found = numeric.one_row(
            rows,
            {kind: is_beyond(column, as_type).sum() for kind, as_type in (("numbers", "float64"), ("times", instant))}
            | {"odd": ibis.ifelse(is_beyond(column, instant), column, None).min()},
        )
        if not found["numbers"]:
            column = column.try_cast("float64")
        elif not found["times"]:
            column = _microseconds(column.try_cast(instant)).cast("float64")
        else:
            raise BaselineError(f"--time must name columns of numbers or times, got {found['odd'][:100]!r} in {name!r}")
    return column


def _microseconds(times: Any) -> Any:
    """DuckDB's: since 1970."""
    import ibis

    def declared(times: Any) -> None:
        """The parameters of a function that DuckDB has."""

    signature = (("timestamp('UTC')",), "int64")
    return ibis.udf.scalar.builtin(declared, name="epoch_us", signature=signature)(times)


def _is_time(key: Any) -> Any:
    return key.notnull() & ~key.isnan()


def _starts(timed: ir.Table, keys: list[str], most: int) -> list[tuple[float, ...]]:
    """The first time of each span."""
    import ibis

    total = int(timed.count().to_pyarrow().as_py())
    times = timed.group_by(keys).aggregate(size=timed.count())
    earlier = times.size.sum().over(ibis.cumulative_window(order_by=keys)) - times.size
    # of several rows at one time the middle one decides
    numbered = times.mutate(span=(earlier * 2 + times.size) * most // (2 * max(total, 1)))
    before = numbered.span.lag().over(ibis.window(order_by=keys))
    marked = numbered.mutate(before=before)
    first = marked.filter(marked.before.isnull() | (marked.before != marked.span)).order_by(keys).select(keys)
    return [tuple(row[key] for key in keys) for row in first.to_pyarrow().to_pylist()]


def _place(keys: Sequence[Any], starts: Sequence[tuple[float, ...]], first: int) -> Any:
    """The expression of how many of ``starts`` a row has reached, plus ``first``; a search by halves."""
    import ibis

    if not starts:
        return ibis.literal(first, "int64")
    middle = len(starts) // 2
    later = _place(keys, starts[middle + 1 :], first + middle + 1)
    return ibis.ifelse(_reached(keys, starts[middle]), later, _place(keys, starts[:middle], first))


def _reached(keys: Sequence[Any], start: tuple[float, ...]) -> Any:
    key, at = keys[0], numeric.double(start[0])
    if len(keys) == 1:
        return key >= at
    return (key > at) | ((key == at) & _reached(keys[1:], start[1:]))


def of_numbers(spans: Spans, columns: Sequence[Numbers], total: int, progress: Progress) -> dict[str, Variation]:
    """The variation of every one of ``columns``, by its place; ``total`` rows of training data."""
    found: dict[str, Variation] = {}
    for start in range(0, len(columns), _AT_ONCE):
        progress("spans", start, len(columns))
        some = columns[start : start + _AT_ONCE]
        tallies = _by_span(spans, {name: value for c in some for name, value in _tallies(spans.rows, c).items()})
        bounds = {c.place: _bounds(tallies, c) for c in some if c.count}
        outside = _by_span(spans, {place: _outside(spans.rows[place], *bounds[place]) for place in bounds})
        for column in some:
            held = _numeric_spans(column, tallies, outside.get(column.place, [0] * spans.count))
            found[column.place] = variation.numeric(held, column.edge_counts, total - column.present)
    return found


def _tallies(rows: ir.Table, column: Numbers) -> dict[str, Any]:
    place, value = column.place, numeric.finite(rows[column.place])
    expressions = {
        f"{place}_rows": rows.count(),
        f"{place}_count": value.count(),
        f"{place}_present": numeric.present(rows[place]).sum(),
    }
    if column.count:
        expressions[f"{place}_min"] = value.min()
        expressions[f"{place}_max"] = value.max()
        expressions[f"{place}_sum"] = numeric.scaled_sum(rows, column)
        expressions[f"{place}_bins"] = numeric.binned(rows, column)
    if column.minimum < column.maximum:
        expressions[f"{place}_squares"] = numeric.squared_sum(rows, column)
    return expressions


def _by_span(spans: Spans, expressions: dict[str, Any]) -> dict[str, list[Any]]:
    """Every expression's value in each span, in order."""
    if not expressions:
        return {}
    found = spans.rows.group_by("span").aggregate(**expressions).order_by("span").to_pyarrow()
    return {name: found[name].to_pylist() for name in expressions}


def _bounds(tallies: Mapping[str, list[Any]], column: Numbers) -> tuple[float, float]:
    lows, highs = (np.array(tallies[f"{column.place}_{end}"], np.float64) for end in ("min", "max"))
    return variation.second_extremes(lows, highs)


def _outside(values: Any, low: float, high: float) -> Any:
    value = numeric.finite(values)
    return ((value < numeric.double(low)) | (value > numeric.double(high))).sum().fill_null(0)


def _numeric_spans(column: Numbers, tallies: Mapping[str, list[Any]], outside: list[int]) -> variation.NumericSpans:
    rows, count, present = (
        np.array(tallies[f"{column.place}_{what}"], np.int64) for what in ("rows", "count", "present")
    )
    bins = tallies.get(f"{column.place}_bins", [None] * len(rows))
    below = np.array([numeric.cumulative(found, column) for found in bins]).reshape(len(rows), -1)
    means, stds = np.zeros(len(rows)), np.ones(len(rows))
    if column.minimum < column.maximum:
        sums, squares = tallies[f"{column.place}_sum"], tallies[f"{column.place}_squares"]
        for span in np.flatnonzero(count):
            means[span], stds[span] = _moments(column, int(count[span]), Fraction(sums[span]), squares[span])
    return variation.NumericSpans(count, rows - present, np.array(outside, np.int64), below, means, stds)


def _moments(column: Numbers, count: int, total: Fraction, squares: Any) -> tuple[float, float]:
    """Mean and standard deviation of a span's values, where those of the whole data are 0 and 1."""
    variance = column.squares / (column.count - 1)
    mean = column.deviation(total, count)
    own = column.squares_about(mean, count, numeric.from_fixed(squares)) / max(count - 1, 1)
    return float(mean) / math.sqrt(variance), math.sqrt(own / variance)


def of_categories(
    spans: Spans, place: str, codes: Mapping[Any, int], counts: npt.NDArray[np.int64], missing: int
) -> Variation:
    """The variation of a categorical column, whose rows with the raw value v are of category ``codes[v]``.

    ``codes`` has ``len(counts)`` for values, None among them, that stand for a missing one.
    """
    tallies = np.zeros((spans.count, len(counts) + 1), np.int64)
    grouped = spans.rows.group_by("span", value=spans.rows[place]).aggregate(rows=spans.rows.count())
    for batch in grouped.to_pyarrow().to_batches():
        values = batch.column("value").dictionary_encode(null_encoding="encode")
        known = np.array([codes[key_of(value)] for value in values.dictionary.to_pylist()], np.int64)
        at = (batch.column("span").to_numpy(), known[values.indices.to_numpy()])
        np.add.at(tallies, at, batch.column("rows").to_numpy())
    return variation.categorical(tallies[:, :-1], tallies[:, -1], counts, missing)
