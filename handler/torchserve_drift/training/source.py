"""Training data in files, brought into one DuckDB table on disk, its rows in the order of the files."""

from __future__ import annotations

import glob
import os
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import LONGEST_CATEGORY
from torchserve_drift.training import columns as reading
from torchserve_drift.training.columns import Column, FileColumns

if TYPE_CHECKING:
    import ibis.expr.types as ir

Progress = Callable[[str, int, int], None]
"""Called with a step's name, how much of it is done, and how much there is."""

THREADS: Optional[int] = None
"""Of DuckDB; as many as there are processors by default. The baseline does not depend on it."""

_KINDS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet"}
_AT_ONCE = 50
"""Columns looked at by one query."""


def files(source: str) -> list[Path]:
    """The files that ``source`` stands for (a file, a folder and all below it, or a glob), sorted by path.

    Raises
    ------
    BaselineError
        When there is none, or CSV and Parquet are mixed.
    """
    path = Path(source)
    try:
        if path.is_dir():
            found = [file for file in path.rglob("*") if _suffix(file) and not _hidden(file.relative_to(path))]
        elif path.exists():
            found = [path]
        else:
            found = [Path(match) for match in glob.glob(source, recursive=True) if not os.path.isdir(match)]
    except (OSError, ValueError) as error:
        raise BaselineError(f"{source!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not found:
        raise BaselineError(f"SOURCE must be a csv, csv.gz or parquet file, a folder or a glob of them, got {source!r}")
    for file in found:
        if not _suffix(file):
            raise BaselineError(f"training data must be in files named .csv, .csv.gz or .parquet, got {str(file)!r}")
    if len({_KINDS[_suffix(file)] for file in found}) > 1:
        raise BaselineError(f"SOURCE must be files of one kind, csv or parquet, got both in {source!r}")
    return sorted(found, key=lambda file: file.parts)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in _KINDS if name.endswith(suffix)), "")


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


@contextmanager
def session() -> Iterator[Any]:
    """An Ibis connection to a DuckDB database in a temporary folder, which goes when the context ends."""
    try:
        import duckdb
        import ibis
    except ImportError as error:
        raise BaselineError(
            f"building a baseline needs Ibis with DuckDB, and {error.name} is missing: "
            "pip install 'torchserve-drift[baseline]'"
        ) from None
    with tempfile.TemporaryDirectory(prefix="torchserve-drift-") as folder, warnings.catch_warnings():
        # Ibis calls what newer versions of DuckDB deprecate; it is not for our users to see
        warnings.simplefilter("ignore", DeprecationWarning)
        connection = ibis.duckdb.connect(f"{folder}/rows.duckdb", temp_directory=f"{folder}/spilled")
        try:
            connection.raw_sql("SET preserve_insertion_order = true")
            connection.raw_sql("SET autoinstall_known_extensions = false")
            if THREADS is not None:
                connection.raw_sql(f"SET threads = {THREADS}")
            yield connection
        except (duckdb.Error, ibis.common.exceptions.IbisError) as error:
            raise BaselineError(f"DuckDB could not finish: {_first_words(error)}") from None
        finally:
            connection.disconnect()


def staged(
    connection: Any,
    paths: Sequence[Path],
    *,
    label: Optional[str],
    exclude: Collection[str],
    categorical: Collection[str],
    time: Sequence[str],
    progress: Progress,
) -> tuple[ir.Table, list[Column]]:
    """A table of the features: numbers as float64, categories as text or float64; its `rowid` is the row's number.

    The columns of ``time`` are in it too, called t0, t1, ..., as text unless they are known to be numbers.

    Raises
    ------
    BaselineError
        When a file cannot be read or an option names no column; when a column is neither number nor category.
    """
    is_csv = _KINDS[_suffix(paths[0])] == "csv"
    found = [(path, (reading.csv_columns if is_csv else reading.parquet_columns)(path)) for path in paths]
    whole = reading.merged(found, {label, *exclude} - {*time})
    names = reading.kept(whole.names, label, exclude, categorical, time)
    types = dict(zip(whole.names, whole.types))
    features = [] if is_csv else _parquet_features(names, whole, categorical)
    for done, (path, columns) in enumerate(found):
        progress("reading", done, len(found))
        places = {f"c{i}": columns.names.index(name) for i, name in enumerate(names)}
        times = {f"t{i}": columns.names.index(name) for i, name in enumerate(time)}
        if is_csv:
            view = _csv_view(connection, path, columns)
            values = {new: view[old] for new, old in {**places, **times}.items()}
        else:
            view = _parquet_view(connection, path)
            values = {f.place: _parquet_value(view[places[f.place]], f, types[f.name]) for f in features}
            known = ("float64" if types[name] in ("integer", "number") else "string" for name in time)
            values.update({new: view[old].cast(kind) for (new, old), kind in zip(times.items(), known)})
        _append(connection, path, "raw" if is_csv else "rows", view.select(**values), is_first=not done)
    return _typed(connection, names, categorical, len(time)) if is_csv else (connection.table("rows"), features)


