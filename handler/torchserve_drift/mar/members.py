"""The files of an archive: where each comes from and which name it has. No two have the same name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Union

from torchserve_drift.errors import ArchiveError

Source = Union[Path, bytes]
"""The content of a member: that of a file, or bytes."""

NOT_SERVED = ("training/", "offline/", "mar/", "cli/")
"""Folders of this package that serving does not need. They are never packed into an archive."""


class Members:
    """Names of members and their sources; a name is used once.

    Examples
    --------
    >>> members = Members()
    >>> members.add("MAR-INF/MANIFEST.json", b"{}")
    >>> members.add("MAR-INF/MANIFEST.json", b"{}")
    Traceback (most recent call last):
    torchserve_drift.errors.ArchiveError: members must have different names, got 'MAR-INF/MANIFEST.json' twice
    """

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def add(self, name: str, source: Source) -> None:
        """Add ``source`` with the name ``name``.

        Raises
        ------
        ArchiveError
            When the name is taken, or has a backslash or a control character.
        """
        if "\\" in name or not name.isprintable():
            raise ArchiveError(f"member names must be printable and without backslashes, got {name!r}")
        if name in self._sources:
            raise ArchiveError(f"members must have different names, got {self._clash(name, source)}")
        self._sources[name] = source

    def add_file(self, path: Path, what: str) -> str:
        """Add the file ``path`` with its own name and return that name; ``what`` names it in errors."""
        if not path.is_file():
            raise ArchiveError(f"{what} must be an existing file, got {str(path)!r}")
        self.add(path.name, path)
        return path.name

    def add_extra(self, pattern: str) -> None:
        """Add a file, the contents of a folder, or everything that a wildcard matches."""
        # a file whose name looks like a pattern, such as "a[1].txt", does not match itself
        found = sorted(glob.glob(pattern)) or ([pattern] if os.path.exists(pattern) else [])
        if not found:
            raise ArchiveError(f"extra files must exist, got {pattern!r}")
        for path in map(Path, found):
            if path.is_dir():
                self.add_folder(path)
            else:
                self.add(path.name, path)

    def add_folder(self, folder: Path) -> None:
        """Add all files below ``folder``, named by their path inside it; caches and hidden folders are left out."""
        for path in _files(folder):
            self.add(path.relative_to(folder).as_posix(), path)

    def add_package(self) -> None:
        """Add the modules of this package that serving needs."""
        root = Path(__file__).parents[1]
        for path in _files(root):
            name = path.relative_to(root).as_posix()
            if path.suffix == ".py" and not name.startswith(NOT_SERVED):
                self.add(f"{root.name}/{name}", path)

    def sorted(self) -> Iterator[tuple[str, Source]]:
        """The names and sources, in the order of the names."""
        return iter(sorted(self._sources.items(), key=lambda member: member[0]))

    def _clash(self, name: str, source: Source) -> str:
        sources = [str(s) for s in (self._sources[name], source) if isinstance(s, Path)]
        return f"{name!r} from " + " and ".join(sources) if sources else f"{name!r} twice"


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        # in place: os.walk goes on with what is left in the list
        folders[:] = [name for name in folders if name not in ("__pycache__", "__MACOSX") and not name.startswith(".")]
        for name in folders:
            # os.walk does not follow links to folders, so their files would be missing in the archive
            if (Path(parent) / name).is_symlink():
                raise ArchiveError(f"extra files must hold no links to folders, got {os.path.join(parent, name)!r}")
        yield from (Path(parent) / name for name in files)
