"""Training data in files, copied into one DuckDB table on disk, with its rows in the order of the files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from torchserve_drift.training.columns import Column, feature_names
from torchserve_drift.training.csv_rows import stage_csv
from torchserve_drift.training.file_columns import csv_columns, merged_columns, parquet_columns
from torchserve_drift.training.parquet_rows import stage_parquet
from torchserve_drift.training.progress import Progress
from torchserve_drift.training.source_files import is_csv

if TYPE_CHECKING:
    import ibis.expr.types as ir


def staged_rows(
    connection: Any,
    paths: Sequence[Path],
    *,
    label: Optional[str],
    exclude: Collection[str],
    categorical: Collection[str],
    time: Sequence[str],
    progress: Progress,
) -> tuple[ir.Table, list[Column]]:
    """A table of the features, and which column each feature is.

    Numbers are float64, categories text or float64; ``rowid`` is the number of a row. The columns of ``time`` are in
    the table too. They are called t0, t1, ... and are text unless they are known to be numbers.

    Raises
    ------
    BaselineError
        When a file cannot be read, an option names no column, or a feature is neither number nor category.
    """
    from_csv = is_csv(paths[0])
    files = [(path, csv_columns(path) if from_csv else parquet_columns(path)) for path in paths]
    # columns that are dropped may have any type; a dropped column that gives the time is still read
    whole = merged_columns(files, {label, *exclude} - {*time})
    names = feature_names(whole.names, label, exclude, categorical, time)
    if from_csv:
        return stage_csv(connection, files, names=names, categorical=categorical, time=time, progress=progress)
    return stage_parquet(
        connection, files, whole=whole, names=names, categorical=categorical, time=time, progress=progress
    )
