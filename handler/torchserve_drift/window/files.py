"""Segment files of one directory: created whole, mapped into memory, locked by their owner while it lives."""

from __future__ import annotations

import errno
import fcntl
import logging
import mmap
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from torchserve_drift.window.segment import FORMAT, MAGIC

_SUFFIX = ".segment"
_TURN_TRIES, _TURN_SECONDS = 100, 0.01
_logger = logging.getLogger("torchserve_drift")


class SegmentFile:
    """A mapped segment file. The lock goes with the process that holds it, however it ends; forked children drop it.

    Raises
    ------
    OSError
        When the file cannot be opened, or, to be created, has no room on the disk.
    ValueError
        When it has another size and nobody owns it.
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
            if found != size:  # of an owner that lives, it is a file being created, or one for another baseline
                raise (ValueError if self.try_lock() else BlockingIOError)(f"{found} bytes, not {size}")
            self.memory = mmap.mmap(self._descriptor, size)
        except BaseException:
            self.close()
            if create:
                path.unlink(missing_ok=True)
            raise

    def try_lock(self) -> bool:
        """Become the owner; False while another process is."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def unlock(self) -> None:
        """Own it no more."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def is_linked(self) -> bool:
        """Whether other processes can still find the file under its path."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self.path, follow_symlinks=False))
        except OSError:
            return False

    def close(self) -> None:
        """Release lock and descriptor; the mapping lives as long as its arrays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class SegmentDirectory:
    """The segment files of one model version, all of ``size`` bytes and beginning with ``head``."""

    def __init__(self, path: Path, size: int, head: bytes) -> None:
        self.path, self._size, self._head = path, size, head
        self._dropped: dict[str, list[str]] = {}

    def create(self) -> SegmentFile:
        """A new file, ours; OSError where there is no room or no directory."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = SegmentFile(self.path / f"{uuid.uuid4().hex}{_SUFFIX}", self._size, create=True)
        file.memory[: len(self._head)] = self._head
        return file

    def take_over(self) -> Optional[SegmentFile]:
        """The file of a worker that is gone, ours from now on; ``None`` where there is none."""
        try:
            with self._in_turn():
                for path in self.paths():
                    file = self.open(path)
                    if file is not None and file.try_lock():
                        return file
                    if file is not None:
                        file.close()
            return None
        finally:
            self.say_dropped()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One starting worker after the other, so that the first finds all that must be dropped, and says so once.

        Nothing but that line depends on it: after a second of waiting the worker goes on.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield
            return
        try:
            for _ in range(_TURN_TRIES):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    time.sleep(_TURN_SECONDS)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child forked meanwhile has the descriptor too
            os.close(descriptor)

    def paths(self) -> list[Path]:
        """All segment files, by name."""
        return sorted(self.path.glob(f"*{_SUFFIX}"))

    def open(self, path: Path) -> Optional[SegmentFile]:
        """The segment at ``path``; ``None``, and the file removed where nobody owns it, if it is not one of ours."""
        try:
            file = SegmentFile(path, self._size)
        except ValueError as error:
            self.discard(path, f"made for another baseline or other windows, or broken: {error}")
            return None
        except OSError as error:  # gone, or none of ours; a lack of memory or descriptors is no fault of the file
            if error.errno == errno.ELOOP:
                self.discard(path, "a symbolic link")
            return None
        if file.memory[: len(self._head)] == self._head:
            return file
        if file.try_lock():  # a file being created is locked, and has its head soon
            foreign = file.memory[: len(MAGIC) + 1] != MAGIC + bytes([FORMAT])
            self.discard(path, "no segment" if foreign else "made for another baseline or other windows")
        file.close()
        return None

    def say_dropped(self) -> None:
        """Say which files were dropped since the last time, once for each reason."""
        dropped, self._dropped = self._dropped, {}
        for why, names in dropped.items():
            _logger.warning("windows in %s are dropped: %s", ", ".join(names), why)

    def discard(self, path: Path, why: str) -> None:
        """Remove a file that cannot be continued; `say_dropped` says so."""
        self._dropped.setdefault(why, []).append(path.name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _logger.warning("%s stays: %s", path, error.strerror)
