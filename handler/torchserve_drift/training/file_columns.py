"""The columns of the files of training data: their names and, in Parquet, their types."""

from __future__ import annotations

import base64
import csv
import gzip
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from torchserve_drift.errors import BaselineError
from torchserve_drift.training.source_files import is_gzipped

_HEADER_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class FileColumns:
    """The columns of a file, in order.

    ``types`` are empty for CSV; in Parquet they are "absent" (a column of nulls), "integer", "number", "boolean",
    "text" or, for any other type, Arrow's name of it. ``dictionary`` names the dictionary-encoded columns.
    """

    names: tuple[str, ...]
    types: tuple[str, ...] = ()
    dictionary: frozenset[str] = frozenset()
    delimiter: str = ","

    def positions(self, names: Sequence[str], prefix: str) -> dict[str, int]:
        """Where the columns ``names`` are in this file, by their names in the table: the prefix and a number."""
        return {f"{prefix}{i}": self.names.index(name) for i, name in enumerate(names)}


def csv_columns(path: Path) -> FileColumns:
    """The columns that the first line of a CSV file names.

    The delimiter is a comma, tab, semicolon or bar: the one that splits the line into the most names.

    Raises
    ------
    BaselineError
        When the file cannot be read, or its first line is empty.
    """
    try:
        if is_gzipped(path):
            with gzip.open(path, "rb") as packed:
                return _csv_header(io.TextIOWrapper(packed, encoding="utf-8-sig", newline=""), path)  # type: ignore[arg-type] # a binary stream
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _csv_header(file, path)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise BaselineError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None


def _csv_header(file: io.TextIOWrapper, path: Path) -> FileColumns:
    # not readline: a quoted name may hold line breaks
    start = file.read(_HEADER_CHARACTERS)
    best: list[str] = []
    best_delimiter = ","
    for delimiter in ",\t;|":
        names = next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), [])
        if len(names) > len(best):
            best, best_delimiter = names, delimiter
    if not best:
        raise BaselineError(f"{str(path)!r} must begin with a line of column names, got an empty one")
    return FileColumns(tuple(best), delimiter=best_delimiter)


def parquet_columns(path: Path) -> FileColumns:
    """The columns of a Parquet file, as its metadata describes them.

    Raises
    ------
    BaselineError
        When the file cannot be read.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
        stored = (metadata.metadata or {}).get(b"ARROW:schema")
        # only here does Arrow (and so pandas) note that a column of integers was dictionary-encoded
        written = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(stored))) if stored else schema
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BaselineError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None
    names = tuple(schema.names)
    same = list(written.names) == list(names)  # else the note is about other columns than those of the file
    dictionary = frozenset(f.name for f in written if pa.types.is_dictionary(f.type)) if same else frozenset()
    return FileColumns(names, tuple(_arrow_type(field.type) for field in schema), dictionary)


def _arrow_type(arrow_type: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(arrow_type):
        return _arrow_type(arrow_type.value_type)
    tests = {
        "absent": (types.is_null,),
        "integer": (types.is_integer,),
        "number": (types.is_floating, types.is_decimal),
        "boolean": (types.is_boolean,),
        "text": (types.is_string, types.is_large_string),
    }
    for known, holds in tests.items():
        if any(test(arrow_type) for test in holds):
            return known
    return str(arrow_type)


def merged_columns(files: Sequence[tuple[Path, FileColumns]], ignored: Collection[Optional[str]] = ()) -> FileColumns:
    """The columns of all files together, in the order of the first file; the types of ``ignored`` ones may differ.

    Raises
    ------
    BaselineError
        When files differ in their names or in a column's type, or a file has a name twice.
    """
    first_path, first = files[0]
    types = dict(zip(first.names, first.types))
    dictionary = set(first.dictionary)
    for path, found in files:
        for name in found.names:
            if found.names.count(name) > 1:
                raise BaselineError(f"the columns of {str(path)!r} must have different names, got {name!r} twice")
        # sets: columns may have another order in each file
        odd = set(found.names) ^ set(first.names)
        if odd:
            raise BaselineError(
                f"{str(path)!r} must have the columns of {str(first_path)!r}; only one of them has {min(odd)!r}"
            )
        dictionary |= found.dictionary
        for name, known in zip(found.names, found.types):
            if name not in ignored:
                types[name] = _common_type(types[name], known, name, path)
    return FileColumns(first.names, tuple(types[name] for name in first.names if name in types), frozenset(dictionary))


def _common_type(one: str, other: str, name: str, path: Path) -> str:
    if other in (one, "absent"):
        return one
    if one == "absent":
        return other
    if {one, other} == {"integer", "number"}:
        return "number"
    raise BaselineError(f"column {name!r} must have one type in all files, got {one} and, in {str(path)!r}, {other}")
