"""Rows of CSV files in DuckDB. All files are read as text first: only the whole of a column shows what it holds."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchserve_drift.training.columns import Column, unusable_type
from torchserve_drift.training.expressions import is_unreadable_as, one_row, shortened
from torchserve_drift.training.file_columns import FileColumns
from torchserve_drift.training.progress import Progress
from torchserve_drift.training.session import append_rows
from torchserve_drift.training.source_files import is_gzipped

if TYPE_CHECKING:
    import ibis.expr.types as ir

_COLUMNS_PER_QUERY = 50
"""More than for numbers: these queries only count, and hold no column in memory."""


def stage_csv(
    connection: Any,
    files: Sequence[tuple[Path, FileColumns]],
    *,
    names: Sequence[str],
    categorical: Collection[str],
    time: Sequence[str],
    progress: Progress,
) -> tuple[ir.Table, list[Column]]:
    """The columns ``names`` and ``time`` of CSV files as a table; see `staging.staged_rows`."""
    for done, (path, columns) in enumerate(files):
        progress("reading", done, len(files))
        view = _text_view(connection, path, columns)
        positions = {**columns.positions(names, "c"), **columns.positions(time, "t")}
        rows = view.select(**{place: view[position] for place, position in positions.items()})
        append_rows(connection, path, "raw", rows, is_first=not done)
    return _typed(connection, names, categorical, len(time))


def _text_view(connection: Any, path: Path, columns: FileColumns) -> ir.Table:
    return connection.read_csv(
        # Escaped, because DuckDB takes names for patterns, and a name may have brackets or stars.
        [glob.escape(str(path.absolute()))],
        table_name="view",
        columns={f"c{i}": "VARCHAR" for i in range(len(columns.names))},
        # Detection reads the first rows only, so files of one source could get different types.
        auto_detect=False,
        header=True,
        delim=columns.delimiter,
        quote='"',
        escape='"',
        compression="gzip" if is_gzipped(path) else "none",
    )


def _typed(
    connection: Any, names: Sequence[str], categorical: Collection[str], times: int
) -> tuple[ir.Table, list[Column]]:
    """The table with numbers in the columns that hold nothing else, texts in all others, and the features' columns."""
    raw = connection.table("raw")
    features: list[Column] = []
    values: dict[str, Any] = {place: raw[place] for place in (f"t{i}" for i in range(times))}
    for start in range(0, len(names), _COLUMNS_PER_QUERY):
        some = names[start : start + _COLUMNS_PER_QUERY]
        places = [f"c{start + i}" for i in range(len(some))]
        numeric = _numeric_places(raw, places)
        # Columns that an option makes categorical may hold times: they are categories like any others.
        chosen = {place for place, name in zip(places, some) if name in categorical}
        _refuse_times(raw, {place: name for place, name in zip(places, some) if place not in numeric | chosen})
        for name, place in zip(some, places):
            is_number = place in numeric - chosen
            features.append(Column(name, place, "numeric" if is_number else "categorical", is_text=not is_number))
            values[place] = raw[place].try_cast("float64") if is_number else shortened(raw[place])
    connection.create_table("rows", raw.select(**values))
    # else the training data would be on disk twice until the build ends
    connection.raw_sql('DROP TABLE "raw"')
    return connection.table("rows"), features


def _numeric_places(raw: ir.Table, places: Sequence[str]) -> set[str]:
    """The columns whose values are all numbers or marks for a missing one; also those without any value."""
    others = _unreadable_counts(raw, places, "float64")
    return {place for place in places if not others[place]}


def _refuse_times(raw: ir.Table, names: dict[str, str]) -> None:
    """Refuse columns that hold only times: as categories they would never occur again."""
    others = _unreadable_counts(raw, names, "timestamp")
    for place, name in names.items():
        if not others[place]:
            raise unusable_type(name, "times")


def _unreadable_counts(raw: ir.Table, places: Iterable[str], data_type: str) -> dict[str, int]:
    """The number of values of each column that cannot be read as ``data_type`` and are not missing."""
    return one_row(raw, {place: is_unreadable_as(raw[place], data_type).sum() for place in places})
