"""Production rows in files, a piece at a time, spelled as requests would have them."""

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
from torchserve_drift.training.source_files import source_files
from torchserve_drift.training.spelling import ABSENT_NUMBERS

_PIECE_ROWS = 20_000


def pieces(source: Union[str, PathLike[str]], schema: Sequence[Feature]) -> Iterator[Mapping[str, list[Any]]]:
    """The columns of ``schema`` from a csv, csv.gz or parquet file, or a folder or glob of them, some rows at a time.

    Raises
    ------
    DriftError
        When a file cannot be read or lacks a feature.
    """
    for path in source_files(str(source)):
        yield from (_parquet if path.name.lower().endswith(".parquet") else _csv)(path, schema)


def _csv(path: Path, schema: Sequence[Feature]) -> Iterator[Mapping[str, list[Any]]]:
    found = csv_columns(path)
    places = [(feature.name, _place(found.names, feature.name, path), _reader(feature)) for feature in schema]
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")  # type: ignore[arg-type] # both are binary streams
            reader = csv.reader(text, delimiter=found.delimiter)
            next(reader)
            lines = (line for line in reader if line)
            while piece := list(islice(lines, _PIECE_ROWS)):
                yield {name: [read(line[i] if i < len(line) else "") for line in piece] for name, i, read in places}
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise DriftError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None


def _parquet(path: Path, schema: Sequence[Feature]) -> Iterator[Mapping[str, list[Any]]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise DriftError("reading Parquet needs pyarrow: pip install 'torchserve-drift[baseline]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            for feature in schema:
                _place(tuple(file.schema_arrow.names), feature.name, path)
            for batch in file.iter_batches(_PIECE_ROWS, columns=[feature.name for feature in schema]):
                yield batch.to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise DriftError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None


def _place(names: Sequence[str], name: str, path: Path) -> int:
    if name not in names:
        raise DriftError(f"{str(path)!r} must have every feature of the baseline, got no column {name!r}")
    return names.index(name)


def _reader(feature: Feature) -> Callable[[str], Any]:
    if feature.kind == "numeric":
        return _number
    known = frozenset(feature.categories)
    return lambda text: _category(text, known)


def _number(text: str) -> Any:
    """A number, ``None`` where it is missing, the text itself (a value of a wrong type) where it is neither."""
    if not text or text in ABSENT_NUMBERS:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _category(text: str, known: frozenset[str]) -> Any:
    """The known category that ``text`` spells, as a string, a boolean or a number; else ``text``."""
    if not text:
        return None
    if text in known:
        return text
    if text.lower() in known and text.lower() in ("true", "false"):
        return text.lower()
    number = _number(text)
    if isinstance(number, float) and category_key(number) in known:
        return number
    return text
