"""Members to an archive: sorted, with one time and one mode for all, so that equal inputs give equal bytes."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from torchserve_drift.errors import ArchiveError
from torchserve_drift.mar.members import Members, Source

SUFFIXES: Mapping[str, str] = {"default": ".mar", "zip-store": ".mar", "tgz": ".tar.gz", "no-archive": ""}
"""Archive format to the end of the output's name."""

_MODE = 0o644
_LEVEL = 6
_EARLIEST = 315532800.0  # 1980-01-01, the first day a zip can hold


def write(members: Members, output: Path, archive_format: str, created: float) -> None:
    """Write ``members`` to ``output``, which appears complete or not at all.

    Parameters
    ----------
    archive_format
        One of `SUFFIXES`.
    created
        The time of every member, in seconds since 1970; zip archives raise it to 1980.
    """
    if archive_format == "no-archive":
        _write_folder(members, output)
        return
    with _replacing(output) as file:
        if archive_format == "tgz":
            _write_tgz(members, file, output.name[: -len(".tar.gz")], created)
        else:
            _write_zip(members, file, archive_format == "default", created)


def _write_zip(members: Members, file: IO[bytes], compressed: bool, created: float) -> None:
    when = time.gmtime(max(created, _EARLIEST))[:6]
    with zipfile.ZipFile(file, "w") as archive:
        for name, source in members.sorted():
            info = zipfile.ZipInfo(name, when)
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | _MODE) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            info._compresslevel = _LEVEL  # type: ignore[attr-defined] # public only from Python 3.13 on
            info.file_size = _size(source)
            with _opened(source) as content, archive.open(info, "w") as member:
                shutil.copyfileobj(content, member, 1 << 20)


def _write_tgz(members: Members, file: IO[bytes], folder: str, created: float) -> None:
    with (
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, source in members.sorted():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.mode, info.mtime, info.size = _MODE, int(created), _size(source)
            with _opened(source) as content:
                archive.addfile(info, content)


def _write_folder(members: Members, output: Path) -> None:
    """Write a folder beside ``output`` and put it in its place."""
    if output.exists() and not (output / "MAR-INF" / "MANIFEST.json").is_file():
        raise ArchiveError(f"output must be replaceable: a folder with a MAR-INF/MANIFEST.json, got {str(output)!r}")
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as beside:
        fresh = Path(beside, "new")
        for name, source in members.sorted():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with _opened(source) as content, path.open("wb") as member:
                shutil.copyfileobj(content, member, 1 << 20)
            path.chmod(_MODE)
        if output.exists():
            output.rename(Path(beside, "old"))
        fresh.rename(output)


@contextmanager
def _replacing(output: Path) -> Iterator[IO[bytes]]:
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, _MODE)
        os.replace(name, output)
    except BaseException:  # whatever ends this, an interrupt included, leaves no file behind
        os.unlink(name)
        raise


def _size(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _opened(source: Source) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
