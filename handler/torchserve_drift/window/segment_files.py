"""Segment files of one directory: created whole, mapped into memory, locked by their owner while it lives."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from torchserve_drift.window.process_lock import is_linked, try_lock, unlock
from torchserve_drift.window.segment import FORMAT, MAGIC

_SUFFIX = ".segment"
_WAIT_TRIES, _WAIT_SECONDS = 100, 0.01
_logger = logging.getLogger("torchserve_drift")


class SegmentFile:
    """A segment file, mapped into memory. The process that holds its lock owns it.

    The kernel releases the lock when the owner ends for any reason. Forked children must close the file.

    Parameters
    ----------
    path
        The path of the file.
    size
        The size of the file in bytes.
    create
        Whether to create the file, and own it. It must not exist.

    Raises
    ------
    OSError
        When the file cannot be opened, or cannot be created because the disk is full.
    ValueError
        When it has another size and no process owns it.
    """

    def __init__(self, path: Path, size: int, *, create: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        self._descriptor = -1
        self._descriptor = os.open(path, flags, 0o600)
        try:
            if create:
                self.try_lock()
                os.posix_fallocate(self._descriptor, 0, size)  # a full disk is an error here, not a SIGBUS later
            found = os.fstat(self._descriptor).st_size
            if found != size:
                # While its owner lives, the file is being created or belongs to another baseline: it is not broken.
                raise (ValueError if self.try_lock() else BlockingIOError)(f"{found} bytes, not {size}")
            self.memory = mmap.mmap(self._descriptor, size)
        except BaseException:
            self.close()
            if create:
                path.unlink(missing_ok=True)
            raise

    def try_lock(self) -> bool:
        """Become the owner; False while another process is the owner."""
        return try_lock(self._descriptor)

    def unlock(self) -> None:
        """Let another process become the owner."""
        unlock(self._descriptor)

    def is_linked(self) -> bool:
        """Whether other processes still find this file at its path."""
        return is_linked(self._descriptor, self.path)

    def close(self) -> None:
        """Close the file. The mapped memory stays as long as arrays use it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class SegmentDirectory:
    """The segment files of one model version in one directory. Each has ``size`` bytes and begins with ``head``."""

    def __init__(self, path: Path, size: int, head: bytes) -> None:
        self.path, self._size, self._head = path, size, head
        self._dropped: dict[str, list[str]] = {}

    def create(self) -> SegmentFile:
        """Create a file that this process owns. The directory is made where there is none.

        Raises
        ------
        OSError
            When the directory or the file cannot be made, for example because the disk is full.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = SegmentFile(self.path / f"{uuid.uuid4().hex}{_SUFFIX}", self._size, create=True)
        file.memory[: len(self._head)] = self._head
        return file

    def take_over(self) -> Optional[SegmentFile]:
        """Become the owner of a file whose owner has ended; ``None`` where there is no such file."""
        try:
            with self._one_at_a_time():
                for path in self.paths():
                    file = self.open(path)
                    if file is not None and file.try_lock():
                        return file
                    if file is not None:
                        file.close()
            return None
        finally:
            self.log_dropped()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Wait until no other worker looks for a file, so that one worker drops and logs all files that are unusable.

        Without waiting, only the log lines would differ. So a worker waits one second at most.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield
            return
        try:
            for _ in range(_WAIT_TRIES):
                if try_lock(descriptor):
                    break
                time.sleep(_WAIT_SECONDS)
            yield
        finally:
            unlock(descriptor)
            os.close(descriptor)

    def paths(self) -> list[Path]:
        """All segment files, sorted by name."""
        return sorted(self.path.glob(f"*{_SUFFIX}"))

    def open(self, path: Path) -> Optional[SegmentFile]:
        """The segment at ``path``; ``None`` if it is not for this baseline and these windows.

        Such a file is removed, unless another process owns it.
        """
        try:
            file = SegmentFile(path, self._size)
        except ValueError as error:
            self.discard(path, f"made for another baseline or other windows, or broken: {error}")
            return None
        except OSError as error:  # deleted meanwhile, or this process lacks memory or descriptors: the file may be good
            if error.errno == errno.ELOOP:
                self.discard(path, "a symbolic link")
            return None
        if file.memory[: len(self._head)] == self._head:
            return file
        if file.try_lock():  # a file that is being created has no head yet, but is locked
            foreign = file.memory[: len(MAGIC) + 1] != MAGIC + bytes([FORMAT])
            self.discard(path, "not a segment file" if foreign else "made for another baseline or other windows")
        file.close()
        return None

    def log_dropped(self) -> None:
        """Log which files were dropped since the last call, one line for each reason."""
        dropped, self._dropped = self._dropped, {}
        for why, names in dropped.items():
            _logger.warning("windows in %s are dropped: %s", ", ".join(names), why)

    def discard(self, path: Path, why: str) -> None:
        """Remove a file that no process can continue; `log_dropped` logs it."""
        self._dropped.setdefault(why, []).append(path.name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _logger.warning("%s cannot be removed: %s", path, error.strerror)
