"""Production rows from files, some at a time, with values as requests would send them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, Callable, Union

from torchserve_drift.errors import DriftError
from torchserve_drift.features.schema import Feature, category_key
from torchserve_drift.training.file_columns import csv_columns
from torchserve_drift.training.source_files import is_csv, is_gzipped, source_files
from torchserve_drift.training.spelling import ABSENT_NUMBERS

_ROWS_PER_PIECE = 20_000


def pieces(source: Union[str, PathLike[str]], schema: Sequence[Feature]) -> Iterator[Mapping[str, list[Any]]]:
    """The columns of ``schema`` from ``source``, for some rows at a time.

    ``source`` is a csv, csv.gz or parquet file, or a folder or glob of them.

    Raises
    ------
    DriftError
        When a file cannot be read or lacks a feature.
    """
    for path in source_files(str(source)):
        yield from (_csv_pieces if is_csv(path) else _parquet_pieces)(path, schema)


def _csv_pieces(path: Path, schema: Sequence[Feature]) -> Iterator[Mapping[str, list[Any]]]:
    found = csv_columns(path)
    readers = [(f.name, _position(found.names, f.name, path), _cell_reader(f)) for f in schema]
    try:
        with gzip.open(path, "rb") if is_gzipped(path) else path.open("rb") as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")  # type: ignore[arg-type] # both are binary streams
            reader = csv.reader(text, delimiter=found.delimiter)
            next(reader)
            # an empty line is no row, and a short one ends with missing values
            lines = (line for line in reader if line)
            while piece := list(islice(lines, _ROWS_PER_PIECE)):
                yield {name: [read(line[i] if i < len(line) else "") for line in piece] for name, i, read in readers}
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise DriftError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None


def _parquet_pieces(path: Path, schema: Sequence[Feature]) -> Iterator[Mapping[str, list[Any]]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise DriftError("reading Parquet needs pyarrow: pip install 'torchserve-drift[baseline]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            # asked first, since pyarrow's own error would not name the feature
            for feature in schema:
                _position(tuple(file.schema_arrow.names), feature.name, path)
            for batch in file.iter_batches(_ROWS_PER_PIECE, columns=[feature.name for feature in schema]):
                yield batch.to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise DriftError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None


def _position(names: Sequence[str], name: str, path: Path) -> int:
    if name not in names:
        raise DriftError(f"{str(path)!r} must have every feature of the baseline, got no column {name!r}")
    return names.index(name)


def _cell_reader(feature: Feature) -> Callable[[str], Any]:
    if feature.kind == "numeric":
        return _read_number
    known = frozenset(feature.categories)
    return lambda cell: _read_category(cell, known)


def _read_number(cell: str) -> Any:
    """A number, or ``None`` for a missing one. Any other text is returned as it is, and is a value of a wrong type."""
    if not cell or cell in ABSENT_NUMBERS:
        return None
    try:
        return float(cell)
    except ValueError:
        return cell


def _read_category(cell: str, known: frozenset[str]) -> Any:
    """The category of the baseline that a cell spells; the text of the cell when it spells none.

    The baseline may have been built from Parquet, which holds true and 3.0 where CSV holds "True" and "3": so a cell is
    tried as text, then as a boolean, then as a number.
    """
    if not cell:
        return None
    if cell in known:
        return cell
    if cell.lower() in known and cell.lower() in ("true", "false"):
        return cell.lower()
    number = _read_number(cell)
    if isinstance(number, float) and category_key(number) in known:
        return number
    return cell
