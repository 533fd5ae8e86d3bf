"""Reads and writes the file of a baseline. A path may lead to any file; a file is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from typing import Union

from torchserve_drift.baseline.artifact import from_bytes, to_bytes
from torchserve_drift.baseline.digest import DIGEST, NOT_A_BASELINE, PREFIX
from torchserve_drift.baseline.profile import Profile
from torchserve_drift.errors import BaselineError


def load_file(path: Union[str, PathLike[str]]) -> Profile:
    """The baseline in the file ``path``.

    Raises
    ------
    BaselineError
        When the file cannot be read or trusted; one line that names the file.
    """
    return from_bytes(read_file(path), os.fspath(path))


def read_file(path: Union[str, PathLike[str]]) -> bytes:
    """The content of the file ``path``, if it begins as a baseline does.

    Raises
    ------
    BaselineError
        When it cannot be read, is a device or a pipe, or begins in another way. Then only its beginning is read.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file")
            # the beginning first: some other file may be far larger than memory
            start = file.read(DIGEST.stop)
            if len(start) == DIGEST.stop and not start.startswith(PREFIX, 8):
                raise BaselineError(f"baseline {os.fspath(path)!r} cannot be used: {NOT_A_BASELINE}")
            file.seek(0)
            return file.read(facts.st_size)
    except (OSError, ValueError) as error:
        raise BaselineError(f"baseline {os.fspath(path)!r} cannot be read: {_error_text(error)}") from None


def save_file(baseline: Profile, path: Union[str, PathLike[str]]) -> Profile:
    """Write ``baseline`` to ``path`` and return it with its ``sha256``.

    The bytes go to a temporary file in the same folder, which then replaces ``path``.

    Raises
    ------
    BaselineError
        When the baseline contradicts itself or the file cannot be written; a file at ``path`` is then unchanged.
    """
    data = to_bytes(baseline)
    temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a crash after the rename could leave an empty file at `path`
            os.replace(temporary, path)
        except BaseException:  # an interrupt too must not leave the temporary file behind
            with suppress(OSError, ValueError):
                os.unlink(temporary)
            raise
    except (OSError, ValueError) as error:
        raise BaselineError(f"baseline {os.fspath(path)!r} cannot be written: {_error_text(error)}") from None
    return replace(baseline, sha256=data[DIGEST].decode())


def _open_without_waiting(path: str, flags: int) -> int:
    # to open a pipe would otherwise wait until something writes to it
    return os.open(path, flags | os.O_NONBLOCK)


def _error_text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
