"""The files that a source of rows stands for: one file, a folder or a glob."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from torchserve_drift.errors import BaselineError

_FORMATS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet"}


def source_files(source: str) -> list[Path]:
    """The files of ``source`` (a file, a folder with all below it, or a glob), sorted by path.

    In a folder, hidden files and files whose names begin with an underscore are left out: programs that write folders
    of Parquet files put files with their own notes beside them.

    Raises
    ------
    BaselineError
        When there is no file, or CSV and Parquet are mixed.
    """
    path = Path(source)
    try:
        if path.is_dir():
            found = [file for file in path.rglob("*") if _suffix(file) and not _is_hidden(file.relative_to(path))]
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
            raise BaselineError(f"data must be in files named .csv, .csv.gz or .parquet, got {str(file)!r}")
    if len({_FORMATS[_suffix(file)] for file in found}) > 1:
        raise BaselineError(f"SOURCE must be files of one kind, csv or parquet, got both in {source!r}")
    # by parts, so that the order does not depend on the separator of folders
    return sorted(found, key=lambda file: file.parts)


def is_csv(path: Path) -> bool:
    """Whether the name of a source file says that it is CSV; otherwise it is Parquet."""
    return _FORMATS[_suffix(path)] == "csv"


def is_gzipped(path: Path) -> bool:
    """Whether the name of a file says that it is compressed."""
    return path.name.lower().endswith(".gz")


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in _FORMATS if name.endswith(suffix)), "")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
