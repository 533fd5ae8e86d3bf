"""Rows of Parquet files in DuckDB. The types of the files decide which columns are numeric."""

from __future__ import annotations

import glob
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchserve_drift.training.columns import Column, unusable_type
from torchserve_drift.training.expressions import shortened
from torchserve_drift.training.file_columns import FileColumns
from torchserve_drift.training.progress import Progress
from torchserve_drift.training.session import append_rows, naming_file

if TYPE_CHECKING:
    import ibis.expr.types as ir

_USABLE_TYPES = ("absent", "integer", "number", "boolean", "text")


def stage_parquet(
    connection: Any,
    files: Sequence[tuple[Path, FileColumns]],
    *,
    whole: FileColumns,
    names: Sequence[str],
    categorical: Collection[str],
    time: Sequence[str],
    progress: Progress,
) -> tuple[ir.Table, list[Column]]:
    """The columns ``names`` and ``time`` of Parquet files as a table; see `staging.staged_rows`."""
    types = dict(zip(whole.names, whole.types))
    features = _features(names, whole, categorical)
    for done, (path, columns) in enumerate(files):
        progress("reading", done, len(files))
        view = _view(connection, path)
        places, times = columns.positions(names, "c"), columns.positions(time, "t")
        values = {f.place: _staged_value(view[places[f.place]], f, types[f.name]) for f in features}
        for name, (place, position) in zip(time, times.items()):
            # times become text, which orders by the same rules as the text of CSV files
            is_number = types[name] in ("integer", "number")
            values[place] = view[position].cast("float64" if is_number else "string")
        append_rows(connection, path, "rows", view.select(**values), is_first=not done)
    return connection.table("rows"), features


def _features(names: Sequence[str], whole: FileColumns, categorical: Collection[str]) -> list[Column]:
    types = dict(zip(whole.names, whole.types))
    features = []
    for i, name in enumerate(names):
        if types[name] not in _USABLE_TYPES:
            raise unusable_type(name, types[name])
        is_category = name in categorical or name in whole.dictionary or types[name] in ("boolean", "text")
        features.append(Column(name, f"c{i}", "categorical" if is_category else "numeric"))
    return features


def _view(connection: Any, path: Path) -> ir.Table:
    with naming_file(path):
        # hive partitioning would make columns of the names of folders such as `year=2024`
        return connection.read_parquet([glob.escape(str(path.absolute()))], table_name="view", hive_partitioning=False)


def _staged_value(value: Any, column: Column, known_type: str) -> Any:
    """The value of a column as the table holds it: float64 or text."""
    import ibis

    if known_type == "absent":  # a column of nulls only, which has no type to cast from
        return ibis.literal(None, type="float64" if column.kind == "numeric" else "string")
    # floats that are categories stay floats: Python spells them, as it spells those of requests
    if column.kind == "numeric" or known_type == "number":
        return value.cast("float64")
    return shortened(value.cast("string"))
