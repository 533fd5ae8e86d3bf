"""Members to an archive: sorted, with the same time and mode for all, so that equal inputs give equal bytes."""

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
"""Archive format to the suffix of the output."""

_FILE_MODE = 0o644
_COMPRESSION_LEVEL = 6
_EARLIEST_TIME = 315532800.0  # 1980-01-01, the first day a zip can hold


def write(members: Members, output: Path, archive_format: str, created: float) -> None:
    """Write ``members`` to ``output``, which is complete once it exists.

    Parameters
    ----------
    archive_format
        One of `SUFFIXES`.
    created
        The time of every member, in seconds since 1970. In zip archives it is 1980 at the earliest.
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
    when = time.gmtime(max(created, _EARLIEST_TIME))[:6]
    with zipfile.ZipFile(file, "w") as archive:
        for name, source in members.sorted():
            info = zipfile.ZipInfo(name, when)
            info.create_system = 3  # Unix on every system, so that equal inputs give equal bytes
            info.external_attr = (stat.S_IFREG | _FILE_MODE) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            info._compresslevel = _COMPRESSION_LEVEL  # type: ignore[attr-defined] # public only from Python 3.13 on
            # known before writing, so that files above 4 GiB get a zip64 header
            info.file_size = _size(source)
            with _opened(source) as content, archive.open(info, "w") as member:
                shutil.copyfileobj(content, member, 1 << 20)


def _write_tgz(members: Members, file: IO[bytes], folder: str, created: float) -> None:
    with (
        gzip.GzipFile("", "wb", _COMPRESSION_LEVEL, file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, source in members.sorted():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.mode, info.mtime, info.size = _FILE_MODE, int(created), _size(source)
            with _opened(source) as content:
                archive.addfile(info, content)


def _write_folder(members: Members, output: Path) -> None:
    """Write a folder next to ``output``, then rename it to ``output``."""
    if output.exists() and not (output / "MAR-INF" / "MANIFEST.json").is_file():
        raise ArchiveError(f"output must be replaceable: a folder with a MAR-INF/MANIFEST.json, got {str(output)!r}")
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as beside:
        fresh = Path(beside, "new")
        for name, source in members.sorted():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with _opened(source) as content, path.open("wb") as member:
                shutil.copyfileobj(content, member, 1 << 20)
            path.chmod(_FILE_MODE)
        # two renames: a folder cannot replace one that is not empty
        if output.exists():
            output.rename(Path(beside, "old"))
        fresh.rename(output)


@contextmanager
def _replacing(output: Path) -> Iterator[IO[bytes]]:
    """A temporary file next to ``output``, renamed to ``output`` when the context ends without an error."""
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, _FILE_MODE)
        os.replace(name, output)
    except BaseException:  # an interrupt too must not leave the temporary file behind
        os.unlink(name)
        raise


def _size(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _opened(source: Source) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
