"""The columns of files of training data: their names as written, and which kind each type is."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import math
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Kind, Mistyped, category_key

ABSENT_NUMBERS = ("NA", "N/A", "#N/A", "<NA>", "NULL", "Null", "null", "None")
"""Besides an empty cell and NaN, what means a missing number in CSV. In a column of text these are categories."""

TYPES = ("absent", "integer", "number", "boolean", "text")
"""What is known of a column's type; every other type is refused."""

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_CODE = re.compile(r"\s*[+-]?0\d+\s*", re.ASCII)


@dataclass(frozen=True)
class Column:
    """A feature's column in the table of `source.staged`, where it is called ``place``.

    ``text``: a category is as it was written in a CSV file, so that numbers and booleans are still to be spelled.
    """

    name: str
    place: str
    kind: Kind
    text: bool = False


@dataclass(frozen=True)
class FileColumns:
    """One file's columns in order: ``names``, ``types`` (empty for CSV), and CSV's ``delimiter``."""

    names: tuple[str, ...]
    types: tuple[str, ...] = ()
    dictionary: frozenset[str] = frozenset()
    delimiter: str = ","


def csv_columns(path: Path) -> FileColumns:
    """The header line of a CSV file; the delimiter is that of ``, tab ; |`` which splits it into the most names."""
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path, "rb") as packed:
                return _header(io.TextIOWrapper(packed, encoding="utf-8-sig", newline=""), path)  # type: ignore[arg-type] # a binary stream
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _header(file, path)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise BaselineError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None


def _header(file: io.TextIOWrapper, path: Path) -> FileColumns:
    start = file.read(1_000_000)
    best: list[str] = []
    chosen = ","
    for delimiter in ",\t;|":
        names = next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), [])
        if len(names) > len(best):
            best, chosen = names, delimiter
    if not best:
        raise BaselineError(f"{str(path)!r} must begin with a line of column names, got an empty one")
    return FileColumns(tuple(best), delimiter=chosen)


def parquet_columns(path: Path) -> FileColumns:
    """The columns of a Parquet file, in its own words."""
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
    same = list(written.names) == list(names)
    dictionary = frozenset(f.name for f in written if pa.types.is_dictionary(f.type)) if same else frozenset()
    return FileColumns(names, tuple(_arrow_type(field.type) for field in schema), dictionary)


def _arrow_type(kind: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _arrow_type(kind.value_type)
    tests = {
        "absent": (types.is_null,),
        "integer": (types.is_integer,),
        "number": (types.is_floating, types.is_decimal),
        "boolean": (types.is_boolean,),
        "text": (types.is_string, types.is_large_string),
    }
    for known, holds in tests.items():
        if any(test(kind) for test in holds):
            return known
    return str(kind)


def merged(files: Sequence[tuple[Path, FileColumns]], ignored: Collection[Optional[str]] = ()) -> FileColumns:
    """The columns of all files, in the order of the first; the types of ``ignored`` ones may differ.

    Raises
    ------
    BaselineError
        When files differ in their names or in a column's kind, or a file has a name twice.
    """
    first_path, first = files[0]
    types = dict(zip(first.names, first.types))
    dictionary = set(first.dictionary)
    for path, found in files:
        for name in found.names:
            if found.names.count(name) > 1:
                raise BaselineError(f"the columns of {str(path)!r} must have different names, got {name!r} twice")
        odd = set(found.names) ^ set(first.names)
        if odd:
            raise BaselineError(
                f"{str(path)!r} must have the columns of {str(first_path)!r}; only one of them has {min(odd)!r}"
            )
        dictionary |= found.dictionary
        for name, kind in zip(found.names, found.types):
            if name not in ignored:
                types[name] = _common_type(types[name], kind, name, path)
    return FileColumns(first.names, tuple(types[name] for name in first.names if name in types), frozenset(dictionary))


def _common_type(one: str, other: str, name: str, path: Path) -> str:
    if other in (one, "absent"):
        return one
    if one == "absent":
        return other
    if {one, other} == {"integer", "number"}:
        return "number"
    raise BaselineError(f"column {name!r} must have one type in all files, got {one} and, in {str(path)!r}, {other}")


def kept(
    names: Sequence[str],
    label: Optional[str],
    exclude: Collection[str],
    categorical: Collection[str],
    time: Collection[str] = (),
) -> list[str]:
    """The columns that are features.

    Raises
    ------
    BaselineError
        When an option names no column, or none is left, or one has an empty name.
    """
    labels = [] if label is None else [label]
    options = [("label", labels), ("exclude", exclude), ("categorical", categorical), ("time", time)]
    for option, chosen in options:
        for name in chosen:
            if name not in names:
                raise BaselineError(f"--{option} must name a column of the data, got {name!r}")
    dropped = {label, *exclude, *time}
    features = [name for name in names if name not in dropped]
    if not features:
        raise BaselineError(
            "the data must have at least one column that is no label, no time and not excluded, got none"
        )
    if "" in features:
        raise BaselineError("every column must have a name, got one without; name it, or --exclude ''")
    return features


def refusal(name: str, kind: str) -> BaselineError:
    """The error for a column whose type is neither a number nor a category."""
    return BaselineError(
        f"column {name!r} must hold numbers, text or booleans, got {kind}; "
        f"leave it out with --exclude {shlex.quote(name)}"
    )


def spelled(values: Sequence[Any], text: bool) -> Iterator[Optional[str]]:
    """Each of a column's distinct values as the category that a request would send; ``None`` for a missing one.

    Examples
    --------
    >>> list(spelled(["3", "3.0", "NA"], text=True)), list(spelled(["True", "False"], text=True))
    (['3', '3', None], ['true', 'false'])
    >>> list(spelled(["007", "3"], text=True)), list(spelled(["NA", "DL"], text=True)), list(spelled([2.0], text=False))
    (['007', '3'], ['NA', 'DL'], ['2'])
    """
    present = [value for value in values if value is not None]
    if text and present:
        if all(value.lower() in ("true", "false") for value in present):
            return (None if value is None else value.lower() for value in values)
        numbers = [value for value in present if value not in ABSENT_NUMBERS]
        if numbers and all(_NUMBER.fullmatch(value) and not _CODE.fullmatch(value) for value in numbers):
            return (None if value is None or value in ABSENT_NUMBERS else _key(_parsed(value)) for value in values)
    return (_key(value) for value in values)


def key_of(value: Any) -> Any:
    """A raw value of a column as a key of mappings: NaN is not equal to itself, and would be a new key each time."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _parsed(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _key(value: object) -> Optional[str]:
    key = category_key(value)
    assert not isinstance(key, Mistyped)
    return key
