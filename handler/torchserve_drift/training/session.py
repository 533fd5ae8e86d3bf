"""A DuckDB database in a temporary folder, which Ibis expressions run on."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from torchserve_drift.errors import BaselineError

if TYPE_CHECKING:
    import ibis.expr.types as ir

THREADS: Optional[int] = None
"""The number of DuckDB's threads; by default that of the processors. The baseline does not depend on it."""


@contextmanager
def session() -> Iterator[Any]:
    """An Ibis connection to a DuckDB database on disk, which is deleted when the context ends.

    Raises
    ------
    BaselineError
        When Ibis or DuckDB is not installed, or DuckDB cannot finish.
    """
    try:
        import duckdb
        import ibis
    except ImportError as error:
        raise BaselineError(
            f"building a baseline needs Ibis with DuckDB, and {error.name} is missing: "
            "pip install 'torchserve-drift[baseline]'"
        ) from None
    with tempfile.TemporaryDirectory(prefix="torchserve-drift-") as folder, warnings.catch_warnings():
        # Ibis calls functions that newer versions of DuckDB deprecate; users can do nothing about it
        warnings.simplefilter("ignore", DeprecationWarning)
        # on disk, and spilled to disk: the training data may be larger than memory
        connection = ibis.duckdb.connect(f"{folder}/rows.duckdb", temp_directory=f"{folder}/spilled")
        try:
            # the number of a row decides whether it is sampled, so rows must keep the order of the files
            connection.raw_sql("SET preserve_insertion_order = true")
            # a build must not download anything
            connection.raw_sql("SET autoinstall_known_extensions = false")
            if THREADS is not None:
                connection.raw_sql(f"SET threads = {THREADS}")
            yield connection
        except (duckdb.Error, ibis.common.exceptions.IbisError) as error:
            raise BaselineError(f"DuckDB could not finish: {_error_text(error)}") from None
        finally:
            connection.disconnect()


def append_rows(connection: Any, path: Path, table: str, rows: ir.Table, *, is_first: bool) -> None:
    """Append ``rows`` of the file ``path`` to ``table``, which the first file creates."""
    with naming_file(path):
        if is_first:
            connection.create_table(table, rows)
        else:
            connection.insert(table, rows)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Turn an error of DuckDB inside the context into a BaselineError that names the file ``path``."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise BaselineError(f"{str(path)!r} cannot be read: {_error_text(error)}") from None


def _error_text(error: Exception) -> str:
    # After "Possible ..." DuckDB suggests options of DuckDB, which users of this package cannot set.
    return " ".join(str(error).split("Possible")[0].split())[:300]
