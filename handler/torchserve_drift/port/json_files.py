"""JSON files that are written whole and read with caution, in directories that other processes write to."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Optional

_LARGEST_BYTES = 256 << 20


def write_json_file(path: Path, content: Any) -> None:
    """Replace a file by a rename: a reader sees the old content or the new one, never a part.

    Raises
    ------
    OSError
        When it cannot be written; no temporary file stays behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def remove_temporary_files(path: Path) -> None:
    """Remove what processes that were killed while writing ``path`` left behind."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def read_json_object(path: Path) -> Optional[dict[str, Any]]:
    """The JSON object in a file; ``None`` if there is no such file, or anything else in it."""
    try:
        with open(path, "rb", opener=_open_safely) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_BYTES:
                return None
            content = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _open_safely(path: str, flags: int) -> int:
    # not through a link, and without waiting for a writer if the file is a pipe
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
