"""Which processes listen, run and hold memory, as the kernel says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil

_LISTENING = "0A"


def listeners(port: int) -> list[int]:
    """Every process that has the socket which listens on ``port``, a forked child that inherited it included."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    return [pid for pid in psutil.pids() if sockets & _open_files(pid)]


def _inodes(port: int) -> set[str]:
    """The listening sockets at ``port``, of IPv4 and IPv6."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[3] == _LISTENING and int(line[1].rpartition(":")[2], 16) == port}


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            found.update(os.readlink(descriptor.path) for descriptor in descriptors)
    except OSError:  # the process, or the file, is gone meanwhile
        pass
    return found


def open_files(pid: int, pattern: str) -> list[str]:
    """The paths that ``pid`` has open and that ``pattern`` is found in."""
    return sorted(path for path in _open_files(pid) if re.search(pattern, path))


def resident_bytes(pid: int) -> int:
    """Resident memory; 0 of a process that is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
