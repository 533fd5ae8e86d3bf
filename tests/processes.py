"""Facts about processes from the kernel: which of them listen on a port, their open files and their memory."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil

_LISTENING = "0A"


def listeners(port: int) -> list[int]:
    """The processes that have the socket which listens on ``port``, with forked children that inherited it."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    return [pid for pid in psutil.pids() if sockets & _open_files(pid)]


def _inodes(port: int) -> set[str]:
    """The sockets that listen on ``port``, over IPv4 and IPv6."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[3] == _LISTENING and int(line[1].rpartition(":")[2], 16) == port}


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            found.update(os.readlink(descriptor.path) for descriptor in descriptors)
    except OSError:  # the process has ended, or has closed the file
        pass
    return found


def open_files(pid: int, pattern: str) -> list[str]:
    """The paths that the process ``pid`` has open and that match ``pattern`` somewhere."""
    return sorted(path for path in _open_files(pid) if re.search(pattern, path))


def resident_bytes(pid: int) -> int:
    """The resident memory of the process ``pid``; 0 if it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
