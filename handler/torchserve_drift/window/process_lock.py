"""Locks between the processes of a host, and what forked children must drop."""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Optional, Protocol

_ATTEMPTS = 8

_registered: weakref.WeakSet[_Droppable] = weakref.WeakSet()


class _Droppable(Protocol):
    def drop_in_child(self) -> None:
        """Give up, in a forked child, what belongs to the parent. The parent's side must not notice."""


def drop_in_children(holder: _Droppable) -> None:
    """Call ``holder.drop_in_child()`` in every process that is forked from now on, as long as ``holder`` lives."""
    _register_at_fork()
    _registered.add(holder)


@cache
def _register_at_fork() -> None:
    # Only once: a callback cannot be removed, so one for each holder would stay behind after the holder is gone.
    os.register_at_fork(after_in_child=_drop_all)


def _drop_all() -> None:
    with ExitStack() as stack:  # calls all of them, also after one has failed
        for holder in list(_registered):
            stack.callback(holder.drop_in_child)


def try_lock(descriptor: int) -> bool:
    """Lock an open file; False while another process has the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Unlock an open file. Closing it is not enough: a child that was forked meanwhile has it open too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_linked(descriptor: int, path: Path) -> bool:
    """Whether other processes that open ``path`` get the file that is open as ``descriptor``."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


class ProcessLock:
    """A lock on a file that at most one process of a host can hold. The file is created if it does not exist.

    The kernel releases the lock when the process ends for any reason. Forked children do not inherit it. Not
    thread-safe.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        drop_in_children(self)

    def take(self) -> bool:
        """Whether this process has the lock, after trying to take it.

        A lock on a file that was deleted or replaced does not keep other processes out. It is given up for the lock on
        the file that is at the path now.

        Raises
        ------
        OSError
            When this process does not have the lock and the file cannot be opened.
        """
        if self._descriptor >= 0 and is_linked(self._descriptor, self._path):
            return True
        try:
            descriptor = self._locked_file()
        except OSError:
            if self._descriptor >= 0:  # the directory may be gone: then no other process can lock a file in it either
                return True
            raise
        self.release()
        if descriptor is None:
            return False
        self._descriptor = descriptor
        return True

    def _locked_file(self) -> Optional[int]:
        """The file at the path, open and locked; ``None`` while another process has the lock."""
        for _ in range(_ATTEMPTS):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if not try_lock(descriptor):
                os.close(descriptor)
                return None
            if is_linked(descriptor, self._path):
                return descriptor
            os.close(descriptor)  # it was replaced between opening and locking
        return None

    def release(self) -> None:
        """Let another process take the lock. No effect if this process does not have it."""
        if self._descriptor >= 0:
            unlock(self._descriptor)
        self.drop_in_child()

    def drop_in_child(self) -> None:
        """Close the file without unlocking it, which would unlock it for the parent too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.drop_in_child()
