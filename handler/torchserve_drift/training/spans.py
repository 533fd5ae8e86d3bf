"""Spans of training time: the rows in the order of their times, cut into spans of equal numbers of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torchserve_drift.errors import BaselineError
from torchserve_drift.stats.arrays import Integers
from torchserve_drift.training.expressions import double, is_unreadable_as, one_row

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True)
class Spans:
    """Those rows of the training data that have a time.

    ``rows`` has the columns of the features, ``row`` (the number of the row in the training data), ``span``, from 0 to
    ``count`` - 1, and ``time``, the first of the columns that order the rows. No span is empty.

    ``time_unit``: the seconds of one unit of ``time`` since 1970; 0 when it is known only that it orders the rows.
    """

    rows: ir.Table
    count: int
    time_unit: float


def cut_into_spans(rows: ir.Table, names: Sequence[str], most: int) -> Spans:
    """Cut the rows of `staging.staged_rows`, in the order of their times, into at most ``most`` equal spans.

    ``names`` are those of the columns t0, t1, ...: the first orders the rows, the second those that are equal in the
    first, and so on. Rows of the same time are in the same span, the one that holds the middle row of them.

    Raises
    ------
    BaselineError
        When a column holds neither numbers nor times, all rows have the same time, or no row has a time.
    """
    times = {f"t{i}": _sort_key(rows, f"t{i}", name) for i, name in enumerate(names)}
    keys = {place: key for place, (key, _) in times.items()}
    kept = [name for name in rows.columns if name not in keys]
    keyed = rows.select(*kept, **keys, row=rows.rowid())
    timed = keyed.filter([_is_time(keyed[key]) for key in keys])
    starts = _span_starts(timed, list(keys), most)
    if len(starts) < 2:
        found = "rows at one time only" if starts else "no row with a time"
        raise BaselineError(f"--time must tell at least two times apart, got {found} in {', '.join(map(repr, names))}")
    span = _number_reached([timed[key] for key in keys], starts[1:])
    return Spans(timed.select(*kept, "row", span=span, time=timed["t0"]), len(starts), times["t0"][1])


def spans_of_rows(spans: Spans, rows: Integers) -> Integers:
    """The span (m,) of each of ``rows`` (m,), numbers of rows in rising order; -1 for a row without a time."""
    import ibis
    import pyarrow as pa

    chosen = ibis.memtable(pa.table({"row": rows}))
    timed = spans.rows.semi_join(chosen, "row").select("row", "span").to_pyarrow()
    found = np.full(len(rows), -1, np.int64)
    found[rows.searchsorted(timed["row"].to_numpy())] = timed["span"].to_numpy()
    return found


def _sort_key(rows: ir.Table, place: str, name: str) -> tuple[Any, float]:
    """A number that rises with the time of a row, null when the row has none; and its unit, as in `Spans`."""
    import ibis

    column = rows[place]
    if not column.type().is_string():
        return column, 0.0
    instant = ibis.dtype("timestamp('UTC')")
    found = one_row(
        rows,
        {
            "no_numbers": is_unreadable_as(column, "float64").sum(),
            "no_times": is_unreadable_as(column, instant).sum(),
            "odd": ibis.ifelse(is_unreadable_as(column, instant), column, None).min(),
        },
    )
    if not found["no_numbers"]:
        return column.try_cast("float64"), 0.0
    if not found["no_times"]:
        return _microseconds(column.try_cast(instant)).cast("float64"), 1e-6
    raise BaselineError(f"--time must name columns of numbers or times, got {found['odd'][:100]!r} in {name!r}")


def _microseconds(times: Any) -> Any:
    """DuckDB's function ``epoch_us``: microseconds since 1970."""
    import ibis

    def parameters(times: Any) -> None:
        """Ibis reads the parameters of DuckDB's function from this signature."""

    signature = (("timestamp('UTC')",), "int64")
    return ibis.udf.scalar.builtin(parameters, name="epoch_us", signature=signature)(times)


def _is_time(key: Any) -> Any:
    return key.notnull() & ~key.isnan()


def _span_starts(timed: ir.Table, keys: list[str], most: int) -> list[tuple[float, ...]]:
    """The first time of each span, as the values of its ``keys``.

    A time is in the span that the middle row of all rows with this time falls into.
    """
    import ibis

    total = int(timed.count().to_pyarrow().as_py())
    times = timed.group_by(keys).aggregate(size=timed.count())
    earlier = times.size.sum().over(ibis.cumulative_window(order_by=keys)) - times.size
    # the middle of the rows of a time is at earlier + size / 2; doubled, so that integers hold it
    numbered = times.mutate(span=(earlier * 2 + times.size) * most // (2 * max(total, 1)))
    before = numbered.span.lag().over(ibis.window(order_by=keys))
    marked = numbered.mutate(before=before)
    first = marked.filter(marked.before.isnull() | (marked.before != marked.span)).order_by(keys).select(keys)
    return [tuple(row[key] for key in keys) for row in first.to_pyarrow().to_pylist()]


def _number_reached(keys: Sequence[Any], starts: Sequence[tuple[float, ...]], already: int = 0) -> Any:
    """How many of ``starts`` the time of a row has reached, plus ``already``.

    A binary search, as nested conditions: a chain of up to 99 conditions would be evaluated for every row.
    """
    import ibis

    if not starts:
        return ibis.literal(already, "int64")
    middle = len(starts) // 2
    later = _number_reached(keys, starts[middle + 1 :], already + middle + 1)
    return ibis.ifelse(_has_reached(keys, starts[middle]), later, _number_reached(keys, starts[:middle], already))


def _has_reached(keys: Sequence[Any], start: tuple[float, ...]) -> Any:
    key, first = keys[0], double(start[0])
    if len(keys) == 1:
        return key >= first
    return (key > first) | ((key == first) & _has_reached(keys[1:], start[1:]))
