"""Ibis expressions that several steps of a build share, with the rules of DuckDB that they allow for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from torchserve_drift.features.schema import LONGEST_CATEGORY
from torchserve_drift.training.spelling import ABSENT_NUMBERS

if TYPE_CHECKING:
    import ibis.expr.types as ir

COLUMNS_PER_QUERY = 16
"""How many columns a query covers: more would take more memory, fewer would read the table more often."""


def finite(column: Any) -> Any:
    """The finite values of a column; null in place of all others."""
    import ibis

    # NaN is above every number in DuckDB's order, so this comparison leaves it out too
    return ibis.ifelse(column.abs() <= double(sys.float_info.max), column, None)


def present(column: Any) -> Any:
    """Whether a value is not missing: it is finite or infinite."""
    return column.notnull() & ~column.isnan()


def double(value: float) -> Any:
    """Exactly this number."""
    import ibis

    # as text: DuckDB would read a bare literal as a decimal first, which may become another double
    return ibis.literal(repr(value)).cast("float64")


def is_unreadable_as(text: Any, data_type: Any) -> Any:
    """Whether a text cannot be read as ``data_type``, and does not stand for a missing value either."""
    return text.notnull() & text.try_cast(data_type).isnull() & ~text.isin(ABSENT_NUMBERS)


def shortened(text: Any) -> Any:
    """Texts with long ones replaced by a hash, as `features.schema.hashed` does.

    DuckDB does it, so that no long text is ever brought into Python's memory.
    """
    import ibis

    return ibis.ifelse(text.length() > LONGEST_CATEGORY, ibis.literal("sha256:") + text.hexdigest("sha256"), text)


def one_row(rows: ir.Table, aggregates: dict[str, Any]) -> dict[str, Any]:
    """The values of some aggregates of the whole table, by name."""
    found: dict[str, Any] = rows.aggregate(**aggregates).to_pyarrow().to_pylist()[0] if aggregates else {}
    return found