def _csv_view(connection: Any, path: Path, columns: FileColumns) -> ir.Table:
    return connection.read_csv(
        [glob.escape(str(path.absolute()))],
        table_name="view",
        columns={f"c{i}": "VARCHAR" for i in range(len(columns.names))},
        auto_detect=False,
        header=True,
        delim=columns.delimiter,
        quote='"',
        escape='"',
        compression="gzip" if path.name.lower().endswith(".gz") else "none",
    )


def _parquet_view(connection: Any, path: Path) -> ir.Table:
    with _reading(path):
        return connection.read_parquet([glob.escape(str(path.absolute()))], table_name="view", hive_partitioning=False)


def _append(connection: Any, path: Path, table: str, rows: ir.Table, *, is_first: bool) -> None:
    with _reading(path):
        if is_first:
            connection.create_table(table, rows)
        else:
            connection.insert(table, rows)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise BaselineError(f"{str(path)!r} cannot be read: {_first_words(error)}") from None


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split("Possible")[0].split())[:300]


def _typed(
    connection: Any, names: Sequence[str], categorical: Collection[str], times: int
) -> tuple[ir.Table, list[Column]]:
    raw = connection.table("raw")
    features: list[Column] = []
    values: dict[str, Any] = {place: raw[place] for place in (f"t{i}" for i in range(times))}
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        places = [f"c{start + i}" for i in range(len(some))]
        numeric = _numeric_places(raw, places)
        chosen = {place for place, name in zip(places, some) if name in categorical}
        _refuse_times(raw, {p: n for p, n in zip(places, some) if p not in numeric | chosen})
        for name, place in zip(some, places):
            is_number = place in numeric - chosen
            features.append(Column(name, place, "numeric" if is_number else "categorical", text=not is_number))
            values[place] = raw[place].try_cast("float64") if is_number else _shortened(raw[place])
    connection.create_table("rows", raw.select(**values))
    connection.raw_sql('DROP TABLE "raw"')
    return connection.table("rows"), features


def _numeric_places(raw: ir.Table, places: Sequence[str]) -> set[str]:
    """The columns in which every value is a number or stands for a missing one; those without any value too."""
    found = _counts_beyond(raw, places, "float64")
    return {place for place in places if not found[place]}


def _counts_beyond(raw: ir.Table, places: Iterable[str], kind: str) -> dict[str, int]:
    """How many values of each column are no ``kind`` and stand for no missing one."""
    tallies = {place: is_beyond(raw[place], kind).sum() for place in places}
    found: dict[str, int] = raw.aggregate(**tallies).to_pyarrow().to_pylist()[0]
    return found


def is_beyond(text: Any, kind: Any) -> Any:
    """The expression that ``text`` is neither empty, nor a mark for a missing value, nor to be read as ``kind``."""
    return text.notnull() & text.try_cast(kind).isnull() & ~text.isin(reading.ABSENT_NUMBERS)


def _refuse_times(raw: ir.Table, columns: dict[str, str]) -> None:
    if not columns:
        return
    found = _counts_beyond(raw, columns, "timestamp")
    for place, name in columns.items():
        if not found[place]:
            raise reading.refusal(name, "times")


def _parquet_features(names: Sequence[str], whole: FileColumns, categorical: Collection[str]) -> list[Column]:
    types = dict(zip(whole.names, whole.types))
    features = []
    for i, name in enumerate(names):
        if types[name] not in reading.TYPES:
            raise reading.refusal(name, types[name])
        chosen = name in categorical or name in whole.dictionary or types[name] in ("boolean", "text")
        features.append(Column(name, f"c{i}", "categorical" if chosen else "numeric"))
    return features


def _parquet_value(value: Any, column: Column, known: str) -> Any:
    import ibis

    if known == "absent":
        return ibis.literal(None, type="float64" if column.kind == "numeric" else "string")
    if column.kind == "numeric" or known == "number":
        return value.cast("float64")
    return _shortened(value.cast("string"))


def _shortened(text: Any) -> Any:
    """As `features.schema.hashed` does, so that no long text is ever brought into memory."""
    import ibis

    return ibis.ifelse(text.length() > LONGEST_CATEGORY, ibis.literal("sha256:") + text.hexdigest("sha256"), text)
